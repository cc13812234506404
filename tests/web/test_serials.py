"""Serials go with pages and lists as PyPI has them, and are in the body of no page."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.at_once import answer
from twisted_index.events.serials import Change
from twisted_index.testing import IndexInMemory, MemorySource, make_wheel

ONE, TWO = make_wheel("demo", "1.0"), make_wheel("demo", "2.0")
OTHER = make_wheel("other", "1.0")
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
FIELD = "X-PyPI-Last-Serial"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    ONE.write_to(tmp_path / "demo")
    OTHER.write_to(tmp_path / "other")
    return tmp_path


@pytest.fixture
def index(root: Path) -> Iterator[IndexInMemory]:
    index = IndexInMemory.of_folders(root)
    yield index
    index.disconnect_all()
    answer(index.source.stop)  # type: ignore[attr-defined]


def header(index: IndexInMemory, path: str = "/simple/demo/", **headers: str) -> int:
    return int(index.get(path, headers=headers).headers[FIELD])


def listing(index: IndexInMemory) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(index.get("/simple/", headers=JSON).body)
    return document


def serials(index: IndexInMemory) -> dict[str, int]:
    return {project["name"]: project["_last-serial"] for project in listing(index)["projects"]}


def test_page_list_and_legacy_document_have_the_same_serial(index: IndexInMemory):
    serial = serials(index)["demo"]
    assert header(index) == serial
    assert header(index, Accept=JSON["Accept"]) == serial
    assert header(index, "/pypi/demo/json") == serial
    assert header(index, "/pypi/demo/1.0/json") == serial


def test_the_list_says_the_highest_serial(index: IndexInMemory):
    document = listing(index)
    assert document["meta"]["_last-serial"] == max(serials(index).values())
    assert header(index, "/simple/", **JSON) == document["meta"]["_last-serial"]


def test_a_304_has_it_too(index: IndexInMemory):
    first = index.get("/simple/demo/")
    again = index.get("/simple/demo/", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.headers[FIELD]) == (304, first.headers[FIELD])


def test_a_new_page_never_has_the_old_serial(index: IndexInMemory, root: Path):
    before = header(index)
    for number in range(3, 8):
        make_wheel("demo", f"{number}.0").write_to(root / "demo")
        page = index.get("/simple/demo/")
        assert f"demo-{number}.0" in page.body.decode()
        assert int(page.headers[FIELD]) > before
        before = int(page.headers[FIELD])
        assert serials(index)["demo"] == before


def test_the_serial_changes_neither_body_nor_etag(index: IndexInMemory, root: Path):
    before = index.get("/simple/demo/")
    index.clock.advance(3)
    os.chmod(root / "demo" / ONE.filename, 0o600)
    after = index.get("/simple/demo/")
    assert int(after.headers[FIELD]) > int(before.headers[FIELD])
    assert (after.body, after.headers["ETag"]) == (before.body, before.headers["ETag"])


def test_the_list_knows_changes_by_hand_after_the_time_for_looking(index: IndexInMemory, root: Path):
    before = serials(index)
    index.clock.advance(3)
    TWO.write_to(root / "demo")
    index.clock.advance(3)
    after = serials(index)
    assert after["demo"] > max(before.values())
    assert after["other"] == before["other"]


def test_a_new_project_is_in_the_next_list_with_its_serial(index: IndexInMemory, root: Path):
    before = serials(index)
    make_wheel("third", "1.0").write_to(root / "third")
    assert serials(index)["third"] > max(before.values())


def test_the_highest_serial_rises_when_a_project_is_removed(index: IndexInMemory, root: Path):
    before = listing(index)["meta"]["_last-serial"]
    index.clock.advance(3)
    shutil.rmtree(root / "other")
    assert listing(index)["meta"]["_last-serial"] > before
    assert list(serials(index)) == ["demo"]


def test_a_list_is_not_made_anew_while_nothing_changes(index: IndexInMemory):
    first = index.get("/simple/", headers=JSON)
    index.clock.advance(3)
    again = index.get("/simple/", headers={**JSON, "If-None-Match": first.headers["ETag"]})
    assert again.status == 304


def test_the_html_list_costs_no_sweep(index: IndexInMemory):
    assert FIELD not in index.get("/simple/", headers={"Accept": "text/html"}).headers
    assert index.source.serials.read().changes == {}  # type: ignore[attr-defined]


def test_what_counts_no_changes_has_no_serials():
    index = IndexInMemory(MemorySource(ONE))
    assert FIELD not in index.get("/simple/demo/").headers
    assert listing(index) == {"meta": {"api-version": "1.4"}, "projects": [{"name": "demo"}]}


# -- Those of another server


@pytest.fixture
def replica(index: IndexInMemory) -> IndexInMemory:
    """It has applied the changes 7 and 9 of its primary."""
    count = index.source.serials  # type: ignore[attr-defined]
    count.follow("c" * 32)
    count.adopt("demo", Change(7, "1" * 32))
    count.adopt("other", Change(9, "1" * 32))
    return index


def test_a_replica_sends_the_serials_of_its_primary(replica: IndexInMemory, root: Path):
    assert (header(replica), header(replica, "/pypi/demo/json")) == (7, 7)
    assert serials(replica) == {"demo": 7, "other": 9}
    assert listing(replica)["meta"]["_last-serial"] == 9


def test_a_replica_has_no_serials_for_what_is_changed_there_by_hand(replica: IndexInMemory, root: Path):
    TWO.write_to(root / "demo")
    make_wheel("new", "1.0").write_to(root / "new")
    shutil.rmtree(root / "other")
    assert "demo-2.0" in replica.get("/simple/demo/").body.decode()
    assert header(replica) == 7
    assert FIELD not in replica.get("/simple/new/").headers
    assert set(serials_of_some(replica)) == {("demo", 7), ("new", None)}
    assert replica.source.serials.read().changes["other"] == Change(9, "1" * 32)  # type: ignore[attr-defined]


def test_a_page_that_was_built_before_its_serial_was_adopted_gets_it(replica: IndexInMemory, root: Path):
    source: Any = replica.source
    TWO.write_to(root / "demo")
    assert header(replica) == 7
    source.serials.adopt("demo", Change(12, "2" * 32))
    source.drop_outdated("demo")
    assert header(replica) == 12


def serials_of_some(index: IndexInMemory) -> list[tuple[str, int | None]]:
    return [(project["name"], project.get("_last-serial")) for project in listing(index)["projects"]]
