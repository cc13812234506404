"""
One distribution file, read from end to end: is it whole, and what does it say of itself?

Blocking; called in a thread.
"""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING

from twisted_index.errors import Unavailable
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
from twisted_index.sources.regular import open_regular

if TYPE_CHECKING:
    import io

    from twisted_index.simple.names import Distribution

#: Bytes that an archive may unpack to while it is read; the largest real sdists stay below 2 GiB.
MAX_UNPACKED = 8 << 30

_SHORT_OF_MEANS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

_CHANGED = Refusal(
    reason="It changed while it was read.",
    advice="It will be looked at again with the next request; if it is still being copied, wait for that.",
    lasting=False,
)
_UNREADABLE = Refusal(
    reason="It cannot be read.",
    advice="Give the server the right to read it, and look whether the disk is well.",
    lasting=False,
)
_SPECIAL = Refusal(reason="It is not a regular file.", advice="Put a regular file here, or a link to one.")


def inspect(
    path: bytes, distribution: Distribution, key: FileKey, *, settled: bool, sha256: str | None = None
) -> Finding:
    """
    Read a file that `stat` has just seen.

    Args:
        path: The file.
        distribution: What its name says.
        key: What `stat` said of it.
        settled: Whether its change time is old. If not, it may still be being written, perhaps out
            of order, so every member's checksum is compared as well.
        sha256: Its digest, if whoever wrote the file has taken it; None to read the file for it.

    Returns:
        Its facts, or why it cannot be listed.
    """
    try:
        file = open_regular(path)
        if file is None:
            return _SPECIAL
        with file:
            if FileKey.of(os.fstat(file.fileno())) != key:
                return _CHANGED
            finding = _read(file, distribution, settled=settled, sha256=sha256)
            return finding if FileKey.of(os.fstat(file.fileno())) == key else _CHANGED
    except (OSError, Unreadable) as error:
        if getattr(error, "errno", None) in _SHORT_OF_MEANS:
            # That says nothing of the file, and a page without it would be a lie.
            raise Unavailable("The server is short of open files or memory right now.") from None
        return _UNREADABLE
    except BadArchive as error:
        return Refusal(reason=error.reason, advice=error.advice)


def _read(file: io.FileIO, distribution: Distribution, *, settled: bool, sha256: str | None) -> Facts:
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
    if sha256 is None:
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Facts(
        sha256=sha256,
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
