"""
Inspects the distribution files of a project: from memory, from the cache, or by reading in threads.

A file is read once for all waiting requests, and again only when its size or times change. One that came or
changed while the server runs has every member verified before it is listed, and so has a small one; a larger
one from before its start is verified later (see `verification`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index.backends.folder.inspection import SMALL, UNSETTLED, inspect
from twisted_index.backends.folder.inspection_cache import CachedInspection
from twisted_index.backends.layout.facts import FileFacts, InspectionResult, KnownFile, KnownFiles, Rejection
from twisted_index.concurrency.single_flight import SharedResult
from twisted_index.files.stamps import RACY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from twisted_index.backends.folder.inspection_cache import InspectionCache
    from twisted_index.backends.layout.facts import StatKey
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.files.stamps import StatValidator

T = TypeVar("T")
_log = Logger()

#: Concurrent readings per project, so that a large project does not delay a small one that is requested
#: later.
_LANES = 4
#: Files that a thread inspects at once, and bytes after which it takes no further one: handing over a small
#: file takes longer than its inspection, and the reactor waits less for few files than for many.
_BATCH_FILES, _BATCH_BYTES = 8, 256 * 1024
#: Results per write to the cache.
_RESULTS_PER_WRITE = 256


#: A file as it was when its folder was scanned.
_FileKey: TypeAlias = "tuple[bytes, StatKey]"


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
        self._reading: dict[_FileKey, SharedResult[dict[_FileKey, KnownFile]]] = {}

    def needs_inspection(self, entry: ScannedFile, known_files: KnownFiles) -> bool:
        """Return whether a file has no result yet, or one that has to be confirmed."""
        known = known_files.get(entry.path)
        if known is None or known.key != entry.key:
            return True
        return not known.settled and self._validator.monotonic() - known.read_at >= RACY_SECONDS

    async def inspect_all(
        self,
        entries: Iterable[ScannedFile],
        known_files: KnownFiles,
        *,
        verify_first: bool = False,
        are_remote: bool = False,
    ) -> None:
        """
        Inspect those of the files that need it.

        Args:
            entries: The files.
            known_files: The inspected files of their project; filled in.
            verify_first: Whether to verify every member before listing: the files came while the server runs.
            are_remote: Whether files are on other machines, so that reading them is mostly waiting.
        """
        missing = [entry for entry in entries if self.needs_inspection(entry, known_files)]
        if not missing:
            return
        await self._recall(missing, known_files)
        due = (entry for entry in missing if self.needs_inspection(entry, known_files))
        batches = list(batches_of(due, _BATCH_FILES, _BATCH_BYTES))
        are_small = all(entry.key.size <= SMALL for batch in batches for entry in batch)
        rest = iter(batches)
        fresh: list[tuple[ScannedFile, KnownFile]] = []
        # To inspect a small file is Python code: threads would only wait for each other, and the reactor
        # for them.
        number = 1 if are_small and not are_remote else _LANES
        lanes = [
            Deferred.fromCoroutine(self._run_lane(rest, known_files, fresh, verify_first))
            for _ in batches[:number]
        ]
        outcomes = await DeferredList(lanes, consumeErrors=True)
        self._remember(fresh)
        for outcome in outcomes:
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
        self,
        batches: Iterator[list[ScannedFile]],
        known_files: KnownFiles,
        fresh: list[tuple[ScannedFile, KnownFile]],
        verify_first: bool,
    ) -> None:
        for batch in batches:
            before = {entry.path: known_files.get(entry.path) for entry in batch}
            results = await self._read(batch, before, verify_first)
            for entry in batch:
                known_files[entry.path] = known = results[entry.path, entry.key]
                if not _is_same(before[entry.path], known):
                    fresh.append((entry, known))
            if len(fresh) >= _RESULTS_PER_WRITE:
                self._remember(fresh)
                fresh.clear()

    async def _read(
        self, batch: list[ScannedFile], before: dict[bytes, KnownFile | None], verify_first: bool
    ) -> dict[_FileKey, KnownFile]:
        """Wait for the results of files; start the inspection of those that are not being read already."""
        done: Deferred[dict[_FileKey, KnownFile]] = Deferred()
        shared = SharedResult(done)
        own = [entry for entry in batch if (entry.path, entry.key) not in self._reading]
        self._reading.update(((entry.path, entry.key), shared) for entry in own)
        readings = {self._reading[entry.path, entry.key] for entry in batch}
        if own:
            self._start(own, before, verify_first).addBoth(self._finish, own).addBoth(done.callback)
        results: dict[_FileKey, KnownFile] = {}
        for reading in readings:
            results |= await reading.wait()
        return results

    def _start(
        self, own: list[ScannedFile], before: dict[bytes, KnownFile | None], verify_first: bool
    ) -> Deferred[dict[_FileKey, KnownFile]]:
        now = self._validator.monotonic()
        settled, calls = [], []
        for entry in own:
            known = before[entry.path]
            unconfirmed = known if known is not None and known.key == entry.key else None
            # A result of this process is at least RACY_SECONDS old here, see `needs_inspection`.
            aged = unconfirmed is not None and unconfirmed.read_at > -math.inf
            settled.append(aged or self._validator.is_settled(entry.key.ctime_ns))
            # For files older than this process, verification is postponed, never skipped. A file server's
            # clock may differ from this host's, so times are only the last resort.
            predates = unconfirmed is None and self._validator.predates(entry.key.ctime_ns)
            calls.append((entry, verify_first or not predates))

        def collect(results: list[InspectionResult]) -> dict[_FileKey, KnownFile]:
            return {
                (entry.path, entry.key): self._note(
                    entry,
                    _known(entry.key, _postponed(entry, result, is_settled), is_settled, now),
                    before[entry.path],
                )
                for entry, result, is_settled in zip(own, results, settled, strict=True)
            }

        return self._reader.run(inspect_files, calls).addCallback(collect)

    def _finish(self, result: T, own: list[ScannedFile]) -> T:
        for entry in own:
            # A path that is given twice is among them twice.
            self._reading.pop((entry.path, entry.key), None)
        return result

    def _note(self, entry: ScannedFile, known: KnownFile, before: KnownFile | None) -> KnownFile:
        """Log a rejection, once for each state of a file."""
        if isinstance(known.result, Rejection) and (before is None or before.result != known.result):
            _log.warn("{file} is not listed: {reason}", file=entry.display_path, reason=known.result.reason)
        return known

    def _remember(self, fresh: list[tuple[ScannedFile, KnownFile]]) -> None:
        by_folder: defaultdict[bytes, list[tuple[bytes, StatKey, CachedInspection]]] = defaultdict(list)
        for entry, known in fresh:
            by_folder[entry.folder].append(
                (entry.name, entry.key, CachedInspection(known.result, known.settled))
            )
        for folder, results in by_folder.items():
            self._cache_thread.run(self._cache.put, folder, results).addErrback(_ignore)


def batches_of(entries: Iterable[ScannedFile], files: int, size_limit: int) -> Iterator[list[ScannedFile]]:
    """Split entries into batches that end with so many files, or once they have so many bytes."""
    batch: list[ScannedFile] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += entry.key.size
        if len(batch) == files or size >= size_limit:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def inspect_files(calls: list[tuple[ScannedFile, bool]]) -> list[InspectionResult]:
    """Inspect files one after the other, with their members or without; called in a thread."""
    return [
        inspect(entry.path, entry.distribution, entry.key, verify_members=verify) for entry, verify in calls
    ]


def _postponed(entry: ScannedFile, result: InspectionResult, settled: bool) -> InspectionResult:
    """Replace the facts of a plain tar that is still too young to be listed."""
    young = entry.distribution.extension == ".tar" and not settled
    return UNSETTLED if young and isinstance(result, FileFacts) else result


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
