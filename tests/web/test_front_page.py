"""The front page and the list of operations pages, for operators and for others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kit.rights import OPEN, GuardedIndex, as_user
from twisted_index.testing import IndexInMemory, MemorySource, make_wheel
from twisted_index.web.endpoints import ENDPOINTS, Subject
from twisted_index.web.pages.operations import OPERATOR_PAGES, PUBLIC_PAGES, USER_PAGES

HTML = {"Accept": "text/html"}
WHEEL = make_wheel("demo", "1.0")


def test_the_front_page_counts_the_files_that_are_known_to_be_left_out(tmp_path: Path):
    WHEEL.write_to(tmp_path)
    (tmp_path / "demo-1.0-py3-none-any (1).whl").write_bytes(WHEEL.content)
    with IndexInMemory.of_folders(tmp_path) as index:
        assert "left out: " not in index.get("/", headers=HTML).text
        index.get("/simple/demo/")
        page = index.get("/", headers=HTML).text
        assert '<p>1 file is left out: <a href="-/problems">see why</a>.</p>' in page
        (tmp_path / "demo-1.0-py3-none-any (2).whl").write_bytes(WHEEL.content)
        index.get("/simple/demo/")
        assert "<p>2 files are left out: " in index.get("/", headers=HTML).text


def test_an_empty_index_says_where_to_look_for_a_file_that_is_there_already(tmp_path: Path):
    (tmp_path / "wheel (1).whl").write_bytes(WHEEL.content)
    (tmp_path / "old").mkdir()
    WHEEL.write_to(tmp_path / "old")
    with IndexInMemory.of_folders(tmp_path) as index:
        index.get("/-/problems")
        page = index.get("/", headers=HTML).text
        assert "left out: " in page
        assert "put a wheel" not in page


def test_nothing_is_scanned_for_the_front_page():
    source = MemorySource()
    index = IndexInMemory(source)
    source.calls.clear()
    page = index.get("/", headers=HTML).text
    assert "put a wheel into it, or see" in page
    assert [call.method for call in source.calls] == ["project_list"]


@pytest.mark.parametrize(("user", "sees"), [("", False), ("bob", False), ("alice", True)])
def test_the_front_page_links_problems_for_those_who_may_see_them(tmp_path: Path, user: str, sees: bool):
    fields = HTML | (as_user(user) if user else {})
    page = GuardedIndex(tmp_path, OPEN).get("/", headers=fields)
    assert ("-/problems" in page.text) is sees


def test_the_title_of_an_index_is_its_heading_and_escaped():
    page = IndexInMemory(MemorySource(), title="Wheels <of> Acme").get("/", headers=HTML).text
    assert "<h1>Wheels &lt;of&gt; Acme</h1>" in page
    assert "<title>Wheels &lt;of&gt; Acme</title>" in page
    assert "<h1>Python package index</h1>" in IndexInMemory(MemorySource()).get("/", headers=HTML).text


# -- The list


def test_every_page_for_operators_is_in_the_list():
    rules = [
        (rule.subject, rule.urls[0].removeprefix("/-/"))
        for rule in ENDPOINTS.values()
        if rule.urls[0].startswith("/-/") and b"GET" in rule.methods
    ]
    operated = {name for subject, name in rules if subject in (Subject.PAGES, Subject.SERVER)}
    assert operated == set(OPERATOR_PAGES)
    assert {name for subject, name in rules if subject is Subject.USER} == set(USER_PAGES)
    assert set(PUBLIC_PAGES) == {"search", "stats", "health", "why/NAME"}


def test_where_everyone_may_see_everything_all_pages_are_listed():
    index = IndexInMemory(MemorySource())
    pages = json.loads(index.get("/-/", headers={"Accept": "application/json"}).body)["pages"]
    assert list(pages) == [
        "search",
        "stats",
        "health",
        "why/NAME",
        "problems",
        "wanted",
        "history",
        "metrics",
    ]
    assert '<a href="problems">problems</a>' in index.get("/-/", headers=HTML).text
    assert index.get("/-/").text.startswith("search    projects by name")
    assert "Log in" not in index.get("/-/").text
    redirect = index.get("/-")
    assert (redirect.status, redirect.headers["Location"]) == (301, "-/")


@pytest.mark.parametrize(("user", "sees"), [("", False), ("bob", False), ("alice", True)])
def test_only_those_who_may_operate_see_more_than_the_health(tmp_path: Path, user: str, sees: bool):
    reply = GuardedIndex(tmp_path).get("/-/", headers=as_user(user) if user else {})
    assert reply.status == 200
    assert reply.headers["Cache-Control"].startswith("private")
    assert ("problems" in reply.text) is sees
    assert ("that you have made" in reply.text) is bool(user)
    assert ("Log in" in reply.text) is not sees
