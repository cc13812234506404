"""Collects the data of a legacy JSON API document; `simple.legacy_json` writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.simple.legacy_json import find_version, latest_version, write_project
from twisted_index.web.views.release_metadata import release_metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import ISource
    from twisted_index.simple.model import File

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
    metadata = await release_metadata(source, page, selected)

    def write() -> bytes:
        release = None if version is None else selected
        return write_project(page, metadata, release, base_url=base_url, file_url=file_url)

    body = await worker.run(write) if worker is not None and len(page.files) > _MANY else write()
    return LegacyDocument(body, snapshot.serial)
