"""Builds the project list of a folder source, without opening a file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.folder.listing import CLAIMING, QUARANTINE, list_names, printable_path
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.errors import OutOfResources
from twisted_index.files.os_errors import public_read_error
from twisted_index.interfaces import Snapshot
from twisted_index.simple.model import ProjectList
from twisted_index.simple.names import claimed_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from twisted.internet.defer import Deferred

    from twisted_index.backends.folder.root_listing import ProjectEntries
    from twisted_index.backends.folder.root_set import RootSet
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.errors import UnreadableFolder
    from twisted_index.files.stamps import StampedStat, StatValidator


#: Folders that cannot be read, and are tried again before the list is said to hold: as quickly done
#: as a few calls of `stat`. Where there are more, the list is made anew for every answer.
_FEW = 16


class FolderNames(NamedTuple):
    """
    What the names in a project's folder say.

    Attributes:
        stamp: The folder's stamp.
        claims: Whether anything in it is named for the project.
        quarantined: Whether it says so.
    """

    stamp: StampedStat
    claims: bool
    quarantined: bool


class ProjectListBuilder:
    """
    Makes the project list.

    Exact for names that come and go in the roots. A folder that empties, or is quarantined,
    changes no stamp of the root, so a request for the list checks the stamps of all folders.
    A project whose page cannot be told, as a folder of its cannot be read, is left out.

    Args:
        roots: The roots.
        reader: Threads.
        validator: Takes stamps.
        rescan: Seconds for which the look at the folders holds.
        on_unreadable: Called at each scan with the projects that are left out, and why.
    """

    def __init__(
        self,
        roots: RootSet,
        reader: IThreadRunner,
        validator: StatValidator,
        rescan: float,
        on_unreadable: Callable[[Mapping[str, UnreadableFolder]], None],
    ) -> None:
        self._roots = roots
        self._reader = reader
        self._validator = validator
        self._rescan = rescan
        self._told = on_unreadable
        self._folders: Mapping[bytes, FolderNames] = {}
        self._snapshot: Snapshot[ProjectList] | None = None
        self._joint: FreshSingleFlight[None, Snapshot[ProjectList]] = FreshSingleFlight(self._look)

    def project_list(self) -> Snapshot[ProjectList] | Deferred[Snapshot[ProjectList]]:
        """Give the list, at once where it is known to hold."""
        if self._snapshot is not None and self._snapshot.is_current():
            return self._snapshot
        return self._joint.run(None)

    async def _look(self, _key: None) -> Snapshot[ProjectList]:
        await self._roots.refresh()
        generation, now = self._roots.generation, self._validator.monotonic()
        places = [
            (project, [os.path.join(reading.path, folder) for folder in part.folders], _shows(part))
            for reading in self._roots.readings
            for project, part in reading.projects.items()
        ]
        look = await self._reader.run(_look_at_all, places, self._validator, self._folders)
        self._folders = look.folders
        self._told(look.unreadable)
        names = look.claimed - look.quarantined - look.unreadable.keys() - self._roots.lost_projects()
        value = ProjectList(names=tuple(sorted(names)), complete=self._roots.complete)
        if self._snapshot is not None and self._snapshot.value == value:
            value = self._snapshot.value
        failing = tuple(look.failing)
        self._snapshot = Snapshot(value=value, is_current=lambda: self._holds(generation, now, failing))
        return self._snapshot

    def _holds(self, generation: int, looked_at: float, failing: tuple[bytes, ...]) -> bool:
        recent = self._validator.monotonic() - looked_at < self._rescan
        return (
            recent
            and generation == self._roots.generation
            and self._roots.are_current()
            and len(failing) <= _FEW
            and not any(map(_can_be_read, failing))
        )


@dataclass(slots=True)
class _Look:
    """
    What all the projects' folders say. Filled in a thread.

    Attributes:
        folders: By path.
        claimed: Projects that anything to be seen is named for.
        quarantined: Projects that say so.
        unreadable: Projects whose folder cannot be read, and why.
        failing: The paths of these folders.
    """

    folders: dict[bytes, FolderNames] = field(default_factory=dict)
    claimed: set[str] = field(default_factory=set)
    quarantined: set[str] = field(default_factory=set)
    unreadable: dict[str, UnreadableFolder] = field(default_factory=dict)
    failing: list[bytes] = field(default_factory=list)


def _shows(part: ProjectEntries) -> bool:
    """Say whether a name may be shown for its files: what is hidden claims a name, and does not tell it."""
    return any(not name.startswith(b".") for name in part.files)


def _look_at_all(
    places: Iterable[tuple[str, list[bytes], bool]],
    validator: StatValidator,
    before: Mapping[bytes, FolderNames],
) -> _Look:
    look = _Look()
    for project, paths, shows in places:
        if shows:
            look.claimed.add(project)
        for path in paths:
            try:
                found = look.folders[path] = _look_at(project, path, validator, before.get(path))
            except OSError as error:
                fault = public_read_error(error, f"{printable_path(os.path.basename(path))}/")
                if isinstance(fault, OutOfResources):
                    raise fault from None
                look.unreadable[project] = fault
                look.failing.append(path)
                continue
            if found.claims:
                look.claimed.add(project)
            if found.quarantined:
                look.quarantined.add(project)
    return look


def _look_at(project: str, path: bytes, validator: StatValidator, before: FolderNames | None) -> FolderNames:
    seen = validator.stamp(path, before.stamp if before is not None else None)
    if before is not None and before.stamp.settled and seen.stamp == before.stamp.stamp:
        return before
    names = [os.fsdecode(name) for name in list_names(path)]
    return FolderNames(
        seen,
        any(name in CLAIMING or claimed_project(name) == project for name in names),
        QUARANTINE in names,
    )


def _can_be_read(path: bytes) -> bool:
    try:
        list_names(path)
    except OSError:
        return False
    return True
