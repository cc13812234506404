"""
Whose it is what the server makes, and who else may write it. Blocking.

`twisted-index` is often run by root, for a server that runs as a user of its own. So what root makes goes to
the owner of the folder that it lies in: else the server could not replace it, or make anything beside it.

In a setgid folder that its group may write, the group may write all that is published: that is how
administrators share a folder with each other and with a server, whose user may be another one tomorrow.
"""

from __future__ import annotations

import contextlib
import os
import stat as stat_module

from twisted_index.files.portability import IS_WINDOWS, open_flags, set_owner


def is_root() -> bool:
    """Return whether this process may give files away."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def hand_over(descriptor: int, folder: bytes | str) -> None:
    """Give what root has made to the owner of a folder, as far as the file system lets root."""
    if is_root():
        with contextlib.suppress(OSError):
            set_owner(descriptor, os.stat(folder))


def hand_over_folder(made: bytes | str, folder: bytes | str) -> None:
    """Give a folder that root has made to the owner of another; does not follow a link in its place."""
    if not is_root():
        return
    # Another process may have removed it, as it does with empty folders for unfinished files.
    with contextlib.suppress(OSError):
        descriptor = os.open(made, open_flags(os.O_RDONLY, "O_DIRECTORY", "O_NOFOLLOW"))
        try:
            hand_over(descriptor, folder)
        finally:
            os.close(descriptor)


def make_folders(path: str, mode: int = 0o777) -> None:
    """
    Make a folder and those above it, unless they are there; each belongs to the owner of the one above.

    Args:
        path: Where.
        mode: Permissions of that folder, less those that the umask takes.
    """
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    if above != path:
        make_folders(above)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
        hand_over_folder(path, above)


def make_file(path: str) -> None:
    """Make an empty file unless it is there; it belongs to the owner of its folder."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, open_flags(os.O_WRONLY | os.O_CREAT | os.O_EXCL), 0o666)
        try:
            hand_over(descriptor, os.path.dirname(path))
        finally:
            os.close(descriptor)


def group_write(root: bytes) -> int:
    """Return the permission of a group to write, if what lies in a root is its group's to write; else 0."""
    mode = os.stat(root).st_mode
    return mode & stat_module.S_IWGRP if mode & stat_module.S_ISGID else 0


def set_folder_mode(path: bytes, mode: int) -> None:
    """Give a folder permissions; it stays setgid if it is."""
    now = os.stat(path).st_mode
    if IS_WINDOWS or now & 0o777 == mode:
        return
    try:
        os.chmod(path, mode | now & stat_module.S_ISGID)
    except PermissionError:
        # RestrictSUIDSGID= of systemd refuses to set what is set already.
        os.chmod(path, mode)
