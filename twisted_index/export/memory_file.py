"""The file of what an export remembers: disposable, and read as one that others may have made. Blocking."""

from __future__ import annotations

import contextlib
import os

from twisted_index.files.ownership import make_folders
from twisted_index.files.safe_open import open_regular_file

#: Bytes; a hundred times what 10,000 projects take, and five hundred times what 1,000 assets do.
_MAX_BYTES = 1 << 29


def read_memory(path: str) -> bytes:
    """
    Read the file.

    Returns:
        Nothing of one that is too large, or no regular file.

    Raises:
        OSError: It is not there, or cannot be read.
    """
    file = open_regular_file(os.fsencode(path), follow_links=False)
    if file is None:
        return b""
    with file:
        return file.readall() if os.fstat(file.fileno()).st_size <= _MAX_BYTES else b""


def write_memory(path: str, content: bytes) -> None:
    """Replace the file, if that is possible: only time is lost without it."""
    with contextlib.suppress(OSError):
        make_folders(os.path.dirname(path), 0o700)
        temporary = f"{path}.tmp"
        # What an interrupted export left, or anything else: nothing is written through a link.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        with open(temporary, "xb") as file:
            file.write(content)
        os.replace(temporary, path)
