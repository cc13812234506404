"""
Inspection of one distribution file: reads it from end to end, verifies it and extracts its metadata.

Blocking; called in a thread. Out of scope: when a file is inspected, and how thoroughly (see
`inspection_scheduler`).
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from twisted_index.backends.layout.archive_facts import read_facts
from twisted_index.backends.layout.facts import InspectionResult, Rejection, StatKey
from twisted_index.files.os_errors import RESOURCE_ERRNOS, error_text, out_of_resources_error
from twisted_index.files.safe_open import open_regular_file
from twisted_index.simple.core_metadata import (
    BadArchive,
    UnreadableFile,
)

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
            facts = read_facts(
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
