"""Asks a source what a document of the legacy JSON API needs; what it says is in `simple.legacy_json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import maybeDeferred

from twisted_index.interfaces import Arriving
from twisted_index.simple.archives.limits import MAX_METADATA
from twisted_index.simple.legacy_json import find_version, latest_version, release_files, write_project
from twisted_index.simple.model import Companion
from twisted_index.simple.spelling import core_metadata

if TYPE_CHECKING:
    from twisted_index.interfaces import FileBody, Snapshot
    from twisted_index.simple.model import ProjectPage
    from twisted_index.worker import Works

#: Documents of more files are written in a thread, so that nobody waits for them who asks for others.
_MANY = 500


async def legacy_document(
    source: Any,
    project: str,
    version: str | None = None,
    *,
    base_url: str | None = None,
    worker: Works | None = None,
) -> bytes | None:
    """
    Give the document of a project or of one release.

    Args:
        source: A provider of `ISource`.
        project: A normalized name.
        version: In any spelling; None for the project.
        base_url: As for `write_project`.
        worker: Threads that write large documents; without it they are written at once.

    Returns:
        None if there is no such project with a file, or no such version.

    Raises:
        Unavailable: The source cannot tell now.
    """
    snapshot: Snapshot[ProjectPage | None] = await maybeDeferred(source.project_page, project)
    page = snapshot.value
    if page is None:
        return None
    found = latest_version(page) if version is None else find_version(page, version)
    if found is None:
        return None
    metadata = await _metadata(source, page, found)

    def write() -> bytes:
        return write_project(page, metadata, None if version is None else found, base_url=base_url)

    return await worker.run(write) if worker is not None and len(page.files) > _MANY else write()


async def _metadata(source: Any, page: ProjectPage, version: str) -> bytes | None:
    """Read the core metadata of a release out of one of its wheels: only a wheel's is offered."""
    wheels = [file for file in release_files(page, version) if core_metadata(file) is not None]
    for file in wheels[:1]:
        body: FileBody | None = await maybeDeferred(
            source.open_file, page.name, file.filename, Companion.METADATA
        )
        if body is not None:
            return await _read(body)
    return None


async def _read(body: FileBody) -> bytes:
    """Read a small document whole, wherever it comes from, and let go of it."""
    content = body.content
    if isinstance(content, bytes):
        return content
    try:
        if isinstance(content, Arriving):
            await content.whole()
            return content.read(0, min(body.size, MAX_METADATA))
        return content.read(MAX_METADATA)
    finally:
        content.close()
