"""
The keys of the audit log's events in a bucket. What searches ask for stands in them, as lists show no more.

`.keep/history/2026-11/30/14/23/1796048580123456.3f1c0a9e.upload.9b74c989._.demo.json`: the folders are those
of a time in UTC; then come microseconds since the epoch, a digest of the file and the detail, the action, a
digest of who did it, the index and the project. Events of new tokens lie in a folder of their own, since a
search by user needs all of them.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.interfaces import AuditAction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted_index.interfaces import AuditEvent, AuditQuery

FOLDER = ".keep/history"
#: The part of a key in which those of new tokens lie.
TOKENS = "tokens"
#: A folder with so many parts holds events, not folders.
LEAF_PARTS = 6
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NAME = re.compile(
    r"([0-9]{16})\.([0-9a-f]{8})\.([a-z-]+)\.([0-9a-f]{8})\.([a-z0-9-]+|_)\.([a-z0-9-]+|_)\.json"
)
_DATED = re.compile(r"[0-9]{4}-[0-9]{2}(/[0-9]{2}){0,3}")
#: What stands for nothing.
_NONE = "_"
#: Microseconds that sixteen digits can say.
_LAST = (1 << 53) - 1
#: Greater than all names.
_END = ":"


class EventKey(NamedTuple):
    """
    The key of an event. Those of later events are greater.

    Attributes:
        name: The last part of the key.
        what: A digest of the file and the detail: that of an upload names its bytes.
        action: A value of `AuditAction`.
        by: A digest of who did it.
        index_name: Of the index; empty for the only one.
        project: A normalized name; empty for what concerns none.
        key: All of it.
    """

    name: str
    what: str
    action: str
    by: str
    index_name: str
    project: str
    key: str

    @classmethod
    def of(cls, event: AuditEvent) -> EventKey:
        """Make the key of an event; another event with all of it is the same."""
        by, what, action = digest(event.by), digest(f"{event.filename}\0{event.detail}"), str(event.action)
        words = (action, by, event.index or _NONE, event.project or _NONE)
        name = f"{write_moment(event.time)}.{what}.{'.'.join(words)}.json"
        folder = f"{FOLDER}/{TOKENS}" if action == AuditAction.TOKEN_CREATE else folder_at(name)
        return cls(name, what, action, by, event.index, event.project, f"{folder}/{name}")

    @classmethod
    def parse(cls, key: str) -> EventKey | None:
        """Read a key; None if it is not one of an event."""
        match = _NAME.fullmatch(key.rpartition("/")[2])
        if match is None:
            return None
        index, project = (match[at] if match[at] != _NONE else "" for at in (5, 6))
        return cls(match[0], match[2], match[3], match[4], index, project, key)

    @property
    def position(self) -> str:
        """What follows all names of earlier events, and neither this one nor those of later events."""
        return self.name[:25]


class KeySpan:
    """
    Which keys a query may want.

    Args:
        query: The query; its `before` does not count.
        before: Only names that are less; empty for all.
        bys: Values of `by` that wanted events have; empty for any.
    """

    def __init__(self, query: AuditQuery, before: str = "", bys: Iterable[str] = ()) -> None:
        self._query = query
        self._start = "" if query.since is None else write_moment(query.since)
        stops = (before, "" if query.until is None else write_moment(query.until))
        self._stop = min(filter(None, stops), default=_END)
        self._bys = frozenset(map(digest, bys))
        self._first = folder_at(self._start or "0")
        self._last = folder_at(self._stop) if self._stop != _END else ""

    def meets(self, folder: str) -> bool:
        """Return whether wanted events may lie in a folder of a time, or below it."""
        if _DATED.fullmatch(folder.removeprefix(f"{FOLDER}/")) is None:
            return False
        size = len(folder)
        return self._first[:size] <= folder and (not self._last or folder <= self._last[:size])

    def has(self, key: EventKey) -> bool:
        """Return whether the event of a key may be wanted."""
        query = self._query
        return (
            self._start <= key.name < self._stop
            and query.project in ("", key.project)
            and (not query.actions or key.action in query.actions)
            and (not query.indexes or key.index_name in query.indexes)
            and (not self._bys or key.by in self._bys)
        )


def write_moment(time: datetime) -> str:
    """Write a time as names begin, so that texts sort as times do: one before 1970 as 1970."""
    return f"{min(max((time - _EPOCH) // _MICROSECOND, 0), _LAST):016d}"


def folder_at(name: str) -> str:
    """Return the folder for events of a minute, by a name that begins with its time."""
    return f"{FOLDER}/{_EPOCH + int(name[:16]) * _MICROSECOND:%Y-%m/%d/%H/%M}"


def digest(text: str) -> str:
    """Return a short digest of who did something, so that keys show no names."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
