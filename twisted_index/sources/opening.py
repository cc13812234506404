"""
Opening the files that are served, and reading the documents inside and beside them.

Blocking, except that opening a local file is quicker than the way to a thread and back.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from twisted_index.interfaces import SMALL, Arriving, FileBody
from twisted_index.ledger import FileKey
from twisted_index.simple.metadata import BadArchive, read_wheel_metadata
from twisted_index.sources.listing import MAX_DOCUMENT, key_of
from twisted_index.sources.regular import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable


def open_distribution(
    path: bytes, key: FileKey, sha256: str, still_true: Callable[[], bool]
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
        file = open_regular(path)
    except OSError:
        return None
    if file is None:
        return None
    if FileKey.of(os.fstat(file.fileno())) != key:
        file.close()
        return None

    modified = key.mtime_ns / 1e9
    small: FileBody | None = None

    def reopen() -> FileBody | None:
        """Give the bytes that were read once, as long as the file's size and times say they are the same."""
        nonlocal small
        if not still_true() or key_of(path) != key:
            return None
        if small is None and (content := _read_all(path, key)) is not None:
            small = FileBody(content=content, size=key.size, sha256=sha256, modified=modified, reopen=reopen)
        return small

    return FileBody(
        content=file,
        size=key.size,
        sha256=sha256,
        modified=modified,
        reopen=reopen if key.size <= SMALL else None,
    )


def _read_all(path: bytes, key: FileKey) -> bytes | None:
    try:
        file = open_regular(path)
        if file is None:
            return None
        with file:
            content = file.read(key.size + 1)
            same = FileKey.of(os.fstat(file.fileno())) == key
    except OSError:
        return None
    return content if same and len(content) == key.size else None


def read_core_metadata(
    path: bytes, key: FileKey, metadata_sha256: str, still_true: Callable[[], bool]
) -> FileBody | None:
    """
    Read the METADATA of a wheel, as it is in the wheel.

    Returns:
        None if it is not the document that was known.
    """
    body = open_distribution(path, key, "", still_true)
    if body is None or isinstance(body.content, (bytes, Arriving)):
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
            reopen=lambda: make() if still_true() and key_of(path) == key else None,
        )

    return make()


def read_document(path: bytes) -> FileBody | None:
    """
    Read a signature or provenance document that lies beside a file. A link is not followed.

    Returns:
        None if there is none that may be served.
    """
    try:
        file = open_regular(path, follow_links=False)
    except OSError:
        return None
    if file is None:
        return None
    with file:
        status = os.fstat(file.fileno())
        if status.st_size > MAX_DOCUMENT:
            return None
        content = file.read(MAX_DOCUMENT)
    return FileBody(
        content=content,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        modified=status.st_mtime,
    )
