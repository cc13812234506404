"""The feed of new releases, and the newest releases on the front page."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest

from tests.kit.atom import feed_errors
from tests.kit.rights import GuardedIndex, as_user
from twisted_index.testing import IndexInMemory, MemorySource, make_sdist, make_wheel
from twisted_index.web.pages.feed import FeedEntry, write_feed

ATOM = "{http://www.w3.org/2005/Atom}"
HTML = {"Accept": "text/html"}
URL = "http://index.test"
DAY = 86400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    packages = tmp_path / "packages"
    packages.mkdir()
    released = [("old", "1.0", 10), ("demo", "1.0", 8), ("demo", "2.0", 3), ("other", "1!2.0+a", 5)]
    for name, version, days in released:
        wheel = make_wheel(name, version, extra_metadata=[f"Summary: What <{name}> does"])
        path = wheel.write_to(packages)
        os.utime(path, (1_700_000_000 - days * DAY,) * 2)
    return packages


def entries_of(feed: Element) -> list[tuple[str | None, ...]]:
    parts = ("id", "title", "updated", "summary")
    return [tuple(entry.findtext(ATOM + part) for part in parts) for entry in feed.iter(f"{ATOM}entry")]


def feed_of(index: IndexInMemory, path: str = "/-/feed.atom") -> Element:
    reply = index.get(path)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/atom+xml; charset=utf-8")
    return fromstring(reply.body)


def test_all_releases_come_in_the_order_of_uploads(folder: Path):
    with IndexInMemory.of_folders(folder) as index:
        feed = feed_of(index)
        assert entries_of(feed) == [
            (f"{URL}/project/demo/2.0/", "demo 2.0", "2023-11-11T22:13:20Z", "What <demo> does"),
            (
                f"{URL}/project/other/1%212.0%2Ba/",
                "other 1!2.0+a",
                "2023-11-09T22:13:20Z",
                "What <other> does",
            ),
            (f"{URL}/project/demo/1.0/", "demo 1.0", "2023-11-06T22:13:20Z", "What <demo> does"),
            (f"{URL}/project/old/1.0/", "old 1.0", "2023-11-04T22:13:20Z", "What <old> does"),
        ]
        assert feed.findtext(f"{ATOM}updated") == "2023-11-11T22:13:20Z"
        assert feed.findtext(f"{ATOM}id") == f"{URL}/-/feed.atom"
        assert feed.findtext(f"{ATOM}author/{ATOM}name") == "Python package index"


def test_every_entry_leads_to_its_release(folder: Path):
    with IndexInMemory.of_folders(folder) as index:
        for link in feed_of(index).iterfind(f"{ATOM}entry/{ATOM}link"):
            assert index.get(link.get("href", "").removeprefix(URL), headers=HTML).status == 200


def test_a_new_release_is_in_the_very_next_feed_and_an_old_etag_finds_none(folder: Path):
    with IndexInMemory.of_folders(folder) as index:
        etag = {"If-None-Match": index.get("/-/feed.atom").headers["ETag"]}
        assert index.get("/-/feed.atom", headers=etag).status == 304
        make_wheel("demo", "3.0").write_to(folder)
        reply = index.get("/-/feed.atom", headers=etag)
        assert (reply.status, entries_of(fromstring(reply.body))[0][1]) == (200, "demo 3.0")


def test_the_feed_of_a_project_has_all_its_releases(folder: Path):
    with IndexInMemory.of_folders(folder) as index:
        feed = feed_of(index, "/-/feed.atom?project=Demo")
        assert [entry[1] for entry in entries_of(feed)] == ["demo 2.0", "demo 1.0"]
        assert feed.findtext(f"{ATOM}id") == f"{URL}/-/feed.atom?project=demo"


@pytest.mark.parametrize("path", ["/-/feed.atom", "/-/feed.atom?project=demo"])
def test_a_fix_of_an_old_release_is_the_newest(folder: Path, path: str):
    with IndexInMemory.of_folders(folder) as index:
        make_wheel("demo", "1.0.1").write_to(folder)
        assert entries_of(feed_of(index, path))[0][1] == "demo 1.0.1"


@pytest.mark.parametrize("path", ["/-/feed.atom", "/-/feed.atom?project=demo"])
def test_two_spellings_of_a_version_are_one_entry(folder: Path, path: str):
    make_sdist("demo", "1.0.0").write_to(folder)
    with IndexInMemory.of_folders(folder) as index:
        titles = [entry[1] for entry in entries_of(feed_of(index, path))]
        assert sum("demo 1.0" in str(title) for title in titles) == 1


@pytest.mark.parametrize("path", ["/-/feed.atom", "/-/feed.atom?project=demo"])
def test_a_project_in_quarantine_has_no_entries(folder: Path, path: str):
    (folder / "demo").mkdir()
    (folder / "demo" / ".quarantined").write_text("Malware")
    with IndexInMemory.of_folders(folder) as index:
        assert "demo" not in {str(entry[1]).split()[0] for entry in entries_of(feed_of(index, path))}


@pytest.mark.parametrize("project", ["nope", "%3Cb%3E", "a%00", "%ff", "..", "-"])
def test_what_is_no_project_has_no_feed(folder: Path, project: str):
    with IndexInMemory.of_folders(folder) as index:
        assert index.get(f"/-/feed.atom?project={project}").status == 404


def test_an_empty_index_has_an_empty_feed():
    feed = feed_of(IndexInMemory(MemorySource()))
    assert (entries_of(feed), feed.findtext(f"{ATOM}updated")) == ([], "1970-01-01T00:00:00Z")


def test_characters_that_no_xml_can_have_are_replaced():
    entry = FeedEntry(
        title="a\x07 & <c>", url=URL, updated=datetime(2026, 1, 2, tzinfo=UTC), summary="\ud800\uffff"
    )
    ((_id, title, _updated, summary),) = entries_of(
        fromstring(write_feed("t", URL, URL, [entry], author="t"))
    )
    assert (title, summary) == ("a\N{REPLACEMENT CHARACTER} & <c>", "\N{REPLACEMENT CHARACTER}" * 2)


SUMMARIES = ("", " \t ", "\u00fcber <b>\u2603</b> & ]]>", "\U0001f40d " * 300, "'\"&amp;&#0;", "\u202eabc")


@pytest.mark.parametrize("title", [None, "<i>P\u00e4ckchen</i> & Co. ]]>", "\U0001f4e6"])
@pytest.mark.parametrize("path", ["/-/feed.atom", "/-/feed.atom?project=p0", "/-/feed.atom?project=Odd_Name"])
def test_feeds_keep_the_rules_of_rfc_4287(tmp_path: Path, path: str, title: str | None):
    wheels = [
        make_wheel(f"p{number}", "1.0", extra_metadata=[f"Summary: {summary}"] if summary else [])
        for number, summary in enumerate(SUMMARIES)
    ]
    source = MemorySource(*wheels, make_wheel("Odd.Name", "1!2.0rc1+a.1"), make_sdist("p0", "0.9"))
    index = IndexInMemory(source) if title is None else IndexInMemory(source, title=title)
    feed = fromstring(index.get(path, headers={"Host": "Index.Test:8080"}).body)
    assert feed_errors(feed) == []
    assert feed.findtext(f"{ATOM}author/{ATOM}name") == (title or "Python package index")


def test_the_feed_of_an_empty_index_keeps_the_rules_too():
    assert feed_errors(feed_of(IndexInMemory(MemorySource()))) == []


def test_ids_are_those_of_the_public_url_at_every_name_of_the_server(folder: Path):
    with IndexInMemory.of_folders(folder, public_url="https://pkgs.test/py") as index:
        for path in ("/-/feed.atom", "/-/feed.atom?project=demo"):
            one, other = (index.get(path, headers={"Host": host}).body for host in ("a.test", "B.test:81"))
            assert one == other
            ids = [each.text or "" for each in fromstring(one).iter(f"{ATOM}id")]
            assert all(each.startswith("https://pkgs.test/py/") for each in ids)


@pytest.mark.parametrize("user", [None, "bob", "alice"])
def test_feeds_and_front_pages_name_only_what_the_client_may_read(
    folder: Path, tmp_path: Path, user: str | None
):
    rules = "".join(
        f'[[rule]]\nprojects = "{name}"\nallow = ["read"]\nto = "{reader}"\n'
        for name, reader in (("demo", "alice"), ("old", "everyone"), ("other", "bob"))
    )
    index = GuardedIndex(tmp_path, rules, source=IndexInMemory.of_folders(folder).source)
    readable = {"old"} | {"alice": {"demo"}, "bob": {"other"}}.get(user or "", set())
    for path in ("/-/feed.atom", "/"):
        reply = index.get(path, headers=HTML | (as_user(user) if user else {}))
        assert reply.headers["Cache-Control"].startswith("private")
        assert {name for name in ("demo", "old", "other") if f"/{name}/" in reply.text} == readable
        # Two of the releases are those of demo.
        assert reply.text.count("What ") == len(readable) + ("demo" in readable)
    for name in ("demo", "old", "other"):
        reply = index.get(f"/-/feed.atom?project={name}", headers=as_user(user) if user else {})
        assert reply.status == (200 if name in readable else 403 if user else 401)


# -- The front page


def test_the_front_page_shows_the_newest_releases_first(folder: Path):
    with IndexInMemory.of_folders(folder) as index:
        page = index.get("/", headers=HTML).text
        newest = page.partition("Newest releases")[2]
        assert newest.index(">demo<") < newest.index(">other<") < newest.index(">old<")
        assert "What &lt;demo&gt; does" in newest
        assert "2023-11-11 22:13" in newest
        assert 'type="application/atom+xml"' in page.partition("</head>")[0]


def test_a_front_page_that_is_kept_shows_a_new_release_at_once(folder: Path):
    with IndexInMemory.of_folders(folder) as index:
        assert index.get("/", headers=HTML).body == index.get("/", headers=HTML).body
        make_wheel("demo", "3.0").write_to(folder)
        assert "3.0" in index.get("/", headers=HTML).text


def test_without_releases_there_is_no_table_of_them():
    assert "Newest releases" not in IndexInMemory(MemorySource()).get("/", headers=HTML).text
