"""When tokens were last used: to the hour, and at no cost to anything else."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from twisted_index.access.token_uses import TokenUses

NOW = 1_900_000_000.0
ID = "0123456789ab"


@pytest.fixture
def now() -> list[float]:
    return [NOW]


@pytest.fixture
def uses(tmp_path: Path, now: list[float]) -> TokenUses:
    return TokenUses(str(tmp_path / "state"), lambda: now[0])


def test_a_use_is_noted_for_other_processes_and_after_a_restart(uses: TokenUses, tmp_path: Path):
    assert uses.last(ID) is None
    uses.note(ID)
    again = TokenUses(str(tmp_path / "state"), lambda: 0.0)
    assert again.last(ID) == datetime.fromtimestamp(NOW, UTC)


def test_a_use_is_due_once_an_hour(uses: TokenUses, now: list[float]):
    assert [uses.is_due(ID), uses.is_due(ID)] == [True, False]
    now[0] += 3599
    assert not uses.is_due(ID)
    assert uses.is_due("f" * 12)
    now[0] += 1
    assert uses.is_due(ID)


def test_a_clock_that_was_set_back_does_not_end_the_noting(uses: TokenUses, now: list[float]):
    uses.is_due(ID)
    now[0] -= 10_000
    assert uses.is_due(ID)


def test_a_later_use_is_noted_over_an_earlier_one(uses: TokenUses, now: list[float]):
    uses.note(ID)
    now[0] += 7200
    uses.note(ID)
    assert uses.last(ID) == datetime.fromtimestamp(NOW + 7200, UTC)


def test_a_token_that_is_no_more_leaves_nothing(uses: TokenUses, tmp_path: Path):
    uses.note(ID)
    uses.forget([ID, "f" * 12])
    assert uses.last(ID) is None
    assert list((tmp_path / "state" / "keep" / "token-uses").iterdir()) == []
