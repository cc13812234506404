"""
Inspects the distribution files of a project: from memory, from the cache, or by reading in threads.

A file is read once for all waiting requests, and again only when its size or times change. One that came or
changed while the server runs has every member verified before it is listed; one from before its start is
verified later (see `verification`).
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
    from twisted_index.backends.folder.project_scan import ScannedFile
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.files.stamps import StatValidator

_log = Logger()

#: Concurrent inspections per project, so that a large project does not delay a small one that is
#: requested later.
_LANES = 4
#: Results per write to the cache.
_BATCH = 256


@dataclass(frozen=True, slots=True)
class KnownFile:
    """
    An inspection result, and the key of the file when it was inspected.

    Attributes:
        key: The file's size and times at the inspection.
        result: The inspection result.
        settled: False if the file was so young that a change might not have changed its times.
        read_at: Monotonic seconds at which this key was read; minus infinity if by an earlier process.
    """

    key: StatKey
    result: InspectionResult
    settled: bool
    read_at: float

    @property
    def verified(self) -> bool:
        """Whether nothing about the file remains to be verified."""
        return isinstance(self.result, Rejection) or self.result.verified


#: Inspected files of a project, by path. Shared by all listings of the project and filled as results
#: arrive, so that a cancelled request still makes progress.
KnownFiles: TypeAlias = dict[bytes, KnownFile]


class InspectionScheduler:
    """
    Inspects files and fills `KnownFiles`.

    Args:
        reader: Threads that read files.
        cache_thread: The one thread of the cache.
        cache: Keeps results across restarts.
        validator: Provides the clock, and judges the age of files.
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

    def needs_inspection(self, entry: ScannedFile, known_files: KnownFiles) -> bool:
        """Return whether a file has no result yet, or one that has to be confirmed."""
        known = known_files.get(entry.path)
        if known is None or known.key != entry.key:
            return True
        return not known.settled and self._validator.monotonic() - known.read_at >= RACY_SECONDS

    async def inspect_all(
        self, entries: Iterable[ScannedFile], known_files: KnownFiles, *, verify_first: bool = False
    ) -> None:
        """
        Inspect those of the files that need it.

        Args:
            entries: The files.
            known_files: The inspected files of their project; filled in.
            verify_first: Whether to verify every member before listing: the files came while the server runs.
        """
        missing = [entry for entry in entries if self.needs_inspection(entry, known_files)]
        if not missing:
            return
        await self._recall(missing, known_files)
        rest = iter([entry for entry in missing if self.needs_inspection(entry, known_files)])
        lanes = [
            Deferred.fromCoroutine(self._run_lane(rest, known_files, verify_first)) for _ in range(_LANES)
        ]
        for outcome in await DeferredList(lanes, consumeErrors=True):
            if isinstance(outcome[1], Failure):
                raise outcome[1].value

    async def verify(self, entry: ScannedFile, known_files: KnownFiles) -> bool:
        """
        Verify the checksums of all members of a file that was listed without this check.

        Returns:
            Whether the file may stay listed.

        Raises:
            OutOfResources: The server lacks the resources; the result is still unknown.
        """
        before = known_files.get(entry.path)
        if before is None or before.key != entry.key or before.verified:
            return True
        assert isinstance(before.result, FileFacts)
        sha256 = before.result.sha256
        result = await self._reader.run(
            inspect, entry.path, entry.distribution, entry.key, verify_members=True, sha256=sha256
        )
        if known_files.get(entry.path) is before:
            known = _known(entry.key, result, True, before.read_at)
            known_files[entry.path] = self._note(entry, known, before)
            self._remember([(entry, known)])
        return isinstance(result, FileFacts)

    def forget(self, folder: bytes, names: list[bytes]) -> None:
        """Delete the cached results of files that are gone."""
        self._cache_thread.run(self._cache.delete, folder, names).addErrback(_ignore)

    async def _recall(self, missing: list[ScannedFile], known_files: KnownFiles) -> None:
        by_folder: defaultdict[bytes, list[ScannedFile]] = defaultdict(list)
        for entry in missing:
            if entry.path not in known_files or known_files[entry.path].key != entry.key:
                by_folder[entry.folder].append(entry)
        for folder, entries in by_folder.items():
            keys = {entry.name: entry.key for entry in entries}
            cached = await self._cache_thread.run(self._cache.get, folder, keys)
            for entry in entries:
                if entry.name in cached:
                    result, settled = cached[entry.name]
                    known_files[entry.path] = KnownFile(entry.key, result, settled, -math.inf)

    async def _run_lane(
        self, entries: Iterator[ScannedFile], known_files: KnownFiles, verify_first: bool
    ) -> None:
        fresh: list[tuple[ScannedFile, KnownFile]] = []
        try:
            for entry in entries:
                before = known_files.get(entry.path)
                known_files[entry.path] = known = await self._read(entry, before, verify_first)
                if not _is_same(before, known):
                    fresh.append((entry, known))
                if len(fresh) >= _BATCH:
                    self._remember(fresh)
                    fresh = []
        finally:
            self._remember(fresh)

    def _read(self, entry: ScannedFile, before: KnownFile | None, verify_first: bool) -> Deferred[KnownFile]:
        waiter: Deferred[KnownFile] = Deferred()
        file_key = (entry.path, entry.key)
        if file_key in self._reading:
            self._reading[file_key].append(waiter)
            return waiter
        self._reading[file_key] = [waiter]
        now = self._validator.monotonic()
        unconfirmed = before if before is not None and before.key == entry.key else None
        # A result of this process is at least RACY_SECONDS old here, see `needs_inspection`.
        aged = unconfirmed is not None and unconfirmed.read_at > -math.inf
        settled = aged or self._validator.is_settled(entry.key.ctime_ns)
        # For files older than this process, verification is postponed, never skipped. A file server's
        # clock may differ from this host's, so times are only the last resort.
        verify = verify_first or unconfirmed is not None or not self._validator.predates(entry.key.ctime_ns)
        reading = self._reader.run(inspect, entry.path, entry.distribution, entry.key, verify_members=verify)
        if entry.distribution.extension == ".tar" and not settled:
            reading.addCallback(lambda result: result if isinstance(result, Rejection) else UNSETTLED)
        reading.addCallback(lambda result: self._note(entry, _known(entry.key, result, settled, now), before))
        reading.addBoth(lambda result: self._deliver(result, file_key))
        return waiter

    def _note(self, entry: ScannedFile, known: KnownFile, before: KnownFile | None) -> KnownFile:
        """Log a rejection, once for each state of a file."""
        if isinstance(known.result, Rejection) and (before is None or before.result != known.result):
            _log.warn("{file} is not listed: {reason}", file=entry.display_path, reason=known.result.reason)
        return known

    def _deliver(self, result: KnownFile | Failure, file_key: tuple[bytes, StatKey]) -> None:
        for waiter in self._reading.pop(file_key):
            waiter.errback(result) if isinstance(result, Failure) else waiter.callback(result)

    def _remember(self, fresh: list[tuple[ScannedFile, KnownFile]]) -> None:
        by_folder: defaultdict[bytes, list[tuple[bytes, StatKey, CachedInspection]]] = defaultdict(list)
        for entry, known in fresh:
            by_folder[entry.folder].append(
                (entry.name, entry.key, CachedInspection(known.result, known.settled))
            )
        for folder, results in by_folder.items():
            self._cache_thread.run(self._cache.put, folder, results).addErrback(_ignore)


def _known(key: StatKey, result: InspectionResult, settled: bool, read_at: float) -> KnownFile:
    lasting = isinstance(result, FileFacts) or result.permanent
    return KnownFile(key, result, settled and lasting, read_at)


def _is_same(before: KnownFile | None, known: KnownFile) -> bool:
    """Return whether the cache already holds this result."""
    if before is None:
        return False
    return (before.key, before.result, before.settled) == (known.key, known.result, known.settled)


def _ignore(failure: Failure) -> None:
    """Ignore: this is only a cache. A lost entry means the file is inspected again later."""
