"""
A writer whose output may stall, for lines that may be lost.

A pipe that is not read, a terminal whose output is stopped and a slow disk block a write for as long as they
like, and the reactor must not wait for them.
"""

from __future__ import annotations

import os
import selectors
import threading
from queue import SimpleQueue

from twisted.logger import Logger

_log = Logger()

#: Bytes that wait while the output stalls; what comes then is dropped.
_MAX_WAITING = 4 << 20


class BackgroundWriter:
    """
    Writes lines to a descriptor, in a thread of its own, in order.

    Args:
        descriptor: Open for writing.
        name: What it is, in messages.
        owned: Whether to close it after the last line.
    """

    def __init__(self, descriptor: int, *, name: str, owned: bool = True) -> None:
        self._descriptor = descriptor
        self._name = name
        self._owned = owned
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        # Each is changed by one thread only.
        self._accepted = self._finished = 0
        self._dropped_lines = self._reported_lines = 0
        self._failing = self._torn = False
        # A daemon, since a stalled output must not keep the process from its end.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def write(self, lines: bytes) -> None:
        """Write whole lines later; drop them while too many wait."""
        if self._accepted - self._finished > _MAX_WAITING:
            self._dropped_lines += lines.count(b"\n")
            return
        self._accepted += len(lines)
        self._queue.put(lines)

    def close(self, timeout: float) -> None:
        """
        Write what waits, and close.

        Args:
            timeout: Seconds to wait for that; 0 does not wait.
        """
        self._queue.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (lines := self._queue.get()) is not None:
            self._write(lines)
            self._finished += len(lines)
        if self._owned:
            os.close(self._descriptor)

    def _write(self, lines: bytes) -> None:
        # What was left of a line by a full disk must not spoil the next one.
        data = b"\n" + lines if self._torn else lines
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._write_some(rest) :]
        except OSError as error:
            if written := len(data) - len(rest):
                self._torn = data[written - 1 : written] != b"\n"
            if not self._failing:  # once, as the next lines will fail for the same reason
                self._failing = True
                _log.error("{name} cannot be written: {error}", name=self._name, error=error.strerror)
            return
        self._failing = self._torn = False
        self._report_dropped()

    def _write_some(self, data: memoryview) -> int:
        """Write what there is room for; wait for room where another process has made a pipe non-blocking."""
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            with selectors.DefaultSelector() as selector:
                selector.register(self._descriptor, selectors.EVENT_WRITE)
                selector.select()
            return 0

    def _report_dropped(self) -> None:
        """Say it when the output goes on: this process may log to the same one."""
        dropped = self._dropped_lines
        if dropped > self._reported_lines:
            _log.warn(
                "{name}: {number} lines were dropped, as they were not read fast enough.",
                name=self._name,
                number=dropped - self._reported_lines,
            )
            self._reported_lines = dropped
