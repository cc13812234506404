"""Collects the data of a legacy JSON API document; `simple.legacy_json` writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.interfaces import StreamingContent
from twisted_index.simple.archives.limits import MAX_METADATA
from twisted_index.simple.legacy_json import find_version, latest_version, metadata_file, write_project
from twisted_index.simple.model import Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import FileBody, ISource
    from twisted_index.simple.model import File, ProjectPage

#: Documents with more files than this are written in a thread, to keep the reactor free.
_MANY = 500


class LegacyDocument(NamedTuple):
    """
    A document.

    Attributes:
        body: Its bytes.
        serial: That of the project; None if it has none.
    """

    body: bytes
    serial: int | None = None


async def legacy_document(
    source: ISource,
    project: str,
    version: str | None = None,
    *,
    base_url: str | None = None,
    file_url: Callable[[File], str] | None = None,
    worker: IThreadRunner | None = None,
) -> LegacyDocument | None:
    """
    Return the document of a project or of one release.

    Args:
        source: Provides the project.
        project: A normalized name.
        version: In any spelling; None for the project.
        base_url: As for `write_project`.
        file_url: As for `write_project`.
        worker: Threads that write large documents; without it the reactor thread writes them.

    Returns:
        None if the project has no files or does not exist, or if there is no such version.

    Raises:
        Unavailable: The source cannot read the project now.
    """
    snapshot = await result_of(source.project_page, project)
    page = snapshot.value
    if page is None:
        return None
    selected = latest_version(page) if version is None else find_version(page, version)
    if selected is None:
        return None
    metadata = await _metadata(source, page, selected)

    def write() -> bytes:
        release = None if version is None else selected
        return write_project(page, metadata, release, base_url=base_url, file_url=file_url)

    body = await worker.run(write) if worker is not None and len(page.files) > _MANY else write()
    return LegacyDocument(body, snapshot.serial)


async def _metadata(source: ISource, page: ProjectPage, version: str) -> bytes | None:
    """Read the core metadata of a release from one of its wheels: only wheels have a metadata file."""
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
