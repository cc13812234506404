"""Which entries of a root are named for which project."""

from __future__ import annotations

import os
from typing import NamedTuple

from twisted_index.simple.names import claimed_project, is_valid_name, normalize

#: Recycle bins of Windows before Vista, on NTFS and on FAT. Only their case distinguishes them from projects.
_RECYCLE_BINS = frozenset({b"RECYCLER", b"RECYCLED"})


class ProjectEntries(NamedTuple):
    """
    What a root holds for one project.

    Attributes:
        folders: Names of folders that normalize to the project's name, in byte order.
        files: Names of other entries that are named for the project, in byte order.
        hidden: Names of files in these folders that are not to be seen yet, see `staged`.
    """

    folders: tuple[bytes, ...] = ()
    files: tuple[bytes, ...] = ()
    hidden: frozenset[bytes] = frozenset()


def entry_project(name: bytes, folder: bool) -> str | None:
    """
    Return the normalized project that an entry of a root is named for; None if it is for none.

    Args:
        name: Of the entry.
        folder: Whether it is a folder.
    """
    text = os.fsdecode(name)
    if folder:
        return normalize(text) if is_valid_name(text) and name not in _RECYCLE_BINS else None
    return claimed_project(text)
