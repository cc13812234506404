"""The file system of a folder, and what its times tell. Linux only; elsewhere nothing is known or assumed."""

from __future__ import annotations

import os
import re
import sys
import time

from twisted_index.files.portability import open_flags

_REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "fuse.glusterfs"}
)
#: Folder times that do not change with every entry, or tick too slowly to tell.
_COARSE = frozenset({"vfat", "msdos", "exfat"})
#: File systems that give a folder the time of the kernel's own clock at each change, under the lock under
#: which it is read, and keep nanoseconds if their inodes have room for them. Multigrain times (Linux,
#: filesystems/multigrain-ts) do not help: tmpfs gives a folder the time of the file that is removed or
#: linked, which ticks coarsely, and what the kernel remembers of a `stat` is gone with the inode's memory.
_FINE = frozenset({"ext3", "ext4", "xfs", "btrfs", "tmpfs"})


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
    """
    Return whether a folder's times are no proof that it has not changed.

    A FUSE program makes them up: mergerfs shows those of the first of its folders that has the path, and
    rclone those of its mount. What only passes on another computer's times keeps them.
    """
    kind = filesystem_type(path)
    return kind in _COARSE or (kind not in _REMOTE and (kind or "").partition(".")[0] == "fuse")


def has_fine_times(path: bytes, status: os.stat_result) -> bool:
    """
    Return whether the times of a folder come from this kernel's clock and tick no more coarsely than it.

    Args:
        path: A folder.
        status: From `stat` of this path just now.
    """
    if status.st_ctime_ns % 1_000_000_000 == 0:
        # Whole seconds: inodes without room for more, as of ext4 with 128 bytes each.
        return False
    try:
        opened = _open_path(path)
    except OSError:
        return False
    try:
        return os.path.samestat(os.fstat(opened), status) and _type_of(opened) in _FINE
    except OSError:
        return False
    finally:
        os.close(opened)


if sys.platform == "linux":
    #: CLOCK_REALTIME_COARSE (clock_gettime(2)), which Python does not name: of the last tick of the kernel.
    _COARSE_CLOCK = 5

    def file_clock() -> float:
        """Return the seconds since the epoch that a file changed now gets, if its file system keeps them."""
        return time.clock_gettime(_COARSE_CLOCK)

    def _open_path(path: bytes) -> int:
        return os.open(path, open_flags(os.O_PATH))
else:
    file_clock = time.time

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
            line = re.search(rb"\n%s .*? - (\S+)" % mount[1], b"\n" + mounts.read())
    except OSError:
        return None
    return None if line is None else line[1].decode("ascii", "replace")
