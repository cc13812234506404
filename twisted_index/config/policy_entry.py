"""
Entries of `upstream-deny` and `cooldown-except`: what they match, until when, and why.

An entry is text, `django>=4,<5`, or a table of the configuration file::

    [[cooldown-except]]
    match = "requests==2.32.4"
    until = 2026-12-10
    reason = "CVE-2026-1234"

Out of scope: which files an entry hides or shows (see `indexes.upstream_policy`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from twisted_index.simple.formatting import sentence
from twisted_index.simple.name_patterns import VersionRule

_KEYS = ("match", "until", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEntry:
    """
    A pattern of project names or a requirement, which may hold for a while only.

    Attributes:
        match: As for `VersionRule.parse`.
        until: The time, with a zone, from which the entry no longer holds; None for never.
        reason: Why, in one line that clients may see; empty if it is not said.
    """

    match: str
    until: datetime | None = None
    reason: str = ""

    @property
    def ends(self) -> float:
        """The time from which it no longer holds, in seconds since the epoch; infinite for never."""
        return math.inf if self.until is None else self.until.timestamp()

    @property
    def terms(self) -> str:
        """Until when and why, to go on a sentence: ` until 2026-12-10 23:59 UTC: CVE-2026-1234.`."""
        until = "" if self.until is None else f" until {_in_words(self.until)}"
        return sentence(until, self.reason)


def policy_entry(raw: object) -> PolicyEntry:
    """
    Read an entry.

    Raises:
        ValueError: It is neither text nor a table, or a value of the table is wrong.
    """
    if not isinstance(raw, Mapping):
        return PolicyEntry(match=_match(raw))
    if "match" not in raw:
        raise ValueError('an entry lacks match; write match = "evil-*" or match = "django>=4,<5"')
    match = _match(raw["match"])
    try:
        return _entry(match, raw)
    except ValueError as error:
        raise ValueError(f"the entry {match!r}: {error}") from error


def _entry(match: str, raw: Mapping[str, object]) -> PolicyEntry:
    for key in raw:
        if key not in _KEYS:
            raise ValueError(f"{key!r} is not known; an entry has match, until and reason")
    until, reason = raw.get("until"), raw.get("reason", "")
    if not isinstance(reason, str) or not reason.isprintable():
        raise ValueError("the reason is one line of text")
    return PolicyEntry(match=match, until=None if until is None else _end(until), reason=reason.strip())


def _match(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError(f'{raw!r} is not a requirement; write it like "evil-*" or "django>=4,<5"')
    VersionRule.parse(raw)
    return raw.strip()


def _end(raw: object) -> datetime:
    """Read a date, which ends with its day in UTC, or a time, which is UTC unless it has a zone."""
    if isinstance(raw, datetime):
        return raw if raw.tzinfo is not None else raw.replace(tzinfo=UTC)
    if isinstance(raw, date):
        return datetime.combine(raw, time.max, UTC)
    raise ValueError(f"until = {raw!r} is no date; write until = 2026-12-10, without quotes")


def _in_words(end: datetime) -> str:
    zone = "UTC" if not end.utcoffset() else end.strftime("%z")
    return f"{end:%Y-%m-%d %H:%M} {zone}"
