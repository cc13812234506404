"""Moments of the past, as a URL or an `.as-of` file names them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from twisted_index.errors import BadRequest
from twisted_index.simple.formatting import printable

#: What begins like this is meant as a date or a time, so no snapshot has such a name.
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
    r"(?:Z|[+-][0-9]{2}:?[0-9]{2})?",
    re.IGNORECASE,
)
_SNAPSHOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FORMS = "Write a date such as 2026-11-01, a time such as 2026-11-01T12:00Z, or the name of a snapshot."


def is_snapshot_name(name: str) -> bool:
    """Return whether a snapshot may have this name: one that is not read as a date or a time."""
    return _SNAPSHOT.fullmatch(name) is not None and _DATE.match(name) is None


def parse_moment(text: str, now: datetime) -> datetime | str:
    """
    Read a moment.

    Args:
        text: A date, which means the end of that day in UTC; a time, in UTC unless it has an offset, with or
            without seconds; or the name of a snapshot.
        now: The current time, aware.

    Returns:
        The moment, aware, in UTC; or the name of the snapshot.

    Raises:
        BadRequest: It is none of these, or has not passed yet.
    """
    if is_snapshot_name(text):
        return text
    moment = _read(text)
    if moment is None:
        raise BadRequest(f"{printable(text[:100])} is no moment. {_FORMS}")
    if moment > now:
        meaning = "ends" if _DATE.fullmatch(text) else "is"
        proposed = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")
        raise BadRequest(
            f"{text} {meaning} in the future, so what it will show may still change. Use a time that has"
            f" passed, such as {proposed}."
        )
    return moment


def _read(text: str) -> datetime | None:
    """Read a date or a time; None if it is neither."""
    try:
        if _DATE.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(days=1, microseconds=-1)
        if _TIME.fullmatch(text):
            time = datetime.fromisoformat(text.upper())
            return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        # No such day, or one before the calendar begins.
        pass
    return None
