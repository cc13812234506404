"""
Inspects the distribution files of a project: from memory, from the cache, or by reading in threads.

A file is read once for all waiting requests, and again only when its size or times change.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index.backends.folder.inspection import UNSETTLED, inspect
from twisted_index.backends.folder.inspection_cache import (
    CachedInspection,
    FileFacts,
    InspectionResult,
    Rejection,
)
from twisted_index.files.stamps import RACY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from twisted_index.backends.folder.inspection_cache import InspectionCache, StatKey
    from twisted_index.backends.folder.listing import ListingEntry
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.files.stamps import StatValidator

_log = Logger()

#: Files of one project that are read at the same time, so that a large project does not keep
#: a small one waiting that is requested later.
_LANES = 4
#: Findings that are written to the cache at once.
_BATCH = 256


@dataclass(frozen=True, slots=True)
class KnownFile:
    """
    A finding, and under which key it was made.

    Attributes:
        key: The file's size and times then.
        result: What was found.
        settled: False if the file was so young that it might have changed without a trace.
        read_at: Monotonic seconds at which this key was read; minus infinity if in an earlier life.
    """

    key: StatKey
    result: InspectionResult
    settled: bool
    read_at: float

    @property
    def verified(self) -> bool:
        """Whether there is nothing about the file that has yet to be proven."""
        return isinstance(self.result, Rejection) or self.result.verified


#: What is known of a project's files, by path. Shared by the looks at one project, and filled
#: as findings come in, so that a look that was given up has still moved things on.
KnownFiles: TypeAlias = dict[bytes, KnownFile]


class Inspector:
    """
    Fills knowledge.

    Args:
        reader: Threads that read files.
        cache_thread: The one thread of the cache.
        cache: Keeps findings across restarts.
        validator: Tells the age of things.
    """

    def __init__(
        self,
        *,
        reader: IThreadRunner,
        cache_thread: IThreadRunner,
        cache: InspectionCache,
        validator: StatValidator,
    ) -> None:
        self._reader = reader
        self._cache_thread = cache_thread
        self._cache = cache
        self._validator = validator
        self._reading: dict[tuple[bytes, StatKey], list[Deferred[KnownFile]]] = {}

    def needs_inspection(self, entry: ListingEntry, knowledge: KnownFiles) -> bool:
        """Say whether a file has to be read before anything can be said of it."""
        known = knowledge.get(entry.path)
        if known is None or known.key != entry.key:
            return True
        return not known.settled and self._validator.monotonic() - known.read_at >= RACY_SECONDS

    async def inspect_all(
        self, entries: Iterable[ListingEntry], knowledge: KnownFiles, *, came: bool = False
    ) -> None:
        """
        Fill in what is lacking of these files.

        Args:
            entries: The files.
            knowledge: What is known of their project.
            came: Whether what is lacking came or changed since they were last looked at.
        """
        lacking = [entry for entry in entries if self.needs_inspection(entry, knowledge)]
        if not lacking:
            return
        await self._recall(lacking, knowledge)
        rest = iter([entry for entry in lacking if self.needs_inspection(entry, knowledge)])
        lanes = [Deferred.fromCoroutine(self._run_lane(rest, knowledge, came)) for _ in range(_LANES)]
        for outcome in await DeferredList(lanes, consumeErrors=True):
            if isinstance(outcome[1], Failure):
                raise outcome[1].value

    async def verify(self, entry: ListingEntry, knowledge: KnownFiles) -> bool:
        """
        Compare the checksums of all members of a file that was listed without.

        Returns:
            Whether it may stay.

        Raises:
            Unavailable: The server is short of means; nothing is known of the file.
        """
        before = knowledge.get(entry.path)
        if before is None or before.key != entry.key or before.verified:
            return True
        assert isinstance(before.result, FileFacts)
        sha256 = before.result.sha256
        finding = await self._reader.run(
            inspect, entry.path, entry.distribution, entry.key, whole=True, sha256=sha256
        )
        if knowledge.get(entry.path) is before:
            known = _known(entry.key, finding, True, before.read_at)
            knowledge[entry.path] = self._note(entry, known, before)
            self._remember([(entry, known)])
        return isinstance(finding, FileFacts)

    def forget(self, folder: bytes, names: list[bytes]) -> None:
        """Drop what the cache has of files that are gone."""
        self._cache_thread.run(self._cache.delete, folder, names).addErrback(_ignore)

    async def _recall(self, lacking: list[ListingEntry], knowledge: KnownFiles) -> None:
        by_folder: defaultdict[bytes, list[ListingEntry]] = defaultdict(list)
        for entry in lacking:
            if entry.path not in knowledge or knowledge[entry.path].key != entry.key:
                by_folder[entry.folder].append(entry)
        for folder, entries in by_folder.items():
            keys = {entry.name: entry.key for entry in entries}
            found = await self._cache_thread.run(self._cache.get, folder, keys)
            for entry in entries:
                if entry.name in found:
                    finding, settled = found[entry.name]
                    knowledge[entry.path] = KnownFile(entry.key, finding, settled, -math.inf)

    async def _run_lane(self, entries: Iterator[ListingEntry], knowledge: KnownFiles, came: bool) -> None:
        learned: list[tuple[ListingEntry, KnownFile]] = []
        try:
            for entry in entries:
                before = knowledge.get(entry.path)
                knowledge[entry.path] = known = await self._read(entry, before, came)
                if not _same(before, known):
                    learned.append((entry, known))
                if len(learned) >= _BATCH:
                    self._remember(learned)
                    learned = []
        finally:
            self._remember(learned)

    def _read(self, entry: ListingEntry, before: KnownFile | None, came: bool) -> Deferred[KnownFile]:
        answer: Deferred[KnownFile] = Deferred()
        place = (entry.path, entry.key)
        if place in self._reading:
            self._reading[place].append(answer)
            return answer
        self._reading[place] = [answer]
        now = self._validator.monotonic()
        again = before if before is not None and before.key == entry.key else None
        # What was read in this life was read at least RACY_SECONDS ago.
        aged = again is not None and again.read_at > -math.inf
        settled = aged or self._validator.is_settled(entry.key.ctime_ns)
        # Age may postpone the proof of what was here before the server, and never stands for it. The
        # clock of a file server may be another than ours, so times are not asked where it is known.
        whole = came or again is not None or not self._validator.predates(entry.key.ctime_ns)
        reading = self._reader.run(inspect, entry.path, entry.distribution, entry.key, whole=whole)
        if entry.distribution.extension == ".tar" and not settled:
            reading.addCallback(lambda finding: finding if isinstance(finding, Rejection) else UNSETTLED)
        reading.addCallback(
            lambda finding: self._note(entry, _known(entry.key, finding, settled, now), before)
        )
        reading.addBoth(lambda result: self._deliver(result, place))
        return answer

    def _note(self, entry: ListingEntry, known: KnownFile, before: KnownFile | None) -> KnownFile:
        """Log a refusal, once for each state of a file."""
        if isinstance(known.result, Rejection) and (before is None or before.result != known.result):
            _log.warn("{file} is not listed: {reason}", file=entry.display_path, reason=known.result.reason)
        return known

    def _deliver(self, result: KnownFile | Failure, place: tuple[bytes, StatKey]) -> None:
        for answer in self._reading.pop(place):
            answer.errback(result) if isinstance(result, Failure) else answer.callback(result)

    def _remember(self, learned: list[tuple[ListingEntry, KnownFile]]) -> None:
        by_folder: defaultdict[bytes, list[tuple[bytes, StatKey, CachedInspection]]] = defaultdict(list)
        for entry, known in learned:
            by_folder[entry.folder].append(
                (entry.name, entry.key, CachedInspection(known.result, known.settled))
            )
        for folder, findings in by_folder.items():
            self._cache_thread.run(self._cache.put, folder, findings).addErrback(_ignore)


def _known(key: StatKey, finding: InspectionResult, settled: bool, read_at: float) -> KnownFile:
    lasting = isinstance(finding, FileFacts) or finding.permanent
    return KnownFile(key, finding, settled and lasting, read_at)


def _same(before: KnownFile | None, known: KnownFile) -> bool:
    """Say whether the cache would learn nothing new."""
    if before is None:
        return False
    return (before.key, before.result, before.settled) == (known.key, known.result, known.settled)


def _ignore(failure: Failure) -> None:
    """Let it go: the cache is a cache, and what it could not take costs one more reading some day."""
