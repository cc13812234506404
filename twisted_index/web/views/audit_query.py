"""The query of `/-/history`: which events a URL wants, and the URL of the next page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from twisted_index.errors import BadRequest
from twisted_index.interfaces import AuditAction, AuditQuery
from twisted_index.simple.names import is_valid_name, normalize

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The parameters, in the order of messages.
PARAMETERS = ("since", "until", "project", "by", "action", "before", "limit")

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
#: Characters of a value. A user's name has at most 256.
_MAX_VALUE = 300
_MAX_SHOWN = 40
_MAX_PAIRS = 100

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# RFC 3339 section 5.6.
_MOMENT = re.compile(_DAY.pattern + r"[Tt ][0-9:]{8}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})")
#: A `+` that was not percent-encoded has become a blank.
_BLANK_OFFSET = re.compile(r" (?=[0-9]{2}:[0-9]{2}$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRequest:
    """
    What a URL asks for.

    Attributes:
        query: The query.
        values: The parameters that were given, as they were given.
    """

    query: AuditQuery
    values: Mapping[str, str]

    @property
    def is_limited(self) -> bool:
        """Whether the URL names a limit."""
        return "limit" in self.values

    def url_from(self, before: str) -> str:
        """Return the URL of the page that begins at a cursor, relative to this one."""
        return "?" + urlencode({**self.values, "before": before}, safe=":")


def parse_audit_query(query: bytes) -> AuditRequest:
    """
    Read the query of a URL.

    Args:
        query: As received, without the question mark.

    Raises:
        BadRequest: A parameter is unknown, or its value cannot be used.
    """
    values: dict[str, str] = {}
    for name, raw in _pairs(query):
        if name not in PARAMETERS:
            raise _bad(f"There is no parameter {_shown(name)}.")
        value = _text(name, raw)
        if value and name in values:
            if name != "action":
                raise _bad(f"The parameter {name} may be given once.")
            value = f"{values[name]},{value}"
        # A form of a browser sends each of its fields.
        if value:
            values[name] = value
    return AuditRequest(query=_query(values), values=values)


def _pairs(query: bytes) -> list[tuple[str, str]]:
    """Split and decode a query; what is one byte of a value is one character."""
    try:
        return parse_qsl(
            query.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=_MAX_PAIRS
        )
    except ValueError:
        raise _bad("The query has too many parameters.") from None


def _query(values: Mapping[str, str]) -> AuditQuery:
    since, until = values.get("since"), values.get("until")
    return AuditQuery(
        since=None if since is None else _moment("since", since),
        until=None if until is None else _moment("until", until, end_of_day=True),
        project=_project(values.get("project", "")),
        by=values.get("by", ""),
        actions=_actions(values.get("action", "")),
        before=values.get("before", ""),
        limit=_limit(values.get("limit", str(DEFAULT_LIMIT))),
    )


def _text(name: str, raw: str) -> str:
    try:
        value = raw.encode("latin-1").decode().strip()
    except UnicodeDecodeError:
        raise _bad(f"The value of {name} is not UTF-8.") from None
    if len(value) > _MAX_VALUE:
        raise _bad(f"The value of {name} has more than {_MAX_VALUE} characters.")
    return value


def _moment(name: str, text: str, *, end_of_day: bool = False) -> datetime:
    text = _BLANK_OFFSET.sub("+", text)
    try:
        if _DAY.fullmatch(text):
            day = datetime.fromisoformat(text).replace(tzinfo=UTC)
            return day + timedelta(days=1) if end_of_day else day
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    # A day that does not exist, or a time outside the calendar.
    except (ValueError, OverflowError):
        pass
    raise _bad(f"The value of {name} is neither a date (2026-11-01) nor a time (2026-11-01T12:00:00Z).")


def _project(text: str) -> str:
    if text and not is_valid_name(text):
        raise _bad(f"The value of project, {_shown(text)}, is not the name of a project.")
    return normalize(text)


def _actions(text: str) -> frozenset[str]:
    actions = frozenset(word.strip() for word in text.split(",")) if text else frozenset()
    unknown = sorted(actions - set(AuditAction))
    if unknown:
        known = ", ".join(AuditAction)
        raise _bad(f"There is no action {_shown(unknown[0])}; the known ones are {known}.")
    return actions


def _limit(text: str) -> int:
    number = int(text) if re.fullmatch("[0-9]{1,9}", text) else 0
    if not 1 <= number <= MAX_LIMIT:
        raise _bad(f"The value of limit is not a number from 1 to {MAX_LIMIT}.")
    return number


def _shown(text: str) -> str:
    return ascii(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")


def _bad(sentence: str) -> BadRequest:
    return BadRequest(f"{sentence} The parameters of this page are {', '.join(PARAMETERS)}.")
