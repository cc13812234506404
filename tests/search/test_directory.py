"""The directory knows what lies in the folder now, and asks no upstream."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from twisted.internet.defer import Deferred

from tests.kit.at_once import answer
from tests.kit.folder_source import AtOnce, Folder
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.concurrency.parallel import all_of
from twisted_index.errors import Unavailable
from twisted_index.indexes.composite import local_parts
from twisted_index.indexes.name_ownership import NameOwnershipSource
from twisted_index.search.directory import ProjectDirectory
from twisted_index.search.row_store import RowStore
from twisted_index.testing import MemorySource, make_sdist, make_wheel

SUMMARY = ["Summary: Python Imaging Library (fork)", "Keywords: Imaging,photos"]
PILLOW = make_wheel("Pillow", "2.0", files={"PIL/__init__.py": ""}, extra_metadata=SUMMARY)


def everything() -> None:
    """Let everyone read all."""


class Held(AtOnce):
    """A worker that does nothing until it is let go."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], object]] = []

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        work = super().run
        self._calls.append(lambda: work(function, *args, **kwargs).chainDeferred(done))
        return done

    def let_go(self) -> None:
        while self._calls:
            self._calls.pop()()


class Noting(AtOnce):
    """A worker that knows whether it is at work."""

    is_running = False

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        self.is_running = True
        try:
            return super().run(function, *args, **kwargs)
        finally:
            self.is_running = False


class Searched:
    """A directory of a folder, and what is asked of it."""

    def __init__(
        self, folder: Folder, source: Any = None, store: RowStore | None = None, reader: Any = None
    ) -> None:
        source = source or folder.source
        self.store = store or RowStore()
        self.directory = ProjectDirectory(
            source,
            local_parts(source),
            self.store,
            thread=AtOnce(),
            reader=reader or AtOnce(),
            clock=folder.times.clock,
        )

    def find(self, text: str, may: Callable[[str], bool] | None = None) -> list[str]:
        return [hit.row.name for hit in self.search(text, may).results]

    def search(self, text: str, may: Callable[[str], bool] | None = None, limit: int = 20) -> Any:
        return answer(self.directory.search, text, lambda: may, limit)


@pytest.fixture
def searched(folder: Folder) -> Searched:
    return Searched(folder)


def test_the_first_search_is_whole(folder: Folder, searched: Searched):
    PILLOW.write_to(folder.path)
    (hit,) = searched.search("pil").results
    row = hit.row
    assert (row.name, row.shown_name, row.version, row.files) == ("pillow", "Pillow", "2.0", 1)
    assert (row.summary, row.keywords) == ("Python Imaging Library (fork)", "Imaging photos")
    assert (row.import_names, hit.why) == (("PIL",), "imports PIL")
    assert row.uploaded is not None


def test_a_search_waits_until_a_small_index_has_been_read(folder: Folder):
    PILLOW.write_to(folder.path)
    reader = Held()
    finding = Deferred.fromCoroutine(
        Searched(folder, reader=reader).directory.search("PIL.Image", everything, 1)
    )
    folder.times.clock.advance(9)
    assert not finding.called
    reader.let_go()
    assert answer(lambda: finding).total == 1


def test_a_search_does_not_wait_for_ever(folder: Folder):
    PILLOW.write_to(folder.path)
    reader = Held()
    searched = Searched(folder, reader=reader)
    finding = Deferred.fromCoroutine(searched.directory.search("pillow", everything, 1))
    folder.times.clock.advance(10)
    folder.times.clock.advance(10)
    found = answer(lambda: finding)
    assert (found.total, found.known) == (1, 0)
    reader.let_go()


@pytest.mark.parametrize("text", ["PIL", "PIL.Image", "pillow", "pilow", "imaging", "photos", "module:pil"])
def test_a_project_is_found_by_what_people_know_of_it(folder: Folder, searched: Searched, text: str):
    PILLOW.write_to(folder.path)
    make_wheel("other", "1.0").write_to(folder.path)
    assert searched.find(text) == ["pillow"]


def test_the_beginning_of_an_import_name_comes_after_the_whole_one(folder: Folder, searched: Searched):
    for name, module in (("zero", "demo_imp"), ("one", "demo_import"), ("demo-impact", "other")):
        make_wheel(name, "1.0", files={f"{module}/__init__.py": ""}).write_to(folder.path)
    hits = searched.search("Demo_Imp").results
    assert [(hit.row.name, hit.why) for hit in hits] == [
        ("zero", "imports demo_imp"),
        ("demo-impact", ""),
        ("one", "imports demo_import"),
    ]
    assert searched.find('"demo_imp"') == ["zero", "demo-impact"]


def test_names_that_begin_alike_are_in_their_order_whatever_they_are_imported_by(
    folder: Folder, searched: Searched
):
    for name, module in (("demo-one", "demo_one"), ("demo-two", "demo_with_a_long_name")):
        make_wheel(name, "1.0", files={f"{module}/__init__.py": ""}).write_to(folder.path)
    assert searched.find("demo") == ["demo-one", "demo-two"]


def test_a_file_that_is_dropped_is_found_by_the_next_search(folder: Folder, searched: Searched):
    make_wheel("other", "1.0").write_to(folder.path)
    assert searched.find("PIL") == []
    PILLOW.write_to(folder.path)
    assert searched.find("PIL") == ["pillow"]


def test_a_new_release_is_shown_by_the_next_search(folder: Folder, searched: Searched):
    make_wheel("pillow", "1.0").write_to(folder.path)
    assert searched.search("pillow").results[0].row.version == "1.0"
    PILLOW.write_to(folder.path)
    assert searched.search("pillow").results[0].row.version == "2.0"


@pytest.fixture
def looks(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which projects are looked at, in an index that counts as large."""
    monkeypatch.setattr("twisted_index.search.walk.SMALL_INDEX", 0)
    looked: list[str] = []
    look = folder.source.project_page

    def note(project: str) -> Any:
        looked.append(project)
        return look(project)

    monkeypatch.setattr(folder.source, "project_page", note)
    return looked


def test_what_a_large_index_shows_is_looked_at_once_within_rescan(
    folder: Folder, searched: Searched, looks: list[str]
):
    make_wheel("pillow", "1.0").write_to(folder.path)
    searched.find("pillow")
    looks.clear()
    for _search in range(3):
        searched.find("pillow")
    PILLOW.write_to(folder.path)
    assert looks == []
    folder.later()
    assert searched.search("pillow").results[0].row.version == "2.0"


def test_of_what_a_large_index_shows_the_first_are_looked_at(
    folder: Folder, searched: Searched, looks: list[str]
):
    for number in range(12):
        make_wheel(f"tool-{number:02}", "1.0").write_to(folder.path)
    searched.find("tool")
    looks.clear()
    folder.later()
    searched.find("tool")
    assert looks == [f"tool-{number:02}" for number in range(10)]


def test_searches_at_the_same_time_look_at_a_project_once(
    folder: Folder, searched: Searched, looks: list[str], monkeypatch: pytest.MonkeyPatch
):
    make_wheel("pillow", "1.0").write_to(folder.path)
    searched.find("pillow")
    folder.later()
    looks.clear()
    waiting, look = Deferred[None](), folder.source.project_page

    async def slow(project: str) -> Any:
        await waiting
        return await result_of(look, project)

    monkeypatch.setattr(folder.source, "project_page", slow)
    monkeypatch.setattr("twisted_index.search.walk.SMALL_INDEX", 1000)
    search = searched.directory.search
    searches = [Deferred.fromCoroutine(search("pillow", everything, 1)) for _search in range(5)]
    assert not any(each.called for each in searches)
    waiting.callback(None)
    assert answer(all_of, searches)[0].total == 1
    assert looks == ["pillow"] * 2


def test_looks_at_what_a_large_index_shows_take_a_part_of_the_time(
    folder: Folder, searched: Searched, looks: list[str], monkeypatch: pytest.MonkeyPatch
):
    for number in range(3):
        make_wheel(f"tool-{number}", "1.0").write_to(folder.path)
    searched.find("tool")
    folder.later()
    looks.clear()
    look = folder.source.project_page

    async def slow(project: str) -> Any:
        folder.times.clock.rightNow += 1.0
        return await result_of(look, project)

    monkeypatch.setattr(folder.source, "project_page", slow)
    searched.find("tool-0")
    for number, seconds in ((1, 4.9), (2, 0.2)):
        folder.times.clock.advance(seconds)
        searched.find(f"tool-{number}")
    assert looks == ["tool-0", "tool-2"]


def test_a_failure_that_passes_is_made_good_by_a_later_search(
    folder: Folder, searched: Searched, monkeypatch: pytest.MonkeyPatch
):
    make_wheel("pillow", "1.0").write_to(folder.path)
    assert searched.find("pillow") == ["pillow"]
    PILLOW.write_to(folder.path)
    with monkeypatch.context() as failing:

        async def fail(*_arguments: object) -> None:
            raise Unavailable("Too many files are open.")

        failing.setattr("twisted_index.search.walk.read_row", fail)
        assert searched.find("pillow") == ["pillow"]
    folder.later()
    assert searched.search("pillow").results[0].row.version == "2.0"


def test_a_removed_project_is_not_found_any_more(folder: Folder, searched: Searched):
    file = PILLOW.write_to(folder.path)
    assert searched.find("PIL") == ["pillow"]
    file.unlink()
    folder.later()
    found = searched.search("PIL")
    assert (found.results, found.total, found.known, found.projects) == ((), 0, 0, 0)


def test_projects_that_come_and_go_are_counted(folder: Folder, searched: Searched):
    counts = []
    for number in range(3):
        file = make_wheel(f"tool-{number}", "1.0").write_to(folder.path)
        folder.later()
        found = searched.search("tool")
        counts.append((found.known, found.projects))
    file.unlink()
    folder.later()
    found = searched.search("tool")
    assert [*counts, (found.known, found.projects)] == [(1, 1), (2, 2), (3, 3), (2, 2)]


def test_files_are_counted_as_projects_come_and_go_and_over_a_restart(folder: Folder, tmp_path: Path):
    path = str(tmp_path / "cache" / "search.sqlite")
    first = Searched(folder, store=RowStore(path))
    for version in ("1.0", "2.0"):
        make_wheel("tool", version).write_to(folder.path)
    other = make_wheel("other", "1.0").write_to(folder.path)
    first.find("tool")
    assert first.directory.count_files(["other", "tool"], public=True) == 3
    other.unlink()
    folder.later()
    first.find("tool")
    answer(first.directory.close)
    again = Searched(folder, store=RowStore(path))
    again.find("tool")
    for searched in (first, again):
        assert searched.directory.count_files(["tool"], public=True) == 2
        assert searched.directory.count_files(["tool"], public=False) == 2
        assert searched.directory.count_files(["tool", "unknown"], public=True) is None
        assert searched.directory.count_files(["unknown"], public=False) is None


def test_stated_import_names_win_over_what_is_installed(folder: Folder, searched: Searched):
    stated = [
        "Metadata-Version: 2.5",
        "Name: demo",
        "Version: 1.0",
        "Import-Name: real",
        "Import-Name: own ; private",
    ]
    make_wheel("demo", "1.0", metadata="\n".join(stated) + "\n").write_to(folder.path)
    assert searched.search("demo").results[0].row.import_names == ("own", "real")


def test_an_sdist_alone_has_a_summary(folder: Folder, searched: Searched):
    make_sdist("demo", "1.0", extra_metadata=["Summary: only a source"]).write_to(folder.path)
    assert searched.find("only a source") == ["demo"]


def test_who_needs_a_project_is_known_without_extras(folder: Folder, searched: Searched):
    make_wheel("one", "1.0", requires=["NumPy>=1", "junk; extra == 'x'"]).write_to(folder.path)
    make_wheel("two", "1.0", requires=["numpy; python_version > '3'"]).write_to(folder.path)
    requiring = searched.directory.requiring
    assert answer(requiring, "numpy", everything) == ["one", "two"]
    assert answer(requiring, "numpy", lambda: "two".__eq__) == ["two"]
    assert answer(requiring, "junk", everything) == []
    assert searched.find("requires:numpy") == ["one", "two"]


def test_requirements_are_parsed_where_archives_are_read(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    requires = [f"needed-{number}" for number in range(3)]
    make_wheel("demo", "1.0", requires=requires).write_to(folder.path)
    make_sdist("other", "1.0", requires=requires).write_to(folder.path)
    reader = Noting()
    parsed: list[bool] = []

    def parse(text: str) -> Requirement:
        parsed.append(reader.is_running)
        return Requirement(text)

    monkeypatch.setattr("twisted_index.search.reading.Requirement", parse)
    assert Searched(folder, reader=reader).find("requires:needed-1") == ["demo", "other"]
    assert parsed == [True] * 6


def test_an_sdist_is_found_by_its_stated_import_name(folder: Folder, searched: Searched):
    make_sdist("demo", "1.0", extra_metadata=["Import-Name: real"]).write_to(folder.path)
    assert searched.find("module:real") == ["demo"]


def test_the_newest_come_first(folder: Folder, searched: Searched):
    for number, name in enumerate(["first", "second", "third"]):
        file = make_wheel(name, "1.0").write_to(folder.path)
        touch(file, 1_600_000_000 + number)
    newest = searched.directory.newest
    assert names(answer(newest, 2, everything)) == ["third", "second"]
    assert names(answer(newest, 2, lambda: lambda name: name != "third")) == ["second", "first"]


def test_what_a_client_may_not_read_is_nowhere(folder: Folder, searched: Searched):
    for name in ("secret-tool", "tool"):
        make_wheel(name, "1.0", requires=["numpy"]).write_to(folder.path)
    found = searched.search("tool", "tool".__eq__)
    assert [hit.row.name for hit in found.results] == ["tool"]
    assert (found.total, found.known, found.projects) == (1, 1, 1)
    assert searched.search("secret-tol", "tool".__eq__).suggestion is None
    assert searched.search("secret-tol").suggestion == "secret-tool"


def test_rights_to_very_many_projects_are_looked_up_in_turns(folder: Folder):
    wheels = (make_wheel(f"tool-{number}", "1.0") for number in range(1050))
    searched = Searched(folder, MemorySource(*wheels))
    asked: list[str] = []

    def may(name: str) -> bool:
        asked.append(name)
        folder.times.clock.rightNow += 9e-6
        return True

    finding = Deferred.fromCoroutine(searched.directory.search("tool", lambda: may, 1))
    assert (len(asked), finding.called) == (200, False)
    for _turn in range(5):
        folder.times.clock.advance(0)
    assert (len(asked), finding.called) == (1050, True)
    found = answer(lambda: finding)
    assert (found.total, found.known, found.projects) == (1050, None, None)


def test_rights_count_that_change_while_a_search_waits(folder: Folder):
    PILLOW.write_to(folder.path)
    reader, rights = Held(), {"pillow"}
    searched = Searched(folder, reader=reader)
    reads = lambda: frozenset(rights).__contains__  # noqa: E731
    finding = Deferred.fromCoroutine(searched.directory.search("pillow", reads, 1))
    rights.clear()
    reader.let_go()
    found = answer(lambda: finding)
    assert (found.results, found.total, found.projects) == ((), 0, 0)


def test_a_damaged_file_is_no_obstacle(folder: Folder, searched: Searched):
    PILLOW.write_to(folder.path)
    (folder.path / "broken-1.0-py3-none-any.whl").write_bytes(b"PK\3\4 no zip")
    assert searched.find("PIL") == ["pillow"]


def test_no_upstream_is_asked(folder: Folder):
    upstream = MemorySource(make_wheel("far-away", "1.0"))
    searched = Searched(folder, NameOwnershipSource(folder.source, upstream))
    PILLOW.write_to(folder.path)
    assert searched.find("PIL") == ["pillow"]
    assert searched.find("far-away") == []
    assert upstream.calls == []


def test_what_was_read_is_kept_over_a_restart(folder: Folder, tmp_path: Path):
    PILLOW.write_to(folder.path)
    path = str(tmp_path / "cache" / "search.sqlite")
    first = Searched(folder, store=RowStore(path))
    assert first.find("PIL") == ["pillow"]
    answer(first.directory.close)
    assert RowStore(path).serials() == {"pillow": folder.source.serials.serial_of("pillow")}
    assert Searched(folder, store=RowStore(path)).find("PIL") == ["pillow"]


def test_a_damaged_store_is_begun_anew(folder: Folder, tmp_path: Path):
    PILLOW.write_to(folder.path)
    path = tmp_path / "search.sqlite"
    path.write_bytes(b"no database" * 1000)
    assert Searched(folder, store=RowStore(str(path))).find("PIL") == ["pillow"]
    assert set(RowStore(str(path)).serials()) == {"pillow"}


def test_a_store_that_fails_costs_one_answer_no_more_than_its_texts(folder: Folder, searched: Searched):
    PILLOW.write_to(folder.path)
    assert searched.find("PIL") == ["pillow"]
    searched.store._database.open().execute("DROP TABLE fact")
    assert searched.search("PIL").total == 0
    assert searched.find("PIL") == ["pillow"]


def test_a_directory_that_was_replaced_answers_and_reads_no_more(folder: Folder, searched: Searched):
    PILLOW.write_to(folder.path)
    assert searched.find("PIL") == ["pillow"]
    make_wheel("numbers", "1.0", files={"lots/__init__.py": ""}).write_to(folder.path)
    folder.later()
    searched.directory.retire()
    assert searched.find("PIL") == ["pillow"]
    assert (searched.find("lots"), searched.find("numbers")) == ([], ["numbers"])


def test_without_full_text_search_parts_of_texts_are_found(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "twisted_index.search.row_store._TEXT", "CREATE VIRTUAL TABLE words USING absent(name)"
    )
    PILLOW.write_to(folder.path)
    searched = Searched(folder)
    assert searched.find("imaging lib") == ["pillow"]
    assert searched.find("100%_") == []


def test_names_alone_are_searched_where_nothing_counts_changes(folder: Folder):
    source = MemorySource(PILLOW)
    searched = Searched(folder, source)
    assert source.calls == []
    (hit,) = searched.search("pillow").results
    assert (hit.row.version, hit.row.import_names) == ("2.0", ("PIL",))
    assert searched.find("PIL.Image") == []


def test_few_archives_are_read_where_nothing_counts_changes(folder: Folder):
    source = MemorySource(*(make_wheel(f"tool-{number:02}", "1.0") for number in range(15)))
    rows = [hit.row for hit in Searched(folder, source).search("tool").results]
    assert [row.name for row in rows] == [f"tool-{number:02}" for number in range(15)]
    assert [row.version for row in rows] == ["1.0"] * 10 + [""] * 5


def touch(file: Path, seconds: int) -> None:
    os.utime(file, (seconds, seconds))


def names(rows: Sequence[Any]) -> list[str]:
    return [row.name for row in rows]
