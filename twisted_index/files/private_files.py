"""
Files of the server's own state, in a folder that only its owner may enter. Blocking.

The folder may belong to a less privileged user than the process: `twisted-index` is often run by root, for
a server that runs as a user of its own. So files get the owner of their folder, and root follows no link
but root's own: it must not be led to give away, or to write, what a link points to. Everything happens
relative to one descriptor of the folder, which another one may replace meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from threading import Lock
from typing import TYPE_CHECKING

from twisted_index.files.ownership import is_root
from twisted_index.files.portability import IS_WINDOWS, open_flags, optional_module, set_owner

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Without it, as on Windows, two commands at the same moment may lose a change; threads do not.
_fcntl = optional_module("fcntl")
#: By the paths of the files.
_locks_of_threads: dict[str, Lock] = {}
_NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)


def make_private_folder(folder: str) -> None:
    """Make a folder that only its owner may enter, and those above it, unless it is there."""
    parent = os.path.dirname(folder)
    os.makedirs(parent, mode=0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
        if not IS_WINDOWS:
            with _open_folder(parent) as above, _open_folder(folder, _NO_FOLLOW) as made:
                _chown_like(made, above)


@contextlib.contextmanager
def open_private(path: str, flags: int, *, may_be_link: bool = False) -> Iterator[int]:
    """
    Open a file that only its owner may read and write; it is made with `os.O_CREAT`.

    Args:
        path: In a folder made by `make_private_folder`.
        flags: Those of `os.open`.
        may_be_link: Whether to follow a link, for instance to a volume for logs.
    """
    no_follow = _no_follow(path) if may_be_link else _NO_FOLLOW
    with _open_private_folder(path) as (folder, name):
        is_new = flags & os.O_CREAT and not _exists(name, folder)
        descriptor = os.open(name, open_flags(flags | no_follow), 0o600, dir_fd=folder)
        try:
            if is_new and folder is not None:
                _chown_like(descriptor, folder)
            yield descriptor
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def private_lock(path: str) -> Iterator[None]:
    """Hold a lock; waits for it. It is a file of its own, since `replace_private` makes another file."""
    with (
        _locks_of_threads.setdefault(path, Lock()) if _fcntl is None else contextlib.nullcontext(),
        open_private(path, os.O_RDWR | os.O_CREAT) as descriptor,
    ):
        if _fcntl is not None:
            _fcntl.flock(descriptor, _fcntl.LOCK_EX)
        yield


def replace_private(path: str, data: bytes) -> None:
    """Replace a file: after a loss of power either the old or the new one is there, whole."""
    with _open_private_folder(path) as (folder, name):
        temporary = f"{name}.{secrets.token_hex(4)}.tmp"
        flags = open_flags(os.O_WRONLY | os.O_CREAT | os.O_EXCL, "O_NOFOLLOW")
        descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
        try:
            with open(descriptor, "wb") as file:
                if folder is not None:
                    _chown_like(descriptor, folder)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        if folder is not None:
            os.fsync(folder)


def touch_private(path: str, seconds: float) -> None:
    """Give a file a time, in seconds since the epoch; an empty one is made if it is not there."""
    with open_private(path, os.O_WRONLY | os.O_CREAT) as descriptor:
        os.utime(descriptor if os.utime in os.supports_fd else path, (seconds, seconds))


def remove_private(path: str) -> None:
    """Remove a file, if it is there and can be removed."""
    with contextlib.suppress(OSError), _open_private_folder(path) as (folder, name):
        os.unlink(name, dir_fd=folder)


@contextlib.contextmanager
def _open_private_folder(path: str) -> Iterator[tuple[int | None, str]]:
    """Open the folder of a file; yield its descriptor, and the file's name relative to it."""
    parent, name = os.path.split(path)
    if IS_WINDOWS:
        yield None, path
        return
    with _open_folder(parent, _no_follow(parent)) as descriptor:
        yield descriptor, name


@contextlib.contextmanager
def _open_folder(path: str, flags: int = 0) -> Iterator[int]:
    descriptor = os.open(path, open_flags(os.O_RDONLY | flags, "O_DIRECTORY"))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _no_follow(path: str) -> int:
    """Return the flag that keeps root from following links of other users."""
    if not is_root():
        return 0
    with contextlib.suppress(OSError):
        if os.lstat(path).st_uid == 0:
            return 0
    return _NO_FOLLOW


def _exists(name: str, folder: int | None) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _chown_like(descriptor: int, folder: int) -> None:
    if is_root():
        set_owner(descriptor, os.fstat(folder))
