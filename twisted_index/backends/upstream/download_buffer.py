"""
The received bytes of a download: digested and written in a thread, and readable again.

If they cannot be written, they stay in memory until every reader has had them; the download paces the
response accordingly. Out of scope: verification (see `download`).
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted.python.failure import Failure

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.files.anonymous_file import AnonymousFile

#: Never looked up by what an upstream says: the others take their length as an argument.
ALGORITHMS = frozenset(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake"))


class DownloadBuffer:
    """
    What has come of a file.

    Args:
        worker: Threads that write and digest.
        algorithms: Digests that are wanted, where they are known.
        write: See `DownloadTarget`.
        on_change: Called when there is more to be had, or writing has ended.
        on_failure: Called if a thread could not do its work.

    Attributes:
        end: Bytes from the start that are to be had.
        pass_through: Whether what comes is no longer written.
        is_complete: Whether all of it is to be had still, from the first byte on.
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
        self._changed = on_change
        self._failed = on_failure
        self._digests = {
            name: hashlib.new(name, usedforsecurity=False) for name in {*algorithms} & ALGORITHMS
        }
        self._temporary: AnonymousFile | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._writing = 0
        self._written = 0
        self._window: deque[bytes] = deque()
        self._window_start = 0
        self.end = 0
        self.pass_through = False
        self.is_complete = True
        self._idle: list[Deferred[None]] = []

    def set_file(self, temporary: AnonymousFile | None) -> None:
        """Say where to write; None if nowhere. Before anything has come."""
        self._temporary = temporary
        self.pass_through = temporary is None

    @property
    def backlog(self) -> int:
        """Bytes in memory."""
        return self._waiting_bytes + self._writing + self.end - max(self._written, self._window_start)

    def feed(self, data: bytes) -> None:
        """Take what comes next."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self._write()

    def stop_writing(self) -> None:
        """Discard what waits to be written: no reader needs it."""
        self._waiting, self._waiting_bytes = [], 0

    def wait_idle(self) -> Deferred[None]:
        """Wait until nothing is being written and nothing waits for it."""
        if not self._writing and not self._waiting:
            return succeed(None)
        answer: Deferred[None] = Deferred()
        self._idle.append(answer)
        return answer

    def digests(self) -> dict[str, str]:
        """Give the digests of all that came, in lower-case hex. Only while it is idle."""
        return {name: digest.hexdigest() for name, digest in self._digests.items()}

    def read(self, position: int, size: int) -> bytes:
        """Read at most so many bytes that are to be had."""
        if position < self._written:
            assert self._temporary is not None
            return os.pread(self._temporary.descriptor, min(size, self._written - position), position)
        start = self._window_start
        for piece in self._window:
            if start <= position < start + len(piece):
                return piece[position - start : position - start + size]
            start += len(piece)
        return b""

    def trim(self, position: int) -> None:
        """Let go of what is in memory and before a position."""
        while self._window and self._window_start + len(self._window[0]) <= position:
            self._window_start += len(self._window.popleft())
            self.is_complete = False

    def _write(self) -> None:
        if self._writing or not self._waiting:
            return
        batch, self._waiting = self._waiting, []
        self._writing, self._waiting_bytes = self._waiting_bytes, 0
        work = self._worker.run(self._absorb, batch)
        work.addCallbacks(self._absorbed, self._not_absorbed)

    def _absorb(self, batch: list[bytes]) -> tuple[bytes, int]:
        """Digest and write; blocks."""
        data = b"".join(batch)
        for digest in self._digests.values():
            digest.update(data)
        if self.pass_through or self._temporary is None:
            return data, 0
        return data, self._write_at(self._temporary, data, self.end)

    def _absorbed(self, done: tuple[bytes, int]) -> None:
        data, written = done
        self._writing = 0
        self._written += written
        self.end += len(data)
        if written < len(data):
            if not self._window and not self.pass_through:
                self._window_start = self._written
            self.pass_through = True
            self._window.append(data[written:])
        self._changed()
        self._write()
        self._tell()

    def _not_absorbed(self, failure: Failure) -> None:
        self._writing = 0
        self.stop_writing()
        self._failed(failure)
        self._tell()

    def _tell(self) -> None:
        if not self._writing and not self._waiting:
            idle, self._idle = self._idle, []
            for answer in idle:
                answer.callback(None)
