"""The one rule by which a request is tried again."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_index.errors import BadGateway, Unavailable
from twisted_index.http_client.retry import TemporaryFailure, retrying


class Attempts:
    """Raises these in turn, then succeeds."""

    def __init__(self, *errors: Exception, **options: Any) -> None:
        self.clock = Clock()
        self.errors = list(errors)
        self.times: list[float] = []
        self.outcome: list[Any] = []
        options = {"tries": 3, "back_off": 1.0} | options
        self.trying = Deferred.fromCoroutine(retrying(self.ask, self.clock, **options))
        self.trying.addBoth(self.outcome.append)

    async def ask(self) -> str:
        self.times.append(self.clock.seconds())
        if self.errors:
            raise self.errors.pop(0)
        return "here"

    def wait(self) -> Any:
        self.clock.pump([0.5] * 100)
        if isinstance(self.outcome[0], Failure):
            self.outcome[0].raiseException()
        return self.outcome[0]


def test_what_may_pass_is_tried_again_after_longer_and_longer_waits():
    attempts = Attempts(TemporaryFailure("a"), TemporaryFailure("b"), growth=4.0)

    assert attempts.wait() == "here"
    assert attempts.times == [0.0, 1.0, 5.0]


def test_the_last_failure_is_what_remains():
    attempts = Attempts(*(TemporaryFailure(text) for text in "abcd"))

    with pytest.raises(TemporaryFailure, match="c"):
        attempts.wait()
    assert attempts.times == [0.0, 1.0, 3.0]


@pytest.mark.parametrize("error", [Unavailable("x"), BadGateway("x"), ZeroDivisionError()])
def test_what_will_not_pass_is_not_tried_again(error: Exception):
    attempts = Attempts(error)

    with pytest.raises(type(error)):
        attempts.wait()
    assert attempts.times == [0.0]


def test_a_server_gets_the_rest_that_it_asks_for():
    attempts = Attempts(TemporaryFailure("a", 7), longest_rest=10)

    assert attempts.wait() == "here"
    assert attempts.times == [0.0, 7.0]


def test_a_server_that_asks_for_too_long_a_rest_is_left_alone():
    attempts = Attempts(TemporaryFailure("a", 500), longest_rest=10)

    with pytest.raises(TemporaryFailure) as refused:
        attempts.wait()
    assert attempts.times == [0.0]
    assert refused.value.retry_after == 120


def test_a_rest_that_outlasts_all_retries_of_a_client_does_not_make_it_wait():
    assert TemporaryFailure("a", 600).retry_after == 120
    assert TemporaryFailure("a", 601).retry_after == 5


def test_waits_are_varied():
    attempts = Attempts(TemporaryFailure("a"), jitter=lambda: 1.5)
    attempts.wait()

    assert attempts.times == [0.0, 1.5]


def test_a_wait_can_be_cancelled():
    attempts = Attempts(TemporaryFailure("a"))
    attempts.trying.cancel()

    with pytest.raises(CancelledError):
        attempts.wait()
    assert attempts.times == [0.0]
