"""The terms of a token in words: its name, and until when."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from twisted_index.access.token_terms import format_permissions, parse_expires
from twisted_index.interfaces import Action

NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC).timestamp()
DAY = 86400


def end(text: str | None, max_age: float | None = None) -> str | None:
    expires = parse_expires(text, now=NOW, max_age=max_age)
    return None if expires is None else expires.isoformat()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("never", None),
        ("90s", "2026-11-29T12:01:30+00:00"),
        ("1d", "2026-11-30T12:00:00+00:00"),
        ("1w", "2026-12-06T12:00:00+00:00"),
        ("2027-01-01", "2027-01-01T23:59:59+00:00"),
        (" 2027-01-01 ", "2027-01-01T23:59:59+00:00"),
        ("2026-11-29", "2026-11-29T23:59:59+00:00"),
        ("2027-01-01T08:30", "2027-01-01T08:30:00+00:00"),
        ("2027-01-01 08:30:15", "2027-01-01T08:30:15+00:00"),
        ("2027-01-01T08:30:15.75Z", "2027-01-01T08:30:15+00:00"),
        ("2027-01-01T08:30:00+02:00", "2027-01-01T06:30:00+00:00"),
        ("9999-12-31", "9999-12-31T23:59:59+00:00"),
        ("999999999999d", "9999-12-31T23:59:59+00:00"),
    ],
)
def test_an_end_is_a_duration_a_day_a_time_or_never(text: str | None, expected: str | None):
    assert end(text) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("soon", "'soon' is not a time; write a duration such as 90d"),
        ("", "'' is not a time"),
        ("2027-1-1", "is not a time"),
        ("20270101T00", "is not a time"),
        ("٢٠٢٧-٠١-٠١", "is not a time"),
        ("2027-02-30", "'2027-02-30' is not in the calendar"),
        ("2027-01-01T25:00", "is not in the calendar"),
        ("0001-01-01T00:00+12:00", "is not in the calendar"),
        ("9999-12-31T23:59-12:00", "is not in the calendar"),
        ("0", "the token would already have expired"),
        ("2026-11-28", "the token would already have expired"),
        ("2026-11-29T12:00Z", "the token would already have expired"),
        ("x" * 10_000, "'x{80}' is not a time"),
    ],
)
def test_what_is_no_end_to_come_is_refused(text: str, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        end(text)


def test_the_longest_life_is_the_default():
    assert end(None, max_age=DAY) == "2026-11-30T12:00:00+00:00"
    assert end("1h", max_age=DAY) == "2026-11-29T13:00:00+00:00"
    assert end("1d", max_age=DAY) == "2026-11-30T12:00:00+00:00"


@pytest.mark.parametrize("text", ["never", "25h", "2026-11-30", "9999-12-31"])
def test_a_longer_life_is_refused_and_the_longest_named(text: str):
    with pytest.raises(ValueError, match=r"for 1 days at most \(max-token-age\), until 2026-11-30 12:00 UTC"):
        end(text, max_age=DAY)


def test_permissions_are_one_line():
    permissions = {Action.UPLOAD: ("acme-*", "other"), Action.OPERATE: ("*",)}
    assert (
        format_permissions(permissions)
        == "upload acme-* other, see history, problems, wanted names and metrics"
    )
