"""Core metadata of upstream wheels: checks documents against promised digests and names. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from twisted_index.backends.upstream.download_buffer import ALGORITHMS
from twisted_index.simple.core_metadata import (
    BadArchive,
    ZipArchive,
    check_consistency,
    check_encoding,
    check_identity,
    parse_headers,
    read_wheel_metadata,
)

if TYPE_CHECKING:
    import io

    from twisted_index.backends.upstream.remote import RemoteFile


def metadata_in(wheel: io.BufferedReader) -> bytes | None:
    """Read the METADATA of a whole wheel, unchecked; None if the file is not a wheel. Blocks."""
    try:
        return read_wheel_metadata(ZipArchive(wheel))
    except BadArchive:
        return None


def is_proven(remote_file: RemoteFile) -> bool:
    """Return whether the upstream promises a digest of the core metadata."""
    return bool(_digests(remote_file))


def is_promised(remote_file: RemoteFile, document: bytes) -> bool:
    """Return whether a document has every promised digest."""
    return all(
        hashlib.new(name, document, usedforsecurity=False).hexdigest() == digest
        for name, digest in _digests(remote_file).items()
    )


def is_believable(remote_file: RemoteFile, document: bytes) -> bool:
    """
    Return whether a document that an upstream offers beside a wheel can be the wheel's METADATA.

    Without a digest, its name and version must match the file's: front ends respond with pages of their
    own, and storages with the wheel itself.
    """
    if is_proven(remote_file):
        return is_promised(remote_file, document)
    try:
        check_encoding(document)
        project = remote_file.file.filename.partition("-")[0]
        check_identity(parse_headers(document), project=project, version=remote_file.file.version)
    except BadArchive:
        return False
    return True


def contradicts_name(remote_file: RemoteFile, document: bytes) -> bool:
    """Return whether core metadata states another name or version than a file's."""
    project = remote_file.file.filename.partition("-")[0]
    try:
        check_consistency(parse_headers(document), project=project, version=remote_file.file.version)
    except BadArchive:
        return True
    return False


def _digests(remote_file: RemoteFile) -> dict[str, str]:
    promised = remote_file.file.core_metadata or {}
    return {name: digest for name, digest in promised.items() if name in ALGORITHMS}
