"""The files of the statistics: added to, folded, and what else lies in their folder."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from twisted_index.statistics import day_files
from twisted_index.statistics.day_files import DayFiles
from twisted_index.statistics.rows import ANY_CLIENT, Row

ROW = ("", "demo", "demo-1.0-py3-none-any.whl", ANY_CLIENT)
OTHER = ("", "other", "other-1.0-py3-none-any.whl", ANY_CLIENT)


@pytest.fixture
def files(tmp_path: Path) -> DayFiles:
    return DayFiles(str(tmp_path / "keep" / "downloads"))


def everything(files: DayFiles) -> dict[str, dict[Row, int]]:
    return {each.period: dict(files.read(each.period)) for each in files.files()}


def test_without_a_folder_there_are_no_files(files: DayFiles):
    assert everything(files) == {}


def test_what_is_added_is_added_up(files: DayFiles):
    files.add({"2026-11-28": {ROW: 2}})
    files.add({"2026-11-28": {ROW: 3, OTHER: 1}, "2026-11-29": {ROW: 1}})
    assert everything(files) == {"2026-11-28": {ROW: 5, OTHER: 1}, "2026-11-29": {ROW: 1}}


def test_two_servers_may_keep_one_folder(files: DayFiles):
    files.add({"2026-11-28": {ROW: 2}})
    DayFiles(files.folder).add({"2026-11-28": {ROW: 3}})
    assert everything(files) == {"2026-11-28": {ROW: 5}}


def test_a_project_is_read_by_itself(files: DayFiles):
    files.add({"2026-11-28": {ROW: 2, OTHER: 1}})
    assert dict(files.read("2026-11-28", "demo")) == {ROW: 2}


def test_days_of_a_month_that_is_long_ago_become_one_file(files: DayFiles):
    files.add({"2026-08-30": {ROW: 2}, "2026-08-31": {ROW: 3, OTHER: 1}, "2026-09-01": {ROW: 1}})
    files.fold(date(2026, 11, 29))
    assert sorted(everything(files)) == ["2026-08-30", "2026-08-31", "2026-09-01"]
    files.fold(date(2026, 11, 30))
    assert everything(files) == {"2026-08": {ROW: 5, OTHER: 1}, "2026-09-01": {ROW: 1}}
    assert sorted(os.listdir(files.folder)) == [".lock", "2026-08.tsv", "2026-09-01.tsv"]


def test_a_crash_while_a_month_is_folded_counts_nothing_twice(
    files: DayFiles, monkeypatch: pytest.MonkeyPatch
):
    files.add({"2026-08-30": {ROW: 2}, "2026-08-31": {ROW: 3}})

    def crash(_path: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as crashing:
        crashing.setattr(day_files, "remove_private", crash)
        with pytest.raises(KeyboardInterrupt):
            files.fold(date(2027, 1, 1))
    assert os.path.exists(os.path.join(files.folder, "2026-08-30.tsv"))
    assert everything(files) == {"2026-08": {ROW: 5}}
    files.fold(date(2027, 1, 1))
    assert everything(files) == {"2026-08": {ROW: 5}}
    assert sorted(os.listdir(files.folder)) == [".lock", "2026-08.tsv"]


def test_what_comes_late_for_a_folded_month_is_added_to_it(files: DayFiles):
    files.add({"2026-08-30": {ROW: 2}})
    files.fold(date(2027, 1, 1))
    files.add({"2026-08-31": {ROW: 1}})
    assert everything(files) == {"2026-08": {ROW: 3}}


def test_what_is_no_file_of_the_statistics_is_left_alone(files: DayFiles):
    files.add({"2026-08-30": {ROW: 2}})
    names = ["notes.txt", "2026-13-45.tsv", "2026-08-30.tsv~", "2026.tsv", "9999-12.tsv"]
    for name in names:
        Path(files.folder, name).write_text("mine")
    files.fold(date(2026, 9, 1))
    assert {row: number for rows in everything(files).values() for row, number in rows.items()} == {ROW: 2}
    assert [Path(files.folder, name).read_text() for name in names] == ["mine"] * len(names)


def test_what_is_written_leaves_what_is_not_to_the_caller(files: DayFiles):
    files.add({"2026-08-01": {ROW: 1}})
    os.mkdir(os.path.join(files.folder, "2026-08-31.tsv"))
    days = {"2026-08-30": {ROW: 2}, "2026-08-31": {ROW: 3}}
    with pytest.raises(IsADirectoryError):
        files.add(days)
    assert days == {"2026-08-31": {ROW: 3}}
