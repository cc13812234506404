"""Opens and reads regular files, and refuses anything else that has taken their name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat as stat_module
from typing import TYPE_CHECKING

from twisted_index.files.portability import open_flags

if TYPE_CHECKING:
    import io

#: O_NONBLOCK, so that a FIFO named like a wheel does not hold a thread for ever.
_FLAGS = open_flags(os.O_RDONLY, "O_NONBLOCK")
_NO_FOLLOW = open_flags(_FLAGS, "O_NOFOLLOW")


def open_regular_file(path: bytes, *, follow_links: bool = True) -> io.FileIO | None:
    """
    Open a regular file for reading, without a buffer.

    Args:
        path: The file.
        follow_links: False to refuse a link.

    Returns:
        None if it is a folder, a FIFO, a device or a socket.

    Raises:
        OSError: It is not there, or cannot be opened.
    """
    descriptor = os.open(path, _FLAGS if follow_links else _NO_FOLLOW)
    try:
        if stat_module.S_ISREG(os.fstat(descriptor).st_mode):
            return open(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def sha256_of(path: bytes) -> str | None:
    """Return the digest of a file, as lower-case hex; None if it cannot be read, or is not a regular file."""
    with contextlib.suppress(OSError):
        file = open_regular_file(path)
        if file is not None:
            with file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    return None
