"""
The bytes of a file that have come: digested and written in a thread, and to be read again.

Where they cannot be written they stay in memory until everybody has had them; how many, is paced by
whoever lets them come.

Not for: whether they are the right ones, and when they may be read (`download`).
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

    from twisted_index.upstream.cachefolder import Temporary
    from twisted_index.worker import Works

#: Never looked up by what an upstream says: the others take their length as an argument.
_ALGORITHMS = frozenset(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake"))


class Arrived:
    """
    What has come of a file.

    Args:
        worker: Threads that write and digest.
        algorithms: Digests that are wanted, where they are known.
        changed: Called when there is more to be had, or writing has ended.
        failed: Called if a thread could not do its work.

    Attributes:
        end: Bytes from the start that are to be had.
        passing: Whether what comes is no longer written.
        whole: Whether all of it is to be had still, from the first byte on.
    """

    def __init__(
        self,
        worker: Works,
        algorithms: Iterable[str],
        *,
        changed: Callable[[], None],
        failed: Callable[[Failure], None],
    ) -> None:
        self._worker = worker
        self._changed = changed
        self._failed = failed
        self._digests = {
            name: hashlib.new(name, usedforsecurity=False) for name in {*algorithms} & _ALGORITHMS
        }
        self._temporary: Temporary | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._writing = 0
        self._written = 0
        self._window: deque[bytes] = deque()
        self._window_start = 0
        self.end = 0
        self.passing = False
        self.whole = True
        self._idle: list[Deferred[None]] = []

    def place(self, temporary: Temporary | None) -> None:
        """Say where to write; None if nowhere. Before anything has come."""
        self._temporary = temporary
        self.passing = temporary is None

    @property
    def backlog(self) -> int:
        """Bytes in memory."""
        return self._waiting_bytes + self._writing + self.end - max(self._written, self._window_start)

    def take(self, data: bytes) -> None:
        """Take what comes next."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self._write()

    def drop(self) -> None:
        """Write no more of what waits, as nobody needs it."""
        self._waiting, self._waiting_bytes = [], 0

    def idle(self) -> Deferred[None]:
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
            self.whole = False

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
        if self.passing or self._temporary is None:
            return data, 0
        return data, self._temporary.write(data, self.end)

    def _absorbed(self, done: tuple[bytes, int]) -> None:
        data, written = done
        self._writing = 0
        self._written += written
        self.end += len(data)
        if written < len(data):
            if not self._window and not self.passing:
                self._window_start = self._written
            self.passing = True
            self._window.append(data[written:])
        self._changed()
        self._write()
        self._tell()

    def _not_absorbed(self, failure: Failure) -> None:
        self._writing = 0
        self.drop()
        self._failed(failure)
        self._tell()

    def _tell(self) -> None:
        if not self._writing and not self._waiting:
            idle, self._idle = self._idle, []
            for answer in idle:
                answer.callback(None)
