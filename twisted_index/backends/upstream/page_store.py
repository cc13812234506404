"""
Storage of an upstream's pages: recent ones in memory, all on disk.

Out of scope: requests, and when to serve stale pages (see `page_cache`).
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import DeferredLock

from twisted_index.backends.upstream import page_format, page_record
from twisted_index.backends.upstream.page_freshness import PageFreshness
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.files.portability import open_flags

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from twisted_index.backends.upstream.disk_cache import DiskCache
    from twisted_index.backends.upstream.page_freshness import CacheTimes
    from twisted_index.backends.upstream.page_record import PageRecord
    from twisted_index.backends.upstream.remote import RemoteFile
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.simple.model import ProjectPage

#: Number of files held in memory, at about 3 KB each. Evicted pages are read from disk again.
_MAX_FILES = 20_000
#: Number of absent projects held, bounded because clients may guess names.
_MAX_ABSENT = 10_000
#: Seconds after a failed request in which a stale page is served without another request, so that few
#: clients wait for a failing upstream.
_RETRY_DELAY = 10.0
#: Seconds for which a page is fresh in offline mode: cached files come and go.
_OFFLINE_TTL = 10.0


class FileStamp(NamedTuple):
    """Identity of the stored page that a state was read from or written to."""

    inode: int
    mtime_ns: int
    size: int

    @classmethod
    def of_path(cls, path: str) -> FileStamp | None:
        """Stat a path; None if it cannot be read."""
        try:
            return cls.from_stat(os.stat(path))
        except OSError:
            return None

    @classmethod
    def from_stat(cls, status: os.stat_result) -> FileStamp:
        """Take the stamp from a `stat` result."""
        return cls(status.st_ino, status.st_mtime_ns, status.st_size)


@dataclass(slots=True, eq=False)
class PageState:
    """
    The cached state of a project at one upstream.

    Attributes:
        record: The upstream's last page; None if it never had one.
        page: The page to serve; None if the project does not exist.
        files: The files of the page, by file name.
        freshness: Whether the state is fresh.
        stamp: Stamp of the stored page; None if there is none on disk.
        failed_at: When the last request failed, in monotonic seconds; None if it succeeded.
        renewed_at: When the page was last requested although fresh, in monotonic seconds; None if never.
        first_404_at: When the upstream first reported that the project is absent or empty, which is
            unconfirmed so far, in monotonic seconds; None otherwise.
    """

    record: PageRecord | None
    page: ProjectPage | None
    files: dict[str, RemoteFile]
    freshness: PageFreshness
    stamp: FileStamp | None = None
    failed_at: float | None = None
    renewed_at: float | None = None
    first_404_at: float | None = None

    def failed_recently(self, now: float) -> bool:
        """Return whether a request failed in the last seconds; `now` is monotonic."""
        return self.failed_at is not None and now - self.failed_at < _RETRY_DELAY

    def renewed_recently(self, now: float) -> bool:
        """Return whether a renewal was requested in the last seconds; `now` is monotonic."""
        return self.renewed_at is not None and now - self.renewed_at < _RETRY_DELAY


class ForgottenPage(Exception):
    """`twisted-index refresh` marked the stored page of a project as forgotten."""


class _Rendered(NamedTuple):
    """A record, the page and files listed from it, and its stamp on disk."""

    record: PageRecord
    page: ProjectPage | None
    files: dict[str, RemoteFile]
    stamp: FileStamp | None = None


class PageStore:
    """
    The stored pages of one upstream.

    Args:
        upstream: Its URL.
        cache: The cache on disk; None stores pages in memory only.
        worker: Threads.
        times: Lifetimes and clocks.
    """

    def __init__(
        self, upstream: str, cache: DiskCache | None, worker: IThreadRunner, times: CacheTimes
    ) -> None:
        self._upstream = upstream
        self._cache = cache
        self._worker = worker
        self._times = times
        self._states = LRU[str, PageState](_MAX_FILES, _weight)
        self._absent = LRU[str, PageState](_MAX_ABSENT)
        self._locks: dict[str, DeferredLock] = {}
        self._reading = SingleFlight[str, "PageState | None"](times.monotonic)

    # -- In memory

    def peek(self, project: str) -> PageState | None:
        """Return the state in memory, fresh or not."""
        return self._states.peek(project) or self._absent.peek(project)

    def fresh(self, project: str) -> PageState | None:
        """Return the state in memory if it is fresh; synchronous, never reads the disk."""
        state = self.peek(project)
        if state is None or not state.freshness():
            return None
        if state.record is not None:
            self._states.touch(project)
        return state

    def records(self) -> Iterator[PageRecord]:
        """Return the records in memory of all projects."""
        return (state.record for state in self._states.values() if state.record is not None)

    def set_absent(self, project: str) -> PageState:
        """Record in memory only that a project does not exist: guessed names must not fill the disk."""
        self._drop(project)
        freshness = PageFreshness(self._times, self._times.absent_ttl, self._times.wall())
        state = PageState(None, None, {}, freshness)
        self._absent.put(project, state)
        return state

    # -- On disk

    async def read(self, project: str) -> PageState | None:
        """
        Return the state in memory, or the stored page if that is newer (from another or earlier process).

        Returns:
            None if there is neither; always None without a cache, which then serves nothing stale.
        """
        if self._cache is None:
            return None
        return await self._reading.run(project, lambda: self._read(project))

    async def _read(self, project: str) -> PageState | None:
        known = self._states.peek(project)
        try:
            loaded = await self._worker.run(self._load, project, known)
        except ForgottenPage:
            if (dropped := self._drop(project)) is not None:
                dropped.freshness.invalidate()
            return None
        current = self._states.peek(project)
        if loaded is not None and current is known and project not in self._locks:
            return self._put(project, loaded)
        return current or self._absent.peek(project)

    def _load(self, project: str, known: PageState | None) -> _Rendered | None:
        if self._cache is None:
            return None
        path = self._path(project)
        stamp = FileStamp.of_path(path)
        if stamp is None or (known is not None and stamp == known.stamp):
            return None
        document = self._cache.read(path, page_format.MAX_RECORD_BYTES)
        if document is not None and page_format.is_forgotten(document):
            raise ForgottenPage
        record = None if document is None else page_format.decode(document, self._upstream, project)
        if record is None:
            return None
        if known is not None and known.record is not None and known.record.fetched_at > record.fetched_at:
            return None
        return self._render(record, known)._replace(stamp=stamp)

    def _path(self, project: str) -> str:
        assert self._cache is not None
        return self._cache.page_path(self._upstream, project)

    # -- Changing

    async def change(
        self,
        project: str,
        change: Callable[[PageRecord | None], PageRecord],
        *,
        renewed: bool = True,
    ) -> PageState:
        """
        Change a record, first in memory, then on disk.

        Changes to one project are serialized: a new page must not undo the pin of a digest, neither in
        memory nor on disk.

        Args:
            project: A normalized name.
            change: Makes the new record from the current one (None if there is none).
            renewed: Whether the upstream has just confirmed the record; otherwise its lifetime stays.

        Raises:
            ForgottenPage: The stored page is marked as forgotten, and the change does not renew it.
        """
        async with self._locked(project):
            before = self._states.peek(project)
            rendered = await self._worker.run(self._apply, project, before, change, renewed)
            if before is not None and rendered.record is before.record:
                return before
            state = self._put(project, rendered, None if renewed or before is None else before.freshness)
            if not renewed and before is not None:
                state.failed_at, state.first_404_at = before.failed_at, before.first_404_at
            state.stamp = await self._worker.run(self._write, project, rendered.record)
            return state

    async def renew(self, project: str, state: PageState, now: float) -> None:
        """
        Record that the upstream confirmed a page as unchanged.

        Args:
            project: A normalized name.
            state: The current state; it has a record.
            now: Seconds since the epoch.
        """
        assert state.record is not None
        state.failed_at = state.first_404_at = None
        state.freshness.renew(now)
        state.record = replace(state.record, fetched_at=now)
        if self._cache is None or state.stamp is None:
            return
        state.stamp = await self._worker.run(_write_time, self._path(project), now, state.stamp)
        if state.stamp is None:  # evicted from disk
            async with self._locked(project):
                current = self._states.peek(project) or state
                if current.record is not None:
                    current.stamp = await self._worker.run(self._write, project, current.record)

    @contextlib.asynccontextmanager
    async def _locked(self, project: str) -> AsyncIterator[None]:
        """Serialize changes and writes of a project's record."""
        lock = self._locks.setdefault(project, DeferredLock())
        await lock.acquire()
        try:
            yield
        finally:
            lock.release()
            if not lock.locked and self._locks.get(project) is lock:
                del self._locks[project]

    def _apply(
        self,
        project: str,
        before: PageState | None,
        change: Callable[[PageRecord | None], PageRecord],
        renewed: bool,
    ) -> _Rendered:
        """Change a record; if memory has evicted it, read it from disk first, with its pins."""
        record = None if before is None else before.record
        try:
            loaded = self._load(project, before) if record is None or not renewed else None
        except ForgottenPage:
            if not renewed:
                raise
            loaded = None
        if record is None:
            record = None if loaded is None else loaded.record
        return self._render(change(record), before)

    def _write(self, project: str, record: PageRecord) -> FileStamp | None:
        if self._cache is None:
            return None
        status = self._cache.replace_page(self._path(project), page_format.encode(record, self._upstream))
        return None if status is None else FileStamp.from_stat(status)

    # -- Pages from records

    def _render(self, record: PageRecord, before: PageState | None) -> _Rendered:
        """Make page and files from a record; reuse the previous page object if equal."""
        files = self._listed(record)
        page = None if record.is_absent else page_record.page_of_record(record, files.values())
        if before is not None and before.page == page:
            page = before.page
        return _Rendered(record, page, files)

    def _listed(self, record: PageRecord) -> dict[str, RemoteFile]:
        return page_record.listed_files(record)

    def _put(self, project: str, rendered: _Rendered, freshness: PageFreshness | None = None) -> PageState:
        before = self._drop(project)
        if before is not None:
            before.freshness.invalidate()
        record = rendered.record
        state = PageState(
            record, rendered.page, rendered.files, self._freshness(record, freshness), rendered.stamp
        )
        self._states.put(project, state)
        return state

    def _freshness(self, record: PageRecord, before: PageFreshness | None) -> PageFreshness:
        if before is not None:
            return before.copy()
        ttl = self._times.absent_ttl if record.is_absent else self._times.ttl
        return PageFreshness(self._times, ttl, record.fetched_at)

    def _drop(self, project: str) -> PageState | None:
        self._absent.pop(project)
        return self._states.pop(project)


class OfflinePageStore(PageStore):
    """Offline store: lists only files that are in the cache."""

    async def _read(self, project: str) -> PageState | None:
        state = await super()._read(project)
        if state is None or state.record is None or state.freshness():
            return state
        # The same record may list other files now: they enter and leave the cache.
        return self._put(project, await self._worker.run(self._render, state.record, state))

    def _listed(self, record: PageRecord) -> dict[str, RemoteFile]:
        return {name: file for name, file in super()._listed(record).items() if self._is_cached(file)}

    def _is_cached(self, remote_file: RemoteFile) -> bool:
        sha256 = remote_file.file.hashes.get("sha256")
        return self._cache is not None and sha256 is not None and self._cache.has_file(sha256)

    def _freshness(self, record: PageRecord, before: PageFreshness | None) -> PageFreshness:
        return PageFreshness(self._times, _OFFLINE_TTL, self._times.wall())

    def _write(self, project: str, record: PageRecord) -> FileStamp | None:
        return None


def _weight(state: PageState) -> int:
    """Return the memory use of a page in files: 20 removed files, or 100 versions, count as one."""
    record = state.record
    if record is None:
        return 1
    remembered = len(record.removed) + len(record.hashed)
    return 1 + len(record.page.files) + remembered // 20 + len(record.page.versions) // 100


def _write_time(path: str, now: float, known: FileStamp) -> FileStamp | None:
    """
    Rewrite a page's validation time in place: the rest may be megabytes, and is unchanged.

    Returns:
        The new stamp; `known` if another process has replaced the file, so that it is read again; None
        if there is no file.
    """
    try:
        descriptor = os.open(path, open_flags(os.O_WRONLY))
    except FileNotFoundError:
        return None
    except OSError:
        return known
    try:
        if FileStamp.from_stat(os.fstat(descriptor)) != known:
            return known
        os.write(descriptor, page_format.format_fetched_at(now))
        return FileStamp.from_stat(os.fstat(descriptor))
    except OSError:
        return known
    finally:
        os.close(descriptor)
