"""
The audit log of a node on a bucket: the changes of all nodes, and what was refused and reloaded here.

Changes lie in the bucket. What is refused is of one node and may be much, so it stays in the node's own audit
log, as does a change whose event the store did not take. A search shows both, by time.
"""

from __future__ import annotations

import heapq
import itertools
import re
from concurrent.futures import CancelledError
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_index.backends.object_store.event_keys import EventKey, KeySpan, write_moment
from twisted_index.backends.object_store.history import NOT_RECORDED
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.parallel import at_once
from twisted_index.errors import BadRequest, SimpleIndexError, Unavailable
from twisted_index.events.audit_files import AuditPosition
from twisted_index.events.audit_filter import AuditFilter, TokenMakers, depends_on_makers
from twisted_index.interfaces import AuditAction, AuditPage, IAuditLog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twisted_index.backends.object_store.history import BucketHistory
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.events.audit_log import AuditLog
    from twisted_index.interfaces import AuditEvent, AuditQuery

#: What happens at one node.
_OWN = frozenset({AuditAction.REFUSE, AuditAction.RELOAD})
_CURSOR = re.compile(r"([0-9]{16}(?:\.[0-9a-f]{8})?)~(.+)")
_MICROSECOND = timedelta(microseconds=1)
#: Events that are kept in memory; each has some 1 KB.
_KEPT = 4096
#: Events that one search reads at once; it leaves threads to what is recorded meanwhile.
_READS = 6


class _Cursor(NamedTuple):
    """
    Where a page begins.

    Attributes:
        key: Names of keys that are less follow; empty for all.
        own: The position in the node's own log.
    """

    key: str
    own: str

    @classmethod
    def parse(cls, text: str) -> _Cursor | None:
        """
        Read a cursor that `str` wrote; None from an empty text.

        Raises:
            BadRequest: It is none.
        """
        if not text:
            return None
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise BadRequest("The value of before is not from the next link of a page of the history.")
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return f"{self.key}~{self.own}"


@implementer(IAuditLog)
class SharedAuditLog:
    """
    The audit log of a node.

    Args:
        history: The events in the bucket.
        own: The node's own log.
        worker: Threads that wait for the bucket.

    Attributes:
        history: The events in the bucket.
    """

    def __init__(self, history: BucketHistory, own: AuditLog, worker: IThreadRunner) -> None:
        self.history = history
        self._own = own
        self._worker = worker
        self._events: LRU[str, AuditEvent] = LRU(_KEPT)
        self._made_tokens: dict[str, AuditEvent] = {}

    def record(self, event: AuditEvent) -> Deferred[None]:
        """See `IAuditLog`. What the store does not take is recorded here, and is an error all the same."""
        if event.action in _OWN:
            return self._own.record(event)
        return Deferred.fromCoroutine(self._record(event))

    async def _record(self, event: AuditEvent) -> None:
        try:
            await self._worker.run(self.history.append, event)
        except SimpleIndexError:
            await self._own.record(event)
            raise
        except CancelledError:
            # The server stops, and its threads of the history before those of its own log.
            await self._own.record(event)
            raise Unavailable(NOT_RECORDED) from None

    def search(self, query: AuditQuery) -> Deferred[AuditPage]:
        """See `IAuditLog`."""
        return Deferred.fromCoroutine(self._search(query))

    async def _search(self, query: AuditQuery) -> AuditPage:
        cursor = _Cursor.parse(query.before) or _Cursor("", str(await self._own.end()))
        makers = await self._makers() if depends_on_makers(query) else TokenMakers(())
        own = await self._own.find(replace(query, before=cursor.own), makers)
        shared = await self._find(query, cursor, AuditFilter(query, makers))
        return _page_of(shared, own, query.limit, cursor)

    async def _find(
        self, query: AuditQuery, cursor: _Cursor, wanted: AuditFilter
    ) -> list[tuple[EventKey, AuditEvent]]:
        """Find one event more than a page has."""
        keys = self.history.keys(KeySpan(query, cursor.key, wanted.bys))
        found: list[tuple[EventKey, AuditEvent]] = []
        while len(found) <= query.limit:
            chunk = await self._worker.run(_take, keys, query.limit + 1 - len(found))
            if not chunk:
                break
            events = await at_once(_READS, self._event, chunk)
            pairs = zip(chunk, events, strict=True)
            found += [(key, event) for key, event in pairs if event is not None and wanted.wants(event)]
        return found

    async def _event(self, key: EventKey) -> AuditEvent | None:
        event = self._events.get(key.name)
        if event is None:
            event = await self._worker.run(self.history.read, key)
            if event is not None:
                self._events.put(key.name, event)
        return event

    async def _makers(self) -> TokenMakers:
        """Return who made which token, here or at other nodes."""
        keys = await self._worker.run(lambda: list(self.history.made_tokens()))
        unread = [key for key in keys if key.name not in self._made_tokens]
        for key, event in zip(unread, await at_once(_READS, self._event, unread), strict=True):
            if event is not None:
                self._made_tokens[key.name] = event
        return TokenMakers([*self._made_tokens.values(), *await self._own.made_tokens()])


def _take(keys: Iterator[EventKey], number: int) -> list[EventKey]:
    return list(itertools.islice(keys, number))


def _page_of(
    shared: Sequence[tuple[EventKey, AuditEvent]],
    own: Sequence[tuple[AuditPosition, AuditEvent]],
    limit: int,
    cursor: _Cursor,
) -> AuditPage:
    """Take the latest events of both logs; an event that both have is shown once."""
    key, position = cursor
    events: list[AuditEvent] = []
    is_last = len(shared) <= limit and len(own) <= limit
    merged: Iterator[tuple[EventKey | AuditPosition, AuditEvent]] = heapq.merge(
        shared, own, key=lambda found: found[1].time, reverse=True
    )
    for place, event in merged:
        if len(events) == limit:
            is_last = False
            break
        # Of names that follow, none is later than this event, whichever log has it.
        latest = write_moment(event.time + _MICROSECOND)
        key = place.position if isinstance(place, EventKey) else min(key or latest, latest)
        if isinstance(place, AuditPosition):
            position = str(place)
            if events[-1:] == [event]:
                continue
        events.append(event)
    return AuditPage(events=tuple(events), next="" if is_last else str(_Cursor(key, position)))
