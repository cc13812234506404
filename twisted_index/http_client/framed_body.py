"""The body of a request with a file between two other pieces, as in a form; its end if it stalls."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

from twisted_index.http_client.file_body import FileRequestBody
from twisted_index.http_client.stall_guard import STALL, StallGuard

if TYPE_CHECKING:
    from collections.abc import Callable


class FramedBody:
    """
    The body of a request: a file between two other pieces.

    Args:
        file: The file, at its start; is closed.
        size: Its bytes.
        before: What is sent before it.
        after: What is sent after it.
        reactor: Twisted's reactor.
        advance: Called with the number of bytes of each piece of the file.

    Attributes:
        producer: What sends it.
        guard: Ends the request if nothing can be sent for a while.
        is_changed: Whether the file has another size than expected.
    """

    def __init__(
        self,
        file: BinaryIO,
        size: int,
        before: bytes,
        after: bytes,
        *,
        reactor: Any,
        advance: Callable[[int], None],
    ) -> None:
        self.guard = StallGuard(reactor, STALL)
        self.guard.restart()
        self.is_changed = False
        self._file = file
        self._left = size
        self._before, self._after = io.BytesIO(before), io.BytesIO(after)
        self._advance = advance
        self.producer = FileRequestBody(self, len(before) + size + len(after), reactor)

    def read(self, size: int) -> bytes:
        """Return the next piece, for the producer."""
        self.guard.restart()
        return self._before.read(size) or self._read_file(size) or self._after.read(size)

    def _read_file(self, size: int) -> bytes:
        piece = self._file.read(min(size, self._left))
        self._left -= len(piece)
        self.is_changed = self._left > 0 and not piece
        if self.is_changed:
            raise EOFError
        self._advance(len(piece))
        return piece

    def close(self) -> None:
        """Close the file; the producer calls it at the end of the body."""
        self._file.close()

    def finish(self) -> None:
        """Send no more, also if the response came before the end of the body, and wait no longer."""
        self.producer.stop()
        self.close()
        self.guard.stop()
