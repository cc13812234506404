"""Moments of the past."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from twisted_index.errors import BadRequest
from twisted_index.indexes.moments import is_snapshot_name, parse_moment

NOW = datetime(2026, 11, 30, 1, 24, 42, tzinfo=UTC)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-01", utc(2026, 11, 1, 23, 59, 59, 999999)),
        ("2026-11-01T12:00", utc(2026, 11, 1, 12)),
        ("2026-11-01T12:00Z", utc(2026, 11, 1, 12)),
        ("2026-11-01t12:00z", utc(2026, 11, 1, 12)),
        ("2026-11-01T12:00:30", utc(2026, 11, 1, 12, 0, 30)),
        ("2026-11-01T12:00:30.25Z", utc(2026, 11, 1, 12, 0, 30, 250000)),
        ("2026-11-01 12:00", utc(2026, 11, 1, 12)),
        ("2026-11-01T12:00+01:00", utc(2026, 11, 1, 11)),
        ("2026-11-01T12:00:00-0230", utc(2026, 11, 1, 14, 30)),
    ],
)
def test_a_date_is_the_end_of_its_day_and_a_time_is_in_utc_unless_it_says_otherwise(
    text: str, moment: datetime
) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("name", ["freeze", "v1.2", "2026-Q4", "20261101", "a_b"])
def test_another_word_is_the_name_of_a_snapshot(name: str) -> None:
    assert parse_moment(name, NOW) == name
    assert is_snapshot_name(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-13-01",
        "2026-02-30",
        "2026-11-01T25:00",
        "2026-11-01x",
        "2026-11-01T12",
        "0000-01-01",
        "0001-01-01T00:00+23:00",
        "9999-12-31T23:59-10:00",
        "2026-11-01T12:00+99:00",
        "..",
        ".hidden",
        "a/b",
        "a\nb",
        "x" * 101,
        "２０２６-11-01",
    ],
)
def test_what_is_neither_is_refused_with_the_forms_that_there_are(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_moment(text, NOW)

    assert "2026-11-01T12:00Z" in caught.value.message
    assert caught.value.message.isprintable()
    assert not is_snapshot_name(text)


@pytest.mark.parametrize("text", ["2026-11-30", "2026-12-01", "2026-11-30T01:24:43Z", "9999-12-31"])
def test_the_future_is_refused_with_a_time_that_is_not(text: str) -> None:
    with pytest.raises(BadRequest, match="2026-11-30T01:24Z") as caught:
        parse_moment(text, NOW)

    assert text in caught.value.message
    assert parse_moment("2026-11-30T01:24Z", NOW) <= NOW  # type: ignore[operator]
