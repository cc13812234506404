"""
Files of the server's own state, in a folder that only its owner may enter. Blocking.

The folder may belong to a less privileged user than the process: `twisted-index` is often run by root, for
a server that runs as a user of its own. So files get the owner of their folder, and links are not
followed: root must not be led to give away, or to overwrite, what they point to.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from twisted_index.files.anonymous_file import open_folder, write_atomically

try:
    import fcntl
except ImportError:  # not on Windows, where two commands at the same moment may lose a change
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator


def make_private_folder(folder: str) -> None:
    """Make a folder that only its owner may enter, and those above it, unless it is there."""
    os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        return
    if hasattr(os, "O_DIRECTORY"):
        with open_folder(os.fsencode(folder)) as descriptor:
            _chown_like_folder(descriptor, os.path.dirname(folder))


@contextlib.contextmanager
def open_private(path: str, flags: int) -> Iterator[int]:
    """
    Open a file that only its owner may read and write; it is made with `os.O_CREAT`.

    Args:
        path: In a folder made by `make_private_folder`.
        flags: Those of `os.open`.
    """
    safe = flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, safe, 0o600)
    try:
        if flags & os.O_CREAT:
            _chown_like_folder(descriptor, os.path.dirname(path))
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def private_lock(path: str) -> Iterator[None]:
    """Hold a lock; waits for it. It is a file of its own, since `replace_private` makes another file."""
    with open_private(path, os.O_RDWR | os.O_CREAT) as descriptor:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def replace_private(path: str, data: bytes) -> None:
    """Replace a file: after a loss of power either the old or the new one is there, whole."""
    folder = os.path.dirname(path)
    write_atomically(
        os.fsencode(folder),
        os.fsencode(path),
        data,
        prepare=lambda file: _chown_like_folder(file.descriptor, folder),
    )


def _chown_like_folder(descriptor: int, folder: str) -> None:
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        owner = os.stat(folder)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
