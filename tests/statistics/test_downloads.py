"""Counting downloads, and bringing them into files, while the server runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_index.concurrency.thread_pool import SynchronousRunner, ThreadPool
from twisted_index.statistics.day_files import DayFiles
from twisted_index.statistics.downloads import Downloads
from twisted_index.statistics.rows import ANY_CLIENT, MOST_ROWS, Client

DAY = 86400.0
#: 2026-11-28, noon.
NOON = 1795867200.0


class Counting:
    """Downloads with a clock, and with a folder that may be away."""

    def __init__(self, folder: str | None, worker: Any = None) -> None:
        self.folder = folder
        self.clock = Clock()
        self.clock.advance(NOON)
        self.downloads = Downloads(folder, worker or SynchronousRunner(), self.clock)

    def count(self, project: str = "demo", times: int = 1, index: str = "") -> None:
        for _ in range(times):
            self.downloads.count(index, project, f"{project}-1.0.tar.gz", ANY_CLIENT, self.clock.seconds())

    def reported(self, index: str = "") -> dict[str, int]:
        report = settled(self.downloads.report(index))
        return report.projects(report.names())

    def kept(self) -> dict[str, int]:
        assert self.folder is not None
        files = DayFiles(self.folder)
        return {
            each.period: sum(number for _row, number in files.read(each.period)) for each in files.files()
        }


def settled(work: Any) -> Any:
    """Give the result of work that waits for nothing."""
    results: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(results.append)
    assert len(results) == 1
    return results[0]


@pytest.fixture
def counting(tmp_path: Path) -> Counting:
    return Counting(str(tmp_path / "downloads"))


def test_downloads_are_in_a_file_a_minute_after_the_first(counting: Counting):
    counting.count(times=2)
    counting.clock.advance(59)
    counting.count()
    assert counting.kept() == {}
    counting.clock.advance(1)
    assert counting.kept() == {"2026-11-28": 3}


def test_while_nothing_is_counted_no_timer_runs(counting: Counting):
    assert counting.clock.getDelayedCalls() == []
    counting.count()
    counting.clock.advance(60)
    assert counting.clock.getDelayedCalls() == []
    counting.count()
    settled(counting.downloads.stop())
    assert counting.clock.getDelayedCalls() == []


def test_at_the_stop_what_was_counted_is_kept(counting: Counting):
    counting.count(times=3)
    settled(counting.downloads.stop())
    assert counting.kept() == {"2026-11-28": 3}


def test_each_day_has_a_file_of_its_own(counting: Counting):
    counting.count()
    counting.clock.advance(DAY / 2 - 1)
    counting.count()
    counting.clock.advance(1)
    counting.count(times=2)
    settled(counting.downloads.stop())
    assert counting.kept() == {"2026-11-28": 2, "2026-11-29": 2}


def test_numbers_are_those_of_this_moment(counting: Counting):
    counting.count("demo", 2)
    assert counting.reported() == {"demo": 2}
    counting.clock.advance(60)
    counting.count("demo")
    counting.count("other")
    assert counting.reported() == {"demo": 3, "other": 1}


def test_each_index_has_numbers_of_its_own(counting: Counting):
    counting.count("demo", 2)
    counting.count("demo", 1, index="dev")
    assert [counting.reported(), counting.reported("dev")] == [{"demo": 2}, {"demo": 1}]
    assert counting.reported("staging") == {}


def test_a_server_goes_on_where_the_one_before_stopped(counting: Counting):
    counting.count(times=2)
    settled(counting.downloads.stop())
    after = Counting(counting.folder)
    after.count()
    assert after.reported() == {"demo": 3}
    settled(after.downloads.stop())
    assert after.kept() == {"2026-11-28": 3}


def test_a_project_has_its_files_by_day(counting: Counting):
    counting.count(times=2)
    counting.clock.advance(DAY)
    counting.count()
    counting.count("other")
    found = settled(counting.downloads.of_project("", "demo"))
    assert found == {"demo-1.0.tar.gz": {"2026-11-28": 2, "2026-11-29": 1}}


def test_without_a_folder_they_are_counted_in_memory():
    counting = Counting(None)
    counting.count(times=2)
    assert counting.reported() == {"demo": 2}
    assert counting.clock.getDelayedCalls() == []
    settled(counting.downloads.stop())
    assert not counting.downloads.is_kept


def test_a_folder_that_cannot_be_written_is_said_once_and_nothing_is_lost(
    counting: Counting, tmp_path: Path, log: list[str]
):
    """A file in the place of the folder, since root may write everywhere."""
    (tmp_path / "downloads").write_text("")
    for _ in range(3):
        counting.count()
        counting.clock.advance(60)
    assert [line for line in log if "Downloads cannot be kept" in line] == [
        f"Downloads cannot be kept: {counting.folder}: Not a directory"
    ]
    assert counting.downloads.fault == f"{counting.folder}: Not a directory"
    os.unlink(tmp_path / "downloads")
    counting.count()
    counting.clock.advance(60)
    assert counting.downloads.fault is None
    assert counting.kept() == {"2026-11-28": 4}


def test_memory_has_a_bound_while_nothing_can_be_written(counting: Counting, tmp_path: Path):
    (tmp_path / "downloads").write_text("")
    for day in range(3):
        for number in range(9_000):
            counting.count(f"p{day}-{number}")
        counting.clock.advance(DAY)
    days, _batch = counting.downloads._held
    assert sum(map(len, days.values())) <= 2 * MOST_ROWS + len(days)
    assert sum(count.number for rows in days.values() for count in rows.values()) == 27_000


def test_one_file_asked_for_by_all_kinds_of_clients_hides_no_other_download(counting: Counting):
    now = counting.clock.seconds()
    for minute in range(20):
        for kind in range(minute * 500, (minute + 1) * 500):
            counting.downloads.count("", "demo", "demo-1.0.tar.gz", Client("pip", f"3.{kind}"), now)
        counting.clock.advance(60)
    client = Client("uv", "3.13", "Linux")
    counting.downloads.count("", "other", "other-1.0.tar.gz", client, counting.clock.seconds())
    counting.clock.advance(60)
    assert counting.folder is not None
    rows = dict(DayFiles(counting.folder).read("2026-11-28"))
    assert rows["", "other", "other-1.0.tar.gz", client] == 1
    assert counting.reported() == {"demo": 10_000, "other": 1}


def test_a_server_that_was_stopped_counts_and_reports_again(counting: Counting):
    counting.count(times=2)
    settled(counting.downloads.stop())
    counting.count()
    assert counting.reported() == {"demo": 3}
    assert settled(counting.downloads.of_project("", "demo")) == {"demo-1.0.tar.gz": {"2026-11-28": 3}}


class SlowWorker:
    """Threads that finish when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def run(self, function: Any, *args: Any) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()
        self.waiting.append(lambda: SynchronousRunner().run(function, *args).chainDeferred(result))
        return result

    def finish(self) -> None:
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each()


def test_a_disk_that_does_not_answer_is_asked_once(tmp_path: Path):
    worker = SlowWorker()
    counting = Counting(str(tmp_path / "downloads"), worker)
    for _ in range(5):
        counting.count()
        counting.clock.advance(60)
    assert len(worker.waiting) == 1
    worker.finish()
    counting.count()
    counting.clock.advance(60)
    worker.finish()
    assert counting.kept() == {"2026-11-28": 6}


def test_what_is_on_its_way_into_a_file_is_counted_once(tmp_path: Path):
    worker = SlowWorker()
    counting = Counting(str(tmp_path / "downloads"), worker)
    counting.count(times=2)
    counting.clock.advance(60)
    counting.count()
    for _ in range(2):
        reports: list[Any] = []
        Deferred.fromCoroutine(counting.downloads.report("")).addCallback(reports.append)
        # Before the file is written, and after.
        worker.waiting[-1]()
        assert reports[0].downloads_of("demo") == 3
        worker.waiting.pop()
        worker.finish()


def test_files_of_projects_are_read_one_project_at_a_time(tmp_path: Path):
    worker = SlowWorker()
    counting = Counting(str(tmp_path / "downloads"), worker)
    counting.count("demo")
    counting.count("other", 2)
    found: list[Any] = []
    asked = [
        Deferred.fromCoroutine(counting.downloads.of_project("", project)).addCallback(found.append)
        for project in ("demo", "other", "third")
    ]
    # What has no readers any more is not read.
    asked[2].addErrback(lambda _failure: None).cancel()
    assert len(worker.waiting) == 1
    worker.finish()
    assert len(worker.waiting) == 1
    worker.finish()
    assert worker.waiting == []
    day = "2026-11-28"
    assert found[-2:] == [{"demo-1.0.tar.gz": {day: 1}}, {"other-1.0.tar.gz": {day: 2}}]


def test_what_a_pool_of_threads_drops_when_it_stops_is_still_in_memory(tmp_path: Path):
    pool = ThreadPool(Clock())  # type: ignore[arg-type]
    counting = Counting(str(tmp_path / "downloads"), pool)
    # Work that has not ended, so that the pool is still stopping.
    pool._unfinished = 1
    pool.stop()
    counting.count(times=2)
    assert settled(counting.downloads.stop()) is None
    assert counting.downloads.fault is None
    days, _batch = counting.downloads._held
    assert [count.number for rows in days.values() for count in rows.values()] == [2]


STEPS = st.lists(st.sampled_from(["count", "count", "minute", "day", "away", "back", "restart"]), max_size=25)


@given(steps=STEPS)
def test_no_download_is_lost_or_counted_twice(tmp_path_factory: pytest.TempPathFactory, steps: list[str]):
    """Whatever happens in between, as long as the server stops in order."""
    folder = tmp_path_factory.mktemp("statistics") / "downloads"
    counting, elsewhere, counted = Counting(str(folder)), folder.with_name("elsewhere"), 0
    for step in steps:
        away = folder.is_file()
        if step == "count":
            counting.count(f"p{counted % 3}")
            counted += 1
        elif step in ("minute", "day"):
            counting.clock.advance(60 if step == "minute" else 40 * DAY)
        elif step == "away" and not away:
            if folder.exists():
                folder.rename(elsewhere)
            folder.write_text("")
        elif step == "back" and away:
            folder.unlink()
            if elsewhere.exists():
                elsewhere.rename(folder)
        elif step == "restart" and not away:
            settled(counting.downloads.stop())
            now = counting.clock.seconds()
            counting = Counting(str(folder))
            counting.clock.advance(now - counting.clock.seconds())
        if not folder.is_file():
            assert sum(counting.reported().values()) == counted
