"""
The bytes of one object on their way to one reader.

A thread works for each piece, not for each reader: one that stalls holds a bounded window in memory and no
thread. The digest of a whole file is computed on the way, and the last bytes are withheld until it is right:
no client ever holds a complete wrong file.
"""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.concurrency.single_flight import fire
from twisted_index.errors import NotImplementedHere, ReplacedMeanwhile, Unavailable
from twisted_index.interfaces import SMALL_CONTENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.concurrency.thread_pool import IThreadRunner

_log = Logger()

#: Bytes that wait for the reader at which no more are requested; the piece that exceeds them comes on top.
_WINDOW = 1 << 19
#: Bytes of the end of a whole file that are withheld until its digest is right.
_WITHHELD = SMALL_CONTENT


class _WrongBytes(Exception):
    """The bytes are not those of the digest."""


class StreamedObject:
    """
    An object that is read as its reader takes it; a `RangedContent`.

    Args:
        bucket: Where it is.
        worker: Threads that wait for it.
        stored: The object.
        sha256: The digest that it has to have.
        on_change: Called if it turns out to be another one by now, or gone.
        on_mismatch: Called if its bytes have another digest.

    Attributes:
        whole: All of its bytes, once they are here and right; kept of small objects only.
    """

    def __init__(
        self,
        bucket: Bucket,
        worker: IThreadRunner,
        stored: StoredObject,
        sha256: str,
        *,
        on_change: Callable[[], None],
        on_mismatch: Callable[[], None],
    ) -> None:
        self._bucket = bucket
        self._worker = worker
        self._stored = stored
        self._sha256 = sha256
        self._on_change = on_change
        self._on_mismatch = on_mismatch
        self.whole: bytes | None = None
        self._first = self._start = self._at = self._end = 0
        self._stop = stored.size
        self._digest = hashlib.sha256()
        #: The bytes from `_start` to `_end`; the reader is at `_at`.
        self._pieces: deque[bytes] = deque()
        self._stream: Iterator[bytes] | None = None
        self._came = self._is_fetching = self._is_closed = False
        self._failure: Failure | None = None
        self._waiter: Deferred[int] | None = None

    def narrow(self, first: int, stop: int) -> None:
        """See `RangedContent`."""
        self._first = self._start = self._at = self._end = first
        self._stop = stop

    @property
    def _is_whole(self) -> bool:
        return self._stop - self._first == self._stored.size

    @property
    def _readable(self) -> int:
        is_proven = self._end == self._stop or not self._is_whole
        return self._end if is_proven else min(self._end, self._stop - _WITHHELD)

    # -- For the reader, in the reactor thread

    def wait_for(self, position: int) -> Deferred[int]:
        """See `StreamingContent`."""
        self._at = max(self._at, position)
        self._fetch()
        if self._readable > position or self._end == self._stop:
            return succeed(self._readable)
        if self._failure is not None:
            return fail(self._failure)
        self._waiter = Deferred()
        return self._waiter

    def read(self, position: int, size: int) -> bytes:
        """See `StreamingContent`. Positions only rise: what was read is dropped."""
        while self._pieces and self._start + len(self._pieces[0]) <= position:
            self._start += len(self._pieces.popleft())
        size = min(size, self._readable - position)
        if not self._pieces or position < self._start or size <= 0:
            return b""
        data = self._pieces[0][position - self._start : position - self._start + size]
        self._at = position + len(data)
        self._fetch()
        return data

    def wait_complete(self) -> Deferred[None]:
        """See `StreamingContent`."""
        return fail(NotImplementedHere("This file is passed on in pieces."))

    def close(self) -> None:
        """See `StreamingContent`. Its request to the store ends, at once or with the running piece."""
        self._is_closed = True
        self._pieces.clear()
        self._waiter = None
        if not self._is_fetching and self._stream is not None:
            self._worker.run(self._end_stream).addErrback(lambda _failure: None)

    def _fetch(self) -> None:
        """Request the next piece if there is room for it."""
        is_over = self._is_closed or self._failure is not None or self._end == self._stop
        if not (is_over or self._is_fetching or self._end - self._at >= _WINDOW):
            self._is_fetching = True
            self._worker.run(self._next_piece).addCallbacks(self._arrived, self._failed)

    def _arrived(self, piece: bytes) -> None:
        self._is_fetching = False
        if self._is_closed:
            self.close()
            return
        self._pieces.append(piece)
        self._end += len(piece)
        if self._end == self._stop and self._is_whole and self._stored.size <= SMALL_CONTENT:
            self.whole = b"".join(self._pieces)
        waiter = self._waiter
        if waiter is not None and self._readable > self._at:
            self._waiter = None
            fire(waiter, self._readable)
        self._fetch()

    def _failed(self, failure: Failure) -> None:
        self._is_fetching = False
        if self._is_closed:
            self.close()
            return
        if failure.check(Unavailable) and self._came:
            # The store has dropped a slow reader, or was away for a moment. Each request has to bring some.
            self._stream, self._came = None, False
            self._fetch()
            return
        self._failure = Failure(self._error(failure))
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            fire(waiter, self._failure)

    def _error(self, failure: Failure) -> BaseException:
        if failure.check(_WrongBytes):
            _log.error("{key}: the object store has other bytes than were listed.", key=self._stored.key)
            self._on_mismatch()
            return _replaced()
        if failure.check(ObjectChanged):
            self._on_change()
            return _replaced()
        if failure.check(CancelledError):
            return Unavailable("The server is being stopped.")
        return failure.value or Unavailable("The file cannot be read.")

    # -- In a thread

    def _next_piece(self) -> bytes:
        if self._stream is None:
            stored = self._stored
            self._stream = self._bucket.stream(stored.key, self._end, self._stop, etag=stored.etag)
        piece = next(self._stream, b"")
        end = self._end + len(piece)
        if not piece or end > self._stop:
            raise Unavailable("The object store sent another part of a file than requested.")
        self._came = True
        if self._is_whole:
            self._digest.update(piece)
        if end == self._stop:
            self._end_stream()
            if self._is_whole and self._digest.hexdigest() != self._sha256:
                raise _WrongBytes
        return piece

    def _end_stream(self) -> None:
        stream, self._stream = self._stream, None
        close = getattr(stream, "close", None)
        if close is not None:
            close()


def _replaced() -> ReplacedMeanwhile:
    return ReplacedMeanwhile("This file is being replaced. Retry in a moment.", retry_after=2)
