"""The tape that a tar archive once was: blocks of bytes, read from first to last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.simple.archives.errors import CorruptArchive
from twisted_index.simple.archives.limits import too_big

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Bytes of a block; a body is filled up to a whole number of them.
BLOCK = 512


class BlockReader:
    """
    The unpacked bytes of an archive, once from first to last, and never more than allowed.

    Args:
        chunks: The bytes, in pieces.
        limit: Bytes.
    """

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        self._chunks = filter(None, chunks)
        self._allowed = limit
        self._held = b""
        self._at = 0

    def read_block(self) -> bytes:
        """Read a block; fewer bytes only at the end."""
        return self._take(BLOCK)

    def read_body(self, size: int, limit: int) -> bytes:
        """Read the body of a member, of whole blocks as it is."""
        if size > limit:
            raise too_big("has a larger description")
        body = self._take(_padded(size))
        if len(body) < size:
            raise CorruptArchive
        return body[:size]

    def skip_body(self, size: int) -> None:
        """Pass over the body of a member, which has to be there."""
        count = _padded(size)
        while count > (rest := len(self._held) - self._at):
            count -= rest
            if not self._turn():
                raise CorruptArchive
        self._at += count

    def drain(self) -> bool:
        """
        Read to the end: only there a compressed stream proves its sum.

        Returns:
            Whether nothing but zeros came.
        """
        blank = not self._held[self._at :].strip(b"\0")
        while self._turn():
            blank = blank and not self._held.strip(b"\0")
        return blank

    def _take(self, count: int) -> bytes:
        pieces = [self._cut(count)]
        while (count := count - len(pieces[-1])) and self._turn():
            pieces.append(self._cut(count))
        return b"".join(pieces)

    def _cut(self, count: int) -> bytes:
        piece = self._held[self._at : self._at + count]
        self._at += len(piece)
        return piece

    def _turn(self) -> bool:
        self._held, self._at = next(self._chunks, b""), 0
        self._allowed -= len(self._held)
        if self._allowed < 0:
            raise too_big("unpacks to more bytes")
        return bool(self._held)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
