"""A file that is elsewhere, of which only those ranges are read that its reader wants."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class RangeFile(io.RawIOBase):
    """
    Reads a range for each read.

    Args:
        size: Of the whole file, in bytes.
        read: Returns the bytes from an offset up to another, all of them; what it raises ends the read.
    """

    def __init__(self, size: int, read: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._read = read
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("before the start")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read as much as fits."""
        stop = min(self._size, self._position + len(buffer))
        if stop <= self._position:
            return 0
        piece = self._read(self._position, stop)
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def readall(self) -> bytes:
        """Read the rest as one range."""
        return self.read(max(0, self._size - self._position)) or b""
