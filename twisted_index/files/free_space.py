"""How much space a file system has left."""

from __future__ import annotations

import os
import shutil

from twisted.logger import Logger

from twisted_index.errors import InsufficientStorage
from twisted_index.files.os_errors import translate_os_errors

_log = Logger()


def free_bytes(path: str | bytes) -> int | None:
    """
    Return the bytes that an unprivileged process may still write. Blocking, on a dead mount for ever.

    Returns:
        None if the file system does not know; some of FUSE have no size.

    Raises:
        OSError: There is no such path.
    """
    usage = shutil.disk_usage(os.fsdecode(path))
    return usage.free if usage.total else None


def require_space(path: bytes, size: int, min_free: int) -> None:
    """
    Check that a file system has room for a file; the log says where it has not. Blocking.

    Args:
        path: Any path in it.
        size: Bytes of the file, or of what is still to be written.
        min_free: Bytes that have to be left.

    Raises:
        InsufficientStorage: It has not.
    """
    with translate_os_errors():
        free = free_bytes(path)
    if free is None or free - size >= min_free:
        return
    _log.error(
        "Uploads are refused: {path} has {free} bytes free, and one of {size} has to leave {min_free}.",
        path=os.fsdecode(path),
        free=f"{free:,}",
        size=f"{size:,}",
        min_free=f"{min_free:,}",
    )
    if free < size:
        raise InsufficientStorage("The server has no space left for this.")
    raise InsufficientStorage(
        f"The server accepts no upload that leaves less than {min_free:,} bytes of its disk free."
    )
