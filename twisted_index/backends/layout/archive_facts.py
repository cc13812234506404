"""Reads what an index says of a distribution file out of the archive, and verifies it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from twisted_index.backends.layout.facts import FileFacts
from twisted_index.simple.archives.limits import MAX_UNPACKED
from twisted_index.simple.core_metadata import (
    BadArchive,
    NoMetadata,
    ZipArchive,
    check_consistency,
    check_encoding,
    check_identity,
    check_wheel_members,
    parse_headers,
    read_sdist_metadata,
    read_wheel_metadata,
)
from twisted_index.simple.names import DistributionType

if TYPE_CHECKING:
    import io
    from typing import BinaryIO

    from twisted_index.simple.names import Distribution


def read_facts(
    file: io.FileIO | io.BytesIO,
    distribution: Distribution,
    *,
    verify_members: bool,
    sha256: str | None,
    strict: bool,
) -> FileFacts:
    """
    Read a distribution file from end to end.

    Args:
        file: Open for reading, and seekable.
        distribution: Its parsed name.
        verify_members: Whether to verify the checksum of every member of a wheel too.
        sha256: Its digest if the caller has computed it; None to read the file for it.
        strict: Whether to require the core metadata that current build tools write. If not, metadata that
            installers can do without may be absent or badly encoded.

    Raises:
        BadArchive: It cannot be listed.
        UnreadableFile, OSError: It cannot be read.
    """
    wheel = ZipArchive(file) if distribution.kind is DistributionType.WHEEL else None
    if wheel is not None:
        metadata = read_wheel_metadata(wheel)
        metadata_sha256 = _digest_to_offer(metadata, strict=strict)
    else:
        metadata = _read_sdist(file, distribution.extension, strict=strict)
        metadata_sha256 = None
    headers = parse_headers(metadata)
    check = check_identity if wheel is not None or strict else check_consistency
    check(headers, project=distribution.project, version=distribution.version)
    if wheel is not None and verify_members:
        check_wheel_members(wheel, MAX_UNPACKED)
    if sha256 is None:
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return FileFacts(
        sha256=sha256,
        metadata_sha256=metadata_sha256,
        requires_python=headers.requires_python,
        # An sdist has been read to its end.
        verified=verify_members or wheel is None,
    )


def _digest_to_offer(metadata: bytes, *, strict: bool) -> str | None:
    """Return the digest of core metadata if it may be offered to installers, else None."""
    try:
        check_encoding(metadata)
    except BadArchive:
        if strict:
            raise
        return None
    return hashlib.sha256(metadata).hexdigest()


def _read_sdist(file: BinaryIO, extension: str, *, strict: bool) -> bytes:
    """Read PKG-INFO, or return b"" for an sdist without metadata; `strict` raises NoMetadata instead."""
    try:
        return read_sdist_metadata(file, extension, MAX_UNPACKED)
    except NoMetadata:
        if strict:
            raise
        return b""
