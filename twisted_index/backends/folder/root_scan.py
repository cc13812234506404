"""
Scan of a root: which of its entries are named for which project.

Blocking; called in a thread. It opens no distribution file.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from twisted_index.backends.folder.staged import read_staged
from twisted_index.backends.layout.entries import ProjectEntries, entry_project
from twisted_index.simple.names import claimed_project

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Set

    from twisted_index.backends.folder.staged import Staged
    from twisted_index.files.stamps import StampedStat, StatValidator

#: Readings of a root that is being changed, before the last one counts.
_LOOKS = 10

#: An entry's name, and whether it is a folder.
_Name: TypeAlias = tuple[bytes, bool]


_NOTHING = ProjectEntries()


@dataclass(frozen=True, slots=True)
class RootScan:
    """
    The entries of a root, by project.

    Attributes:
        path: The root.
        stamp: Its stamp from before it was read.
        projects: Entries by normalized project name, without those that are not to be seen yet. Those that
            did not change are the same objects as in the reading before.
        unassigned: Entries that belong to no project.
        names: Each entry's name and whether it is a folder, so that the next reading parses new names only.
        taken: As `projects`, with all entries and nothing hidden.
        staged: Its `.staged` folder; None without one.
    """

    path: bytes
    stamp: StampedStat
    projects: Mapping[str, ProjectEntries] = field(default_factory=dict)
    unassigned: ProjectEntries = _NOTHING
    names: Set[_Name] = field(default=frozenset(), repr=False)
    taken: Mapping[str, ProjectEntries] = field(default_factory=dict, repr=False)
    staged: Staged | None = None

    @property
    def stamps(self) -> list[tuple[bytes, StampedStat]]:
        """The stamps that show a change: of the root, and of its `.staged` folder if there is one."""
        own = (self.path, self.stamp)
        return [own] if self.staged is None else [own, (self.staged.path, self.staged.stamp)]

    def is_current(self, validator: StatValidator) -> bool:
        """Return whether the root is unchanged: one `stat`, and those of `Staged.is_current`."""
        return validator.is_current(self.path, self.stamp) and (
            self.staged is None or self.staged.is_current(validator)
        )


def read_root(
    path: bytes, validator: StatValidator, before: RootScan | None, *, is_unchanged: bool = False
) -> RootScan:
    """
    Read a root.

    Args:
        path: The root.
        validator: Takes the stamp.
        before: The last reading, of which what did not change is kept.
        is_unchanged: Whether the root is known to have the stamp of that reading, so that only its `.staged`
            folder has to be read.

    Raises:
        OSError: The root is missing, or it or its `.staged` folder cannot be read or entered.
    """
    if before is not None and is_unchanged:
        return _hide(before, before, read_staged(path, validator, before.staged))
    stamp = validator.stamp(path, before.stamp if before is not None else None)
    os.stat(os.path.join(path, b"."))
    names = _names_in(path)
    staged = read_staged(path, validator, None if before is None else before.staged)
    for _look in range(_LOOKS if staged is not None else 0):
        # What came between the two readings, and is shown since, did not come alone.
        again = _names_in(path)
        if again == names:
            break
        names, staged = again, read_staged(path, validator, staged)
    known = before or RootScan(path, stamp)
    return _hide(_update(known, stamp, names), known, staged)


def _names_in(path: bytes) -> set[_Name]:
    with os.scandir(path) as entries:
        return {(entry.name, _may_be_folder(entry)) for entry in entries}


def _hide(reading: RootScan, before: RootScan, staged: Staged | None) -> RootScan:
    """Take what is not to be seen yet out of the projects of a reading."""
    hidden = {} if staged is None else staged.hidden
    known = {} if before.staged is None else before.staged.hidden
    if reading.taken is before.taken and hidden == known:
        return reading if staged is reading.staged else replace(reading, staged=staged)
    projects = reading.taken
    if hidden:
        projects = dict(reading.taken)
        for project in hidden.keys() & projects.keys():
            entries = _without(projects.pop(project), hidden[project])
            if entries.folders or entries.files:
                last = before.projects.get(project)
                projects[project] = last if last == entries else entries
    return replace(reading, projects=projects, staged=staged)


def _without(entries: ProjectEntries, hidden: frozenset[bytes]) -> ProjectEntries:
    files = tuple(name for name in entries.files if name not in hidden)
    return ProjectEntries(entries.folders, files, hidden if entries.folders else frozenset())


def hides_the_same(project: str, readings: Iterable[RootScan], validator: StatValidator) -> bool | None:
    """
    Return whether the roots hide the same of a project as they did when they were read.

    Args:
        project: The normalized project name.
        readings: Those of the roots.
        validator: Takes stamps.

    Returns:
        None if they do, and may have hidden something else in between.
    """
    is_certain = True
    for reading in readings:
        if project not in reading.projects:
            continue
        before = reading.staged
        try:
            now = read_staged(reading.path, validator, before)
        except OSError:
            return False
        if now is None and before is None:
            continue
        if now is None or before is None or now.hides(project) != before.hides(project):
            return False
        is_certain = is_certain and now.stamp.settled and now.stamp.stamp == before.stamp.stamp
    return True if is_certain else None


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
        by_project[entry_project(*name)].add(name)
    unassigned = _toggle(before.unassigned, by_project.pop(None, set()))
    projects = dict(before.taken)
    for project, its_names in by_project.items():
        assert project is not None
        entries = _toggle(projects.pop(project, _NOTHING), its_names)
        if entries != _NOTHING:
            projects[project] = entries
    return RootScan(before.path, stamp, projects, unassigned, names, projects, before.staged)


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
