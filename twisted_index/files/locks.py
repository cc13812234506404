"""
One change per project at a time, over threads and processes. Nothing here waits.

The locks are on descriptors of the folders themselves (flock), so they leave nothing behind and end with
their process. On file systems without flock, links that never replace still prevent two files from
getting one name.
"""

from __future__ import annotations

import contextlib
import os
from threading import Lock
from typing import TYPE_CHECKING

from twisted_index.files.portability import open_flags, optional_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_fcntl = optional_module("fcntl")
#: Held by the one change of this process where there is no flock, as on Windows.
_changing = Lock()


class LockHeld(Exception):
    """Another change of this project, or of the root, is running. It takes milliseconds: retry."""


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """
    Lock a file or folder for as long as its descriptor is open.

    Returns:
        False if it is held elsewhere. True also where there are no locks.
    """
    if _fcntl is None:
        return True
    try:
        _fcntl.flock(descriptor, (_fcntl.LOCK_SH if shared else _fcntl.LOCK_EX) | _fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # NFS has none for folders (EBADF), others none at all (ENOLCK, EOPNOTSUPP).
        return True
    return True


@contextlib.contextmanager
def project_lock(root: bytes, find_folder: Callable[[], bytes | None] = lambda: None) -> Iterator[None]:
    """
    Keep all others from changing a project.

    A change of a project with a folder locks that folder, and shares the root with other such changes.
    A change that creates a folder, or works in the root itself, locks the root.

    Args:
        root: The first root.
        find_folder: Finds the project's folder in it, once the root is shared; None if it has
            none, or if the whole root is to be held.

    Raises:
        Busy: It is not free.
    """
    with contextlib.ExitStack() as stack:
        if _fcntl is None:
            if not _changing.acquire(blocking=False):
                raise LockHeld
            stack.callback(_changing.release)
            yield
            return
        outer = _open(root, stack)
        _take(outer, shared=True)
        folder = find_folder()
        if folder is None:
            _take(outer)
        else:
            _take(_open(folder, stack))
        yield


def _open(folder: bytes, stack: contextlib.ExitStack) -> int:
    descriptor = os.open(folder, open_flags(os.O_RDONLY))
    stack.callback(os.close, descriptor)
    return descriptor


def _take(descriptor: int, *, shared: bool = False) -> None:
    if not try_lock(descriptor, shared=shared):
        raise LockHeld
