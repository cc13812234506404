"""All roots of a folder source, read together and revalidated by their stamps."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twisted.internet.defer import DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index.backends.folder.project_scan import printable_path
from twisted_index.backends.folder.root_scan import entries_of, read_root
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.errors import OutOfResources, UnreadableFolder
from twisted_index.files.os_errors import public_read_error
from twisted_index.interfaces import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from twisted_index.backends.folder.root_scan import ProjectEntries, RootScan
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.files.stamps import StatValidator

_log = Logger()


class RootSet:
    """
    The roots, in order.

    An unreadable root makes unavailable the projects that it had at its last reading, and all names
    that no other root has, since they may have been added to it. If it was never read, all projects
    are unavailable.

    Args:
        paths: Absolute paths.
        reader: Threads that read them.
        validator: Takes the stamps.

    Attributes:
        readings: The last readings of the readable roots; another tuple after each reading.
        generation: Incremented whenever a name appears in or disappears from any root.
        new_projects: Projects without entries at the previous reading, until they are listed.
    """

    def __init__(self, paths: Sequence[bytes], reader: IThreadRunner, validator: StatValidator) -> None:
        self._paths = tuple(paths)
        self._reader = reader
        self._validator = validator
        self._latest: list[RootScan | None] = [None] * len(self._paths)
        self._failing: dict[int, UnreadableFolder] = {}
        self._flight = FreshSingleFlight(self._read)
        self.readings: tuple[RootScan, ...] = ()
        self.generation = 0
        self.new_projects: set[str] = set()

    @property
    def _lost(self) -> list[RootScan]:
        """The last readings of the roots that are unreadable now."""
        return [reading for index in self._failing if (reading := self._latest[index]) is not None]

    @property
    def _error(self) -> UnreadableFolder:
        # Raised again for every request; without this its traceback would grow each time.
        return next(iter(self._failing.values())).with_traceback(None)

    @property
    def complete(self) -> bool:
        """Whether all roots were readable the last time."""
        return not self._failing

    @property
    def problems(self) -> list[Problem]:
        """One problem for each unreadable root."""
        return [root_problem(fault) for fault in self._failing.values()]

    def are_current(self) -> bool:
        """Return whether every root is unchanged: one `stat` each."""
        return all(map(self._is_current, range(len(self._paths))))

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
        stale = [index for index in range(len(self._paths)) if not self._is_current(index)]
        readings = [self._flight.run(index) for index in stale]
        for outcome in await DeferredList(readings, consumeErrors=True):
            if isinstance(outcome[1], Failure):
                raise outcome[1].value
        if len(self._failing) == len(self._paths) or any(
            self._latest[index] is None for index in self._failing
        ):
            raise self._error

    def lost_projects(self) -> Set[str]:
        """Return the projects of the unreadable roots, from their last readings."""
        return set().union(*(reading.projects for reading in self._lost))

    def check(self, project: str) -> None:
        """
        Check that no unreadable root can hold files of a project, which must not count as absent.

        Raises:
            UnreadableFolder: An unreadable root had the project, or no readable root has it.
        """
        if not self._failing:
            return
        if not self.entries_of(project) or any(project in reading.projects for reading in self._lost):
            raise self._error

    def _is_current(self, index: int) -> bool:
        reading = self._latest[index]
        return (
            reading is not None
            and index not in self._failing
            and self._validator.is_current(reading.path, reading.stamp)
        )

    async def _read(self, index: int) -> None:
        if self._is_current(index):
            # Read since this reading was requested, and unchanged now.
            return
        path, before = self._paths[index], self._latest[index]
        try:
            reading = await self._reader.run(read_root, path, self._validator, before)
        except OSError as error:
            self._set_failing(index, error)
            return
        was_failing = self._failing.pop(index, None) is not None
        if was_failing or before is None or reading.names is not before.names:
            self.generation += 1
        new = set() if before is None else reading.projects.keys() - before.projects.keys()
        self.new_projects |= {name for name in new if not self.entries_of(name)}
        self._set_reading(index, reading)
        self.new_projects = {name for name in self.new_projects if self.entries_of(name)}

    def _set_reading(self, index: int, reading: RootScan | None) -> None:
        self._latest[index] = reading
        self.readings = tuple(
            reading
            for index, reading in enumerate(self._latest)
            if reading is not None and index not in self._failing
        )

    def _set_failing(self, index: int, error: OSError) -> None:
        path, known = self._paths[index], self._failing.get(index)
        fault = root_fault(error, path, alone=len(self._paths) == 1)
        if isinstance(fault, OutOfResources):
            raise fault from None
        if known is None or known.reason != fault.reason:
            self._failing[index] = fault
            self._set_reading(index, self._latest[index])
            self.generation += 1
            _log.error(
                "The folder {path} cannot be read: {error}", path=os.fsdecode(path), error=fault.reason
            )


def root_fault(error: OSError, path: bytes, *, alone: bool) -> UnreadableFolder | OutOfResources:
    """
    Translate the error of a root.

    Args:
        error: From the system.
        path: The root.
        alone: Whether it is the only one.
    """
    description = "The package folder" if alone else "One of the package folders"
    return public_read_error(error, f"{printable_path(os.path.basename(path))}/", description)


def root_problem(fault: UnreadableFolder) -> Problem:
    """Make the problem of a root that cannot be read."""
    return Problem(
        path=fault.display_path,
        reason=f"This package folder cannot be read: {fault.reason}.",
        advice=fault.advice,
    )
