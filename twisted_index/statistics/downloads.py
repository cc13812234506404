"""
Counts downloads while the server runs, and brings them into their files.

Counting is a number in a dictionary. A minute after the first download at the latest, a thread adds what has
been counted to the files; a server without downloads does nothing. Clients never wait for any of that: while
nothing can be written, what is counted stays in memory, and is bounded there.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from twisted_index.concurrency.single_flight import FreshSingleFlight, shielded
from twisted_index.errors import Unavailable
from twisted_index.simple.formatting import printable
from twisted_index.statistics.day_files import DayFiles, day_of
from twisted_index.statistics.report import Report
from twisted_index.statistics.rows import CLIENT_COLUMN, FILE_COLUMN, RowBound
from twisted_index.statistics.totals import TotalsReader

if TYPE_CHECKING:
    from datetime import date

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.statistics.rows import Client, Row, Rows
    from twisted_index.statistics.totals import ByClient, ByFile, Period, Totals

_log = Logger()

#: Seconds from a download until it is in a file.
_DELAY = 60.0
_DAY = 86400.0


@dataclass(slots=True)
class OpenCount:
    """
    Downloads of one row, which may be counted here for a while.

    Attributes:
        number: The downloads.
        until: From when on a download is counted by `Downloads.count` again.
    """

    number: int = 0
    until: float = 0.0


@dataclass(slots=True)
class _Batch:
    """
    What is on its way into the files.

    Attributes:
        days: What is not there yet; a thread changes it with the lock of the files held.
    """

    days: dict[str, Rows] = field(default_factory=dict)


class Downloads:
    """
    The downloads from all indexes of a server.

    Args:
        folder: Absolute, where they are kept; None keeps them in memory.
        worker: Threads that read and write.
        reactor: The clock and the timer.

    Attributes:
        fault: Why nothing can be written now, in a sentence; None if nothing is in the way.
    """

    def __init__(self, folder: str | None, worker: IThreadRunner, reactor: Any) -> None:
        self._files = None if folder is None else DayFiles(folder)
        self._worker = worker
        self._reactor = reactor
        self.fault: str | None = None
        self._rows: dict[Row, OpenCount] = {}
        self._bound = RowBound(self._rows)
        self._day_ends = 0.0
        #: What has been counted, by day, and what is on its way: one value, so that a thread sees both as of
        #: one moment.
        self._held: tuple[dict[str, dict[Row, OpenCount]], _Batch] = ({}, _Batch())
        self._timer: IDelayedCall | None = None
        self._writing = DeferredLock()
        self._folded = ""
        self._reader = TotalsReader(self._files, self._counted)
        self._reading: FreshSingleFlight[str, Totals] = FreshSingleFlight(self._read)
        #: One project at a time: reading many files must leave the other threads to those who install.
        self._turn = DeferredLock()
        self._projects: FreshSingleFlight[tuple[str, str, int], dict[Any, dict[str, int]]] = (
            FreshSingleFlight(self._read_project, abandon=True)
        )

    @property
    def is_kept(self) -> bool:
        """Whether there is a folder for them."""
        return self._files is not None

    def today(self) -> date:
        """Return the day, in UTC."""
        return day_of(self._reactor.seconds())

    def count(self, index: str, project: str, filename: str, client: Client, now: float) -> OpenCount:
        """
        Count a download.

        Args:
            index: Its name; empty for the index without one.
            project: Normalized.
            filename: Of a distribution.
            client: What took it.
            now: Seconds since the epoch.

        Returns:
            Where the next ones of the same kind may be counted, which costs less than a call.
        """
        if now >= self._day_ends:
            self._begin_day(now)
        count = _open((index, project, filename, client), self._rows, self._bound)
        count.number += 1
        count.until = self._day_ends
        if self._timer is None and self._files is not None:
            self._timer = self._reactor.callLater(_DELAY, self._write_soon)
        return count

    def _begin_day(self, now: float) -> None:
        self._day_ends = (now // _DAY + 1) * _DAY
        days, batch = self._held
        day = day_of(now).isoformat()
        self._rows = days.setdefault(day, {})
        together = sum(map(len, days.values())) + sum(map(len, batch.days.values()))
        self._bound = RowBound(self._rows, together - len(self._rows))

    # -- Into the files

    def _write_soon(self) -> None:
        self._timer = None
        # One that is stuck, as on a dead mount, is not joined by others; the next download tries again.
        if not self._writing.locked:
            self._writing.run(self._write)

    async def stop(self) -> None:
        """Write what has been counted, and read no more files for those who left."""
        self._reader.interrupt()
        # What is asked after that, of a server that is started again, begins anew.
        self._reader = TotalsReader(self._files, self._counted)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._writing.run(self._write)

    def _write(self) -> Deferred[None] | None:
        days, _written = self._held
        if self._files is None or not any(days.values()):
            return None
        batch = _Batch({day: _closed(rows) for day, rows in days.items()})
        self._held = ({}, batch)
        # So that the next download begins its day anew.
        self._day_ends = 0.0
        writing = self._worker.run(self._add, self._files, batch, self._reactor.seconds())
        return writing.addCallbacks(self._succeed, self._fail)

    def _add(self, files: DayFiles, batch: _Batch, now: float) -> None:
        """Add a batch to the files, in a thread, and fold them once a day."""
        files.add(batch.days)
        today = day_of(now)
        if self._folded != today.isoformat():
            files.fold(today)
            self._folded = today.isoformat()

    def _succeed(self, _result: None) -> None:
        if self.fault is not None:
            _log.info("Downloads can be kept again.")
        self.fault = None

    def _fail(self, failure: Failure) -> None:
        """Go on in memory; the next download tries again."""
        self._take_back()
        if failure.trap(OSError, CancelledError) is CancelledError:
            return
        error: Any = failure.value
        where = printable(str(error.filename or "their folder"))
        if self.fault is None:
            _log.error("Downloads cannot be kept: {path}: {error}", path=where, error=error.strerror)
        self.fault = f"{where}: {error.strerror}"

    def _take_back(self) -> None:
        """Put what could not be written to what has been counted since."""
        counted, batch = self._held
        days = {day: dict(rows) for day, rows in counted.items()}
        for day, rows in batch.days.items():
            kept = days.setdefault(day, {})
            bound = RowBound(kept, sum(map(len, days.values())) - len(kept))
            for row, downloads in rows.items():
                _open(row, kept, bound).number += downloads
        self._held = (days, _Batch())
        self._day_ends = 0.0

    # -- Out of the files

    async def report(self, index: str) -> Report:
        """
        Return the downloads from an index up to now.

        Args:
            index: Its name; empty for the index without one.

        Raises:
            Unavailable: The files cannot be read.
        """
        try:
            totals = await self._reading.run("")
        except OSError as error:
            raise _unreadable(error) from error
        return Report([part[index] for part in totals.parts if index in part])

    async def of_project(self, index: str, project: str) -> ByFile:
        """
        Return the downloads of a project up to now: by file, and then by day or month.

        Raises:
            Unavailable: The files cannot be read.
        """
        return await self._by_column(index, project, FILE_COLUMN)

    async def clients_of(self, index: str, project: str) -> ByClient:
        """
        Return the downloads of a project up to now: by client, and then by day or month.

        Raises:
            Unavailable: The files cannot be read.
        """
        return await self._by_column(index, project, CLIENT_COLUMN)

    async def _by_column(self, index: str, project: str, column: int) -> dict[Any, dict[str, int]]:
        try:
            return await self._projects.run((index, project, column))
        except OSError as error:
            raise _unreadable(error) from error

    async def _read_project(self, key: tuple[str, str, int]) -> dict[Any, dict[str, int]]:
        await self._turn.acquire()

        async def read() -> dict[Any, dict[str, int]]:
            try:
                return await self._worker.run(self._reader.read_project, *key)
            finally:
                self._turn.release()

        # A thread goes on without its callers, and keeps the turn.
        return await shielded(read())

    def _read(self, _key: str) -> Deferred[Totals]:
        return self._worker.run(self._reader.read)

    def _counted(self) -> list[Period]:
        """Return what is in no file, in a thread: each copy is made at once, as the reactor sees it."""
        counted, batch = self._held
        numbers = [
            (day, [(row, count.number) for row, count in list(rows.items())])
            for day, rows in list(counted.items())
        ]
        return [*numbers, *((day, list(rows.items())) for day, rows in list(batch.days.items()))]


def _open(row: Row, rows: dict[Row, OpenCount], bound: RowBound) -> OpenCount:
    count = rows.get(row)
    if count is None:
        count = rows.setdefault(bound.place(row), OpenCount())
    return count


def _closed(rows: dict[Row, OpenCount]) -> Rows:
    """Return the numbers, to which nothing is added any more."""
    for count in rows.values():
        count.until = 0.0
    return {row: count.number for row, count in rows.items()}


def _unreadable(error: OSError) -> Unavailable:
    _log.warn("The statistics cannot be read: {path}: {error}", path=error.filename, error=error.strerror)
    return Unavailable("The statistics cannot be read right now; the log of the server says why.")
