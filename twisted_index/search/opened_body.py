"""Bodies of files that are read here: out of memory, a file or a stream, whole or only their ends."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

from twisted_index.files.range_file import RangeFile
from twisted_index.interfaces import RangedContent, StreamingContent
from twisted_index.simple.archives.errors import CorruptArchive
from twisted_index.simple.archives.limits import MAX_METADATA

if TYPE_CHECKING:
    from twisted_index.interfaces import FileBody


async def whole_metadata(body: FileBody) -> bytes:
    """
    Read core metadata, as far as they are read, and close their body.

    Raises:
        Unavailable: The source cannot read them now.
    """
    content = await opened(body, stop=MAX_METADATA)
    if content is None:
        return b""
    with content:
        return content.read(MAX_METADATA)


async def opened(body: FileBody, first: int = 0, stop: int | None = None) -> BinaryIO | None:
    """
    Return a part of a body as a file with the positions of the whole, which the receiver closes.

    Args:
        body: A stream of it is read into memory.
        first: The first byte that is wanted; the file raises CorruptArchive before that.
        stop: The byte before which a stream ends; None for its own end.

    Returns:
        None if the part cannot be had without what comes before it.

    Raises:
        Unavailable: The source cannot read it now.
    """
    content, size = body.content, body.size if stop is None else min(body.size, stop)
    if isinstance(content, bytes):
        return io.BytesIO(content)
    if not isinstance(content, StreamingContent):
        return content
    try:
        if first:
            if not isinstance(content, RangedContent):
                return None
            content.narrow(first, size)
        pieces, position = [], first
        while position < size:
            readable = await content.wait_for(position)
            pieces.append(content.read(position, min(readable, size) - position))
            position += len(pieces[-1])
        part = b"".join(pieces)
    finally:
        content.close()

    def read(start: int, end: int) -> bytes:
        if start < first:
            raise CorruptArchive
        return part[start - first : end - first]

    return io.BufferedReader(RangeFile(size, read), 1 << 16)
