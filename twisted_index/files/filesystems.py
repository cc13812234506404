"""The file system of a folder, and what its times tell. Linux only; elsewhere nothing is known or assumed."""

from __future__ import annotations

import os
import re
import sys
import time

_REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "fuse.glusterfs"}
)
#: Folder times that do not change with every entry, or tick too slowly to tell.
_COARSE = frozenset({"vfat", "msdos", "exfat"})
#: File systems with multigrain times (Linux, filesystems/multigrain-ts) for each kind of change to a folder.
#: Not tmpfs, which has them too: at `unlink`, `rmdir`, `link` and `rename` over a file its folder gets the
#: time of the file, which ticks coarsely unless the file itself was looked at.
_MULTIGRAIN = frozenset({"ext4", "xfs", "btrfs"})
#: The first Linux with multigrain times.
_MULTIGRAIN_SINCE = (6, 13)


def filesystem_type(path: bytes) -> str | None:
    """
    Name the type of the file system that a path is on, as the kernel names it.

    Args:
        path: Absolute. Of one that does not exist, the deepest folder that does.

    Returns:
        None if it cannot be told.
    """
    try:
        while not os.path.exists(path) and os.path.dirname(path) != path:
            path = os.path.dirname(path)
        opened = _open_path(path)
    except OSError:
        return None
    try:
        return _type_of(opened)
    finally:
        os.close(opened)


def is_remote(path: bytes) -> bool:
    """Return whether changes made by others show only when a cache of attributes expires."""
    return filesystem_type(path) in _REMOTE


def has_coarse_folders(path: bytes) -> bool:
    """Return whether a folder's times are no proof that it has not changed."""
    return filesystem_type(path) in _COARSE


def has_multigrain_times(path: bytes, status: os.stat_result) -> bool:
    """
    Return whether every change to a folder after a `stat` gives it other times than that `stat` did.

    Where times are multigrain, a folder whose times were queried gets a time of nanoseconds at its next
    change, and the kernel changes and reads a folder under one lock. For regular files this proves less:
    `write` sets the times first and copies the bytes afterwards.

    Args:
        path: A folder.
        status: From `stat` of this path just now.
    """
    if not _KERNEL_IS_MULTIGRAIN or status.st_ctime_ns % 1_000_000_000 == 0:
        # Whole seconds: inodes without room for more, as of ext4 with 128 bytes each.
        return False
    try:
        opened = _open_path(path)
    except OSError:
        return False
    try:
        return os.path.samestat(os.fstat(opened), status) and _type_of(opened) in _MULTIGRAIN
    except OSError:
        return False
    finally:
        os.close(opened)


def _kernel_is_multigrain(release: str, tick: float) -> bool:
    """
    Return whether a kernel has multigrain times, and a clock to take them from.

    Args:
        release: The release of the kernel, as uname(2) gives it.
        tick: Seconds by which its clock advances.
    """
    version = re.match(r"(\d+)\.(\d+)", release)
    return version is not None and (int(version[1]), int(version[2])) >= _MULTIGRAIN_SINCE and tick <= 1e-6


if sys.platform == "linux":
    _KERNEL_IS_MULTIGRAIN = _kernel_is_multigrain(os.uname().release, time.clock_getres(time.CLOCK_REALTIME))

    def _open_path(path: bytes) -> int:
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
else:
    _KERNEL_IS_MULTIGRAIN = False

    def _open_path(path: bytes) -> int:
        raise OSError("only Linux tells the mount of a path")


def _type_of(opened: int) -> str | None:
    """
    Name the type of the file system that an open path is on.

    By the number of its mount: prefixes of paths mislead where one mount covers another, and btrfs gives each
    subvolume a device of its own.
    """
    try:
        with open(f"/proc/self/fdinfo/{opened}", "rb", buffering=0) as info:
            mount = re.search(rb"^mnt_id:\s*(\d+)$", info.read(), re.MULTILINE)
        if mount is None:
            return None
        with open("/proc/self/mountinfo", "rb") as mounts:
            line = re.search(rb"\n%s .* - (\S+)" % mount[1], b"\n" + mounts.read())
    except OSError:
        return None
    return None if line is None else line[1].decode("ascii", "replace")
