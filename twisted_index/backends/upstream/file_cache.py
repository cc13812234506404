"""
Files of upstreams: from the cache on disk, or downloaded into it.

A cached file was verified and synced before it got its name, so a hit checks only its size, or its digest
where the size is unknown. (A killed process leaves no name behind; a loss of power loses at most one.)
"""

from __future__ import annotations

import hashlib
import io
import os
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_index.backends.upstream.download import Download, DownloadReader, DownloadTarget
from twisted_index.backends.upstream.eviction import LruEviction
from twisted_index.backends.upstream.expected_file import ExpectedFile
from twisted_index.concurrency.deadline import wait_at_most
from twisted_index.errors import NotImplementedHere, SimpleIndexError, Unavailable
from twisted_index.files.anonymous_file import AnonymousFile, open_scratch
from twisted_index.http_client.retry import Denied
from twisted_index.interfaces import SMALL_CONTENT, FileBody

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted_index.backends.upstream.counters import UpstreamCounters
    from twisted_index.backends.upstream.disk_cache import DiskCache
    from twisted_index.backends.upstream.remote import IUpstreamClient, RemoteFile, ResponseStream
    from twisted_index.concurrency.thread_pool import IThreadRunner

T = TypeVar("T")
_log = Logger()

_CHUNK = 1 << 20


class FileRequest:
    """
    A requested file.

    Args:
        remote: The upstream that lists the file.
        remote_file: The page's entry for the file.
        modified: The Last-Modified time, in seconds since the epoch.
        is_listed: Returns whether the page still lists the file.
        pin_digest: Called with digest and size if the upstream promises none.
        renew_url: Requests the page again and returns the file's new URL; None if it has none.
        on_mismatch: Called when the bytes differ from those promised: the page may be outdated.
    """

    __slots__ = ("is_listed", "modified", "on_mismatch", "pin_digest", "remote", "remote_file", "renew_url")

    def __init__(
        self,
        *,
        remote: IUpstreamClient,
        remote_file: RemoteFile,
        modified: float,
        is_listed: Callable[[], bool],
        pin_digest: Callable[[str, int], Awaitable[None]],
        renew_url: Callable[[], Awaitable[str | None]],
        on_mismatch: Callable[[], None],
    ) -> None:
        self.remote = remote
        self.remote_file = remote_file
        self.modified = modified
        self.is_listed = is_listed
        self.pin_digest = pin_digest
        self.renew_url = renew_url
        self.on_mismatch = on_mismatch

    @property
    def sha256(self) -> str | None:
        """The SHA-256 digest in lower-case hex, if known."""
        return self.remote_file.file.hashes.get("sha256")


class FileCache:
    """
    Opens files, and downloads each only once.

    Args:
        cache: The cache on disk; None stores nothing.
        worker: Threads.
        reactor: Schedules timeouts.
        wall: Returns seconds since the epoch.
        deadline: Seconds for which a client waits for the first byte.
        counters: Counters to update.
        offline: Whether no request goes upstream.
        on_cached: Called in a thread when a file has its name in the cache.
    """

    def __init__(
        self,
        *,
        cache: DiskCache | None,
        worker: IThreadRunner,
        reactor: Any,
        wall: Callable[[], float],
        deadline: float,
        counters: UpstreamCounters,
        offline: bool,
        on_cached: Callable[[FileRequest, str], None],
    ) -> None:
        self._cache = cache
        self._worker = worker
        self._reactor = reactor
        self._deadline = deadline
        self._counters = counters
        self._offline = offline
        self._on_cached = on_cached
        self._eviction = None if cache is None else LruEviction(cache, worker, wall, counters)
        #: The latest download by URL and digest, and all of them: a client that cannot join starts another.
        self._downloads: dict[tuple[str, str | None], Download] = {}
        self._running: set[Download] = set()

    def start(self) -> None:
        """Measure the cache, and remove incomplete files; in a thread."""
        if self._cache is not None and self._eviction is not None and not self._offline:
            self._worker.run(self._cache.sweep).addErrback(lambda _failure: None)
            self._eviction.check_size()

    async def stop(self) -> None:
        """Abort running downloads, and remove their incomplete files."""
        running = list(self._running)
        for download in running:
            download.abort(Unavailable("The server is stopping."))
        for download in running:
            await download.wait_finished()

    # -- Cached files

    def cached(self, request: FileRequest) -> FileBody | None:
        """Open a file that is in the cache and whose digest and size are known; synchronous."""
        file, sha256 = request.remote_file.file, request.sha256
        if self._cache is None or self._eviction is None or sha256 is None or file.size is None:
            return None
        content = self._cache.open_file(sha256)
        if content is None:
            return None
        if os.fstat(content.fileno()).st_size != file.size:
            content.close()
            self._discard(sha256, "has changed its size")
            return None
        self._eviction.touch(sha256, content)
        self._count_hit(file.size)
        return self._body(request, content, file.size, sha256)

    def _count_hit(self, size: int) -> None:
        self._counters.file_hits += 1
        self._counters.bytes_from_cache += size

    def _body(self, request: FileRequest, content: io.FileIO, size: int, sha256: str) -> FileBody:
        small: FileBody | None = None

        def reopen() -> FileBody | None:
            """Return a body with the bytes already read: a digest names immutable content."""
            nonlocal small
            if not request.is_listed():
                return None
            if small is None:
                small = self._read_small(request, size, sha256, reopen)
            self._count_hit(size)
            return small

        return FileBody(
            content=content,
            size=size,
            sha256=sha256,
            modified=request.modified,
            reopen=reopen if size <= SMALL_CONTENT else None,
            cache_status="hit",
        )

    def _read_small(
        self, request: FileRequest, size: int, sha256: str, reopen: Callable[[], FileBody | None]
    ) -> FileBody | None:
        assert self._cache is not None
        content = self._cache.read(self._cache.file_path(sha256), size)
        if content is None or len(content) != size:
            return None
        return FileBody(
            content=content,
            size=size,
            sha256=sha256,
            modified=request.modified,
            reopen=reopen,
            cache_status="hit",
        )

    def _discard(self, sha256: str, what: str) -> None:
        assert self._cache is not None
        _log.error("A file in the cache {what}; it is fetched again: {sha256}", what=what, sha256=sha256)
        self._cache.remove(self._cache.file_path(sha256))

    async def _cached_of_unknown_size(self, request: FileRequest) -> FileBody | None:
        """Open a cached file of unknown size, after verifying the digest of all its bytes."""
        sha256 = request.sha256
        if self._cache is None or sha256 is None or request.remote_file.file.size is not None:
            return None
        content = self._cache.open_file(sha256)
        if content is None:
            return None
        try:
            size, actual = await self._worker.run(_digest, content)
        except BaseException:
            content.close()
            raise
        if actual != sha256:
            content.close()
            self._discard(sha256, "has changed its content")
            return None
        await request.pin_digest(sha256, size)
        self._count_hit(size)
        return self._body(request, content, size, sha256)

    # -- Downloads

    async def open(self, request: FileRequest) -> FileBody:
        """
        Open a file from the cache, or download it.

        Raises:
            Unavailable: The file cannot be fetched now.
        """
        body = self.cached(request) or await self._cached_of_unknown_size(request)
        if body is not None:
            return body
        if self._offline:
            raise Unavailable("This file is not in the cache, and nothing is fetched in offline mode.", 60)
        download, joined = self._download(request)
        reader = download.join()
        try:
            size = download.total
            if size is None:
                size = await self._with_deadline(download.determine_size())
            if size is None:
                await self._with_deadline(download.wait_complete())
                size = download.total
        except BaseException:
            reader.close()
            raise
        assert size is not None
        return FileBody(
            content=reader,
            size=size,
            sha256=request.sha256 or download.sha256,
            modified=request.modified,
            cache_status="fwd=miss; collapsed" if joined else self._miss,
        )

    @property
    def _miss(self) -> str:
        return "fwd=miss" if self._cache is None else "fwd=miss; stored"

    async def read_whole(self, request: FileRequest, read: Callable[[io.BufferedReader], T]) -> T:
        """
        Download a file and read it in a thread, even without a cache; no time limit.

        Raises:
            Unavailable: The file cannot be fetched now.
        """
        download, _joined = self._download(request, allow_scratch=True)
        reader = download.join()
        try:
            await download.wait_complete()
            descriptor = download.dup()
            if descriptor is None:
                raise Unavailable("There is no space left for this file.")
            return await self._worker.run(_read, descriptor, read)
        finally:
            reader.close()

    async def fetch_digest(self, request: FileRequest) -> tuple[str, int]:
        """
        Download a file, and return its SHA-256 digest and size; no time limit.

        The file is in the cache then; without a cache it is read as it comes.

        Raises:
            Unavailable: The file cannot be fetched now.
        """
        download, _joined = self._download(request)
        reader = download.join()
        try:
            try:
                await download.wait_complete()
            except NotImplementedHere:
                await _discard_all(reader)
            await download.wait_finished()
        finally:
            reader.close()
        if download.error is not None:
            raise download.error
        assert download.sha256 is not None
        assert download.total is not None
        return download.sha256, download.total

    def read_cached(self, request: FileRequest, read: Callable[[io.BufferedReader], T]) -> Deferred[T] | None:
        """Read a cached file in a thread; None if it is not in the cache."""
        body = self.cached(request)
        if body is None:
            return None
        content = body.content
        assert isinstance(content, io.FileIO)
        with content:
            return self._worker.run(_read, os.dup(content.fileno()), read)

    def _with_deadline(self, work: Deferred[T]) -> Deferred[T]:
        return wait_at_most(self._reactor, self._deadline, work, lambda: "The file is being fetched.")

    def _download(self, request: FileRequest, *, allow_scratch: bool = False) -> tuple[Download, bool]:
        """Return the download of a file, and whether it was already running."""
        remote_file, remote = request.remote_file, request.remote
        key = (remote_file.url, request.sha256)
        running = self._downloads.get(key)
        if running is not None and running.joinable:
            self._counters.file_joined += 1
            return running, True

        def fetch(first: int | None) -> Deferred[ResponseStream | None]:
            self._counters.file_misses += first is None
            return Deferred.fromCoroutine(_request(request, first))

        async def on_complete(done: Download) -> None:
            await self._record(request, done)

        download = Download(
            fetch=fetch,
            expected=ExpectedFile(
                filename=remote_file.file.filename,
                upstream=remote.url,
                size=remote_file.file.size,
                hashes=remote_file.file.hashes,
            ),
            target=DownloadTarget(
                create=self._create_scratch if allow_scratch else self._create,
                write=self._write,
                commit=self._commit,
            ),
            on_complete=on_complete,
            worker=self._worker,
            clock=self._reactor,
        )
        self._downloads[key] = download
        self._running.add(download)
        download.wait_finished().addCallback(lambda _none: self._download_ended(key, download, request))
        return download, False

    def _download_ended(self, key: tuple[str, str | None], download: Download, request: FileRequest) -> None:
        self._counters.bytes_from_upstream += download.received
        if download.is_rejected:
            self._counters.files_refused += 1
            request.on_mismatch()
        self._running.discard(download)
        if self._downloads.get(key) is download:
            del self._downloads[key]

    async def _record(self, request: FileRequest, done: Download) -> None:
        """Record digest, size and cache entry of a complete file."""
        assert done.sha256 is not None
        assert done.total is not None
        if request.sha256 is None or request.remote_file.file.size is None:
            await request.pin_digest(done.sha256, done.total)
        if done.is_cached and self._eviction is not None:
            self._eviction.touch(done.sha256)
            self._eviction.record_added(done.total)
            await self._worker.run(self._on_cached, request, done.sha256)

    # -- Download target; in a thread

    def _create(self, size: int | None) -> AnonymousFile | None:
        if self._cache is None or (size is not None and size > self._cache.size):
            return None
        return self._cache.new_file()

    def _create_scratch(self, size: int | None) -> AnonymousFile | None:
        return self._create(size) or open_scratch()

    def _write(self, file: AnonymousFile, data: bytes, position: int) -> int:
        written, error = file.write_what_fits(data, position)
        if error is not None and self._cache is not None:
            self._cache.log_write_failure(error)
        return written

    def _commit(self, file: AnonymousFile, sha256: str) -> bool:
        if self._cache is None or not file.can_be_named:
            return False
        return self._cache.commit(file, self._cache.file_path(sha256), durable=True)


async def _request(request: FileRequest, first: int | None) -> ResponseStream | None:
    """Request a file; if its URL fails, renew it once: signed URLs expire, and files move."""
    try:
        incoming = await request.remote.fetch(request.remote_file.url, first=first)
    except Denied:
        url = await _renew_url(request)
        if url is None:
            raise
    else:
        url = None if incoming is not None else await _renew_url(request)
        if url is None:
            return incoming
    return await request.remote.fetch(url, first=first)


async def _renew_url(request: FileRequest) -> str | None:
    try:
        return await request.renew_url()
    except SimpleIndexError:
        return None


def _digest(file: io.FileIO) -> tuple[int, str]:
    """Read the whole file, then rewind it; blocks. Returns its size and sha256."""
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    file.seek(0)
    return size, digest.hexdigest()


async def _discard_all(reader: DownloadReader) -> None:
    """Read a download to its end, so that its digest is known."""
    position = 0
    while (end := await reader.wait_for(position)) > position:
        while data := reader.read(position, end - position):
            position += len(data)


def _read(descriptor: int, read: Callable[[io.BufferedReader], T]) -> T:
    """Call `read` with a file at its start, and close it; blocks."""
    with open(descriptor, "rb") as file:
        file.seek(0)
        return read(file)
