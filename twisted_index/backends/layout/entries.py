"""Which entries of a root are named for which project."""

from __future__ import annotations

import os
from typing import NamedTuple

from twisted_index.simple.model import Sidecar
from twisted_index.simple.names import (
    InvalidFilename,
    claimed_project,
    is_valid_name,
    normalize,
    parse_filename,
)

#: The suffix of the mark of a yanked file.
YANKED = ".yanked"
#: Suffixes of what lies beside a file and is hidden with it. A tombstone is not: it hides by itself.
BESIDE = (*(sidecar.value for sidecar in Sidecar), YANKED)

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


def without_suffix(name: str) -> str:
    """Return the name of the file that a document or a yank lies beside; any other name as it is."""
    return next((name.removesuffix(suffix) for suffix in BESIDE if name.endswith(suffix)), name)


def may_belong(name: str, project: str) -> bool:
    """Return whether a project could have a distribution file of a name; it is normalized."""
    try:
        return parse_filename(name, project).project == project
    except InvalidFilename:
        return False
