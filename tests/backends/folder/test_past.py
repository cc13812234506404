"""The folders as they were: files, marks and what is kept of deleted files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.kit.at_once import answer
from tests.kit.history import BEGIN, DAY, Past
from twisted_index.backends.folder import dated
from twisted_index.errors import Unavailable
from twisted_index.simple.explanation import Obstacle
from twisted_index.simple.model import Sidecar
from twisted_index.testing import make_wheel

WHEEL, LATER = make_wheel("demo", "1.0"), make_wheel("demo", "2.0")
SECOND = timedelta(seconds=1)


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    past = Past(tmp_path / "packages")
    yield past
    past.close()


def test_a_file_is_there_from_its_upload_time_on(past: Past):
    past.publish(WHEEL)
    past.publish(LATER)

    assert past.page_at(BEGIN - SECOND) is None
    page = past.page_at(BEGIN)
    assert page is not None
    assert [file.filename for file in page.files] == [WHEEL.filename]
    assert page.versions == ("1.0",)
    assert past.read_at(BEGIN, WHEEL.filename) == WHEEL.content
    assert past.read_at(BEGIN, LATER.filename) is None
    assert past.read_at(BEGIN - SECOND, WHEEL.filename) is None


def test_why_says_of_each_file_that_was_not_there_when_it_came_or_that_it_was_gone(past: Past):
    past.publish(WHEEL)
    past.publish(LATER)
    past.do("delete", "demo", WHEEL.filename)

    found = answer(past.at(BEGIN).explain, "demo")
    assert [file.filename for file in found.files] == [WHEEL.filename]
    (later,) = found.hidden
    assert (later.filename, later.obstacle) == (LATER.filename, Obstacle.MOMENT)
    assert later.reason.endswith(", after this moment.")

    found = answer(past.at(past.now).explain, "demo")
    assert [file.filename for file in found.files] == [LATER.filename]
    assert [(file.path, file.reason) for file in found.hidden] == [
        (f"demo/{WHEEL.filename}", "It had been deleted before this moment.")
    ]


def test_a_file_is_linked_at_the_index_while_that_lists_it(past: Past):
    past.publish(WHEEL)
    assert [file.owner for file in past.page_at(BEGIN).files] == [""]

    past.do("delete", "demo", WHEEL.filename)
    assert [file.owner for file in past.page_at(BEGIN).files] == [None]


def test_a_deleted_file_is_kept_with_its_sidecars_and_its_time(past: Past):
    past.publish(WHEEL)
    (past.path / "demo" / f"{WHEEL.filename}.provenance").write_bytes(b"{}")
    os.utime(past.path / "demo" / f"{WHEEL.filename}.provenance", (0, 0))
    past.pass_time()
    before = past.page()
    past.do("delete", "demo", WHEEL.filename)

    kept = past.path / ".deleted" / "demo" / WHEEL.filename
    assert kept.read_bytes() == WHEEL.content
    assert not (past.path / "demo" / WHEEL.filename).exists()
    page = past.page_at(BEGIN)
    assert page.files[0].upload_time == before.files[0].upload_time
    assert past.read_at(BEGIN, WHEEL.filename) == WHEEL.content
    assert past.read_at(BEGIN, WHEEL.filename, Sidecar.PROVENANCE) == b"{}"
    assert past.read_at(BEGIN, WHEEL.filename, Sidecar.METADATA) is not None
    assert past.page().files == ()
    assert answer(past.source.open_file, "demo", WHEEL.filename) is None


def test_what_was_kept_for_long_enough_goes_at_the_next_look(past: Past):
    past.publish(WHEEL)
    past.do("delete", "demo", WHEEL.filename)
    past.pass_time(90 * DAY - 60)
    assert past.page_at(BEGIN).files

    past.pass_time(120)

    assert past.page_at(BEGIN) is None
    assert past.read_at(BEGIN, WHEEL.filename) is None
    assert not (past.path / ".deleted").exists()


def test_nothing_is_kept_unless_it_shall_be(tmp_path: Path):
    past = Past(tmp_path / "packages", keep_deleted=0)
    past.publish(WHEEL)
    past.do("delete", "demo", WHEEL.filename)

    assert not (past.path / ".deleted").exists()
    assert past.page_at(BEGIN) is None
    assert past.page_at(past.now).files == ()
    past.close()


def test_a_deletion_that_was_cut_off_shows_in_the_past_what_it_did_not_move(past: Past, monkeypatch):
    past.publish(WHEEL)
    shown = past.page_at(BEGIN)
    line = f"-  -  2026-11-01T00:00:02Z  {WHEEL.filename}\n"
    (past.path / "demo" / ".deleted").write_text(line)
    past.pass_time()

    assert past.page().files == ()
    assert past.page_at(BEGIN).versions == shown.versions
    assert past.page_at(past.now).files == ()
    assert past.read_at(BEGIN, WHEEL.filename) == WHEEL.content

    past.do("delete", "demo", WHEEL.filename)
    assert (past.path / ".deleted" / "demo" / WHEEL.filename).exists()
    assert past.page_at(BEGIN).versions == shown.versions


def test_a_file_that_was_moved_by_hand_was_there_until_then(past: Past):
    kept = past.path / ".deleted" / "demo"
    kept.mkdir(parents=True)
    (kept / WHEEL.filename).write_bytes(WHEEL.content)
    os.utime(kept / WHEEL.filename, (BEGIN.timestamp(), BEGIN.timestamp()))
    moved = datetime.fromtimestamp((kept / WHEEL.filename).stat().st_ctime, UTC)
    past.now = moved + SECOND

    assert past.page_at(BEGIN).versions == ("1.0",)
    assert past.page_at(moved + SECOND).files == ()
    assert past.names_at(BEGIN) == past.names_at(BEGIN)


def test_a_link_is_kept_as_a_link_to_the_same_file(past: Past):
    elsewhere = past.path.parent / "elsewhere"
    WHEEL.write_to(elsewhere)
    (past.path / "demo").mkdir()
    (past.path / "demo" / WHEEL.filename).symlink_to(Path("../../elsewhere") / WHEEL.filename)
    os.utime(elsewhere / WHEEL.filename, (BEGIN.timestamp(), BEGIN.timestamp()))
    past.pass_time()
    past.do("delete", "demo", WHEEL.filename)

    assert past.read_at(BEGIN, WHEEL.filename) == WHEEL.content
    assert (elsewhere / WHEEL.filename).exists()


def test_the_page_is_the_same_object_while_it_says_the_same(past: Past):
    past.publish(WHEEL)
    past.publish(LATER)
    first = past.page_at(BEGIN)

    past.pass_time()
    assert past.page_at(BEGIN) is first
    past.do("yank", "demo", filename=LATER.filename)
    assert past.page_at(BEGIN) is first


def test_a_cached_page_ends_with_what_it_was_made_of(past: Past):
    past.publish(WHEEL)
    past.do("delete", "demo", WHEEL.filename)
    answer(past.at(BEGIN).project_page, "demo")
    snapshot = answer(past.at(BEGIN).project_page, "demo")
    assert snapshot.is_current()

    (past.path / ".deleted" / "demo" / WHEEL.filename).unlink()

    assert not snapshot.is_current()
    assert past.page_at(BEGIN) is None


def test_a_million_moments_take_no_more_memory_than_the_newest(past: Past):
    past.publish(WHEEL)
    past.past.pages._limit = 10
    for second in range(100):
        past.page_at(BEGIN + timedelta(seconds=second))

    assert len(past.past.pages) <= 10
    assert len(past.history._histories) == 1


def test_a_moment_costs_no_look_at_the_folders(past: Past, monkeypatch: pytest.MonkeyPatch):
    past.publish(WHEEL)
    past.page_at(BEGIN)
    past.names_at(BEGIN)
    monkeypatch.setattr(past.source.reader, "run", None)

    assert past.page_at(BEGIN + SECOND).files
    assert past.names_at(BEGIN + SECOND) == ("demo",)
    assert past.names_at(BEGIN - SECOND) == ()


def test_a_large_page_is_made_in_a_thread(past: Past, monkeypatch: pytest.MonkeyPatch):
    past.publish(WHEEL)
    past.page_at(BEGIN)
    ran = []
    run = past.source.reader.run

    def noted(function: Any, *args: Any) -> Any:
        ran.append(function)
        return run(function, *args)

    monkeypatch.setattr(past.source.reader, "run", noted)
    past.page_at(BEGIN + SECOND)
    assert ran == []
    monkeypatch.setattr(dated, "_FEW", 0)
    assert past.page_at(BEGIN + SECOND + SECOND).versions == ("1.0",)
    assert [function.__name__ for function in ran] == ["page_of"]
    past.page_at(BEGIN + SECOND + SECOND)
    assert len(ran) == 1


def test_an_unreadable_folder_is_no_past_without_it(past: Past):
    past.publish(WHEEL)
    (past.path / "demo").rename(past.path / "away")
    (past.path / "demo").symlink_to("nowhere")

    with pytest.raises(Unavailable):
        past.page_at(BEGIN)


def test_what_a_list_in_staged_hides_was_never_there(past: Past):
    past.publish(WHEEL)
    past.publish(make_wheel("other", "1.0"))
    (past.path / ".staged").mkdir()
    (past.path / ".staged" / "x.list").write_text(f"{WHEEL.filename}\n")
    past.pass_time()
    assert past.page_at(past.now) is None
    assert past.names_at(past.now) == ("other",)

    (past.path / ".staged" / "x.list").unlink()
    assert past.page_at(past.now).versions == ("1.0",)
    past.pass_time()
    assert past.names_at(past.now) == ("demo", "other")
