"""Reads the core metadata of a release from its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.interfaces import StreamingContent
from twisted_index.simple.archives.limits import MAX_METADATA
from twisted_index.simple.legacy_json import metadata_file
from twisted_index.simple.model import Sidecar

if TYPE_CHECKING:
    from twisted_index.interfaces import FileBody, ISource
    from twisted_index.simple.model import ProjectPage


async def release_metadata(source: ISource, page: ProjectPage, version: str) -> bytes | None:
    """
    Read the core metadata of a release from one of its wheels: only wheels have a metadata file.

    Args:
        source: Provides the page.
        page: Of the project.
        version: In any spelling.

    Returns:
        None if none of its files has some.

    Raises:
        Unavailable: The source cannot read it now.
    """
    file = metadata_file(page, version)
    if file is None:
        return None
    body = await result_of(source.open_file, page.name, file.filename, Sidecar.METADATA)
    return None if body is None else await _read(body)


async def _read(body: FileBody) -> bytes:
    """Read a small body whole, from memory, a file or a stream, and close it."""
    content = body.content
    if isinstance(content, bytes):
        return content
    try:
        if isinstance(content, StreamingContent):
            await content.wait_complete()
            return content.read(0, min(body.size, MAX_METADATA))
        return content.read(MAX_METADATA)
    finally:
        content.close()
