"""Sums up the files of the statistics, and what is not in them yet. Blocking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from twisted_index.statistics.report import add_rows, no_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from twisted_index.statistics.day_files import DayFile, DayFiles
    from twisted_index.statistics.report import Counts
    from twisted_index.statistics.rows import Row

#: The rows of a day or a month.
Period: TypeAlias = "tuple[str, list[tuple[Row, int]]]"


@dataclass(frozen=True, slots=True)
class Totals:
    """
    What has been downloaded from all indexes.

    Attributes:
        parts: What is to be added up.
        since: The first day or month; empty if there is none.
    """

    parts: tuple[Counts, ...] = ()
    since: str = ""


class TotalsReader:
    """
    Sums up. The files of earlier days are read once, and again when they change.

    Args:
        files: The files; None if there are none.
        counted: Returns what is in no file, by day.
    """

    def __init__(self, files: DayFiles | None, counted: Callable[[], Sequence[Period]]) -> None:
        self._files = files
        self._counted = counted
        self._past: tuple[list[DayFile], Counts] = ([], no_counts())

    def read(self) -> Totals:
        """
        Sum up what has been downloaded so far. One call at a time.

        Raises:
            OSError: The files cannot be read.
        """
        if self._files is None:
            return _with_counted(Totals(), self._counted())
        with self._files.lock:
            return _with_counted(self._read_files(self._files), self._counted())

    def _read_files(self, files: DayFiles) -> Totals:
        listed = files.files()
        past, last = listed[:-1], listed[-1:]
        if past != self._past[0]:
            self._past = (past, _sum(files, past))
        since = min((each.period for each in listed), default="")
        return Totals((self._past[1], _sum(files, last)), since)

    def read_project(self, index: str, project: str) -> dict[str, dict[str, int]]:
        """
        Return the downloads of a project by file, and then by day or month.

        Raises:
            OSError: The files cannot be read.
        """
        if self._files is None:
            return _by_file(self._counted(), index, project)
        with self._files.lock:
            kept = [(each.period, self._files.read(each.period, project)) for each in self._files.files()]
            return _by_file((*kept, *self._counted()), index, project)


def _sum(files: DayFiles, periods: Iterable[DayFile]) -> Counts:
    counts = no_counts()
    for each in periods:
        add_rows(counts, each.period, files.read(each.period))
    return counts


def _with_counted(totals: Totals, counted: Sequence[Period]) -> Totals:
    counts = no_counts()
    for day, rows in counted:
        add_rows(counts, day, rows)
    since = min(filter(None, (totals.since, *(day for day, _rows in counted))), default="")
    return Totals((*totals.parts, counts), since)


def _by_file(
    periods: Iterable[tuple[str, Iterable[tuple[Row, int]]]], index: str, project: str
) -> dict[str, dict[str, int]]:
    files: dict[str, dict[str, int]] = {}
    for period, rows in periods:
        for (of_index, of_project, file, _client), downloads in rows:
            if of_index == index and of_project == project:
                days = files.setdefault(file, {})
                days[period] = days.get(period, 0) + downloads
    return files
