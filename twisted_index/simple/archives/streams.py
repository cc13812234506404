"""Compressed streams: each function yields the unpacked bytes, in pieces of bounded size."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from typing import TYPE_CHECKING, BinaryIO

from twisted_index.simple.archives.limits import CHUNK, MAX_XZ_MEMORY
from twisted_index.simple.archives.refusals import Damage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def read_plain(file: BinaryIO) -> Iterator[bytes]:
    """Read what is not compressed."""
    return iter(lambda: file.read(CHUNK), b"")


def gunzip(file: BinaryIO) -> Iterator[bytes]:
    """Unpack gzip (RFC 1952)."""
    unpacker = gzip.GzipFile(fileobj=file, mode="rb")
    return iter(lambda: unpacker.read(CHUNK), b"")


def bunzip2(file: BinaryIO) -> Iterator[bytes]:
    """Unpack bzip2."""
    return _unpack_all(file, bz2.BZ2Decompressor)


def unxz(file: BinaryIO) -> Iterator[bytes]:
    """Unpack xz, unless that takes more than MAX_XZ_MEMORY."""
    return _unpack_all(file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_XZ_MEMORY))


def _unpack_all(
    file: BinaryIO, new: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]
) -> Iterator[bytes]:
    """Unpack one stream after the other, each to its proven end, to the end of the file."""
    data = file.read(CHUNK)
    while data:
        unpacker = new()
        while not unpacker.eof:
            if unpacker.needs_input and not data:
                data = file.read(CHUNK)
                if not data:
                    raise Damage
            yield unpacker.decompress(data, CHUNK)
            data = b""  # the unpacker keeps what it did not use yet
        data = unpacker.unused_data.lstrip(b"\0") or file.read(CHUNK)  # zeros: xz stream padding


def inflate(packed: Iterable[bytes]) -> Iterator[bytes]:
    """Unpack a bare deflate stream (RFC 1951), which does not prove its end: a zip's CRC does."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    for piece in packed:
        while piece and not unpacker.eof:  # past its end it would collect all that follows
            yield unpacker.decompress(piece, CHUNK)
            piece = unpacker.unconsumed_tail
    yield unpacker.flush()  # what the last bound held back: less than a window
