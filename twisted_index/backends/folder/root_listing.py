"""
One reading of a root: which of its entries are named for which project.

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

#: The recycle bins of Windows before Vista, on NTFS and on FAT. Only their capitals tell them from projects.
_RECYCLE_BINS = frozenset({b"RECYCLER", b"RECYCLED"})


class ProjectEntries(NamedTuple):
    """
    What a root holds for one project.

    Attributes:
        folders: Names of folders that spell the project's name, in byte order.
        files: Names of entries beside them that are named for the project, in byte order.
    """

    folders: tuple[bytes, ...] = ()
    files: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class RootListing:
    """
    A root as it was read.

    Attributes:
        path: The root.
        stamp: Its stamp from before the reading.
        projects: By normalized name.
        unassigned: Entries that belong to no project.
        assignments: For each entry its project and whether it is a folder, so that the next reading
            only works on what is new; None as the project marks a stray.
    """

    path: bytes
    stamp: StampedStat
    projects: Mapping[str, ProjectEntries]
    unassigned: tuple[bytes, ...]
    assignments: Mapping[tuple[bytes, bool], str | None] = field(repr=False)


def read_root(path: bytes, validator: StatValidator, before: RootListing | None) -> RootListing:
    """
    Read a root.

    Args:
        path: The root.
        validator: Takes the stamp.
        before: The last reading, whose work is used again.

    Raises:
        OSError: If it cannot be read, or not entered, or is not there.
    """
    seen = validator.stamp(path, before.stamp if before is not None else None)
    os.stat(os.path.join(path, b"."))
    known = before.assignments if before is not None else {}
    places: dict[tuple[bytes, bool], str | None] = {}
    with os.scandir(path) as entries:
        for entry in entries:
            place = (entry.name, _may_be_folder(entry))
            places[place] = known[place] if place in known else _project_of(*place)
    if before is not None and places == before.assignments:
        return RootListing(path, seen, before.projects, before.unassigned, before.assignments)
    return _sort(path, seen, places)


def _may_be_folder(entry: os.DirEntry[bytes]) -> bool:
    """
    Say whether an entry is to be read as a folder.

    What cannot be followed counts if it is not named like a file: it may lead to nothing now and
    to a folder later, and no time of this root would tell.
    """
    try:
        if entry.is_dir():
            return True
        unsure = entry.is_symlink()
    except OSError:
        unsure = True
    return unsure and claimed_project(os.fsdecode(entry.name)) is None


def _project_of(name: bytes, folder: bool) -> str | None:
    text = os.fsdecode(name)
    if folder:
        return normalize(text) if is_valid_name(text) and name not in _RECYCLE_BINS else None
    return claimed_project(text)


def _sort(path: bytes, seen: StampedStat, places: Mapping[tuple[bytes, bool], str | None]) -> RootListing:
    folders: dict[str, list[bytes]] = {}
    files: dict[str, list[bytes]] = {}
    strays: list[bytes] = []
    for (name, folder), project in sorted(places.items()):
        if project is None:
            strays.append(name)
        else:
            (folders if folder else files).setdefault(project, []).append(name)
    parts = {
        project: ProjectEntries(tuple(folders.get(project, ())), tuple(files.get(project, ())))
        for project in folders.keys() | files.keys()
    }
    return RootListing(path, seen, parts, tuple(strays), places)
