"""
What only some systems have: flags of `os.open`, reads at a position, modules of POSIX.

Windows lacks the most. Code asks here rather than by `sys.platform`, so that a test can hide it all on Linux;
`mypy --platform win32` finds what was forgotten.
"""

from __future__ import annotations

import os
from importlib import import_module
from threading import Lock
from typing import Any

#: Windows opens no folders, and neither removes nor renames what is open.
IS_WINDOWS = not hasattr(os, "O_DIRECTORY")
_DONT_NEED: int = getattr(os, "POSIX_FADV_DONTNEED", 0)
_seeking = Lock()


def optional_module(name: str) -> Any:
    """Import a module; None where the system lacks it. Untyped, since the stubs differ by platform."""
    try:
        return import_module(name)
    except ImportError:
        return None


def open_flags(flags: int, *names: str) -> int:
    """
    Add flags to those of `os.open`, as far as the system has them.

    Always among them: O_CLOEXEC, and O_BINARY, without which Windows translates line ends.

    Args:
        flags: Those of every system, such as `os.O_RDONLY`.
        *names: Of the others.
    """
    for name in ("O_CLOEXEC", "O_BINARY", *names):
        flags |= getattr(os, name, 0)
    return flags


def read_at(descriptor: int, size: int, position: int) -> bytes:
    """Read at most `size` bytes at a position (pread(2))."""
    if hasattr(os, "pread"):
        data: bytes = os.pread(descriptor, size, position)
        return data
    with _seeking:
        os.lseek(descriptor, position, os.SEEK_SET)
        return os.read(descriptor, size)


def write_at(descriptor: int, data: memoryview, position: int) -> int:
    """Write at a position (pwrite(2)); return how many bytes were written."""
    if hasattr(os, "pwrite"):
        written: int = os.pwrite(descriptor, data, position)
        return written
    with _seeking:
        os.lseek(descriptor, position, os.SEEK_SET)
        return os.write(descriptor, data)


def advise_not_needed(descriptor: int, start: int, length: int) -> None:
    """Say that a part of an open file is not needed in memory (posix_fadvise(2))."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, length, _DONT_NEED)


def set_mode(descriptor: int, mode: int) -> None:
    """Set the permissions of an open file (fchmod(2)), where it has any."""
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, mode)


def set_owner(descriptor: int, like: os.stat_result) -> None:
    """Give an open file the owner and the group of another (fchown(2)), where there are any."""
    if hasattr(os, "fchown"):
        os.fchown(descriptor, like.st_uid, like.st_gid)
