"""
The statistics as files: one for each day, `YYYY-MM-DD.tsv`, one for each month that is long ago. Blocking.

Each is replaced as a whole, by a new one with what was added: so a file may be deleted at any time, several
servers may keep one folder, and after a crash a file is as it was before. What is no such file is left alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.files.private_files import (
    make_private_folder,
    open_private,
    private_lock,
    remove_private,
    replace_private,
)
from twisted_index.statistics.rows import Rows, add_bounded, most_first, read_rows, write_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.statistics.rows import Row

#: Days that are kept apart; a month is folded when its last day is older.
KEPT_DAYS = 90
#: Bytes of a file that are read. Ours have 3 MB at most.
_MOST_BYTES = 16 << 20
_NAME = re.compile(r"([0-9]{4}-[0-9]{2}(?:-[0-9]{2})?)\.tsv")
_SUFFIX = ".tsv"
#: Not for the other end of a FIFO.
_NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)


def downloads_folder(state: str | None) -> str | None:
    """Return the folder of the statistics in that of the state; None without one."""
    return None if state is None else os.path.join(state, "keep", "downloads")


class DayFile(NamedTuple):
    """
    A file of the statistics.

    Attributes:
        period: A day, `YYYY-MM-DD`, or a month, `YYYY-MM`.
        stamp: Size, modification time and inode; another one for another content.
    """

    period: str
    stamp: tuple[int, int, int]

    @property
    def last_day(self) -> date:
        """The day, or the last one of the month."""
        return last_day(self.period)


def last_day(period: str) -> date:
    """
    Return a day, or the last day of a month.

    Raises:
        ValueError: There is no such day or month.
    """
    if len(period) > len("YYYY-MM"):
        return date.fromisoformat(period)
    first = date.fromisoformat(f"{period}-01")
    return first.replace(day=monthrange(first.year, first.month)[1])


def day_of(seconds: float) -> date:
    """Return the day of a time in seconds since the epoch, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).date()


class DayFiles:
    """
    The files of one folder.

    Args:
        folder: Absolute; made when there is something to write.

    Attributes:
        lock: Held while they change, and while they are compared with what is in memory.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.lock = threading.RLock()

    def add(self, days: dict[str, Rows]) -> None:
        """
        Add rows to the files of their days.

        Args:
            days: What is in a file is taken out of it.

        Raises:
            OSError: A folder or file cannot be read or written.
        """
        make_private_folder(self.folder)
        with self.lock, private_lock(self._path("", ".lock")):
            for day in list(days):
                self._add(day, days[day])
                del days[day]

    def _add(self, day: str, added: Rows) -> None:
        month = day[: len("YYYY-MM")]
        period = month if os.path.lexists(self._path(month)) else day
        rows = dict(self.read(period))
        add_bounded(rows, added.items())
        replace_private(self._path(period), write_rows(rows))

    def fold(self, today: date) -> None:
        """
        Fold the days of each month that is long ago into one file.

        The file of a month counts instead of those of its days: a crash in between counts nothing twice.

        Raises:
            OSError: As for `add`.
        """
        oldest = today - timedelta(days=KEPT_DAYS)
        days = [each.period for each in self._all_files() if len(each.period) > len("YYYY-MM")]
        months = {day[: len("YYYY-MM")] for day in days}
        for month in sorted(month for month in months if last_day(month) < oldest):
            with self.lock, private_lock(self._path("", ".lock")):
                self._fold(month, [day for day in days if day.startswith(month)])

    def _fold(self, month: str, days: list[str]) -> None:
        if not os.path.lexists(self._path(month)):
            together: Rows = {}
            for day in days:
                for row, downloads in self.read(day):
                    together[row] = together.get(row, 0) + downloads
            rows: Rows = {}
            add_bounded(rows, most_first(together))
            replace_private(self._path(month), write_rows(rows))
        for day in days:
            remove_private(self._path(day))

    def files(self) -> list[DayFile]:
        """
        Return the files that count, the earliest first.

        Raises:
            OSError: The folder cannot be read.
        """
        files = self._all_files()
        months = {each.period for each in files}
        return [each for each in files if each.period[: len("YYYY-MM")] not in months - {each.period}]

    def _all_files(self) -> list[DayFile]:
        files = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                match = _NAME.fullmatch(entry.name)
                with contextlib.suppress(ValueError, FileNotFoundError):
                    if match is not None and last_day(match[1]):
                        status = entry.stat()
                        # The clock of a file system may stand still between two replacements.
                        stamp = status.st_size, status.st_mtime_ns, status.st_ino
                        files.append(DayFile(match[1], stamp))
        return sorted(files)

    def read(self, period: str, project: str = "") -> Iterator[tuple[Row, int]]:
        """
        Read the rows of a file; none if it is not there.

        Args:
            period: Of a `DayFile`.
            project: Only rows of this project; empty for all.

        Raises:
            OSError: It cannot be read.
        """
        lines = self._read(period).split(b"\n")
        needle = b"\t%s\t" % project.encode("ascii") if project else b"\t"
        rows = read_rows(line for line in lines if needle in line)
        return (each for each in rows if not project or each[0][1] == project)

    def _read(self, period: str) -> bytes:
        with (
            contextlib.suppress(FileNotFoundError),
            open_private(self._path(period), os.O_RDONLY | _NO_WAIT) as descriptor,
            open(descriptor, "rb", closefd=False) as file,
        ):
            return file.read(_MOST_BYTES)
        return b""

    def _path(self, period: str, suffix: str = _SUFFIX) -> str:
        return os.path.join(self.folder, period + suffix)
