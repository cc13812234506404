"""
The terms of a token: its name, what it may do, and until when. Pure.

In the words of the command `twisted-index token` and of `POST /-/tokens` alike.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from twisted_index.config.parsers import duration
from twisted_index.interfaces import Action, AuditEvent
from twisted_index.simple.name_patterns import NO_NAME

if TYPE_CHECKING:
    from twisted_index.access.token_records import Token, TokenPermissions

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
#: RFC 3339 section 5.6, with the seconds and the zone left out if wanted.
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d(?P<time>[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)?)?", re.A
)
_NEVER = "never"
#: What a token may do that is about no single project.
_WHOLE = {
    Action.OPERATE: "see history, problems, wanted names and metrics",
    Action.FOLLOW: "see changes",
    Action.MANAGE: "make and remove indexes",
}
#: What it may besides in the index without a name, which is the server as a whole.
_HAND_OVER = "let this server hand over to a replica"
#: What the calendar of Python ends with.
_LAST = datetime.max.replace(microsecond=0, tzinfo=UTC)


def token_name(raw: str) -> str:
    """
    Check the name of a token.

    Raises:
        ValueError: It cannot be used.
    """
    if _NAME.fullmatch(raw) is None:
        raise ValueError(
            f"{raw[:80]!r} is not a valid token name; use up to 64 letters, digits, dots, underscores and"
            " hyphens"
        )
    return raw


def parse_expires(text: str | None, *, now: float, max_age: float | None = None) -> datetime | None:
    """
    Read when a token expires.

    Args:
        text: A duration such as `90d`; a day, at whose end in UTC the token expires; a time of RFC 3339,
            in UTC unless it says another zone; or `never`. None for the longest time.
        now: Seconds since the epoch.
        max_age: Seconds, the longest time; None for no limit.

    Returns:
        Aware, UTC, whole seconds; None for never.

    Raises:
        ValueError: It is none of these, has passed, or is too late.
    """
    latest = None if max_age is None else _after(now, max_age)
    if text is None:
        return latest
    expires = None if text.strip() == _NEVER else _moment(text.strip(), now)
    if expires is not None and expires.timestamp() <= now:
        raise ValueError("the token would already have expired")
    if latest is not None and (expires is None or expires > latest):
        days = f"{max_age / 86400:g} days" if max_age is not None else ""
        raise ValueError(
            f"a token may live for {days} at most (max-token-age), until {format_moment(latest)}"
        )
    return expires


def _moment(text: str, now: float) -> datetime:
    match = _MOMENT.fullmatch(text)
    if match is None:
        return _after(now, _duration(text))
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        whole_day = timedelta() if match["time"] else timedelta(hours=23, minutes=59, seconds=59)
        return (moment + whole_day).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not in the calendar") from None


def _duration(text: str) -> float:
    try:
        return duration(text)
    except ValueError:
        raise ValueError(
            f"{text[:80]!r} is not a time; write a duration such as 90d or 12w, a day such as 2027-01-31,"
            " a time such as 2027-01-31T12:00Z, or never"
        ) from None


def _after(now: float, seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(int(now + seconds), UTC)
    except (OverflowError, ValueError, OSError):
        return _LAST


def format_moment(moment: datetime | None) -> str:
    """Format a time for people, to the minute; None is `never`."""
    return _NEVER if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def format_permissions(permissions: TokenPermissions, indexes: tuple[str, ...] = (NO_NAME,)) -> str:
    """Format the permissions of a token as one line, with the indexes that it names."""
    parts = [
        _WHOLE.get(action) or f"{action.value} {' '.join(patterns)}"
        for action, patterns in permissions.items()
    ]
    if Action.MANAGE in permissions and not {NO_NAME, "*"}.isdisjoint(indexes):
        parts.append(_HAND_OVER)
    words = " ".join(index or "without a name" for index in indexes)
    where = "" if indexes == (NO_NAME,) else f" (indexes: {words})"
    return f"{', '.join(parts)}{where}"


def token_event(action: str, token: Token, *, by: str, now: float) -> AuditEvent:
    """
    Describe a change of a token for the audit log.

    Args:
        action: `token-create` or `token-revoke`.
        token: The token.
        by: Who makes the change.
        now: Seconds since the epoch.
    """
    maker = f" (made by {token.by})" if token.by not in ("", by) else ""
    detail = f"{token.name}: {format_permissions(token.permissions, token.indexes)}{maker}"
    return AuditEvent(time=datetime.fromtimestamp(now, UTC), by=by, action=action, project="", detail=detail)
