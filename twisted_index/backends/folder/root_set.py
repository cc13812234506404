"""All roots of a folder source: what was last read of each, and whether it still holds."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from twisted.internet.defer import DeferredList
from twisted.python.failure import Failure

from twisted_index.backends.folder.emptied_root import EmptiedRoot
from twisted_index.backends.folder.root_scan import entries_of
from twisted_index.backends.folder.staged import LIST, MAX_STAGED_LIST, STAGED
from twisted_index.backends.layout.project_scan import printable_path
from twisted_index.errors import OutOfResources, UnreadableFolder
from twisted_index.files.os_errors import public_read_error
from twisted_index.interfaces import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from twisted_index.backends.folder.emptied_root import RootWatch
    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.backends.folder.shared_roots import SharedRoot, SharedRoots
    from twisted_index.backends.layout.entries import ProjectEntries


class RootSet:
    """
    The roots, in order.

    An unreadable root makes unavailable the projects that it had at its last reading, and all names
    that no other root has, since they may have been added to it. If it was never read, all projects
    are unavailable.

    Args:
        roots: From `shared`; other sets may have them too.
        shared: Reads them.
    """

    def __init__(self, roots: Sequence[SharedRoot], shared: SharedRoots) -> None:
        self._roots = tuple(roots)
        self._shared = shared
        self._seen = -1
        self._latest: list[RootScan | None] = [None] * len(self._roots)
        self._errors: list[OSError | None] = [None] * len(self._roots)
        self._failing: dict[int, UnreadableFolder] = {}
        self._readings: tuple[RootScan, ...] = ()
        self._generation = 0
        self._new_projects: set[str] = set()

    def watch(self, watch: RootWatch) -> None:
        """Let the only root be told by that to be unreadable, from its next reading on, which is due."""
        (root,) = self._roots
        root.watch, root.reading = watch, None

    @property
    def readings(self) -> tuple[RootScan, ...]:
        """The last readings of the readable roots; another tuple after each reading."""
        # Called for every request, so the common case comes first.
        if self._seen != self._shared.changes:
            self._look()
        return self._readings

    @property
    def generation(self) -> int:
        """Incremented whenever a name appears in or disappears from any root."""
        self._look()
        return self._generation

    @property
    def new_projects(self) -> set[str]:
        """Projects without entries at the previous reading, until they are listed."""
        self._look()
        return self._new_projects

    @property
    def complete(self) -> bool:
        """Whether all roots were readable the last time."""
        self._look()
        return not self._failing

    @property
    def problems(self) -> list[Problem]:
        """One problem for each unreadable root."""
        self._look()
        return [root_problem(fault) for fault in self._failing.values()]

    @property
    def _lost(self) -> list[RootScan]:
        """The last readings of the roots that are unreadable now."""
        return [reading for index in self._failing if (reading := self._latest[index]) is not None]

    @property
    def _error(self) -> UnreadableFolder:
        # Raised again for every request; without this its traceback would grow each time.
        return next(iter(self._failing.values())).with_traceback(None)

    def are_current(self) -> bool:
        """Return whether every root is unchanged: one `stat` each, if nothing is staged."""
        return all(root.is_current() for root in self._roots)

    def lists_are_current(self) -> bool:
        """Return whether no list of staged files was rewritten in place."""
        return all(reading.staged is None or reading.staged.lists_are_current() for reading in self.readings)

    def are_those_read(self) -> bool:
        """Return whether the folders at the paths of the roots are those that were read: one `stat` each."""
        for root, reading in zip(self._roots, self._latest, strict=True):
            try:
                status = os.stat(root.path)
            except OSError:
                return False
            stamp = None if reading is None else reading.stamp.stamp
            if stamp is not None and (status.st_dev, status.st_ino) != stamp[:2]:
                return False
        return True

    def entries_of(self, project: str) -> list[tuple[bytes, ProjectEntries]]:
        """Return each readable root that has entries for a project, with these."""
        return entries_of(project, self.readings)

    async def refresh(self) -> None:
        """
        Read again the roots that have changed.

        Raises:
            UnreadableFolder: No root can be read, or one of them never could.
            OutOfResources: The server lacks memory or descriptors.
        """
        stale = [self._shared.read(root) for root in self._roots if not root.is_current()]
        for outcome in await DeferredList(stale, consumeErrors=True):
            if isinstance(outcome[1], Failure):
                raise outcome[1].value
        self._look()
        if len(self._failing) == len(self._roots) or any(
            self._latest[index] is None for index in self._failing
        ):
            raise self._error

    def lost_projects(self) -> Set[str]:
        """Return the projects of the unreadable roots, from their last readings."""
        self._look()
        return set().union(*(reading.projects for reading in self._lost))

    def check(self, project: str) -> None:
        """
        Check that no unreadable root can hold files of a project, which must not count as absent.

        Raises:
            UnreadableFolder: An unreadable root had the project, or no readable root has it.
        """
        self._look()
        if not self._failing:
            return
        if not self.entries_of(project) or any(project in reading.projects for reading in self._lost):
            raise self._error

    def _look(self) -> None:
        """Take over what was read since the last look, for this set or another."""
        if self._seen == self._shared.changes:
            return
        self._seen = self._shared.changes
        for index, root in enumerate(self._roots):
            if root.error is not self._errors[index]:
                self._set_error(index, root.error)
            if root.error is None and root.reading is not None and root.reading is not self._latest[index]:
                self._set_reading(index, root.reading)

    def _set_error(self, index: int, error: OSError | None) -> None:
        self._errors[index] = error
        self._failing.pop(index, None)
        if error is not None:
            fault = root_fault(error, self._roots[index].path, alone=len(self._roots) == 1)
            assert isinstance(fault, UnreadableFolder)
            self._failing[index], self._latest[index] = fault, self._roots[index].reading
        self._generation += 1
        self._join()

    def _set_reading(self, index: int, reading: RootScan) -> None:
        before = self._latest[index]
        if before is None or reading.projects is not before.projects or reading.names is not before.names:
            self._generation += 1
        new = set() if before is None else reading.projects.keys() - before.projects.keys()
        self._new_projects |= {name for name in new if not entries_of(name, self._readings)}
        self._latest[index] = reading
        self._join()
        self._new_projects = {name for name in self._new_projects if entries_of(name, self._readings)}

    def _join(self) -> None:
        self._readings = tuple(
            reading
            for index, reading in enumerate(self._latest)
            if reading is not None and index not in self._failing
        )


def owners_by_root(paths: Sequence[bytes], owners: Sequence[str | None]) -> dict[bytes, str]:
    """
    Return the index that each root belongs to, without those of the index itself.

    Of two equal paths the first counts, as for files.
    """
    known = dict(zip(reversed(paths), reversed(owners), strict=True))
    return {path: owner for path, owner in known.items() if owner is not None}


def root_fault(error: OSError, path: bytes, *, alone: bool) -> UnreadableFolder | OutOfResources:
    """
    Translate the error of a root.

    Args:
        error: From the system.
        path: The root.
        alone: Whether it is the only one.
    """
    description = "The package folder" if alone else "One of the package folders"
    if isinstance(error, EmptiedRoot):
        place = printable_path(os.path.basename(path) + b"/")
        return UnreadableFolder(description, display_path=place, reason=error.reason, advice=error.advice)
    shown, staged = os.path.basename(path), os.path.join(path, STAGED)
    if isinstance(error.filename, bytes) and error.filename.startswith(staged):
        shown += error.filename.removeprefix(path)
    advice = (
        f"Remove it: a list has at most {MAX_STAGED_LIST:,} bytes." if error.errno == errno.EFBIG else None
    )
    shown += b"" if shown.endswith(LIST) else b"/"
    return public_read_error(error, printable_path(shown), description, advice)


def root_problem(fault: UnreadableFolder) -> Problem:
    """Make the problem of a root that cannot be read."""
    return Problem(
        path=fault.display_path,
        reason=f"This package folder cannot be read: {fault.reason}.",
        advice=fault.advice,
    )
