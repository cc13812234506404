"""
The files of upstreams: out of the cache where they are there, else on their way to it.

A file in the cache was right when it got its name, and its bytes were on the disk before its name
was: so of what lies there only the size is looked at, and the digest where nobody knows the size. (A
process that is killed leaves no name behind; a loss of power at most loses one.)
"""

from __future__ import annotations

import hashlib
import io
import os
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.logger import Logger

from twisted_index.errors import Unavailable
from twisted_index.interfaces import SMALL, FileBody
from twisted_index.sources.patience import wait_at_most
from twisted_index.upstream.cachefolder import Temporary, nameless
from twisted_index.upstream.download import Download, Expected, Places
from twisted_index.upstream.room import Room

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted.internet.defer import Deferred

    from twisted_index.upstream.cachefolder import CacheFolder
    from twisted_index.upstream.measures import Measures
    from twisted_index.upstream.remote import Incoming, Remote, RemoteFile
    from twisted_index.worker import Works

T = TypeVar("T")
_log = Logger()

_PIECE = 1 << 20


class Wanted:
    """
    A file that somebody wants.

    Args:
        remote: Whose it is.
        one: What is known of it.
        modified: What is told as its time: seconds since the epoch.
        still_listed: Whether it still is.
        learn: Told digest and size, if the upstream promises none.
    """

    __slots__ = ("learn", "modified", "one", "remote", "still_listed")

    def __init__(
        self,
        *,
        remote: Remote,
        one: RemoteFile,
        modified: float,
        still_listed: Callable[[], bool],
        learn: Callable[[str, int], Awaitable[None]],
    ) -> None:
        self.remote = remote
        self.one = one
        self.modified = modified
        self.still_listed = still_listed
        self.learn = learn

    @property
    def sha256(self) -> str | None:
        """Its digest, if that is known."""
        return self.one.file.hashes.get("sha256")


class Files:
    """
    Gives files, and fetches each once.

    Args:
        cache: Where they are kept; None keeps none.
        worker: Threads.
        reactor: Tells when a wait is over.
        wall: Seconds since the epoch.
        answer_timeout: Seconds for which a client waits for the first byte.
        measures: Counts.
        offline: Whether nothing is asked.
        arrived: Called in a thread when a file has its name in the cache.
    """

    def __init__(
        self,
        *,
        cache: CacheFolder | None,
        worker: Works,
        reactor: Any,
        wall: Callable[[], float],
        answer_timeout: float,
        measures: Measures,
        offline: bool,
        arrived: Callable[[Wanted, str], None],
    ) -> None:
        self._cache = cache
        self._worker = worker
        self._reactor = reactor
        self._answer_timeout = answer_timeout
        self._measures = measures
        self._offline = offline
        self._arrived = arrived
        self._room = None if cache is None else Room(cache, worker, wall, measures)
        #: The youngest by URL and digest, and all of them: who comes too late begins another.
        self._downloads: dict[tuple[str, str | None], Download] = {}
        self._running: set[Download] = set()

    def start(self) -> None:
        """Look how much there is, and remove what was left unfinished: in a thread."""
        if self._cache is not None and self._room is not None and not self._offline:
            self._worker.run(self._cache.sweep).addErrback(lambda _failure: None)
            self._room.look()

    async def stop(self) -> None:
        """Break off what is on its way, and remove what of it is on the disk."""
        running = list(self._running)
        for download in running:
            download.abort(Unavailable("The server is stopping."))
        for download in running:
            await download.end()

    # -- Out of the cache

    def cached(self, wanted: Wanted) -> FileBody | None:
        """Give a file that is in the cache and known by digest and size: at once."""
        file, sha256 = wanted.one.file, wanted.sha256
        if self._cache is None or self._room is None or sha256 is None or file.size is None:
            return None
        content = self._cache.open_file(sha256)
        if content is None:
            return None
        if os.fstat(content.fileno()).st_size != file.size:
            content.close()
            self._throw_away(sha256, "has another size than it had")
            return None
        self._room.note(sha256, content)
        self._measures.file_hits += 1
        return self._body(wanted, content, file.size, sha256)

    def _body(self, wanted: Wanted, content: io.FileIO, size: int, sha256: str) -> FileBody:
        small: FileBody | None = None

        def reopen() -> FileBody | None:
            """Give the bytes that were read once: under this digest there are never others."""
            nonlocal small
            if not wanted.still_listed():
                return None
            if small is None:
                small = self._read_small(wanted, size, sha256, reopen)
            self._measures.file_hits += 1
            return small

        return FileBody(
            content=content,
            size=size,
            sha256=sha256,
            modified=wanted.modified,
            reopen=reopen if size <= SMALL else None,
            cache_status="hit",
        )

    def _read_small(
        self, wanted: Wanted, size: int, sha256: str, reopen: Callable[[], FileBody | None]
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

    async def _cached_of_unknown_size(self, wanted: Wanted) -> FileBody | None:
        """Give a file of which only the digest is known, after a look at all of its bytes."""
        sha256 = wanted.sha256
        if self._cache is None or sha256 is None or wanted.one.file.size is not None:
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
        await wanted.learn(sha256, size)
        self._measures.file_hits += 1
        return self._body(wanted, content, size, sha256)

    # -- On their way

    async def open(self, wanted: Wanted) -> FileBody:
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
                size = await self._patiently(download.measure())
            if size is None:
                await self._patiently(download.whole())
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

    async def read_whole(self, wanted: Wanted, read: Callable[[io.BufferedReader], T]) -> T:
        """
        Fetch a file and read in it, in a thread, also where none is kept.

        Raises:
            Unavailable: It cannot be had now.
        """
        download, _joined = self._download(wanted, nameless_too=True)
        reader = download.join()
        try:
            await self._patiently(download.whole())
            descriptor = download.dup()
            if descriptor is None:
                raise Unavailable("There is no room for this file.")
            return await self._worker.run(_read_in, descriptor, read)
        finally:
            reader.close()

    def read_cached(self, wanted: Wanted, read: Callable[[io.BufferedReader], T]) -> Deferred[T] | None:
        """Read in a file of the cache, in a thread; None if it is not there."""
        body = self.cached(wanted)
        if body is None:
            return None
        content = body.content
        assert isinstance(content, io.FileIO)
        with content:
            return self._worker.run(_read_in, os.dup(content.fileno()), read)

    def _patiently(self, work: Deferred[T]) -> Deferred[T]:
        return wait_at_most(self._reactor, self._answer_timeout, work, lambda: "The file is being fetched.")

    def _download(self, wanted: Wanted, *, nameless_too: bool = False) -> tuple[Download, bool]:
        """Give the download of a file, and whether it was there already."""
        one, remote = wanted.one, wanted.remote
        key = (one.url, wanted.sha256)
        running = self._downloads.get(key)
        if running is not None and running.joinable:
            self._measures.file_joined += 1
            return running, True

        def fetch(first: int | None) -> Deferred[Incoming | None]:
            self._measures.file_misses += first is None
            return remote.fetch(one.url, first=first)

        async def afterwards(done: Download) -> None:
            await self._take_note(wanted, done)

        download = Download(
            fetch=fetch,
            expected=Expected(
                filename=one.file.filename, upstream=remote.url, size=one.file.size, hashes=one.file.hashes
            ),
            places=Places(begin=self._begin_scratch if nameless_too else self._begin, keep=self._keep),
            afterwards=afterwards,
            worker=self._worker,
            clock=self._reactor,
        )
        self._downloads[key] = download
        self._running.add(download)
        download.end().addCallback(lambda _none: self._forget(key, download))
        return download, False

    def _forget(self, key: tuple[str, str | None], download: Download) -> None:
        self._measures.bytes_from_upstream += download.received
        self._measures.files_refused += download.refused
        self._running.discard(download)
        if self._downloads.get(key) is download:
            del self._downloads[key]

    async def _take_note(self, wanted: Wanted, done: Download) -> None:
        """Learn from a file that is complete."""
        assert done.sha256 is not None
        assert done.total is not None
        if wanted.sha256 is None or wanted.one.file.size is None:
            await wanted.learn(done.sha256, done.total)
        if done.kept and self._room is not None:
            self._room.note(done.sha256)
            self._room.added(done.total)
            await self._worker.run(self._arrived, wanted, done.sha256)

    # -- Places; in a thread

    def _begin(self, size: int | None) -> Temporary | None:
        if self._cache is None or (size is not None and size > self._cache.size):
            return None
        return self._cache.new_temporary()

    def _begin_scratch(self, size: int | None) -> Temporary | None:
        return self._begin(size) or nameless()

    def _keep(self, temporary: Temporary, sha256: str) -> bool:
        if self._cache is None or not temporary.named:
            return False
        try:
            temporary.keep(self._cache.file_path(sha256), durable=True)
        except OSError as error:
            self._cache.complain(error)
            return False
        self._cache.relent()
        return True


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
