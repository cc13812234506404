"""The body of a request that is read while it is sent."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.task import Cooperator, TaskFinished
from twisted.web.client import FileBodyProducer

if TYPE_CHECKING:
    from twisted.internet.task import CooperativeTask


class IReadable(Protocol):
    """What a body is read from, in pieces."""

    def read(self, size: int, /) -> bytes:
        """Return up to so many bytes; none at the end."""

    def close(self) -> None:
        """Release what it holds."""


class FileRequestBody(FileBodyProducer):
    """
    A body from a file, of which only the pieces that are on their way are in memory.

    Args:
        file: Is closed at its end.
        length: In bytes.
        reactor: Schedules the reads, where Twisted's own class uses the global reactor.
    """

    _task: CooperativeTask[Any] | None = None

    def __init__(self, file: IReadable, length: int, reactor: Any) -> None:
        cooperator = Cooperator(scheduler=lambda step: reactor.callLater(0, step))
        FileBodyProducer.__init__(self, file, cooperator)
        self.length = length

    def stop(self) -> None:
        """Send no more; at any time, as a response may come before the end of the body."""
        with contextlib.suppress(TaskFinished):
            if self._task is not None:
                self._task.stop()
