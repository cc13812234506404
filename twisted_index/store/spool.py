"""A file that is being received: written and hashed in threads, in pieces, without a name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_index.interfaces import ISpool
from twisted_index.store.faults import telling
from twisted_index.store.nameless import Nameless, open_nameless

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted_index.worker import Works

#: Bytes that are gathered before they go to a thread: enough to be worth the way, and few enough
#: that the last ones can be hashed in the reactor within a millisecond.
_GATHERED = 1 << 18


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

    Args:
        file: Where the bytes go; closed with the spool.
        worker: Threads that write and hash.
    """

    def __init__(self, file: Nameless, worker: Works) -> None:
        self.file = file
        self.size = 0
        self._worker = worker
        self._hashers: Mapping[str, Any] = {name: make() for name, make in _ALGORITHMS.items()}
        self._gathered: list[bytes] = []
        self._waiting = 0
        self._writing = False
        self._taken = False
        self._closed = False

    @property
    def digests(self) -> dict[str, str]:
        """See `ISpool`."""
        digests = {}
        for name, hasher in self._hashers.items():
            whole = hasher.copy()
            for piece in self._gathered:
                whole.update(piece)
            digests[name] = whole.hexdigest()
        return digests

    def write(self, data: bytes) -> Deferred[None]:
        """See `ISpool`. What is small is kept for a moment and answered at once."""
        self._gathered.append(bytes(data))
        self._waiting += len(data)
        self.size += len(data)
        return self.flush() if self._waiting >= _GATHERED else succeed(None)

    def flush(self) -> Deferred[None]:
        """Write what was gathered; fails like `write`."""
        pieces, self._gathered, self._waiting = self._gathered, [], 0
        if not pieces:
            return succeed(None)
        self._writing = True
        return self._worker.run(self._write, pieces).addBoth(self._written)

    def close(self) -> None:
        """See `ISpool`. A piece that is being written is finished first."""
        if self._closed or self._taken:
            return
        self._closed = True
        self._gathered.clear()
        if not self._writing:
            self._let_go()

    def take(self) -> None:
        """Let nobody close it from now on: a thread works with its descriptor."""
        self._taken = True

    def give_back(self) -> None:
        """Close what was taken."""
        self._taken = False
        self.close()

    def _write(self, pieces: list[bytes]) -> None:
        with telling():
            for piece in pieces:
                self.file.write(piece)
                for hasher in self._hashers.values():
                    hasher.update(piece)

    def _written(self, result: Any) -> Any:
        self._writing = False
        if self._closed:
            self._let_go()
        return result

    def _let_go(self) -> None:
        # In a thread: to free the blocks of a file of gigabytes takes its time. A worker that was
        # stopped takes no more work; then nobody is served who could notice.
        self._worker.run(self.file.close).addErrback(lambda _failure: self.file.close())


def open_spool(root: bytes, worker: Works) -> Spool:
    """
    Begin to receive a file. Blocking.

    Raises:
        InsufficientStorage, Unavailable: There is no place for it.
    """
    with telling():
        return Spool(open_nameless(root), worker)
