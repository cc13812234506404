"""Summing up the files of the statistics: what is read of them, and when."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from twisted_index.statistics.day_files import DayFiles
from twisted_index.statistics.report import Report
from twisted_index.statistics.rows import ANY_CLIENT, FILE_COLUMN, Row, Rows
from twisted_index.statistics.totals import Totals, TotalsReader

DAYS = [f"2026-11-{day}" for day in range(10, 20)]
FILE = "demo-1.0.tar.gz"


class WatchedFiles(DayFiles):
    """Files that note which of them are read, and let something happen before and after."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.was_read: list[str] = []
        self.before: Callable[[], object] = lambda: None
        self.after: Callable[[], object] = lambda: None

    def read(self, period: str, project: str = "") -> Iterator[tuple[Row, int]]:
        self.before()
        self.was_read.append(period)
        rows = list(super().read(period, project))
        self.after()
        return iter(rows)

    def write(self, day: str, project: str = "demo", downloads: int = 1) -> None:
        self.add({day: rows(project, downloads)})
        self.was_read.clear()


def rows(project: str = "demo", downloads: int = 1) -> Rows:
    return {("", project, f"{project}-1.0.tar.gz", ANY_CLIENT): downloads}


def total(totals: Totals, project: str = "demo") -> int:
    return Report([part[""] for part in totals.parts if "" in part]).downloads_of(project)


@pytest.fixture
def files(tmp_path: Path) -> WatchedFiles:
    files = WatchedFiles(str(tmp_path / "downloads"))
    for day in DAYS:
        files.write(day)
    return files


@pytest.fixture
def reader(files: WatchedFiles) -> TotalsReader:
    return TotalsReader(files, list)


def test_who_writes_waits_for_no_reader(files: WatchedFiles, reader: TotalsReader):
    free: list[bool] = []

    def try_lock() -> None:
        free.append(files.lock.acquire(blocking=False))
        if free[-1]:
            files.lock.release()

    def watch() -> None:
        thread = threading.Thread(target=try_lock)
        thread.start()
        thread.join()

    files.before = watch
    assert total(reader.read()) == 10
    TotalsReader(files, list).read_project("", "demo", FILE_COLUMN)
    assert free == [True] * 20


@pytest.mark.parametrize("read", [TotalsReader.read, lambda each: each.read_project("", "demo", FILE_COLUMN)])
def test_who_is_interrupted_reads_no_further_file(
    files: WatchedFiles, reader: TotalsReader, read: Callable[[TotalsReader], object]
):
    files.after = reader.interrupt
    with pytest.raises(CancelledError):
        read(reader)
    assert len(files.was_read) == 1


def test_files_that_did_not_change_are_not_summed_up_again(files: WatchedFiles, reader: TotalsReader):
    reader.read()
    files.was_read.clear()
    assert total(reader.read()) == 10
    assert files.was_read == []
    files.write(DAYS[-1])
    assert total(reader.read()) == 11
    assert files.was_read == [DAYS[-1]]


def test_at_midnight_what_is_past_is_not_summed_up_again(files: WatchedFiles, reader: TotalsReader):
    before = reader.read()
    # The last download of a day is in its file after midnight.
    files.write(DAYS[-1])
    files.write("2026-11-20")
    assert total(reader.read()) == 12
    assert sorted(files.was_read) == [*DAYS[-2:], "2026-11-20"]
    assert total(before) == 10


def test_what_is_gone_is_not_counted_any_more(files: WatchedFiles, reader: TotalsReader, tmp_path: Path):
    reader.read()
    (tmp_path / "downloads" / f"{DAYS[0]}.tsv").unlink()
    assert total(reader.read()) == 9


@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_is_written_while_files_are_read_is_counted_once(files: WatchedFiles, moment: str):
    batch = {DAYS[0]: rows(downloads=5), DAYS[-1]: rows(downloads=5)}
    reader = TotalsReader(files, lambda: [(day, list(each.items())) for day, each in batch.items()])

    def write() -> None:
        files.before = files.after = lambda: None
        files.add(batch)

    setattr(files, moment, write)
    assert total(reader.read()) == 20
    batch = {DAYS[0]: rows(downloads=5)}
    setattr(files, moment, write)
    assert reader.read_project("", "demo", FILE_COLUMN)[FILE][DAYS[0]] == 11


def test_of_a_project_only_what_changed_is_read_again(files: WatchedFiles, reader: TotalsReader):
    first = reader.read_project("", "demo", FILE_COLUMN)
    assert first == {FILE: dict.fromkeys(DAYS, 1)}
    files.write(DAYS[-1])
    assert reader.read_project("", "demo", FILE_COLUMN) == {FILE: dict.fromkeys(DAYS, 1) | {DAYS[-1]: 2}}
    assert files.was_read == [DAYS[-1]]


def test_files_without_downloads_of_a_project_are_not_read_for_it(files: WatchedFiles, reader: TotalsReader):
    files.write(DAYS[3], "other", 7)
    reader.read()
    files.was_read.clear()
    assert (
        reader.read_project("", "absent", FILE_COLUMN)
        == reader.read_project("dev", "demo", FILE_COLUMN)
        == {}
    )
    assert files.was_read == []
    assert reader.read_project("", "other", FILE_COLUMN) == {"other-1.0.tar.gz": {DAYS[3]: 7}}
    assert files.was_read == [DAYS[3]]


def test_what_is_kept_of_projects_has_a_bound(
    files: WatchedFiles, reader: TotalsReader, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("twisted_index.statistics.totals._MOST_KEPT", 50)
    for number in range(5):
        files.write(DAYS[0], f"p{number}")
    for number in range(5):
        reader.read_project("", f"p{number}", FILE_COLUMN)
    assert list(reader._projects) == [("", f"p{number}", FILE_COLUMN) for number in range(1, 5)]
