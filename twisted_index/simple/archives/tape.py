"""The tape that a tar archive once was: blocks of bytes, read from first to last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.simple.archives.limits import too_big
from twisted_index.simple.archives.refusals import Damage

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Bytes of a block; a body is filled up to a whole number of them.
BLOCK = 512


class Tape:
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

    def take_block(self) -> bytes:
        """Read a block; fewer bytes only at the end."""
        return self._take(BLOCK)

    def take_body(self, size: int, limit: int) -> bytes:
        """Read the body of a member, of whole blocks as it is."""
        if size > limit:
            raise too_big("has a larger description")
        body = self._take(_padded(size))
        if len(body) < size:
            raise Damage
        return body[:size]

    def skip_body(self, size: int) -> None:
        """Pass over the body of a member, which has to be there."""
        count = _padded(size)
        while count > (rest := len(self._held) - self._at):
            count -= rest
            if not self._turn():
                raise Damage
        self._at += count

    def run_out(self) -> None:
        """Read to the end: only there a compressed stream proves its sum."""
        while self._turn():
            pass

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
