"""Compressed streams: each function yields the unpacked bytes, in pieces of bounded size."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, BinaryIO

from twisted_index.simple.archives.errors import CorruptArchive
from twisted_index.simple.archives.limits import CHUNK, MAX_XZ_MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_GZIP = 16 + zlib.MAX_WBITS  # zlib's code for a gzip header and checksum
_GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952 section 2.3.1


def read_plain(file: BinaryIO) -> Iterator[bytes]:
    """Read an uncompressed file."""
    return iter(lambda: file.read(CHUNK), b"")


def gunzip(file: BinaryIO) -> Iterator[bytes]:
    """
    Unpack gzip (RFC 1952), one stream after the other; other data after a stream is ignored.

    So do gzip(1) ("trailing garbage ignored"), pip and uv; the checksum of the stream has verified the
    bytes before. `gzip` reads a header's name byte by byte in Python, however long a hostile one is.
    """
    data = file.read(CHUNK)
    while data:
        unpacker = zlib.decompressobj(_GZIP)
        while not unpacker.eof:
            data = data or file.read(CHUNK)
            if not data:
                raise CorruptArchive
            yield unpacker.decompress(data, CHUNK)
            data = unpacker.unconsumed_tail
        data = _next_stream(file, unpacker.unused_data)
        if len(data) == 1:
            data += file.read(CHUNK)
        if not data.startswith(_GZIP_MAGIC):
            return


def bunzip2(file: BinaryIO) -> Iterator[bytes]:
    """Unpack bzip2."""
    return _unpack_all(file, bz2.BZ2Decompressor)


def unxz(file: BinaryIO) -> Iterator[bytes]:
    """Unpack xz, with at most MAX_XZ_MEMORY."""
    return _unpack_all(file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_XZ_MEMORY))


def _unpack_all(
    file: BinaryIO, new: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]
) -> Iterator[bytes]:
    """Unpack one stream after the other, each to its verified end, to the end of the file."""
    data = file.read(CHUNK)
    while data:
        unpacker = new()
        while not unpacker.eof:
            if unpacker.needs_input and not data:
                data = file.read(CHUNK)
                if not data:
                    raise CorruptArchive
            yield unpacker.decompress(data, CHUNK)
            data = b""  # the unpacker keeps unused input
        data = _next_stream(file, unpacker.unused_data)


def _next_stream(file: BinaryIO, data: bytes) -> bytes:
    """Skip the zeros that may pad a stream."""
    while not (data := data.lstrip(b"\0")) and (more := file.read(CHUNK)):
        data = more
    return data


def inflate(packed: Iterable[bytes]) -> Iterator[bytes]:
    """Unpack a raw deflate stream (RFC 1951), which has no checksum: zip verifies its CRC."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    for piece in packed:
        while piece and not unpacker.eof:  # after the end, the unpacker would collect all further input
            yield unpacker.decompress(piece, CHUNK)
            piece = unpacker.unconsumed_tail
    yield unpacker.flush()  # the rest that the last limit held back: less than a window


def inflate_at_once(packed: bytes, size: int) -> bytes | None:
    """
    Unpack a raw deflate stream that is known to unpack to `size` bytes, in one step.

    Returns:
        None if it is damaged, has no end, or unpacks to more.
    """
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = unpacker.decompress(packed, size + 1)
    except zlib.error:
        return None
    return content if unpacker.eof else None
