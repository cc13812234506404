"""Builds the project list of a folder source, without opening distribution files."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.folder.local_tree import list_names
from twisted_index.backends.layout.project_scan import CLAIMING, QUARANTINE, unreadable_error
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.errors import OutOfResources
from twisted_index.interfaces import Snapshot
from twisted_index.simple.model import ProjectList
from twisted_index.simple.names import claimed_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.backends.folder.root_set import RootSet
    from twisted_index.backends.layout.entries import ProjectEntries
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


class ListedProject(NamedTuple):
    """
    What a root implies for a project.

    Attributes:
        entries: The root's entries for the project.
        folders: What each of its folders implies, in the same order.
        claims: Whether any visible entry claims the project.
        quarantined: Whether a folder quarantines the project.
    """

    entries: ProjectEntries
    folders: tuple[FolderNames, ...]
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
        self._listed: Mapping[bytes, Mapping[str, ListedProject]] = {}
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
        if self._snapshot is not None and self._snapshot.is_current():
            # Scanned since this scan was requested, and unchanged now.
            return self._snapshot
        generation, now = self._roots.generation, self._validator.monotonic()
        is_recent = now - self._scanned_at < self._rescan
        scan = await self._reader.run(
            _scan_all, self._roots.readings, self._validator, self._listed, all_folders=not is_recent
        )
        scanned_at = self._scanned_at = self._scanned_at if is_recent else now
        self._listed = scan.listed
        self._on_unreadable(scan.unreadable)
        lost = self._roots.lost_projects()
        names = tuple(name for name in scan.names if name not in lost)
        value = ProjectList(names=names, complete=self._roots.complete)
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
        listed: What each root implies for each project whose folders can be read, by root and project.
        names: The projects to list, sorted.
        unreadable: The error of each project whose folder cannot be read.
        failing: The paths of these folders.
    """

    listed: dict[bytes, dict[str, ListedProject]] = field(default_factory=dict)
    names: Sequence[str] = ()
    unreadable: dict[str, UnreadableFolder] = field(default_factory=dict)
    failing: list[bytes] = field(default_factory=list)


def _scan_all(
    readings: Iterable[RootScan],
    validator: StatValidator,
    before: Mapping[bytes, Mapping[str, ListedProject]],
    *,
    all_folders: bool,
) -> _ScanResult:
    """
    Scan the folders of projects.

    Args:
        readings: The roots.
        validator: Takes stamps.
        before: What the last scan found.
        all_folders: Whether to check the folders of all projects; if not, only of those whose entries have
            changed since.
    """
    scan = _ScanResult()
    claimed, hidden = set(), set()
    for reading in readings:
        known = before.get(reading.path, {})
        listed = scan.listed[reading.path] = {}
        for project, entries in reading.projects.items():
            found = known.get(project)
            if all_folders or found is None or found.entries is not entries:
                found = _scan_project(scan, project, reading.path, entries, validator, found)
            if found is None:
                continue
            listed[project] = found
            if found.claims:
                claimed.add(project)
            if found.quarantined:
                hidden.add(project)
    scan.names = sorted(claimed - hidden - scan.unreadable.keys())
    return scan


def _scan_project(
    scan: _ScanResult,
    project: str,
    root: bytes,
    entries: ProjectEntries,
    validator: StatValidator,
    before: ListedProject | None,
) -> ListedProject | None:
    """Scan a project's folders in a root; note the error and return None if one cannot be read."""
    known: Iterable[FolderNames | None] = repeat(None)
    if before is not None and before.entries[::2] == entries[::2]:
        # The same folders, of which the same is hidden.
        known = before.folders
    folders = []
    for folder, last in zip(entries.folders, known, strict=False):
        path = os.path.join(root, folder)
        try:
            folders.append(_scan_folder(project, path, validator, last, entries.hidden))
        except OSError as error:
            public_error = unreadable_error(error, folder)
            if isinstance(public_error, OutOfResources):
                raise public_error from None
            scan.unreadable[project] = public_error
            scan.failing.append(path)
    if len(folders) < len(entries.folders):
        return None
    found = tuple(folders)
    if before is not None and before.entries is entries and before.folders == found:
        return before
    # Hidden files claim a name without listing it.
    visible = any(not name.startswith(b".") for name in entries.files)
    return ListedProject(
        entries,
        found,
        claims=visible or any(names.claims for names in found),
        quarantined=any(names.quarantined for names in found),
    )


def _scan_folder(
    project: str,
    path: bytes,
    validator: StatValidator,
    before: FolderNames | None,
    hidden: frozenset[bytes],
) -> FolderNames:
    stamped = validator.stamp(path, before.stamp if before is not None else None, fine=False)
    if before is not None and before.stamp.settled and stamped.stamp == before.stamp.stamp:
        return before
    names = [os.fsdecode(name) for name in list_names(path) if name not in hidden]
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
