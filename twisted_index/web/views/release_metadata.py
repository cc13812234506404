"""Reads the core metadata of a release from its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.search.opened_body import whole_metadata
from twisted_index.simple.legacy_json import metadata_file
from twisted_index.simple.model import Sidecar

if TYPE_CHECKING:
    from twisted_index.interfaces import ISource
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
    return None if body is None else await whole_metadata(body)
