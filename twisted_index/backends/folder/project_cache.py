"""The state of requested projects in memory, and its validity."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted_index.backends.folder.local_tree import stat_key, stat_key_no_follow
from twisted_index.backends.folder.root_scan import entries_of
from twisted_index.concurrency.lru import LRU

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.backends.folder.root_set import RootSet
    from twisted_index.backends.layout.facts import KnownFiles
    from twisted_index.backends.layout.page_builder import ListedFile
    from twisted_index.backends.layout.project_scan import ProjectScan
    from twisted_index.concurrency.single_flight import SharedResult
    from twisted_index.files.stamps import Stamp, StampedStat, StatValidator
    from twisted_index.interfaces import Problem, Snapshot
    from twisted_index.simple.model import ProjectPage

#: Files whose state is kept, over all sources and projects, at about 2.5 KB each. Beyond it the oldest states
#: are evicted; they are rebuilt from the inspection cache, without reading files.
MAX_FILES_KEPT = 20_000


class FolderValidity:
    """
    The validity of a project's state; callable.

    Small, and without a reference to the state: cached responses hold it, and they outlive states.

    Args:
        project: The normalized project name.
        roots: The roots.
        readings: The readings of the roots that the project was listed from.
        validator: Compares stamps.
        folders: The project's folders, with their stamps from before they were read.
        checked_at: Monotonic seconds at which the project's files were last checked.
        lifetime: Seconds for which that check holds.
    """

    __slots__ = (
        "_entries",
        "_folders",
        "_is_revoked",
        "_project",
        "_readings",
        "_roots",
        "_stamps",
        "_validator",
        "checked_at",
        "lifetime",
    )

    def __init__(
        self,
        project: str,
        roots: RootSet,
        readings: tuple[RootScan, ...],
        validator: StatValidator,
        folders: list[tuple[bytes, StampedStat]],
        *,
        checked_at: float,
        lifetime: float,
    ) -> None:
        self._project = project
        self._roots = roots
        self._readings = readings
        self._entries = entries_of(project, readings)
        self._validator = validator
        self._folders = folders
        #: Stamps that have to be unchanged; None while one of them is racy and proves nothing.
        self._stamps: list[tuple[bytes, Stamp]] | None = None
        self._is_revoked = False
        self.checked_at = checked_at
        self.lifetime = lifetime

    def __call__(self) -> bool:
        """Return whether the state is current: checks the clock, and one `stat` for each root and folder."""
        if self._readings is not self._roots.readings:
            return self.folders_are_current() and self.is_recent()
        # Called for every request, so inlined.
        validator = self._validator
        if self._stamps is None or validator.monotonic() - self.checked_at >= self.lifetime:
            return False
        stat = validator.stat
        try:
            for path, stamp in self._stamps:
                status = stat(path)
                if (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns) != stamp:
                    return False
        except OSError:
            return False
        return True

    def is_recent(self) -> bool:
        """Return whether the last check of the files still holds."""
        return self._validator.monotonic() - self.checked_at < self.lifetime

    def folders_are_current(self) -> bool:
        """Return whether the roots and the project's folders are unchanged, and record their stamps."""
        self._stamps = None
        roots = self._roots
        if self._is_revoked or not roots.complete or not self._adopt(roots.readings):
            return False
        stamped = [*(one for root in self._readings for one in root.stamps), *self._folders]
        if not all(self._validator.is_current(path, before) for path, before in stamped):
            return False
        self._stamps = [(path, before.stamp) for path, before in stamped]
        return True

    def _adopt(self, readings: tuple[RootScan, ...]) -> bool:
        """Return whether other readings hold the same for the project, and rely on them from now on."""
        if readings is not self._readings:
            if entries_of(self._project, readings) != self._entries:
                return False
            if any(part.files for _root, part in self._entries):
                # They may be other files now, under the same names.
                self.checked_at = -math.inf
            self._readings = readings
        return True

    def invalidate(self) -> None:
        """Return False from now on, for a change that no stamp shows."""
        self._is_revoked = True
        self._stamps = None


@dataclass(slots=True, eq=False)
class ProjectState:
    """
    A project as it was listed once.

    Attributes:
        scan: The scan.
        known_files: Inspected files; shared by all states of the project.
        validity: Whether this state is current.
        inspecting: The inspection of its files, once started.
        previous: The previous page, kept if the new one is equal.
        has_baseline: Whether the previous content is known, so that observers can be notified of changes.
        problems: Its problems; while a file is young, the previous ones.
        snapshot: None until every file is inspected. Its value is None if no entry is named for the
            project.
        listed_files: The listed files, by file name.
        settled: False while a file is so young that it has to be inspected again.
        serial: Given for what was scanned.
        last_serial: That of the previous page.
    """

    scan: ProjectScan
    known_files: KnownFiles
    validity: FolderValidity
    inspecting: SharedResult[None] | None = None
    previous: ProjectPage | None = None
    has_baseline: bool = False
    problems: Sequence[Problem] = ()
    snapshot: Snapshot[ProjectPage | None] | None = None
    listed_files: dict[str, ListedFile] = field(default_factory=dict)
    settled: bool = False
    serial: int | None = None
    last_serial: int | None = None

    def files_are_current(self) -> bool:
        """Return whether every file is unchanged: one `stat` each, so call it in a thread for many files."""
        sidecars = self.scan.sidecars
        return all(
            (stat_key_no_follow(path) if path in sidecars else stat_key(path)) == key
            for path, key in self.scan.watched.items()
        )


class StateCache:
    """
    The states of one source, among those of all sources of a server.

    Args:
        states: From `project_cache`.
        number: That of the source, unlike every other.
    """

    def __init__(self, states: LRU[tuple[int, str], ProjectState], number: int) -> None:
        self._states = states
        self._number = number

    def get(self, project: str) -> ProjectState | None:
        """Return the state of a project, as its latest use, or None."""
        return self._states.get((self._number, project))

    def put(self, project: str, state: ProjectState) -> None:
        """Keep the state of a project."""
        self._states.put((self._number, project), state)

    def pop(self, project: str) -> None:
        """Forget a project."""
        self._states.pop((self._number, project))

    def clear(self) -> None:
        """Forget all projects of this source."""
        for key in [key for key, _state in self._states.items() if key[0] == self._number]:
            self._states.pop(key)


def project_cache(limit: int = MAX_FILES_KEPT) -> LRU[tuple[int, str], ProjectState]:
    """Return an empty cache of states by source and project, bounded by the number of their files."""
    return LRU(limit, _weight)


def _weight(state: ProjectState) -> int:
    return len(state.scan.watched) + 1
