"""Reads the blocks of a tar archive from first to last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.simple.archives.errors import CorruptArchive
from twisted_index.simple.archives.limits import too_big

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Bytes of a block; bodies are padded to whole blocks.
BLOCK = 512


class BlockReader:
    """
    Reads the unpacked bytes of an archive once, up to a limit.

    Args:
        chunks: The bytes, in pieces.
        limit: Bytes that the archive may unpack to.
    """

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        self._chunks = filter(None, chunks)
        self._allowed = limit
        self._chunk = b""
        self._at = 0

    def read_block(self) -> bytes:
        """Read a block; shorter only at the end."""
        return self._take(BLOCK)

    def read_body(self, size: int, limit: int) -> bytes:
        """Read the body of a member, and skip its padding."""
        if size > limit:
            raise too_big("has a larger description")
        body = self._take(_padded(size))
        if len(body) < size:
            raise CorruptArchive
        return body[:size]

    def skip_body(self, size: int) -> None:
        """Skip the body of a member; it must be complete."""
        count = _padded(size)
        while count > (rest := len(self._chunk) - self._at):
            count -= rest
            if not self._next_chunk():
                raise CorruptArchive
        self._at += count

    def drain(self) -> bool:
        """
        Read to the end, where compressed streams are verified by their checksum.

        Returns:
            Whether all remaining bytes were zero.
        """
        blank = not self._chunk[self._at :].strip(b"\0")
        while self._next_chunk():
            blank = blank and not self._chunk.strip(b"\0")
        return blank

    def _take(self, count: int) -> bytes:
        pieces = [self._cut(count)]
        while (count := count - len(pieces[-1])) and self._next_chunk():
            pieces.append(self._cut(count))
        return b"".join(pieces)

    def _cut(self, count: int) -> bytes:
        piece = self._chunk[self._at : self._at + count]
        self._at += len(piece)
        return piece

    def _next_chunk(self) -> bool:
        self._chunk, self._at = next(self._chunks, b""), 0
        self._allowed -= len(self._chunk)
        if self._allowed < 0:
            raise too_big("unpacks to more bytes")
        return bool(self._chunk)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
