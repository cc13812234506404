"""A store that is silent keeps only a few calls waiting."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from twisted_index.backends.object_store.patience import Patience, Silent
from twisted_index.errors import NotFound


def _wait_in_vain(patience: Patience) -> None:
    with pytest.raises(Silent, match="in time"), patience.waiting():
        raise Silent("It does not answer in time.")


def test_all_calls_wait_for_a_store_that_answers():
    patience = Patience()
    with ExitStack() as calls:
        for _ in range(50):
            calls.enter_context(patience.waiting())


def test_two_calls_wait_for_a_store_that_has_been_silent():
    patience = Patience()
    _wait_in_vain(patience)
    with patience.waiting(), patience.waiting(), pytest.raises(Silent), patience.waiting():
        pass


def test_calls_that_wait_already_are_not_ended():
    patience = Patience()
    with patience.waiting(), patience.waiting(), patience.waiting():
        _wait_in_vain(patience)
        with pytest.raises(Silent), patience.waiting():
            pass


def test_the_first_answer_ends_that():
    patience = Patience()
    _wait_in_vain(patience)
    with pytest.raises(NotFound), patience.waiting():
        raise NotFound("An answer all the same.")
    with patience.waiting(), patience.waiting(), patience.waiting():
        pass
