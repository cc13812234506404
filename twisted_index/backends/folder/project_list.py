"""Builds the project list of a folder source, without opening distribution files."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.folder.project_scan import CLAIMING, QUARANTINE, list_names, printable_path
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.errors import OutOfResources
from twisted_index.files.os_errors import public_read_error
from twisted_index.interfaces import Snapshot
from twisted_index.simple.model import ProjectList
from twisted_index.simple.names import claimed_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from twisted.internet.defer import Deferred

    from twisted_index.backends.folder.root_scan import ProjectEntries, RootScan
    from twisted_index.backends.folder.root_set import RootSet
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.errors import UnreadableFolder
    from twisted_index.files.stamps import StampedStat, StatValidator


#: Unreadable folders that are tried again, without a thread, before a cached list counts as current. With
#: more of them, the list is rebuilt for every request.
_MAX_FAILING = 16


class FolderNames(NamedTuple):
    """
    What the names in a project's folder imply for the project.

    Attributes:
        stamp: The folder's stamp.
        claims: Whether any entry claims the project.
        quarantined: Whether the folder quarantines the project.
    """

    stamp: StampedStat
    claims: bool
    quarantined: bool


class ProjectListBuilder:
    """
    Builds the project list.

    Exact for names that appear in and disappear from the roots: their folders are scanned at once. A folder
    that is emptied or quarantined changes no stamp of the root, so the stamps of all folders are checked
    every `rescan` seconds. A project with an unreadable folder has no page, and is left out.

    Args:
        roots: The roots.
        reader: Threads that read folders.
        validator: Takes stamps.
        rescan: Seconds for which a scan of all folders holds.
        on_unreadable: Called after each scan with the error of each project that is left out.
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
        self._on_unreadable = on_unreadable
        self._readings: tuple[RootScan, ...] = ()
        self._folders: Mapping[bytes, FolderNames] = {}
        self._scanned_at = -math.inf
        self._snapshot: Snapshot[ProjectList] | None = None
        self._flight: FreshSingleFlight[None, Snapshot[ProjectList]] = FreshSingleFlight(self._scan)

    def project_list(self) -> Snapshot[ProjectList] | Deferred[Snapshot[ProjectList]]:
        """Return the project list; without a Deferred while the last one is current."""
        if self._snapshot is not None and self._snapshot.is_current():
            return self._snapshot
        return self._flight.run(None)

    async def _scan(self, _key: None) -> Snapshot[ProjectList]:
        await self._roots.refresh()
        generation, readings, now = self._roots.generation, self._roots.readings, self._validator.monotonic()
        is_recent = now - self._scanned_at < self._rescan
        kept = self._readings if is_recent else ()
        scan = await self._reader.run(_scan_all, readings, kept, self._validator, self._folders)
        self._readings, self._folders = readings, scan.folders
        scanned_at = self._scanned_at = self._scanned_at if is_recent else now
        self._on_unreadable(scan.unreadable)
        hidden = scan.quarantined | scan.unreadable.keys() | self._roots.lost_projects()
        value = ProjectList(names=tuple(sorted(scan.claimed - hidden)), complete=self._roots.complete)
        if self._snapshot is not None and self._snapshot.value == value:
            value = self._snapshot.value
        failing = tuple(scan.failing)
        self._snapshot = Snapshot(
            value=value, is_current=lambda: self._is_current(generation, scanned_at, failing)
        )
        return self._snapshot

    def _is_current(self, generation: int, scanned_at: float, failing: tuple[bytes, ...]) -> bool:
        recent = self._validator.monotonic() - scanned_at < self._rescan
        return (
            recent
            and generation == self._roots.generation
            and self._roots.are_current()
            and len(failing) <= _MAX_FAILING
            and not any(map(_can_be_read, failing))
        )


@dataclass(slots=True)
class _ScanResult:
    """
    Result of a scan of all projects' folders. Filled in a thread.

    Attributes:
        folders: The readable folders, by path.
        claimed: Projects claimed by a visible entry.
        quarantined: Projects in quarantine.
        unreadable: The error of each project whose folder cannot be read.
        failing: The paths of these folders.
    """

    folders: dict[bytes, FolderNames] = field(default_factory=dict)
    claimed: set[str] = field(default_factory=set)
    quarantined: set[str] = field(default_factory=set)
    unreadable: dict[str, UnreadableFolder] = field(default_factory=dict)
    failing: list[bytes] = field(default_factory=list)

    def add(self, project: str, path: bytes, names: FolderNames) -> None:
        """Add what a folder's names imply."""
        self.folders[path] = names
        if names.claims:
            self.claimed.add(project)
        if names.quarantined:
            self.quarantined.add(project)


def _is_visible(part: ProjectEntries) -> bool:
    """Return whether the root's files list the project: hidden ones claim a name without listing it."""
    return any(not name.startswith(b".") for name in part.files)


def _scan_all(
    readings: Iterable[RootScan],
    kept: Iterable[RootScan],
    validator: StatValidator,
    before: Mapping[bytes, FolderNames],
) -> _ScanResult:
    """
    Scan the folders of all projects.

    Args:
        readings: The roots.
        kept: Earlier readings. Folders of projects with the same entries as there are not looked at.
        validator: Takes stamps.
        before: The folders at the last scan.
    """
    scan = _ScanResult()
    last = {reading.path: reading.projects for reading in kept}
    for reading in readings:
        known = last.get(reading.path, {})
        for project, part in reading.projects.items():
            if _is_visible(part):
                scan.claimed.add(project)
            is_known = known.get(project) is part
            for folder in part.folders:
                path = os.path.join(reading.path, folder)
                names = before.get(path)
                if names is None or not is_known:
                    names = _try_folder(scan, project, path, validator, names)
                if names is not None:
                    scan.add(project, path, names)
    return scan


def _try_folder(
    scan: _ScanResult, project: str, path: bytes, validator: StatValidator, before: FolderNames | None
) -> FolderNames | None:
    """Scan a folder; note its error and return None if it cannot be read."""
    try:
        return _scan_folder(project, path, validator, before)
    except OSError as error:
        public_error = public_read_error(error, f"{printable_path(os.path.basename(path))}/")
        if isinstance(public_error, OutOfResources):
            raise public_error from None
        scan.unreadable[project] = public_error
        scan.failing.append(path)
        return None


def _scan_folder(
    project: str, path: bytes, validator: StatValidator, before: FolderNames | None
) -> FolderNames:
    stamped = validator.stamp(path, before.stamp if before is not None else None, prove=False)
    if before is not None and before.stamp.settled and stamped.stamp == before.stamp.stamp:
        return before
    names = [os.fsdecode(name) for name in list_names(path)]
    return FolderNames(
        stamped,
        any(name in CLAIMING or claimed_project(name) == project for name in names),
        QUARANTINE in names,
    )


def _can_be_read(path: bytes) -> bool:
    try:
        list_names(path)
    except OSError:
        return False
    return True
