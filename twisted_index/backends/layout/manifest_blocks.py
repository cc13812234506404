"""Reads a file of manifest lines, a block of whole lines at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

#: Fits into a processor's cache, and other threads get their turns in between.
_BLOCK = 64 << 10


def blocks_of(open_file: Callable[[], BinaryIO]) -> Iterator[bytes]:
    """
    Read whole lines, a block of them at a time.

    Args:
        open_file: Opens the file, when the first block is wanted.

    Raises:
        OSError: It cannot be opened or read.
    """
    with open_file() as file:
        rest = b""
        while chunk := file.read(_BLOCK):
            lines, newline, tail = chunk.rpartition(b"\n")
            if newline:
                yield rest + lines + newline
                rest = tail
            elif len(rest) < _BLOCK:
                # What is longer is no line with a name; its middle may be missing.
                rest += chunk
        if rest:
            yield rest
