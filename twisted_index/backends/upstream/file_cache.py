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

from twisted_index.backends.upstream.download import Download, DownloadTarget
from twisted_index.backends.upstream.eviction import LruEviction
from twisted_index.backends.upstream.expected_file import ExpectedFile
from twisted_index.concurrency.deadline import wait_at_most
from twisted_index.errors import SimpleIndexError, Unavailable
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

_PIECE = 1 << 20


class FileRequest:
    """
    A requested file.

    Args:
        remote: Whose it is.
        remote_file: What is known of it.
        modified: Its Last-Modified: seconds since the epoch.
        is_listed: Whether it still is.
        pin_digest: Told digest and size, if the upstream promises none.
        renew_url: Says where the same file is now, after a look at the page; None if that is known
            to be nowhere else.
        on_mismatch: Called when other bytes came than those that the page means: it may be old.
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
        """Its digest, if that is known."""
        return self.remote_file.file.hashes.get("sha256")


class FileCache:
    """
    Gives files, and fetches each once.

    Args:
        cache: Where they are kept; None keeps none.
        worker: Threads.
        reactor: Tells when a wait is over.
        wall: Seconds since the epoch.
        deadline: Seconds for which a client waits for the first byte.
        counters: Counts.
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
        self._patience = deadline
        self._counters = counters
        self._offline = offline
        self._arrived = on_cached
        self._room = None if cache is None else LruEviction(cache, worker, wall, counters)
        #: The youngest by URL and digest, and all of them: who comes too late begins another.
        self._downloads: dict[tuple[str, str | None], Download] = {}
        self._running: set[Download] = set()

    def start(self) -> None:
        """Look how much there is, and remove what was left unfinished: in a thread."""
        if self._cache is not None and self._room is not None and not self._offline:
            self._worker.run(self._cache.sweep).addErrback(lambda _failure: None)
            self._room.check_size()

    async def stop(self) -> None:
        """Break off what is on its way, and remove what of it is on the disk."""
        running = list(self._running)
        for download in running:
            download.abort(Unavailable("The server is stopping."))
        for download in running:
            await download.wait_finished()

    # -- Out of the cache

    def cached(self, wanted: FileRequest) -> FileBody | None:
        """Give a file that is in the cache and known by digest and size: at once."""
        file, sha256 = wanted.remote_file.file, wanted.sha256
        if self._cache is None or self._room is None or sha256 is None or file.size is None:
            return None
        content = self._cache.open_file(sha256)
        if content is None:
            return None
        if os.fstat(content.fileno()).st_size != file.size:
            content.close()
            self._throw_away(sha256, "has another size than it had")
            return None
        self._room.touch(sha256, content)
        self._counters.file_hits += 1
        return self._body(wanted, content, file.size, sha256)

    def _body(self, wanted: FileRequest, content: io.FileIO, size: int, sha256: str) -> FileBody:
        small: FileBody | None = None

        def reopen() -> FileBody | None:
            """Give the bytes that were read once: under this digest there are never others."""
            nonlocal small
            if not wanted.is_listed():
                return None
            if small is None:
                small = self._read_small(wanted, size, sha256, reopen)
            self._counters.file_hits += 1
            return small

        return FileBody(
            content=content,
            size=size,
            sha256=sha256,
            modified=wanted.modified,
            reopen=reopen if size <= SMALL_CONTENT else None,
            cache_status="hit",
        )

    def _read_small(
        self, wanted: FileRequest, size: int, sha256: str, reopen: Callable[[], FileBody | None]
    ) -> FileBody | None:
        assert self._cache is not None
        content = self._cache.read(self._cache.file_path(sha256), size)
        if content is None or len(content) != size:
            return None
        return FileBody(
            content=content,
            size=size,
            sha256=sha256,
            modified=wanted.modified,
            reopen=reopen,
            cache_status="hit",
        )

    def _throw_away(self, sha256: str, what: str) -> None:
        assert self._cache is not None
        _log.error("A file in the cache {what}; it is fetched again: {sha256}", what=what, sha256=sha256)
        self._cache.remove(self._cache.file_path(sha256))

    async def _cached_of_unknown_size(self, wanted: FileRequest) -> FileBody | None:
        """Give a file of which only the digest is known, after a look at all of its bytes."""
        sha256 = wanted.sha256
        if self._cache is None or sha256 is None or wanted.remote_file.file.size is not None:
            return None
        content = self._cache.open_file(sha256)
        if content is None:
            return None
        try:
            size, found = await self._worker.run(_digest, content)
        except BaseException:
            content.close()
            raise
        if found != sha256:
            content.close()
            self._throw_away(sha256, "has other bytes than it had")
            return None
        await wanted.pin_digest(sha256, size)
        self._counters.file_hits += 1
        return self._body(wanted, content, size, sha256)

    # -- On their way

    async def open(self, wanted: FileRequest) -> FileBody:
        """
        Give a file, wherever it is.

        Raises:
            Unavailable: It cannot be had now.
        """
        body = self.cached(wanted) or await self._cached_of_unknown_size(wanted)
        if body is not None:
            return body
        if self._offline:
            raise Unavailable("This file is not in the cache, and nothing is fetched in offline mode.", 60)
        download, joined = self._download(wanted)
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
            sha256=wanted.sha256 or download.sha256,
            modified=wanted.modified,
            cache_status="fwd=miss; collapsed" if joined else self._miss,
        )

    @property
    def _miss(self) -> str:
        return "fwd=miss" if self._cache is None else "fwd=miss; stored"

    async def read_whole(self, wanted: FileRequest, read: Callable[[io.BufferedReader], T]) -> T:
        """
        Fetch a file and read in it, in a thread, also where none is kept; however long that takes.

        Raises:
            Unavailable: It cannot be had now.
        """
        download, _joined = self._download(wanted, nameless_too=True)
        reader = download.join()
        try:
            await download.wait_complete()
            descriptor = download.dup()
            if descriptor is None:
                raise Unavailable("There is no room for this file.")
            return await self._worker.run(_read_in, descriptor, read)
        finally:
            reader.close()

    def read_cached(self, wanted: FileRequest, read: Callable[[io.BufferedReader], T]) -> Deferred[T] | None:
        """Read in a file of the cache, in a thread; None if it is not there."""
        body = self.cached(wanted)
        if body is None:
            return None
        content = body.content
        assert isinstance(content, io.FileIO)
        with content:
            return self._worker.run(_read_in, os.dup(content.fileno()), read)

    def _with_deadline(self, work: Deferred[T]) -> Deferred[T]:
        return wait_at_most(self._reactor, self._patience, work, lambda: "The file is being fetched.")

    def _download(self, wanted: FileRequest, *, nameless_too: bool = False) -> tuple[Download, bool]:
        """Give the download of a file, and whether it was there already."""
        one, remote = wanted.remote_file, wanted.remote
        key = (one.url, wanted.sha256)
        running = self._downloads.get(key)
        if running is not None and running.joinable:
            self._counters.file_joined += 1
            return running, True

        def fetch(first: int | None) -> Deferred[ResponseStream | None]:
            self._counters.file_misses += first is None
            return Deferred.fromCoroutine(_ask(wanted, first))

        async def afterwards(done: Download) -> None:
            await self._take_note(wanted, done)

        download = Download(
            fetch=fetch,
            expected=ExpectedFile(
                filename=one.file.filename, upstream=remote.url, size=one.file.size, hashes=one.file.hashes
            ),
            target=DownloadTarget(
                create=self._begin_scratch if nameless_too else self._begin,
                write=self._write,
                commit=self._commit,
            ),
            on_complete=afterwards,
            worker=self._worker,
            clock=self._reactor,
        )
        self._downloads[key] = download
        self._running.add(download)
        download.wait_finished().addCallback(lambda _none: self._forget(key, download, wanted))
        return download, False

    def _forget(self, key: tuple[str, str | None], download: Download, wanted: FileRequest) -> None:
        self._counters.bytes_from_upstream += download.received
        if download.is_rejected:
            self._counters.files_refused += 1
            wanted.on_mismatch()
        self._running.discard(download)
        if self._downloads.get(key) is download:
            del self._downloads[key]

    async def _take_note(self, wanted: FileRequest, done: Download) -> None:
        """Learn from a file that is complete."""
        assert done.sha256 is not None
        assert done.total is not None
        if wanted.sha256 is None or wanted.remote_file.file.size is None:
            await wanted.pin_digest(done.sha256, done.total)
        if done.is_cached and self._room is not None:
            self._room.touch(done.sha256)
            self._room.record_added(done.total)
            await self._worker.run(self._arrived, wanted, done.sha256)

    # -- Places; in a thread

    def _begin(self, size: int | None) -> AnonymousFile | None:
        if self._cache is None or (size is not None and size > self._cache.size):
            return None
        return self._cache.new_file()

    def _begin_scratch(self, size: int | None) -> AnonymousFile | None:
        return self._begin(size) or open_scratch()

    def _write(self, file: AnonymousFile, data: bytes, position: int) -> int:
        written, error = file.write_what_fits(data, position)
        if error is not None and self._cache is not None:
            self._cache.log_write_failure(error)
        return written

    def _commit(self, file: AnonymousFile, sha256: str) -> bool:
        if self._cache is None or not file.can_be_named:
            return False
        return self._cache.commit(file, self._cache.file_path(sha256), durable=True)


async def _ask(wanted: FileRequest, first: int | None) -> ResponseStream | None:
    """Ask for a file, and if its URL is no good any more, where it is now: URLs expire, and files move."""
    try:
        incoming = await wanted.remote.fetch(wanted.remote_file.url, first=first)
    except Denied:
        url = await _find_again(wanted)
        if url is None:
            raise
    else:
        url = None if incoming is not None else await _find_again(wanted)
        if url is None:
            return incoming
    return await wanted.remote.fetch(url, first=first)


async def _find_again(wanted: FileRequest) -> str | None:
    try:
        return await wanted.renew_url()
    except SimpleIndexError:
        return None


def _digest(file: io.FileIO) -> tuple[int, str]:
    """Read all of a file; blocks. Gives its size and sha256, and goes back to its start."""
    digest, size = hashlib.sha256(), 0
    while piece := file.read(_PIECE):
        digest.update(piece)
        size += len(piece)
    file.seek(0)
    return size, digest.hexdigest()


def _read_in(descriptor: int, read: Callable[[io.BufferedReader], T]) -> T:
    """Read in a file from its start, and close it; blocks."""
    with open(descriptor, "rb") as file:
        file.seek(0)
        return read(file)
