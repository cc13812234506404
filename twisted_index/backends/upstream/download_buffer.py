"""
The received bytes of a download: digested and written in a thread, and readable again.

If they cannot be written, they stay in memory until every reader has read them; the download paces the
response accordingly. Out of scope: verification (see `download`).
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from twisted_index.files.portability import read_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted.python.failure import Failure

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.files.anonymous_file import AnonymousFile

#: The supported digests, whatever an upstream names; SHAKE digests need a length argument.
ALGORITHMS = frozenset(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake"))


class DownloadBuffer:
    """
    The received part of a file.

    Args:
        worker: Threads that write and digest.
        algorithms: Digests to compute; unsupported ones are skipped.
        write: See `DownloadTarget`.
        on_change: Called when more bytes are readable, or writing has ended.
        on_failure: Called if the thread's work failed.

    Attributes:
        end: Offset of the end of the readable bytes.
        pass_through: Whether received bytes are no longer written to disk.
        is_complete: Whether all received bytes are still readable, from the first one.
    """

    def __init__(
        self,
        worker: IThreadRunner,
        algorithms: Iterable[str],
        *,
        write: Callable[[AnonymousFile, bytes, int], int],
        on_change: Callable[[], None],
        on_failure: Callable[[Failure], None],
    ) -> None:
        self._worker = worker
        self._write_at = write
        self._on_change = on_change
        self._on_failure = on_failure
        self._digests = {
            name: hashlib.new(name, usedforsecurity=False) for name in {*algorithms} & ALGORITHMS
        }
        self._temporary: AnonymousFile | None = None
        self._unwritten: list[bytes] = []
        self._unwritten_bytes = 0
        self._writing = 0
        self._written = 0
        self._window: deque[bytes] = deque()
        self._window_start = 0
        # Offset up to which every reader has read, perhaps within the first piece of the window.
        self._released = 0
        self.end = 0
        self.pass_through = False
        self.is_complete = True
        self._idle: list[Deferred[None]] = []

    def set_file(self, temporary: AnonymousFile | None) -> None:
        """Set the file to write to (None: memory only), before any bytes have been received."""
        self._temporary = temporary
        self.pass_through = temporary is None

    @property
    def backlog(self) -> int:
        """Number of bytes in memory."""
        return self._unwritten_bytes + self._writing + self.end - max(self._written, self._released)

    def feed(self, data: bytes) -> None:
        """Append received bytes."""
        self._unwritten.append(data)
        self._unwritten_bytes += len(data)
        self._write()

    def stop_writing(self) -> None:
        """Discard what waits to be written: no reader needs it."""
        self._unwritten, self._unwritten_bytes = [], 0

    def wait_idle(self) -> Deferred[None]:
        """Wait until all received bytes are written or discarded."""
        if not self._writing and not self._unwritten:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._idle.append(deferred)
        return deferred

    def digests(self) -> dict[str, str]:
        """Return the digests of all received bytes, in lower-case hex. Only while idle."""
        return {name: digest.hexdigest() for name, digest in self._digests.items()}

    def read(self, position: int, size: int) -> bytes:
        """Read at most `size` readable bytes."""
        if position < self._written:
            assert self._temporary is not None
            return read_at(self._temporary.descriptor, min(size, self._written - position), position)
        start = self._window_start
        for piece in self._window:
            if start <= position < start + len(piece):
                return piece[position - start : position - start + size]
            start += len(piece)
        return b""

    def trim(self, position: int) -> None:
        """Free the pieces in memory before a position."""
        # Counted as free within a piece too: the last piece may never be read to its end before the
        # download is complete, and the upstream must not be paused for it.
        self._released = max(self._released, position)
        while self._window and self._window_start + len(self._window[0]) <= position:
            self._window_start += len(self._window.popleft())
            self.is_complete = False

    def _write(self) -> None:
        if self._writing or not self._unwritten:
            return
        batch, self._unwritten = self._unwritten, []
        self._writing, self._unwritten_bytes = self._unwritten_bytes, 0
        work = self._worker.run(self._process, batch)
        work.addCallbacks(self._processed, self._process_failed)

    def _process(self, batch: list[bytes]) -> tuple[bytes, int]:
        """Digest and write; blocks."""
        data = b"".join(batch)
        for digest in self._digests.values():
            digest.update(data)
        if self.pass_through or self._temporary is None:
            return data, 0
        return data, self._write_at(self._temporary, data, self.end)

    def _processed(self, result: tuple[bytes, int]) -> None:
        data, written = result
        self._writing = 0
        self._written += written
        self.end += len(data)
        if written < len(data):
            if not self._window and not self.pass_through:
                self._window_start = self._written
            self.pass_through = True
            self._window.append(data[written:])
        self._on_change()
        self._write()
        self._notify_idle()

    def _process_failed(self, failure: Failure) -> None:
        self._writing = 0
        self.stop_writing()
        self._on_failure(failure)
        self._notify_idle()

    def _notify_idle(self) -> None:
        if not self._writing and not self._unwritten:
            idle, self._idle = self._idle, []
            for deferred in idle:
                deferred.callback(None)
