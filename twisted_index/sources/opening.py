"""
Opening the files that are served, and reading the documents inside and beside them.

Blocking, except that opening a local file is quicker than the way to a thread and back.
"""

from __future__ import annotations

import hashlib
import os
import stat as stat_module

from twisted_index.interfaces import FileBody
from twisted_index.ledger import FileKey
from twisted_index.simple.metadata import BadArchive, read_wheel_metadata
from twisted_index.sources.inspection import OPEN_FLAGS

#: Bytes of a signature or provenance document that are served.
_MAX_DOCUMENT = 1 << 20


def open_distribution(path: bytes, key: FileKey, sha256: str) -> FileBody | None:
    """
    Open a distribution file.

    Args:
        path: The file; links are followed.
        key: What was last known of it.
        sha256: Its digest under just this key.

    Returns:
        None if it is not there, or is no longer the file that was known.
    """
    try:
        descriptor = os.open(path, OPEN_FLAGS)
    except OSError:
        return None
    # Unbuffered: it is sent by descriptor, or read in large pieces.
    file = open(descriptor, "rb", buffering=0)  # noqa: SIM115
    status = os.fstat(descriptor)
    if FileKey.of(status) != key or not stat_module.S_ISREG(status.st_mode):
        file.close()
        return None
    return FileBody(content=file, size=key.size, sha256=sha256, modified=key.mtime_ns / 1e9)


def read_core_metadata(path: bytes, key: FileKey, metadata_sha256: str) -> FileBody | None:
    """
    Read the METADATA of a wheel, as it is in the wheel.

    Returns:
        None if it is not the document that was known.
    """
    body = open_distribution(path, key, "")
    if body is None or isinstance(body.content, bytes):
        return None
    with body.content as file:
        try:
            document = read_wheel_metadata(file)
        except (BadArchive, OSError):
            return None
    return _document(document, body.modified, metadata_sha256)


def read_document(path: bytes) -> FileBody | None:
    """
    Read a signature or provenance document that lies beside a file. A link is not followed.

    Returns:
        None if there is none that may be served.
    """
    try:
        descriptor = os.open(path, OPEN_FLAGS | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return None
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat_module.S_ISREG(status.st_mode) or status.st_size > _MAX_DOCUMENT:
            return None
        return _document(file.read(_MAX_DOCUMENT), status.st_mtime, None)


def _document(content: bytes, modified: float, expected: str | None) -> FileBody | None:
    sha256 = hashlib.sha256(content).hexdigest()
    if expected not in (None, sha256):
        return None
    return FileBody(content=content, size=len(content), sha256=sha256, modified=modified)
