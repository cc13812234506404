"""The kind of file system of a folder. Linux only; elsewhere it is unknown, and nothing is assumed."""

from __future__ import annotations

import os

_REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "fuse.glusterfs"}
)
#: Folder times that do not change with every entry, or tick too slowly to tell.
_COARSE = frozenset({"vfat", "msdos", "exfat"})
_MOUNTS = "/proc/self/mountinfo"


def filesystem_type(path: bytes, mounts: str = _MOUNTS) -> str | None:
    """
    Name the type of the file system that a path is on, as the kernel names it.

    Args:
        path: Absolute.
        mounts: A file in the form of proc(5)'s mountinfo.

    Returns:
        None if it cannot be told.
    """
    try:
        real = os.path.realpath(path)
        with open(mounts, "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    kind, longest = None, -1
    for line in lines:
        fields, _dash, rest = line.partition(b" - ")
        point = fields.split(b" ")[4].decode("unicode_escape").encode("latin-1")
        # Of mounts on one point the last is the one that is seen.
        if _is_below(real, point) and len(point) >= longest:
            kind, longest = rest.split(b" ")[0].decode("ascii", "replace"), len(point)
    return kind


def _is_below(path: bytes, point: bytes) -> bool:
    return path == point or path.startswith(point.rstrip(b"/") + b"/")


def is_remote(path: bytes) -> bool:
    """Return whether changes made by others show only when a cache of attributes expires."""
    return filesystem_type(path) in _REMOTE


def has_coarse_folders(path: bytes) -> bool:
    """Return whether a folder's times are no proof that it has not changed."""
    return filesystem_type(path) in _COARSE
