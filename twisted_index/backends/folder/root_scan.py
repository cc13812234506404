"""
ProjectScan of a root: which of its entries are named for which project.

Blocking; called in a thread. It opens no distribution file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.simple.names import claimed_project, is_valid_name, normalize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_index.files.stamps import StampedStat, StatValidator

#: Recycle bins of Windows before Vista, on NTFS and on FAT. Only their case distinguishes them from projects.
_RECYCLE_BINS = frozenset({b"RECYCLER", b"RECYCLED"})


class ProjectEntries(NamedTuple):
    """
    What a root holds for one project.

    Attributes:
        folders: Names of folders that normalize to the project's name, in byte order.
        files: Names of other entries that are named for the project, in byte order.
    """

    folders: tuple[bytes, ...] = ()
    files: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class RootScan:
    """
    The entries of a root, by project.

    Attributes:
        path: The root.
        stamp: Its stamp from before it was read.
        projects: Entries by normalized project name.
        unassigned: Entries that belong to no project.
        assignments: Project by entry name and whether it is a folder, so that the next reading parses
            new names only; None for an entry that belongs to no project.
    """

    path: bytes
    stamp: StampedStat
    projects: Mapping[str, ProjectEntries]
    unassigned: tuple[bytes, ...]
    assignments: Mapping[tuple[bytes, bool], str | None] = field(repr=False)


def read_root(path: bytes, validator: StatValidator, before: RootScan | None) -> RootScan:
    """
    Read a root.

    Args:
        path: The root.
        validator: Takes the stamp.
        before: The last reading, whose assignments are reused.

    Raises:
        OSError: The root is missing, or cannot be read or entered.
    """
    stamp = validator.stamp(path, before.stamp if before is not None else None)
    os.stat(os.path.join(path, b"."))
    known = before.assignments if before is not None else {}
    assignments: dict[tuple[bytes, bool], str | None] = {}
    with os.scandir(path) as entries:
        for entry in entries:
            entry_key = (entry.name, _may_be_folder(entry))
            assignments[entry_key] = known[entry_key] if entry_key in known else _project_of(*entry_key)
    if before is not None and assignments == before.assignments:
        return RootScan(path, stamp, before.projects, before.unassigned, before.assignments)
    return _sort(path, stamp, assignments)


def _may_be_folder(entry: os.DirEntry[bytes]) -> bool:
    """
    Return whether to treat an entry as a folder.

    A link that cannot be followed counts if it is not named like a distribution: its target may become
    a folder later without a change of the root's stamp.
    """
    try:
        if entry.is_dir():
            return True
        is_unknown = entry.is_symlink()
    except OSError:
        is_unknown = True
    return is_unknown and claimed_project(os.fsdecode(entry.name)) is None


def _project_of(name: bytes, folder: bool) -> str | None:
    text = os.fsdecode(name)
    if folder:
        return normalize(text) if is_valid_name(text) and name not in _RECYCLE_BINS else None
    return claimed_project(text)


def _sort(path: bytes, stamp: StampedStat, assignments: Mapping[tuple[bytes, bool], str | None]) -> RootScan:
    folders: dict[str, list[bytes]] = {}
    files: dict[str, list[bytes]] = {}
    unassigned: list[bytes] = []
    for (name, folder), project in sorted(assignments.items()):
        if project is None:
            unassigned.append(name)
        else:
            (folders if folder else files).setdefault(project, []).append(name)
    parts = {
        project: ProjectEntries(tuple(folders.get(project, ())), tuple(files.get(project, ())))
        for project in folders.keys() | files.keys()
    }
    return RootScan(path, stamp, parts, tuple(unassigned), assignments)
