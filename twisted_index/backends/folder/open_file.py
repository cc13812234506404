"""
Opens listed files, and reads the documents inside and beside them.

Everything but `open_listed` blocks.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from twisted_index.backends.folder.inspection_cache import StatKey
from twisted_index.backends.folder.listing import stat_key
from twisted_index.files.safe_open import open_regular_file
from twisted_index.interfaces import SMALL_CONTENT, FileBody, StreamingContent
from twisted_index.simple.archives.limits import MAX_DOCUMENT
from twisted_index.simple.core_metadata import BadArchive, read_wheel_metadata
from twisted_index.simple.model import Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.backends.folder.page_builder import ListedFile
    from twisted_index.backends.folder.project_cache import ProjectState
    from twisted_index.concurrency.thread_pool import IThreadRunner


def sidecars_of(state: ProjectState, served: ListedFile) -> list[Sidecar]:
    """Name the documents inside and beside a file that are served."""
    beside = state.listing.documents.get(served.entry.distribution.filename, {})
    inside = [] if served.facts.metadata_sha256 is None else [Sidecar.METADATA]
    return [*beside, *inside]


async def open_listed(
    state: ProjectState, served: ListedFile, sidecar: Sidecar | None, reader: IThreadRunner
) -> FileBody | None:
    """
    Open a file, or one of its `sidecars_of`.

    Args:
        state: What was last found of its project.
        served: The file in it.
        sidecar: The document that is wanted; None for the file itself.
        reader: Threads.

    Returns:
        None if it is no longer what was found.
    """
    entry, facts = served.entry, served.facts
    still_true = state.validity if state.settled else _never
    if sidecar is None:
        # Without a thread: opening a file takes less time than the way to one and back.
        return open_distribution(entry.path, entry.key, facts.sha256, still_true)
    if sidecar is Sidecar.METADATA:
        assert facts.metadata_sha256 is not None
        return await reader.run(read_core_metadata, entry.path, entry.key, facts.metadata_sha256, still_true)
    path = state.listing.documents[entry.distribution.filename][sidecar]
    return await reader.run(read_document, path)


def _never() -> bool:
    """Say no for a project that is not all known, or too young for its times to tell all changes."""
    return False


def open_distribution(
    path: bytes, key: StatKey, sha256: str, still_true: Callable[[], bool]
) -> FileBody | None:
    """
    Open a distribution file.

    Args:
        path: The file; links are followed.
        key: What was last known of it.
        sha256: Its digest under just this key.
        still_true: Says whether the file is still listed.

    Returns:
        None if it is not there, or is no longer the file that was known.
    """
    try:
        file = open_regular_file(path)
    except OSError:
        return None
    if file is None:
        return None
    if StatKey.from_stat(os.fstat(file.fileno())) != key:
        file.close()
        return None

    modified = _modified(key)
    small: FileBody | None = None

    def reopen() -> FileBody | None:
        """Give the bytes that were read once, as long as the file's size and times say they are the same."""
        nonlocal small
        if not still_true() or stat_key(path) != key:
            return None
        if small is None and (content := _read_all(path, key)) is not None:
            small = FileBody(content=content, size=key.size, sha256=sha256, modified=modified, reopen=reopen)
        return small

    return FileBody(
        content=file,
        size=key.size,
        sha256=sha256,
        modified=modified,
        reopen=reopen if key.size <= SMALL_CONTENT else None,
    )


def _modified(key: StatKey) -> float:
    """Say when a file was modified, never in the future (RFC 9110 section 8.8.2.1)."""
    return min(key.mtime_ns, key.ctime_ns) / 1e9


def _read_all(path: bytes, key: StatKey) -> bytes | None:
    try:
        file = open_regular_file(path)
        if file is None:
            return None
        with file:
            content = file.read(key.size + 1)
            same = StatKey.from_stat(os.fstat(file.fileno())) == key
    except OSError:
        return None
    return content if same and len(content) == key.size else None


def read_core_metadata(
    path: bytes, key: StatKey, metadata_sha256: str, still_true: Callable[[], bool]
) -> FileBody | None:
    """
    Read the METADATA of a wheel, as it is in the wheel.

    Returns:
        None if it is not the document that was known.
    """
    body = open_distribution(path, key, "", still_true)
    if body is None or isinstance(body.content, (bytes, StreamingContent)):
        return None
    with body.content as file:
        try:
            document = read_wheel_metadata(file)
        except (BadArchive, OSError):
            return None
    if hashlib.sha256(document).hexdigest() != metadata_sha256:
        return None

    def make() -> FileBody:
        return FileBody(
            content=document,
            size=len(document),
            sha256=metadata_sha256,
            modified=body.modified,
            reopen=lambda: make() if still_true() and stat_key(path) == key else None,
        )

    return make()


def read_document(path: bytes) -> FileBody | None:
    """
    Read a signature or provenance document that lies beside a file. A link is not followed.

    Returns:
        None if there is none that may be served.
    """
    try:
        file = open_regular_file(path, follow_links=False)
        if file is None:
            return None
        with file:
            status = os.fstat(file.fileno())
            if status.st_size > MAX_DOCUMENT:
                return None
            content = file.read(MAX_DOCUMENT)
    except OSError:
        return None
    return FileBody(
        content=content,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        modified=_modified(StatKey.from_stat(status)),
    )
