"""
The walk over the projects of an index: reads those that have changed since it was last there.

It runs when a search or a page needs it, and ends by itself; of a small index they wait for it. Of
upstreams nothing is read.
"""

from __future__ import annotations

import math
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import ref

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_index.concurrency.deadline import wait_at_most
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.concurrency.parallel import all_of, at_once
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.errors import NotReady, SimpleIndexError, Unavailable
from twisted_index.indexes.change_feed import ChangeFeed
from twisted_index.indexes.composite import counted_parts
from twisted_index.interfaces import IChangeSource
from twisted_index.search.name_match import Names
from twisted_index.search.reading import read_row
from twisted_index.search.row import ProjectRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.events.serials import Change
    from twisted_index.indexes.composite import LocalPart
    from twisted_index.search.known_rows import KnownRows
    from twisted_index.simple.model import ProjectPage

_log = Logger()

#: Projects that are read before the answer; seconds that a search waits for that, and other pages.
SMALL_INDEX = 1000
PATIENCE, BRIEF = 10.0, 2.0
#: Seconds that an answer of a large index waits for a look at what it shows.
_LARGE = 0.01
#: Of what a large index with serials shows, so many projects are looked at: a sweep finds changes of the
#: others. Each is looked at once within `rescan` seconds, as far as so many are remembered.
_SHOWN, _MOST_CHECKED = 10, 4096
#: The part of the time that goes into that: pages that are not in memory take milliseconds each.
_LOOKS = 1 / 5
#: Projects that are read at a time.
_AT_ONCE = 2
#: A large index is looked at no more often than would take this part of the time.
_SHARE = 1 / 100
#: Seconds after which all projects of a source without serials are looked at again: those that are shown, and
#: new ones, are at each search.
_UNCOUNTED = 600.0
#: Less than any serial.
_NO_SERIAL = -1


class Walk:
    """
    The walk over one index.

    Args:
        parts: The sources that are walked, at least one.
        rows: Keeps what is read.
        reader: Threads that read archives.
        clock: Tells the time, and when a wait is over.
    """

    def __init__(
        self, parts: Sequence[LocalPart], rows: KnownRows, reader: IThreadRunner, clock: IReactorTime
    ) -> None:
        self._parts = parts
        counted = counted_parts(parts)
        self._feed = ChangeFeed(counted, reader) if counted else None
        self._rescan = max((part.source.rescan for part in counted), default=0.0)
        #: The page that was read of each project that has no serial, and when all of them are looked at.
        self._pages: dict[str, ref[ProjectPage]] = {}
        self._next_look = -math.inf
        self._rows = rows
        self._reader = reader
        self._clock = clock
        self._names = Names(())
        self._checks: FreshSingleFlight[str, None] = FreshSingleFlight(self._check_if_due)
        #: When projects of a large index were last looked at.
        self._checked = LRU[str, float](_MOST_CHECKED)
        self._next_checks = -math.inf
        self._rounds: FreshSingleFlight[None, None] = FreshSingleFlight(self._go_round)
        self._began: float | None = None
        self._next = -math.inf
        self._is_stopped = False

    def stop(self) -> None:
        """Read nothing more: another walk has taken over."""
        self._is_stopped = True

    async def catch_up(self, names: Names, patience: float) -> None:
        """
        Read what is not known, and wait for it if there is little.

        Args:
            names: As they are now.
            patience: Seconds from the beginning of a round for which it is waited for.
        """
        self._names = names
        now = self._clock.seconds()
        left = patience if self._began is None else patience - (now - self._began)
        new = len(names.present) - self._rows.count(names)
        waits = self._is_small() or 0 < new <= SMALL_INDEX
        if left > 0 and (waits or (self._began is None and now >= self._next)):
            round_ = self._rounds.run(None)
            if waits:
                await self._wait(left, round_)

    async def check(self, names: Sequence[str]) -> None:
        """
        Read projects again whose pages have changed since the last round; waits a moment for that.

        Of a large index these are only the first, and those that were not looked at within `rescan` seconds;
        not while others are, or shortly after.
        """
        is_small = self._is_small()
        if not is_small and self._feed is not None:
            names = names[:_SHOWN] if self._clock.seconds() >= self._next_checks else ()
        due = list(filter(self._is_due, names))
        if due:
            await self._wait(BRIEF if is_small else _LARGE, Deferred.fromCoroutine(self._check_all(due)))

    def _is_small(self) -> bool:
        return len(self._names.present) <= SMALL_INDEX

    def _is_due(self, name: str) -> bool:
        checked = self._checked.peek(name)
        return checked is None or self._is_small() or self._clock.seconds() - checked >= self._rescan

    async def _wait(self, seconds: float, work: Deferred[None]) -> None:
        """Wait for what goes on without being waited for, and never fails."""
        with suppress(NotReady):
            await wait_at_most(self._clock, seconds, work, lambda: "")

    async def _go_round(self, _key: None) -> None:
        """Read all that has changed. A failure is logged; what is left is read in the next round."""
        began = self._began = self._clock.seconds()
        try:
            await self._rows.load()
            changes = await self._sweep()
            swept = self._clock.seconds()
            self._next = swept + max(self._rescan, (swept - began) / _SHARE)
            await at_once(_AT_ONCE, self._read, await self._rows.stale(self._names.names, changes))
            if self._feed is None and swept >= self._next_look:
                self._next_look = swept + _UNCOUNTED
                await at_once(_AT_ONCE, self._check, self._names.names)
            await self._rows.forget_others(self._names.present)
        except CancelledError:
            # The threads have stopped.
            return
        except Exception:
            _log.failure("What the search knows of projects cannot be brought up to date")
        finally:
            self._began = None

    async def _sweep(self) -> Mapping[str, Change] | None:
        """Return the last changes of projects; None if they cannot be looked at now."""
        if self._feed is not None:
            with suppress(SimpleIndexError):
                return (await self._feed.changes()).value.changes
        return None

    async def _read(self, name: str) -> None:
        """Read a project."""
        if self._is_stopped:
            return
        part = self._part_of(name)
        if part is None:
            self._rows.note(name, None)
            return
        counted = IChangeSource(part.source, None)
        serial = None if counted is None else counted.serials.serial_of(name)
        try:
            snapshot = await result_of(part.source.project_page, name)
            page, serial = snapshot.value, snapshot.serial
            row = None if page is None else await read_row(part.source, page, self._reader)
            if page is not None and serial is None:
                self._pages[name] = ref(page)
        except NotReady:
            # That goes on, and the next round finds it done.
            return
        except Unavailable:
            # That passes: the next round, or whatever shows it, reads it again.
            self._rows.note(name, _NO_SERIAL)
            return
        except SimpleIndexError:
            # Not again before it changes.
            self._rows.note(name, serial)
            return
        except CancelledError:
            raise
        except Exception:
            _log.failure("What the search shows of {project} cannot be read", project=name)
            row = ProjectRow(name=name)
        await self._rows.keep(name, row, serial)

    async def _check_all(self, names: Sequence[str]) -> None:
        began, self._next_checks = self._clock.seconds(), math.inf
        try:
            await all_of(map(self._checks.run, names))
        finally:
            ended = self._clock.seconds()
            self._next_checks = ended + (ended - began) / _LOOKS

    async def _check_if_due(self, name: str) -> None:
        if self._is_due(name):
            began = self._clock.seconds()
            await self._check(name)
            self._checked.put(name, began)

    async def _check(self, name: str) -> None:
        part, known = self._part_of(name), self._rows.serials
        if part is None or known is None:
            return
        with suppress(SimpleIndexError, CancelledError):
            snapshot = await result_of(part.source.project_page, name)
            page, serial = snapshot.value, snapshot.serial
            is_same = known.get(name, -1) == serial
            if serial is None and page is not None:
                last = self._pages.get(name)
                is_same = is_same and last is not None and last() is page
            if not is_same:
                await self._read(name)

    def _part_of(self, name: str) -> LocalPart | None:
        return next((part for part in self._parts if part.owns(name)), None)
