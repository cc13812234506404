"""
Storage of an upstream's pages: recent ones in memory, all of them on disk.

Out of scope: requests, and stale pages (see `page_cache`).
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import DeferredLock

from twisted_index.backends.upstream import page_record
from twisted_index.backends.upstream.page_freshness import PageFreshness
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from twisted_index.backends.upstream.disk_cache import DiskCache
    from twisted_index.backends.upstream.page_freshness import CacheTimes
    from twisted_index.backends.upstream.page_record import PageRecord
    from twisted_index.backends.upstream.remote import RemoteFile
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.simple.model import ProjectPage

#: Files whose state is kept in memory, at about 3 KB each. What is dropped comes back from the disk.
_MOST_FILES = 20_000
#: Absent names kept, bounded so that guessed names cannot fill the disk.
_MOST_ABSENT = 10_000
#: Bytes of a page on disk that is read: 100,000 files.
_MOST_BYTES = 200 << 20
#: Seconds for which an upstream that could not give a page is not asked for it again, if there is an
#: old one: so that only one client in so many has to wait.
_BACK_OFF = 10.0
#: Seconds for which what offline mode lists is taken to be there.
_OFFLINE_LOOK = 10.0


class FileStamp(NamedTuple):
    """Which file on disk a state was read from or written to."""

    inode: int
    mtime_ns: int
    size: int

    @classmethod
    def of_path(cls, path: str) -> FileStamp | None:
        """Look; None if there is no such file."""
        try:
            return cls.from_stat(os.stat(path))
        except OSError:
            return None

    @classmethod
    def from_stat(cls, status: os.stat_result) -> FileStamp:
        """Take it out of what `stat` said."""
        return cls(status.st_ino, status.st_mtime_ns, status.st_size)


@dataclass(slots=True, eq=False)
class PageState:
    """
    What is known of a project at one upstream.

    Attributes:
        record: What it said; None if it only ever said that there is no such project.
        page: As it is shown; None if there is no such project.
        files: What is listed, by file name.
        validity: Whether all this is to be repeated.
        stamp: What lies on disk; None if nothing does.
        failed_at: When the upstream could last not be asked: monotonic seconds; None if it could.
        renewed_at: When it was last asked for although it was fresh: monotonic seconds; None if never.
        first_404_at: When the upstream first said that there is no such project, or nothing in it, which
            is not believed yet: monotonic seconds; None if it says that there is.
    """

    record: PageRecord | None
    page: ProjectPage | None
    files: dict[str, RemoteFile]
    validity: PageFreshness
    stamp: FileStamp | None = None
    failed_at: float | None = None
    renewed_at: float | None = None
    first_404_at: float | None = None

    def backs_off(self, now: float) -> bool:
        """Say whether the upstream could not be asked just now, by monotonic seconds."""
        return self.failed_at is not None and now - self.failed_at < _BACK_OFF

    def is_renewed(self, now: float) -> bool:
        """Say whether it was asked for just now although it was fresh, by monotonic seconds."""
        return self.renewed_at is not None and now - self.renewed_at < _BACK_OFF


class ForgottenPage(Exception):
    """What was known of a project is to be known no more: `twisted-index refresh` said so, on the disk."""


class _Shown(NamedTuple):
    """What is listed of a record, and where it lies."""

    record: PageRecord
    page: ProjectPage | None
    files: dict[str, RemoteFile]
    stamp: FileStamp | None = None


class PageStore:
    """
    The pages of one upstream that are known.

    Args:
        upstream: Its URL.
        cache: Where they are kept; None keeps them in memory only.
        worker: Threads.
        times: How long things hold.
    """

    def __init__(
        self, upstream: str, cache: DiskCache | None, worker: IThreadRunner, times: CacheTimes
    ) -> None:
        self._upstream = upstream
        self._cache = cache
        self._worker = worker
        self._times = times
        self._states = LRU[str, PageState](_MOST_FILES, _weight)
        self._absent = LRU[str, PageState](_MOST_ABSENT)
        self._changing: dict[str, DeferredLock] = {}
        self._reading = SingleFlight[str, "PageState | None"](times.monotonic)

    # -- In memory

    def peek(self, project: str) -> PageState | None:
        """Give what is in memory, fresh or not."""
        return self._states.peek(project) or self._absent.peek(project)

    def fresh(self, project: str) -> PageState | None:
        """Give what is in memory, if it is fresh: at once, without a look at the disk."""
        state = self.peek(project)
        if state is None or not state.validity():
            return None
        if state.record is not None:
            self._states.touch(project)
        return state

    def records(self) -> Iterator[PageRecord]:
        """Give what is in memory of all projects."""
        return (state.record for state in self._states.values() if state.record is not None)

    def set_absent(self, project: str) -> PageState:
        """Remember that there is no such project, in memory only, or guesses would fill the disk."""
        self._drop(project)
        truth = PageFreshness(self._times, self._times.absent_ttl, self._times.wall())
        state = PageState(None, None, {}, truth)
        self._absent.put(project, state)
        return state

    # -- On disk

    async def read(self, project: str) -> PageState | None:
        """
        Give what is known, with what another process, or an earlier one, has kept, if it is younger.

        Returns:
            None if nothing is, and without a cache: then nothing is given but what was just asked.
        """
        if self._cache is None:
            return None
        return await self._reading.run(project, lambda: self._read(project))

    async def _read(self, project: str) -> PageState | None:
        known = self._states.peek(project)
        try:
            found = await self._worker.run(self._load, project, known)
        except ForgottenPage:
            if (dropped := self._drop(project)) is not None:
                dropped.validity.invalidate()
            return None
        now_known = self._states.peek(project)
        if found is not None and now_known is known and project not in self._changing:
            return self._put(project, found)
        return now_known or self._absent.peek(project)

    def _load(self, project: str, known: PageState | None) -> _Shown | None:
        if self._cache is None:
            return None
        path = self._path(project)
        stamp = FileStamp.of_path(path)
        if stamp is None or (known is not None and stamp == known.stamp):
            return None
        document = self._cache.read(path, _MOST_BYTES)
        if document is not None and page_record.is_forgotten(document):
            raise ForgottenPage
        record = None if document is None else page_record.decode(document, self._upstream, project)
        if record is None:
            return None
        if known is not None and known.record is not None and known.record.fetched_at > record.fetched_at:
            return None
        return self._show(record, known)._replace(stamp=stamp)

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
        Change a record, in memory now and on disk soon.

        Changes of one project wait for each other: a page that comes while the digest of a file is
        learned must not undo that, neither in memory nor on the disk.

        Args:
            project: A normalized name.
            change: Makes the new record of the one that is known then, None if there is none.
            renewed: Whether the upstream has just said so; else it holds as long as it did before.

        Raises:
            Forgotten: What is to be changed, without being renewed, is to be forgotten.
        """
        async with self._turn(project):
            before = self._states.peek(project)
            shown = await self._worker.run(self._changed, project, before, change, renewed)
            if before is not None and shown.record is before.record:
                return before
            state = self._put(project, shown, None if renewed or before is None else before.validity)
            if not renewed and before is not None:
                state.failed_at, state.first_404_at = before.failed_at, before.first_404_at
            state.stamp = await self._worker.run(self._write, project, shown.record)
            return state

    async def renew(self, project: str, state: PageState, now: float) -> None:
        """
        Note that the upstream said the same again.

        Args:
            project: A normalized name.
            state: What is known; it has a record.
            now: Seconds since the epoch.
        """
        assert state.record is not None
        state.failed_at = state.first_404_at = None
        state.validity.renew(now)
        state.record = replace(state.record, fetched_at=now)
        if self._cache is None or state.stamp is None:
            return
        state.stamp = await self._worker.run(_write_time, self._path(project), now, state.stamp)
        if state.stamp is None:  # it had to make room for others
            async with self._turn(project):
                now_known = self._states.peek(project) or state
                if now_known.record is not None:
                    now_known.stamp = await self._worker.run(self._write, project, now_known.record)

    @contextlib.asynccontextmanager
    async def _turn(self, project: str) -> AsyncIterator[None]:
        """Wait until nothing else changes or writes the record of a project."""
        lock = self._changing.setdefault(project, DeferredLock())
        await lock.acquire()
        try:
            yield
        finally:
            lock.release()
            if not lock.locked and self._changing.get(project) is lock:
                del self._changing[project]

    def _changed(
        self,
        project: str,
        before: PageState | None,
        change: Callable[[PageRecord | None], PageRecord],
        renewed: bool,
    ) -> _Shown:
        """Change what is known, which is on the disk if it has been evicted from memory, pins and all."""
        record = None if before is None else before.record
        try:
            found = self._load(project, before) if record is None or not renewed else None
        except ForgottenPage:
            if not renewed:
                raise
            found = None
        if record is None:
            record = None if found is None else found.record
        return self._show(change(record), before)

    def _write(self, project: str, record: PageRecord) -> FileStamp | None:
        if self._cache is None:
            return None
        status = self._cache.replace_page(self._path(project), page_record.encode(record, self._upstream))
        return None if status is None else FileStamp.from_stat(status)

    # -- What is shown of a record, and for how long

    def _show(self, record: PageRecord, before: PageState | None) -> _Shown:
        """Make what is listed of a record; the very page of before, if it says the same."""
        files = self._listed(record)
        page = None if record.is_absent else page_record.page_of_record(record, files.values())
        if before is not None and before.page == page:
            page = before.page
        return _Shown(record, page, files)

    def _listed(self, record: PageRecord) -> dict[str, RemoteFile]:
        return page_record.listed_files(record)

    def _put(self, project: str, shown: _Shown, truth: PageFreshness | None = None) -> PageState:
        before = self._drop(project)
        if before is not None:
            before.validity.invalidate()
        record = shown.record
        state = PageState(record, shown.page, shown.files, self._truth_of(record, truth), shown.stamp)
        self._states.put(project, state)
        return state

    def _truth_of(self, record: PageRecord, before: PageFreshness | None) -> PageFreshness:
        if before is not None:
            return before.copy()
        ttl = self._times.absent_ttl if record.is_absent else self._times.ttl
        return PageFreshness(self._times, ttl, record.fetched_at)

    def _drop(self, project: str) -> PageState | None:
        self._absent.pop(project)
        return self._states.pop(project)


class OfflinePageStore(PageStore):
    """Those of an upstream that is not asked: only files that are in the cache are listed."""

    async def _read(self, project: str) -> PageState | None:
        found = await super()._read(project)
        if found is None or found.record is None or found.validity():
            return found
        # The same record may list more by now: files come into the cache, and go.
        return self._put(project, await self._worker.run(self._show, found.record, found))

    def _listed(self, record: PageRecord) -> dict[str, RemoteFile]:
        return {name: one for name, one in super()._listed(record).items() if self._is_here(one)}

    def _is_here(self, one: RemoteFile) -> bool:
        sha256 = one.file.hashes.get("sha256")
        return self._cache is not None and sha256 is not None and self._cache.has_file(sha256)

    def _truth_of(self, record: PageRecord, before: PageFreshness | None) -> PageFreshness:
        return PageFreshness(self._times, _OFFLINE_LOOK, self._times.wall())

    def _write(self, project: str, record: PageRecord) -> FileStamp | None:
        return None


def _weight(state: PageState) -> int:
    """Say how many files a page takes as much memory as: a hundred versions without files are one."""
    record = state.record
    if record is None:
        return 1
    return 1 + len(record.page.files) + len(record.removed) // 20 + len(record.page.versions) // 100


def _write_time(path: str, now: float, known: FileStamp) -> FileStamp | None:
    """
    Write in place when a page was last found to be so: the rest may be megabytes, and is the same.

    Returns:
        What lies there now; what was known, if that is something else, which is then to be read; None
        if nothing does.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        return None
    except OSError:
        return known
    try:
        if FileStamp.from_stat(os.fstat(descriptor)) != known:
            return known
        os.write(descriptor, page_record.format_fetched_at(now))
        return FileStamp.from_stat(os.fstat(descriptor))
    except OSError:
        return known
    finally:
        os.close(descriptor)
