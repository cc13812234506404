"""
Inspection of one distribution file: reads it from end to end, verifies it and extracts its metadata.

Blocking; called in a thread. Out of scope: when a file is inspected, and how thoroughly (see
`inspection_scheduler`).
"""

from __future__ import annotations

import hashlib
import io
import os
from typing import TYPE_CHECKING, BinaryIO

from twisted_index.backends.folder.inspection_cache import FileFacts, InspectionResult, Rejection, StatKey
from twisted_index.files.os_errors import RESOURCE_ERRNOS, error_text, out_of_resources_error
from twisted_index.files.safe_open import open_regular_file
from twisted_index.simple.archives.limits import MAX_UNPACKED
from twisted_index.simple.core_metadata import (
    BadArchive,
    NoMetadata,
    UnreadableFile,
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
    from twisted_index.simple.names import Distribution


_CHANGED = Rejection(
    reason="It changed while being read.",
    advice="The next request inspects it again; if it is still being copied, wait until that is done.",
    permanent=False,
)
#: A plain tar has no checksums, so a young one is listed only once its stamp is settled.
UNSETTLED = Rejection(
    reason="A plain tar has no checksums, so it is listed only after 2 seconds without changes.",
    advice="Retry in a moment.",
    permanent=False,
)
_IF_UNREADABLE = "Grant the server permission to read it, and check the disk."
_SPECIAL = Rejection(reason="It is not a regular file.", advice="Put a regular file here, or a link to one.")


#: Bytes of a file that is read once and verified whole at its first inspection: less work than opening it
#: again for a postponed verification.
SMALL = 16 * 1024


def inspect(
    path: bytes,
    distribution: Distribution,
    key: StatKey,
    *,
    verify_members: bool,
    sha256: str | None = None,
    strict: bool = False,
) -> InspectionResult:
    """
    Inspect a file right after its `stat`.

    Args:
        path: The file.
        distribution: Its parsed name.
        key: Its size and times from `stat`.
        verify_members: Whether to verify the checksum of every member too. A wheel that is still being
            written, perhaps out of order, can already have a whole directory and a whole METADATA.
        sha256: Its digest if the caller has already computed it; None to read the file for it.
        strict: Whether to require the core metadata that current build tools write. If not, metadata that
            installers can do without may be absent or badly encoded.

    Returns:
        The file's facts, or why it cannot be listed.
    """
    try:
        file = open_regular_file(path)
        if file is None:
            return _SPECIAL
        with file:
            if StatKey.from_stat(os.fstat(file.fileno())) != key:
                return _CHANGED
            facts = _read(
                _in_memory(file, key.size),
                distribution,
                verify_members=verify_members or key.size <= SMALL,
                sha256=sha256,
                strict=strict,
            )
            return facts if StatKey.from_stat(os.fstat(file.fileno())) == key else _CHANGED
    except (OSError, UnreadableFile) as error:
        cause = error.__cause__ if isinstance(error, UnreadableFile) else error
        assert isinstance(cause, OSError)
        if cause.errno in RESOURCE_ERRNOS:
            raise out_of_resources_error() from None
        return Rejection(
            reason=f"It cannot be read: {error_text(cause)}.", advice=_IF_UNREADABLE, permanent=False
        )
    except MemoryError:
        raise out_of_resources_error() from None
    except BadArchive as error:
        return Rejection(reason=error.reason, advice=error.advice)


def _in_memory(file: io.FileIO, size: int) -> io.FileIO | io.BytesIO:
    """Read a small file into memory; return any other, and one that has changed its size, as it is."""
    if size > SMALL:
        return file
    content = file.read(size + 1)
    return io.BytesIO(content) if len(content) == size else file


def _read(
    file: io.FileIO | io.BytesIO,
    distribution: Distribution,
    *,
    verify_members: bool,
    sha256: str | None,
    strict: bool,
) -> FileFacts:
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
