"""
Scan of a root: which of its entries are named for which project.

Blocking; called in a thread. It opens no distribution file.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from twisted_index.simple.names import claimed_project, is_valid_name, normalize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Set

    from twisted_index.files.stamps import StampedStat, StatValidator

#: Recycle bins of Windows before Vista, on NTFS and on FAT. Only their case distinguishes them from projects.
_RECYCLE_BINS = frozenset({b"RECYCLER", b"RECYCLED"})

#: An entry's name, and whether it is a folder.
_Name: TypeAlias = tuple[bytes, bool]


class ProjectEntries(NamedTuple):
    """
    What a root holds for one project.

    Attributes:
        folders: Names of folders that normalize to the project's name, in byte order.
        files: Names of other entries that are named for the project, in byte order.
    """

    folders: tuple[bytes, ...] = ()
    files: tuple[bytes, ...] = ()


_NOTHING = ProjectEntries()


@dataclass(frozen=True, slots=True)
class RootScan:
    """
    The entries of a root, by project.

    Attributes:
        path: The root.
        stamp: Its stamp from before it was read.
        projects: Entries by normalized project name. Those that did not change are the same objects as in
            the reading before.
        unassigned: Entries that belong to no project.
        names: Each entry's name and whether it is a folder, so that the next reading parses new names only.
    """

    path: bytes
    stamp: StampedStat
    projects: Mapping[str, ProjectEntries] = field(default_factory=dict)
    unassigned: ProjectEntries = _NOTHING
    names: Set[_Name] = field(default=frozenset(), repr=False)


def read_root(path: bytes, validator: StatValidator, before: RootScan | None) -> RootScan:
    """
    Read a root.

    Args:
        path: The root.
        validator: Takes the stamp.
        before: The last reading, of which what did not change is kept.

    Raises:
        OSError: The root is missing, or cannot be read or entered.
    """
    stamp = validator.stamp(path, before.stamp if before is not None else None)
    os.stat(os.path.join(path, b"."))
    with os.scandir(path) as entries:
        names = {(entry.name, _may_be_folder(entry)) for entry in entries}
    return _update(before or RootScan(path, stamp), stamp, names)


def entries_of(project: str, readings: Iterable[RootScan]) -> list[tuple[bytes, ProjectEntries]]:
    """Return each root that has entries for a project, with these."""
    return [(reading.path, reading.projects[project]) for reading in readings if project in reading.projects]


def _update(before: RootScan, stamp: StampedStat, names: set[_Name]) -> RootScan:
    """Sort the entries that came or went into a reading."""
    changed = names ^ before.names
    if not changed:
        return replace(before, stamp=stamp)
    by_project: defaultdict[str | None, set[_Name]] = defaultdict(set)
    for name in changed:
        by_project[_project_of(*name)].add(name)
    unassigned = _toggle(before.unassigned, by_project.pop(None, set()))
    projects = dict(before.projects)
    for project, its_names in by_project.items():
        assert project is not None
        entries = _toggle(projects.pop(project, _NOTHING), its_names)
        if entries != _NOTHING:
            projects[project] = entries
    return RootScan(before.path, stamp, projects, unassigned, names)


def _toggle(entries: ProjectEntries, changed: set[_Name]) -> ProjectEntries:
    """Add the names that are not among the entries, and remove those that are."""
    if not changed:
        return entries
    before = {(name, True) for name in entries.folders} | {(name, False) for name in entries.files}
    after = sorted(before ^ changed)
    return ProjectEntries(
        tuple(name for name, is_folder in after if is_folder),
        tuple(name for name, is_folder in after if not is_folder),
    )


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
