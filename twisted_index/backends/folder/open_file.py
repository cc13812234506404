"""
Opens listed files, and reads the documents inside and beside them.

Everything but `open_listed` blocks.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from twisted_index.backends.folder.local_tree import stat_key
from twisted_index.backends.layout.facts import StatKey
from twisted_index.files.safe_open import open_regular_file
from twisted_index.interfaces import SMALL_CONTENT, FileBody, StreamingContent
from twisted_index.simple.archives.limits import MAX_DOCUMENT
from twisted_index.simple.core_metadata import BadArchive, ZipArchive, read_wheel_metadata
from twisted_index.simple.model import Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.backends.layout.page_builder import ListedFile
    from twisted_index.backends.layout.project_scan import ProjectScan
    from twisted_index.concurrency.thread_pool import IThreadRunner


def sidecars_of(scan: ProjectScan, served: ListedFile) -> list[Sidecar]:
    """Return which documents inside and beside a file are served."""
    documents = scan.documents.get(served.entry.distribution.filename, {})
    embedded = [] if served.facts.metadata_sha256 is None else [Sidecar.METADATA]
    return [*documents, *embedded]


async def open_listed(
    scan: ProjectScan,
    served: ListedFile,
    sidecar: Sidecar | None,
    reader: IThreadRunner,
    is_current: Callable[[], bool],
) -> FileBody | None:
    """
    Open a file, or one of its `sidecars_of`.

    Args:
        scan: The last scan of its project.
        served: The file in it.
        sidecar: The requested document; None for the file itself.
        reader: Threads that read files.
        is_current: Returns whether the file is still listed.

    Returns:
        None if the file has changed since it was listed.
    """
    entry, facts = served.entry, served.facts
    if sidecar is None:
        # Without a thread: opening a file takes less time than a thread switch.
        return open_distribution(entry.path, entry.key, facts.sha256, is_current)
    if sidecar is Sidecar.METADATA:
        assert facts.metadata_sha256 is not None
        return await reader.run(read_core_metadata, entry.path, entry.key, facts.metadata_sha256, is_current)
    path = scan.documents[entry.distribution.filename][sidecar]
    return await reader.run(read_document, path)


def open_distribution(
    path: bytes, key: StatKey, sha256: str, is_current: Callable[[], bool]
) -> FileBody | None:
    """
    Open a distribution file.

    Args:
        path: The file; links are followed.
        key: Its size and times when it was listed.
        sha256: Its digest under exactly this key.
        is_current: Returns whether the file is still listed.

    Returns:
        None if the file is missing, or has changed since it was listed.
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
        """Return the bytes from memory while the file's size and times are unchanged."""
        nonlocal small
        if not is_current():
            return None
        try:
            status = os.stat(path)
        except OSError:
            return None
        # Written out, as every request of a small file passes here.
        if (status.st_size, status.st_mtime_ns, status.st_ctime_ns) != key:
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
    """Return the modification time, never in the future (RFC 9110 section 8.8.2.1)."""
    return min(key.mtime_ns, key.ctime_ns) / 1e9


def _read_all(path: bytes, key: StatKey) -> bytes | None:
    try:
        file = open_regular_file(path)
        if file is None:
            return None
        with file:
            content = file.read(key.size + 1)
            is_unchanged = StatKey.from_stat(os.fstat(file.fileno())) == key
    except OSError:
        return None
    return content if is_unchanged and len(content) == key.size else None


def read_core_metadata(
    path: bytes, key: StatKey, metadata_sha256: str, is_current: Callable[[], bool]
) -> FileBody | None:
    """
    Read the METADATA of a wheel.

    Returns:
        None if it has changed since it was inspected.
    """
    body = open_distribution(path, key, "", is_current)
    if body is None or isinstance(body.content, (bytes, StreamingContent)):
        return None
    with body.content as file:
        try:
            document = read_wheel_metadata(ZipArchive(file))
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
            reopen=lambda: make() if is_current() and stat_key(path) == key else None,
        )

    return make()


def read_document(path: bytes) -> FileBody | None:
    """
    Read a signature or provenance document that lies beside a file. A link is not followed.

    Returns:
        None if there is no regular, readable document within the size limit.
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
