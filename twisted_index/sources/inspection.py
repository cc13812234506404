"""
One distribution file, read from end to end: is it whole, and what does it say of itself?

Blocking; called in a thread.
"""

from __future__ import annotations

import hashlib
import os
import stat as stat_module
from typing import TYPE_CHECKING

from twisted_index.ledger import Facts, FileKey, Finding, Refusal
from twisted_index.simple.metadata import (
    BadArchive,
    Unreadable,
    check_identity,
    check_wheel_members,
    parse_headers,
    read_sdist_metadata,
    read_wheel_metadata,
)
from twisted_index.simple.names import Kind

if TYPE_CHECKING:
    import io

    from twisted_index.simple.names import Distribution

#: Bytes that an archive may unpack to while it is read; the largest real sdists stay below 2 GiB.
MAX_UNPACKED = 8 << 30
#: O_NONBLOCK, so that a FIFO named like a wheel does not hold a thread for ever.
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_CHANGED = Refusal(
    reason="It changed while it was read.",
    advice="It will be looked at again with the next request; if it is still being copied, wait for that.",
    lasting=False,
)
_GONE = Refusal(
    reason="It cannot be read.",
    advice="Give the server the right to read it, and look whether the disk is well.",
    lasting=False,
)
_SPECIAL = Refusal(reason="It is not a regular file.", advice="Put a regular file here, or a link to one.")


def inspect(path: bytes, distribution: Distribution, key: FileKey, *, settled: bool) -> Finding:
    """
    Read a file that `stat` has just seen.

    Args:
        path: The file.
        distribution: What its name says.
        key: What `stat` said of it.
        settled: Whether its change time is old. If not, it may still be being written, perhaps out
            of order, so every member's checksum is compared as well.

    Returns:
        Its facts, or why it cannot be listed.
    """
    try:
        with open(os.open(path, OPEN_FLAGS), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not stat_module.S_ISREG(status.st_mode):
                return _SPECIAL
            if FileKey.of(status) != key:
                return _CHANGED
            finding = _read(file, distribution, settled=settled)
            return finding if FileKey.of(os.fstat(file.fileno())) == key else _CHANGED
    except (OSError, Unreadable):
        return _GONE
    except BadArchive as error:
        return Refusal(reason=error.reason, advice=error.advice)


def _read(file: io.FileIO, distribution: Distribution, *, settled: bool) -> Facts:
    if distribution.kind is Kind.WHEEL:
        metadata = read_wheel_metadata(file)
        metadata_sha256 = hashlib.sha256(metadata).hexdigest()
    else:
        metadata = read_sdist_metadata(file, distribution.extension, MAX_UNPACKED)
        metadata_sha256 = None
    headers = parse_headers(metadata)
    check_identity(headers, project=distribution.project, version=distribution.version)
    if not settled:
        _check_whole(file, distribution)
    file.seek(0)
    return Facts(
        sha256=hashlib.file_digest(file, "sha256").hexdigest(),
        metadata_sha256=metadata_sha256,
        requires_python=headers.requires_python,
    )


def _check_whole(file: io.FileIO, distribution: Distribution) -> None:
    """Compare checksums, where reading the archive to its end has not done so."""
    if distribution.kind is Kind.WHEEL:
        check_wheel_members(file, MAX_UNPACKED)
    elif distribution.extension == ".tar":
        raise BadArchive(
            "A plain tar has no checksums, so whether it is whole shows only after 2 seconds of rest.",
            "Ask again in a moment.",
        )
