"""
The changes of an index: swept for when a client asks, with the waiting of those who want the next one.

Nothing runs while no client asks. While some wait, one sweep serves them all, and their timers aside there is
nothing else that wakes up.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.concurrency.single_flight import FreshSingleFlight, fire
from twisted_index.errors import Conflict, SimpleIndexError
from twisted_index.events.serials import REMOVED
from twisted_index.interfaces import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.events.serials import ChangeList, Serials
    from twisted_index.indexes.composite import ChangePart
    from twisted_index.interfaces import FileBody
    from twisted_index.simple.manifest import ManifestLine
    from twisted_index.simple.model import ProjectList

#: Seconds between the sweeps for waiting clients, if files are to be looked at for each request; and the part
#: of the time that sweeps for them may take, of which they rest half.
_LEAST_INTERVAL, _SHARE = 1.0, 1 / 10


class ChangeFeed:
    """
    The changes of all sources of an index.

    Args:
        parts: The sources, at least one; those with the serials of the first count.
        worker: Threads for serials; without it they are read in the reactor's.

    Attributes:
        clock: That of the sources.
        stopped: Whether no client should wait any more.
    """

    def __init__(self, parts: Sequence[ChangePart], worker: IThreadRunner | None) -> None:
        self._serials: Serials = parts[0].source.serials
        # Another count says nothing about these.
        self._parts = tuple(part for part in parts if part.source.serials is self._serials)
        self.clock: IReactorTime = parts[0].source.clock
        self._worker = worker
        self._rescan = max(part.source.rescan for part in parts)
        self._swept_at = -math.inf
        self._sweep_took = 0.0
        self._sweeps: FreshSingleFlight[None, None] = FreshSingleFlight(self._sweep)
        self._waiters: dict[Deferred[None], IDelayedCall] = {}
        self._next_sweep: IDelayedCall | None = None
        self.stopped = False

    @property
    def waiting(self) -> int:
        """The number of clients that wait."""
        return len(self._waiters)

    async def changes(self, names: Collection[str] = (), *, after: int | None = None) -> Snapshot[ChangeList]:
        """
        Return the last change of every project, of a sweep that is at most `rescan` seconds old.

        Args:
            names: Projects that have to be among them, if they are there.
            after: A serial. If a later one is known, no sweep is waited for, which takes long where there are
                many projects: what it would find gets a serial that is higher still.

        Raises:
            Unavailable: The folders cannot be read.
        """
        # Before the first sweep, the file of serials is not read yet.
        if after is not None and self._swept_at > -math.inf:
            known = self._serials.read()
            if known.highest > after:
                return Snapshot(value=known, is_current=lambda: False)
        if not self._is_recent() or any(self._serials.serial_of(name) is None for name in names):
            await self._sweeps.run(None)
        listed = self._serials.read()
        return Snapshot(
            value=listed, is_current=lambda: self._is_recent() and self._serials.is_current(listed)
        )

    def seconds(self) -> float:
        """Return the time by which clients wait."""
        return self.clock.seconds()

    async def tree(self, project: str) -> tuple[ManifestLine, ...] | None:
        """
        List all that counts of a project; see `IChangeSource`.

        Returns:
            None if no source of these answers for the project, or none has anything of it.
        """
        for part in self._parts:
            if part.owns(project):
                return await result_of(part.source.tree, project) or None
        return None

    async def entries(self, project: str, inline: int) -> bytes | None:
        """
        List the files that lie here for a project; see `IChangeSource`.

        Raises:
            Conflict: The projects of this index lie in several folders.
        """
        part = self._only_part()
        return await result_of(part.source.entries, project, inline) if part.owns(project) else None

    async def entry_batch(self, projects: Sequence[str], inline: int) -> Mapping[str, bytes]:
        """
        List the files of several projects; see `IChangeSource`.

        Raises:
            Conflict: The projects of this index lie in several folders.
        """
        part = self._only_part()
        return await result_of(part.source.entry_batch, [*filter(part.owns, projects)], inline)

    async def open_entry(self, project: str, path: bytes) -> FileBody | None:
        """Open a file of those; see `IChangeSource`."""
        part = self._only_part()
        return await result_of(part.source.open_entry, project, path) if part.owns(project) else None

    def _only_part(self) -> ChangePart:
        if len(self._parts) > 1:
            raise Conflict("The projects of this index lie in several folders, and a replica has one.")
        return self._parts[0]

    async def look(self) -> ChangeList:
        """
        Return the last change of every project, of a sweep that begins now.

        Raises:
            Unavailable: The folders cannot be read.
        """
        await self._sweeps.run(None)
        return self._serials.read()

    async def may_have_told(self, serial: int) -> bool:
        """Return whether a serial was told from here, as far as can be known: see `Serials`."""
        told = self._serials.may_have_given
        return told(serial) if self._worker is None else await self._worker.run(told, serial)

    async def known(self) -> ChangeList:
        """Return the last changes as far as they are known, without looking for more."""
        return self._serials.read() if self._worker is None else await self._worker.run(self._serials.read)

    def _is_recent(self) -> bool:
        return self.clock.seconds() - self._swept_at < self._rescan

    async def _sweep(self, _key: None) -> None:
        began = self.clock.seconds()
        if self._serials.follows:
            # They are those of another server: no look finds any.
            self._swept_at = began
            return
        present: set[str] = set()
        for part in self._parts:
            present |= await result_of(part.source.sweep, part.owns)
        await self._run(self._note_removed, present)
        self._swept_at, self._sweep_took = began, self.clock.seconds() - began
        self._serials.announce()

    def _note_removed(self, present: set[str]) -> None:
        for project, change in self._serials.read().changes.items():
            if change.imprint != REMOVED and project not in present:
                self._serials.note(project, REMOVED, flush=False)
        self._serials.flush()

    async def _run(self, work: Callable[[set[str]], None], present: set[str]) -> None:
        if self._worker is None:
            work(present)
        else:
            await self._worker.run(work, present)

    # -- Waiting

    def wait(self, seconds: float) -> Deferred[None]:
        """Wait until there may be a change, or for so many seconds; may be cancelled."""
        waiter: Deferred[None] = Deferred(self._forget)
        self._waiters[waiter] = self.clock.callLater(seconds, self.release, waiter)
        self._serials.listeners.add(self._release_all)
        if self._next_sweep is None:
            self._plan_sweep()
        return waiter

    def release(self, waiter: Deferred[None]) -> None:
        """End the waiting of a client; no-op if it has ended."""
        self._forget(waiter)
        fire(waiter, None)

    def stop(self) -> None:
        """Let no client wait any more."""
        self.stopped = True
        self._release_all()

    def _plan_sweep(self) -> None:
        seconds = max(self._rescan, _LEAST_INTERVAL, self._sweep_took / _SHARE)
        self._next_sweep = self.clock.callLater(seconds, self._sweep_for_waiters)

    def _sweep_for_waiters(self) -> None:
        self._next_sweep = None
        self._sweeps.run(None).addErrback(_ignore_error).addCallback(lambda _none: self._go_on())

    def _go_on(self) -> None:
        if self._waiters and self._next_sweep is None:
            self._plan_sweep()

    def _release_all(self) -> None:
        for waiter in tuple(self._waiters):
            self.release(waiter)

    def _forget(self, waiter: Deferred[None]) -> None:
        timer = self._waiters.pop(waiter, None)
        if timer is not None and timer.active():
            timer.cancel()
        if not self._waiters:
            self._serials.listeners.discard(self._release_all)
            if self._next_sweep is not None:
                self._next_sweep.cancel()
                self._next_sweep = None


def add_serials(projects: ProjectList, listed: ChangeList, *, private: bool) -> ProjectList:
    """
    Return a project list with the serials of just its projects.

    Args:
        projects: The list.
        listed: The last changes of all.
        private: Whether there may be projects that the client must not know of: then the highest serial is
            that of the list.
    """
    serials = {name: listed.changes[name].serial for name in projects.names if name in listed.changes}
    highest = max(serials.values(), default=0) if private else listed.highest
    return replace(projects, serials=serials, last_serial=highest)


def _ignore_error(failure: Failure) -> None:
    """Go on waiting; the next request gets the error."""
    failure.trap(SimpleIndexError)
