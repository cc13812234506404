"""Receives a file into an anonymous file: written and hashed in threads, piece by piece."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from zope.interface import implementer

from twisted_index.files.anonymous_file import AnonymousFile, open_anonymous
from twisted_index.files.os_errors import translate_os_errors
from twisted_index.interfaces import ISpool

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from twisted.python.failure import Failure

    from twisted_index.concurrency.thread_pool import IThreadRunner

#: Bytes that are gathered before they go to threads: enough to be worth the way.
_GATHERED = 1 << 18
#: Bytes that may be gathered while others are being written; beyond that the sender has to wait.
_HIGH_WATER = 2 << 20
#: Bytes after which a sync starts, so that little is left to write at the end.
_BEGUN = 16 << 20
_CHUNK = 1 << 20


def _md5() -> Any:
    # Upload forms still carry it; it protects nothing here.
    return hashlib.md5(usedforsecurity=False)


_ALGORITHMS: Mapping[str, Callable[[], Any]] = {
    "sha256": hashlib.sha256,
    "blake2b_256": lambda: hashlib.blake2b(digest_size=32),
    "md5": _md5,
}


@implementer(ISpool)
class Spool:
    """
    Receives a file.

    What came is written in one thread and hashed in another, and more may come meanwhile.

    Args:
        file: Where the bytes go; closed with the spool.
        worker: Threads that write and hash.
    """

    def __init__(self, file: AnonymousFile, worker: IThreadRunner) -> None:
        self.file = file
        self.size = 0
        self._worker = worker
        # Every page needs sha256; clients announce the other digests that they have sent.
        self._sha256 = hashlib.sha256()
        self._others: dict[str, Any] = {}
        self._begun = self._written = 0
        self._buffer: list[bytes] = []
        self._waiting = 0
        self._busy = False
        self._flushing = False
        self._room: Deferred[None] | None = None
        self._failure: Failure | None = None
        self._taken = False
        self._closed = False

    def expect_digests(self, names: Collection[str]) -> None:
        """See `ISpool`."""
        assert not self.size, "some of it was not hashed so"
        self._others = {name: _ALGORITHMS[name]() for name in names if name != "sha256"}

    async def digests(self, names: Collection[str] = ()) -> dict[str, str]:
        """See `ISpool`."""
        await self.flush()
        known = {"sha256": self._sha256, **self._others}
        digests = {name: hasher.hexdigest() for name, hasher in known.items()}
        lacking = [name for name in names if name not in digests]
        return {**digests, **await self._read_again(lacking)} if lacking else digests

    def write(self, data: bytes) -> Deferred[None]:
        """See `ISpool`. It is answered as soon as there is room for more, not when all is written."""
        self._buffer.append(bytes(data))
        self._waiting += len(data)
        self.size += len(data)
        self._go_on()
        return self._when_settled()

    def flush(self) -> Deferred[None]:
        """Wait until all that was gathered is written; fails like `write`."""
        self._flushing = True
        self._go_on()
        return self._when_settled()

    def close(self) -> None:
        """See `ISpool`. A piece that is being written is finished first."""
        if self._closed or self._taken:
            return
        self._closed = True
        self._buffer.clear()
        self._waiting = 0
        if not self._busy:
            self._let_go()

    def acquire(self) -> None:
        """Defer closing from now on: a thread uses its descriptor."""
        self._taken = True

    def release(self) -> None:
        """Close what was taken."""
        self._taken = False
        self.close()

    async def _read_again(self, names: Collection[str]) -> dict[str, str]:
        self._busy = True
        try:
            return await self._worker.run(self._read, names)
        finally:
            self._busy = False
            if self._closed:
                self._let_go()

    # -- One batch at a time, in two threads

    def _go_on(self) -> None:
        enough = self._waiting >= _GATHERED or (self._flushing and self._buffer)
        if self._busy or self._failure is not None or not enough:
            return
        pieces, self._buffer, self._waiting = self._buffer, [], 0
        self._busy = True
        lanes = [self._worker.run(self._write, pieces), self._worker.run(self._hash, pieces)]
        DeferredList(lanes, consumeErrors=True).addCallback(self._wrote)

    def _wrote(self, results: Any) -> None:
        self._busy = False
        self._failure = next((result for done, result in results if not done), None)
        self._go_on()
        if self._closed and not self._busy:
            self._let_go()
        if self._room is not None and self._settled:
            room, self._room = self._room, None
            self._answer(room)

    @property
    def _settled(self) -> bool:
        if self._failure is not None or self._closed:
            return True
        if self._flushing:
            return not self._busy and not self._buffer
        return self._waiting < _HIGH_WATER

    def _when_settled(self) -> Deferred[None]:
        if self._settled and self._failure is None:
            self._flushing = False
            return succeed(None)
        room: Deferred[None] = Deferred()
        if self._settled:
            self._answer(room)
        else:
            self._room = room
        return room

    def _answer(self, room: Deferred[None]) -> None:
        self._flushing = False
        if self._failure is not None:
            room.errback(self._failure)
        else:
            room.callback(None)

    # -- In threads

    def _write(self, pieces: list[bytes]) -> None:
        with translate_os_errors():
            for piece in pieces:
                self.file.write(piece)
                self._written += len(piece)
            if self._written - self._begun >= _BEGUN:
                self.file.start_writeback(self._begun, self._written - self._begun)
                self._begun = self._written
        for piece in pieces:
            for hasher in self._others.values():
                hasher.update(piece)

    def _hash(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self._sha256.update(piece)

    def _read(self, names: Collection[str]) -> dict[str, str]:
        hashers = {name: _ALGORITHMS[name]() for name in names}
        with translate_os_errors(), open(self.file.readable_path, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                for hasher in hashers.values():
                    hasher.update(chunk)
        return {name: hasher.hexdigest() for name, hasher in hashers.items()}

    def _let_go(self) -> None:
        # In a thread: to free the blocks of a file of gigabytes takes its time. A worker that was
        # stopped takes no more work; then no client is left that could notice.
        self._worker.run(self.file.close).addErrback(lambda _failure: self.file.close())


def open_spool(root: bytes, worker: IThreadRunner) -> Spool:
    """
    Begin to receive a file. Blocking.

    Raises:
        InsufficientStorage, Unavailable: There is no place for it.
    """
    with translate_os_errors():
        return Spool(open_anonymous(root), worker)
