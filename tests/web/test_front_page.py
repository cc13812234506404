"""The front page and the list of operations pages, for operators and for others."""

from __future__ import annotations

import configparser
import gzip
import json
import tomllib
from pathlib import Path

import pytest

from tests.kit.rights import OPEN, GuardedIndex, as_user
from twisted_index.testing import IndexInMemory, MemorySource, MemoryStore, make_wheel
from twisted_index.web.endpoints import ENDPOINTS, Subject
from twisted_index.web.pages.front import MOST_NAMES
from twisted_index.web.pages.operations import OPERATOR_PAGES, PUBLIC_PAGES, USER_PAGES

HTML = {"Accept": "text/html"}
WHEEL = make_wheel("demo", "1.0")


def test_the_front_page_counts_the_files_that_are_known_to_be_left_out(tmp_path: Path):
    WHEEL.write_to(tmp_path)
    (tmp_path / "demo-1.0-py3-none-any (1).whl").write_bytes(WHEEL.content)
    with IndexInMemory.of_folders(tmp_path) as index:
        page = index.get("/", headers=HTML).text
        assert '1 file is left out: <a href="-/problems">see why</a>.</p>' in page
        (tmp_path / "demo-1.0-py3-none-any (2).whl").write_bytes(WHEEL.content)
        index.get("/simple/demo/")
        assert ">2 files are left out: " in index.get("/", headers=HTML).text


def test_an_empty_index_says_where_to_look_for_a_file_that_is_there_already(tmp_path: Path):
    (tmp_path / "wheel (1).whl").write_bytes(WHEEL.content)
    (tmp_path / "old").mkdir()
    WHEEL.write_to(tmp_path / "old")
    with IndexInMemory.of_folders(tmp_path) as index:
        index.get("/-/problems")
        page = index.get("/", headers=HTML).text
        assert "left out: " in page
        assert "put a wheel" not in page


def test_the_front_page_counts_projects_and_files_as_they_are_now(tmp_path: Path):
    for version in ("1.0", "2.0"):
        make_wheel("demo", version).write_to(tmp_path)
    make_wheel("other", "1.0").write_to(tmp_path)
    with IndexInMemory.of_folders(tmp_path) as index:
        assert "2 projects with 3 files here, and" in index.get("/", headers=HTML).text
        (added := make_wheel("demo", "3.0")).write_to(tmp_path)
        assert "2 projects with 4 files here, and" in index.get("/", headers=HTML).text
        (tmp_path / added.filename).unlink()
        (tmp_path / WHEEL.filename).unlink()
        assert "2 projects with 2 files here, and" in index.get("/", headers=HTML).text


def test_a_visitor_is_told_of_the_files_of_what_they_may_read(tmp_path: Path):
    folder = tmp_path / "packages"
    for name, versions in (("secret-lib", "123"), ("open-lib", "1")):
        for version in versions:
            make_wheel(name, version).write_to(folder)
    with IndexInMemory.of_folders(folder) as folders:
        index = GuardedIndex(tmp_path, source=folders.source)
        assert "1 project with 1 file here" in index.get("/", headers=HTML | as_user("bob")).text
        assert "2 projects with 4 files here" in index.get("/", headers=HTML | as_user("alice")).text


def test_without_an_upstream_the_front_page_says_so():
    page = IndexInMemory(MemorySource(WHEEL)).get("/", headers=HTML).text
    assert "1 project here, and no upstream for other names." in page


def test_nothing_but_the_list_of_projects_is_read_of_a_source_that_is_not_walked():
    source = MemorySource()
    index = IndexInMemory(source)
    source.calls.clear()
    page = index.get("/", headers=HTML).text
    assert "put a wheel into it, or see" in page
    assert {call.method for call in source.calls} == {"project_list"}


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


@pytest.mark.parametrize("path", ["/", "/-/", "/-/search", "/nothing/here"])
def test_the_title_of_an_index_is_for_those_who_may_read_something(tmp_path: Path, path: str):
    rights = '[[rule]]\nallow = "read"\nprojects = "*"\nto = "bob"\n'
    index = GuardedIndex(tmp_path, rights, title="Wheels of Acme")
    assert "Acme" in index.get(path, headers=HTML | as_user("bob")).text
    assert "Acme" not in index.get(path, headers=HTML | as_user("carol")).text
    assert "Acme" not in index.get(path, headers=HTML).text


@pytest.mark.parametrize(
    ("accept", "kind"), [("application/vnd.pypi.simple.v1+json", "json"), ("*/*", "html")]
)
def test_installers_and_programs_get_the_list_of_projects_where_people_get_a_page(accept: str, kind: str):
    index = IndexInMemory(MemorySource(WHEEL))
    reply = index.get("/", headers={"Accept": accept})
    assert kind in reply.headers["Content-Type"]


def test_few_names_are_listed_and_many_are_counted():
    few, many = (
        IndexInMemory(MemorySource(*(make_wheel(f"p{number}", "1") for number in range(count))))
        for count in (MOST_NAMES, MOST_NAMES + 1)
    )
    page = few.get("/", headers=HTML).text
    assert page.count('href="project/') == MOST_NAMES
    page = many.get("/", headers=HTML).text
    assert 'href="project/' not in page
    assert '<a href="simple/">All 301 projects</a>' in page


def test_the_page_is_written_once_for_all_and_validated_by_its_etag():
    index = IndexInMemory(MemorySource(WHEEL))
    first = index.get("/", headers=HTML)
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = index.get("/", headers=HTML | {"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    index.source.add(make_wheel("other", "1.0"))
    assert index.get("/", headers=HTML | {"If-None-Match": first.headers["ETag"]}).status == 200


def test_a_page_with_the_public_url_is_for_all_and_others_are_for_their_visitor():
    shared = IndexInMemory(MemorySource(WHEEL), public_url="https://packages.example")
    reply = shared.get("/", headers=HTML | {"Host": "there.example"})
    assert reply.headers["Cache-Control"] == "no-cache"
    assert "there.example" not in reply.text
    own = IndexInMemory(MemorySource(WHEEL))
    assert "http://there.example/simple/" in own.get("/", headers=HTML | {"Host": "there.example"}).text
    assert "there.example" not in own.get("/", headers=HTML | {"Host": "here.example"}).text


def test_a_page_is_compressed_for_browsers_that_take_that():
    reply = IndexInMemory(MemorySource(WHEEL)).get("/", headers=HTML | {"Accept-Encoding": "gzip"})
    assert reply.headers["Content-Encoding"] == "gzip"
    assert b"Install from here" in gzip.decompress(reply.body)


def typed_on(page: str) -> str:
    """Give a page with what is to be typed in one piece."""
    return page.replace("<span>", "").replace("</span>", "")


def test_only_where_clients_have_to_log_in_they_are_told_how_and_without_a_password(tmp_path: Path):
    assert ".netrc" not in IndexInMemory(MemorySource(WHEEL)).get("/", headers=HTML).text
    page = GuardedIndex(tmp_path).get("/", headers=HTML | as_user("alice"))
    assert "login USER" in typed_on(page.text)
    assert "alice" not in page.text
    assert page.headers["Cache-Control"] == "private, no-cache"


def test_publishing_is_told_where_it_is_possible():
    with_store = IndexInMemory(source := MemorySource(), store=MemoryStore(source))
    page = typed_on(with_store.get("/", headers=HTML).text)
    assert "twine upload --repository-url http://index.test/legacy/" in page
    assert "publish one" in page
    assert "twine" not in IndexInMemory(MemorySource()).get("/", headers=HTML).text


def test_markup_in_a_host_is_text():
    index = IndexInMemory(MemorySource(), public_url="https://a.example/<b>")
    assert "<b>" not in index.get("/", headers=HTML).text


# -- Configuration files


def test_the_configuration_files_have_the_url_of_the_visitor():
    index = IndexInMemory(MemorySource())
    reply = index.get("/pip.conf", headers={"Host": "box.local:8080"})
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert reply.headers["Cache-Control"] == "private, no-cache"
    lines = configparser.RawConfigParser()
    lines.read_string(reply.text)
    assert dict(lines["global"]) == {
        "index-url": "http://box.local:8080/simple/",
        "trusted-host": "box.local:8080",
    }
    toml = tomllib.loads(index.get("/uv.toml", headers={"Host": "box.local:8080"}).text)
    assert toml == {"index": [{"url": "http://box.local:8080/simple/", "default": True}]}


@pytest.mark.parametrize("url", ["https://packages.example/x", "http://127.0.0.1:8080"])
def test_no_host_is_trusted_that_needs_no_trust(url: str):
    reply = IndexInMemory(MemorySource(), public_url=url).get("/pip.conf")
    assert f"index-url = {url}/simple/" in reply.text
    assert "trusted-host" not in reply.text
    assert reply.headers["Cache-Control"] == "no-cache"


def test_they_are_there_before_a_client_logs_in(tmp_path: Path):
    assert GuardedIndex(tmp_path).get("/pip.conf").status == 200


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
        "health",
        "why/NAME",
        "problems",
        "wanted",
        "history",
        "metrics",
    ]
    assert '<a href="problems">Files left out</a>' in index.get("/-/", headers=HTML).text
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
