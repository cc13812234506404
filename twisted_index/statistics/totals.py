"""
Sums up the files of the statistics, and what is not in them yet. Blocking.

Files are replaced by renaming, never changed, so they are read without their lock: who adds to them, as a
server that stops, waits for no reader. Afterwards, with the lock held for a moment, they are compared with
what was read, and what has been replaced meanwhile is read again. A long history takes seconds, which a
server that stops does not wait for either.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from twisted_index.statistics.report import add_rows, copy_counts, no_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from twisted_index.statistics.day_files import DayFile, DayFiles
    from twisted_index.statistics.report import Counts
    from twisted_index.statistics.rows import Client, Row

T = TypeVar("T")

#: The rows of a day or a month.
Period: TypeAlias = "tuple[str, list[tuple[Row, int]]]"
#: The downloads of a project: by file or by client, and then by day or month.
ByFile: TypeAlias = "dict[str, dict[str, int]]"
ByClient: TypeAlias = "dict[Client, dict[str, int]]"

#: Times that files are read without their lock: other servers may replace them too.
_ATTEMPTS = 3
#: The last files, which are summed up each by itself: at midnight two servers may add to the day before.
_RECENT = 2
#: Numbers of projects that are kept, about 20 MB.
_MOST_KEPT = 100_000


@dataclass(frozen=True, slots=True)
class Totals:
    """
    What has been downloaded from all indexes.

    Attributes:
        parts: What is to be added up.
        files: What was summed up of the files.
    """

    parts: tuple[Counts, ...] = ()
    files: frozenset[DayFile] = frozenset()

    def lack(self, file: DayFile, index: str, project: str) -> bool:
        """Return whether a file is known to have no downloads of a project."""
        parts = (part[index] for part in self.parts if index in part)
        return file in self.files and not any(
            file.period in part[project].days for part in parts if project in part
        )


class TotalsReader:
    """
    Sums up. Files are read once, and again when they change.

    Args:
        files: The files; None if there are none.
        counted: Returns what is in no file, by day.
    """

    def __init__(self, files: DayFiles | None, counted: Callable[[], Sequence[Period]]) -> None:
        self._files = files
        self._counted = counted
        self._interrupted = False
        self._past: tuple[frozenset[DayFile], Counts] = (frozenset(), no_counts())
        self._recent: dict[DayFile, Counts] = {}
        self._totals = Totals()
        #: The downloads of a project by a column, of each file of the statistics; last used, last.
        self._projects: dict[tuple[str, str, int], dict[DayFile, dict[Any, int]]] = {}

    def interrupt(self) -> None:
        """Let this and the next reading end before its next file; from any thread."""
        self._interrupted = True

    def read(self) -> Totals:
        """
        Sum up what has been downloaded so far. One call at a time.

        Raises:
            OSError: The files cannot be read.
            CancelledError: It was interrupted.
        """
        if self._files is None:
            return _with_counted(Totals(), self._counted())
        files = self._files
        self._totals, counted = self._at_one_moment(files, lambda listed: self._sum(files, listed))
        return _with_counted(self._totals, counted)

    def _at_one_moment(
        self, files: DayFiles, read: Callable[[list[DayFile]], T]
    ) -> tuple[T, Sequence[Period]]:
        """Return what was read of files, and what was counted when it was in none of them."""
        for _ in range(_ATTEMPTS):
            listed = files.files()
            result = read(listed)
            with files.lock:
                if files.files() == listed:
                    return result, self._counted()
        with files.lock:
            return read(files.files()), self._counted()

    def _sum(self, files: DayFiles, listed: list[DayFile]) -> Totals:
        past, recent = frozenset(listed[:-_RECENT]), listed[-_RECENT:]
        if past != self._past[0]:
            self._past = (past, self._sum_past(files, past))
        self._recent = {
            each: self._recent.get(each) or self._add(no_counts(), files, (each,)) for each in recent
        }
        return Totals((self._past[1], *self._recent.values()), frozenset(listed))

    def _sum_past(self, files: DayFiles, past: frozenset[DayFile]) -> Counts:
        """Add what is new; begin anew where a file is gone, as when days became a month."""
        summed, counts = self._past
        if summed <= past:
            return self._add(copy_counts(counts), files, past - summed)
        return self._add(no_counts(), files, past)

    def _add(self, counts: Counts, files: DayFiles, periods: Iterable[DayFile]) -> Counts:
        for each in sorted(periods):
            add_rows(counts, each.period, self._rows(files, each))
        return counts

    def _rows(self, files: DayFiles, file: DayFile, project: str = "") -> Iterator[tuple[Row, int]]:
        if self._interrupted:
            raise CancelledError
        return files.read(file.period, project)

    def read_project(self, index: str, project: str, column: int) -> dict[Any, dict[str, int]]:
        """
        Return the downloads of a project by a column, and then by day or month. One call at a time.

        Args:
            index: Its name.
            project: Normalized.
            column: The place of a value in a row.

        Raises:
            OSError: The files cannot be read.
            CancelledError: It was interrupted.
        """
        if self._files is None:
            return _by_column((), self._counted(), index, project, column)
        files = self._files
        key = index, project, column
        kept = self._projects.pop(key, {})

        def read(listed: list[DayFile]) -> dict[DayFile, dict[Any, int]]:
            for each in listed:
                if each not in kept and not self._totals.lack(each, index, project):
                    kept[each] = _column_of(self._rows(files, each, project), *key)
            return {each: kept[each] for each in listed if each in kept}

        days, counted = self._at_one_moment(files, read)
        self._keep(key, days)
        return _by_column(days.items(), counted, *key)

    def _keep(self, key: tuple[str, str, int], days: dict[DayFile, dict[Any, int]]) -> None:
        self._projects[key] = days
        number = sum(len(each) + 1 for kept in self._projects.values() for each in kept.values())
        while number > _MOST_KEPT:
            dropped = self._projects.pop(next(iter(self._projects)))
            number -= sum(len(each) + 1 for each in dropped.values())


def _with_counted(totals: Totals, counted: Sequence[Period]) -> Totals:
    counts = no_counts()
    for day, rows in counted:
        add_rows(counts, day, rows)
    return Totals((*totals.parts, counts), totals.files)


def _column_of(rows: Iterable[tuple[Row, int]], index: str, project: str, column: int) -> dict[Any, int]:
    numbers: dict[Any, int] = {}
    for row, downloads in rows:
        if row[0] == index and row[1] == project:
            value = row[column]
            numbers[value] = numbers.get(value, 0) + downloads
    return numbers


def _by_column(
    days: Iterable[tuple[DayFile, Mapping[Any, int]]],
    counted: Iterable[Period],
    index: str,
    project: str,
    column: int,
) -> dict[Any, dict[str, int]]:
    together: dict[Any, dict[str, int]] = {}
    kept = ((each.period, numbers) for each, numbers in days)
    newest = ((day, _column_of(rows, index, project, column)) for day, rows in counted)
    for period, numbers in (*kept, *newest):
        for value, downloads in numbers.items():
            periods = together.setdefault(value, {})
            periods[period] = periods.get(period, 0) + downloads
    return together
