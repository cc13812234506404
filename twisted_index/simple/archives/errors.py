"""Errors of archives, each with a reason and an advice, whatever the libraries raise on hostile bytes."""

from __future__ import annotations

import errno
import lzma
import struct
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from twisted_index.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

BUILD_AGAIN = "Build it again with a current build tool."
_COPY_AGAIN = "Copy it again; if that does not help, build it again."


class BadArchive(BadRequest):
    """
    A file that is not the distribution that its name claims.

    Args:
        reason: One sentence: what is wrong with it. Safe to show to any client.
        advice: One sentence: what to do about it.
    """

    def __init__(self, reason: str, advice: str = _COPY_AGAIN) -> None:
        super().__init__(f"{reason} {advice}")
        self.reason = reason
        self.advice = advice


class UnreadableFile(BadArchive):
    """
    The operating system could not read the file; its content is unknown.

    Unlike its base class, it is no permanent verdict on these bytes: another attempt may succeed.
    """


class CorruptArchive(Exception):
    """Bytes that violate the format; `translate_errors` adds the message."""


#: Exceptions of the standard library on hostile bytes, besides OSError (RuntimeError includes
#: NotImplementedError: a compression that this Python lacks). Not MemoryError: no number in a file
#: determines how much is read at once, so it means that the server is short of memory.
_HOSTILE = (
    CorruptArchive,
    ArithmeticError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Turn all exceptions that hostile bytes can cause into a BadArchive: the file is not `what`."""
    reason = f"The file is not {what}, or was copied only in part."
    try:
        yield
    except OSError as error:
        # bz2 raises OSError for bad data too, but without errno. And EINVAL means an invalid argument,
        # which can only be a position that zipfile has read from the file.
        if error.errno not in (None, errno.EINVAL):
            raise UnreadableFile(
                "The file could not be read.", "Check the disk and the file's permissions."
            ) from error
        raise BadArchive(reason) from error
    except _HOSTILE as error:
        raise BadArchive(reason) from error
