"""
The audit log's events of all nodes of a bucket: an object for each, written once, never changed.

Lists of objects begin with the oldest, and a search wants the latest. So a search lists the folders of times,
the latest first, and goes into one only where a single request does not list all that lies below it. Objects
and folders may be removed at any time; what is no event is passed over.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

from twisted.logger import Logger

from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.event_keys import FOLDER, LEAF_PARTS, TOKENS, EventKey, KeySpan
from twisted_index.backends.object_store.settled_writes import SettledWrites
from twisted_index.errors import SimpleIndexError, Unavailable
from twisted_index.events.audit_lines import parse_event, write_event
from twisted_index.interfaces import AuditQuery

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import datetime

    from twisted_index.backends.object_store.bucket import Bucket
    from twisted_index.interfaces import AuditEvent

_log = Logger()

#: What a client reads whose change is made, but is not known to be in the history.
NOT_RECORDED = "The change was made, but could not be recorded in the history of the bucket."
#: Objects that one request lists, less one: then it is not known whether there are more.
_ONE_REQUEST = 999
#: Bytes of an event.
_MAX_EVENT = 1 << 20


class BucketHistory:
    """
    The events in a bucket. Blocking; nothing is asked of the store before the first call.

    Args:
        bucket: The bucket.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._writes = SettledWrites(bucket)
        #: Folders that one request does not list.
        self._large: set[str] = set()

    def append(self, event: AuditEvent) -> None:
        """
        Add an event; it is in the bucket when this returns.

        Raises:
            Unavailable: It is not known whether it is.
        """
        try:
            # No other event has this key, so a second try does no harm.
            self._writes.put(EventKey.of(event).key, write_event(event))
        except SimpleIndexError as error:
            _log.critical(
                "The history {url} cannot be written: {error}",
                url=f"{self._bucket.url}/{FOLDER}",
                error=error.message,
            )
            raise Unavailable(NOT_RECORDED) from error

    def keys(self, span: KeySpan) -> Iterator[EventKey]:
        """
        Find the keys of events that may be wanted, the latest first. Consuming them requests lists.

        Raises:
            Unavailable: The store does not list them.
        """
        return filter(span.has, self._below(FOLDER, span))

    def has(self, event: AuditEvent, *, actions: Collection[str], since: datetime) -> bool:
        """
        Return whether there is an event of the same index, project, file and detail, by anyone.

        Args:
            event: What is looked for.
            actions: Of which any will do.
            since: From when on.

        Raises:
            Unavailable: The store does not list them.
        """
        index = frozenset({event.index})
        query = AuditQuery(since=since, project=event.project, actions=frozenset(actions), indexes=index)
        what = EventKey.of(event).what
        return any(key.what == what for key in self.keys(KeySpan(query)))

    def made_tokens(self) -> Iterator[EventKey]:
        """
        Find the keys of all events of new tokens, the latest first.

        Raises:
            Unavailable: The store does not list them.
        """
        return _latest_first(self._bucket.list_all(f"{FOLDER}/{TOKENS}").objects)

    def read(self, key: EventKey) -> AuditEvent | None:
        """
        Read an event; None if it is none, or no longer there.

        Raises:
            Unavailable: The store does not say.
        """
        try:
            found = self._bucket.read(key.key, limit=_MAX_EVENT)
        except ObjectChanged:
            return None
        return None if found is None else parse_event(found.content)

    def _below(self, folder: str, span: KeySpan) -> Iterator[EventKey]:
        if folder not in self._large:
            is_leaf = folder.count("/") == LEAF_PARTS - 1
            listing = self._bucket.list_all(folder, limit=None if is_leaf else _ONE_REQUEST)
            if listing.is_complete:
                yield from _latest_first(listing.objects)
                return
            self._large.add(folder)
        parts = self._bucket.list_level(folder).folders
        folders = sorted((f"{folder}/{part}" for part in parts), reverse=True)
        dated = itertools.chain.from_iterable(self._below(one, span) for one in folders if span.meets(one))
        yield from heapq.merge(dated, self.made_tokens() if TOKENS in parts else (), reverse=True)


def _latest_first(keys: Iterable[str]) -> Iterator[EventKey]:
    return iter(sorted(filter(None, map(EventKey.parse, keys)), reverse=True))
