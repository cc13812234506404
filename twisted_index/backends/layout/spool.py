"""Receives an upload into an anonymous file: written and hashed in threads, in batches."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_index.files.anonymous_file import AnonymousFile, open_anonymous
from twisted_index.files.free_space import require_space
from twisted_index.files.os_errors import translate_os_errors
from twisted_index.interfaces import ISpool

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from twisted_index.concurrency.thread_pool import IThreadRunner

#: Bytes to buffer per batch: enough to be worth the thread switch.
_BATCH_SIZE = 1 << 18
#: Bytes to buffer while a batch is being written; beyond that the sender has to wait.
_HIGH_WATER = 2 << 20
#: Bytes after which writeback starts, so that the final sync has little left to write.
_WRITEBACK_SIZE = 16 << 20
_CHUNK = 1 << 20


def _md5() -> Any:
    # Upload forms still carry MD5 digests; they are no security here.
    return hashlib.md5(usedforsecurity=False)


_ALGORITHMS: Mapping[str, Callable[[], Any]] = {
    "sha256": hashlib.sha256,
    "blake2b_256": lambda: hashlib.blake2b(digest_size=32),
    "md5": _md5,
}


@implementer(ISpool)
class Spool:
    """
    Receives an upload.

    Each batch is written in one thread and hashed in another, while the next one arrives.

    Args:
        file: Receives the bytes; closed with the spool.
        worker: Threads that write and hash.
        require_space: Called with the size of each batch before it is written; raises InsufficientStorage.
    """

    def __init__(
        self,
        file: AnonymousFile,
        worker: IThreadRunner,
        require_space: Callable[[int], None] = lambda _size: None,
    ) -> None:
        self.file = file
        self.size = 0
        self._worker = worker
        self._require_space = require_space
        # Pages need SHA-256; other digests are computed if the client has sent them.
        self._sha256 = hashlib.sha256()
        self._hashers: dict[str, Any] = {}
        self._writeback_started = self._written = 0
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._busy = False
        self._flushing = False
        self._room: Deferred[None] | None = None
        self._failure: Failure | None = None
        self._acquired = False
        self._closed = False

    def expect_digests(self, names: Collection[str]) -> None:
        """See `ISpool`."""
        assert not self.size, "some of it was not hashed so"
        self._hashers = {name: _ALGORITHMS[name]() for name in names if name != "sha256"}

    async def digests(self, names: Collection[str] = ()) -> dict[str, str]:
        """See `ISpool`."""
        await self.flush()
        hashers = {"sha256": self._sha256, **self._hashers}
        digests = {name: hasher.hexdigest() for name, hasher in hashers.items()}
        missing = [name for name in names if name not in digests]
        return {**digests, **await self._rehash(missing)} if missing else digests

    def write(self, data: bytes) -> Deferred[None]:
        """See `ISpool`. The Deferred fires when the buffer has room again, not when all is written."""
        self._buffer.append(bytes(data))
        self._buffered += len(data)
        self.size += len(data)
        self._start_batch()
        return self._when_settled()

    def flush(self) -> Deferred[None]:
        """Wait until all buffered bytes are written; fails like `write`."""
        self._flushing = True
        self._start_batch()
        return self._when_settled()

    def close(self) -> None:
        """See `ISpool`. A batch that is being written is finished first."""
        if self._closed or self._acquired:
            return
        self._closed = True
        self._buffer.clear()
        self._buffered = 0
        if not self._busy:
            self._close_file()

    def acquire(self) -> None:
        """Defer closing until `release`: a thread uses the descriptor."""
        self._acquired = True

    def release(self) -> None:
        """Close the spool after `acquire`."""
        self._acquired = False
        self.close()

    async def _rehash(self, names: Collection[str]) -> dict[str, str]:
        self._busy = True
        try:
            return await self._worker.run(self._hash_file, names)
        finally:
            self._busy = False
            if self._closed:
                self._close_file()

    # -- One batch at a time, in two threads

    def _start_batch(self) -> None:
        is_full = self._buffered >= _BATCH_SIZE or (self._flushing and self._buffer)
        if self._busy or self._failure is not None or not is_full:
            return
        pieces, self._buffer, self._buffered = self._buffer, [], 0
        self._busy = True
        works = [self._worker.run(self._write, pieces), self._worker.run(self._hash, pieces)]
        DeferredList(works, consumeErrors=True).addCallback(self._finish_batch)

    def _finish_batch(self, results: Any) -> None:
        self._busy = False
        self._failure = next((result for done, result in results if not done), None)
        self._start_batch()
        if self._closed and not self._busy:
            self._close_file()
        if self._room is not None and self._settled:
            room, self._room = self._room, None
            self._fire(room)

    @property
    def _settled(self) -> bool:
        if self._failure is not None or self._closed:
            return True
        if self._flushing:
            return not self._busy and not self._buffer
        return self._buffered < _HIGH_WATER

    def _when_settled(self) -> Deferred[None]:
        if self._settled and self._failure is None:
            self._flushing = False
            return succeed(None)
        room: Deferred[None] = Deferred()
        if self._settled:
            self._fire(room)
        else:
            self._room = room
        return room

    def _fire(self, room: Deferred[None]) -> None:
        self._flushing = False
        if self._failure is not None:
            room.errback(self._failure)
        else:
            room.callback(None)

    # -- In threads

    def _write(self, pieces: list[bytes]) -> None:
        self._require_space(sum(map(len, pieces)))
        with translate_os_errors():
            for piece in pieces:
                self.file.write(piece)
                self._written += len(piece)
            if self._written - self._writeback_started >= _WRITEBACK_SIZE:
                self.file.start_writeback(self._writeback_started, self._written - self._writeback_started)
                self._writeback_started = self._written
        for piece in pieces:
            for hasher in self._hashers.values():
                hasher.update(piece)

    def _hash(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self._sha256.update(piece)

    def _hash_file(self, names: Collection[str]) -> dict[str, str]:
        hashers = {name: _ALGORITHMS[name]() for name in names}
        with translate_os_errors(), open(self.file.readable_path, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                for hasher in hashers.values():
                    hasher.update(chunk)
        return {name: hasher.hexdigest() for name, hasher in hashers.items()}

    def _close_file(self) -> None:
        # In a thread: freeing the blocks of a file of gigabytes takes time. A stopped worker takes no
        # more work; then blocking the reactor delays no client.
        self._worker.run(self.file.close).addErrback(lambda _failure: self.file.close())


def open_spool(root: bytes, worker: IThreadRunner, min_free: int = 0) -> Spool:
    """
    Open a spool. Blocking.

    Args:
        root: The folder to publish in.
        worker: Threads that write and hash.
        min_free: Bytes that have to be left on its file system; 0 for no check.

    Raises:
        InsufficientStorage, Unavailable: The file cannot be created.
    """
    with translate_os_errors():
        file = open_anonymous(root)
    if not min_free:
        return Spool(file, worker)
    return Spool(file, worker, lambda size: require_space(root, size, min_free))


def open_in_thread(worker: IThreadRunner, opener: Callable[[], Spool]) -> Deferred[Spool]:
    """
    Open a spool in a thread; if the Deferred is cancelled meanwhile, it is closed.

    Args:
        worker: The threads.
        opener: Opens it.
    """
    waiter: Deferred[Spool] = Deferred()

    def deliver(opened: Spool | Failure) -> None:
        if not waiter.called:
            waiter.errback(opened) if isinstance(opened, Failure) else waiter.callback(opened)
        elif not isinstance(opened, Failure):
            # Cancelled by the caller, and nothing else would close it.
            opened.close()

    worker.run(opener).addBoth(deliver)
    return waiter
