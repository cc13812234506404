"""Every link of the pages for people leads somewhere, wherever they are and whoever looks at them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import html5lib
import pytest
from twisted.internet.task import Clock

from tests.kit.memory_indexes import MemoryIndexes
from tests.kit.rights import GuardedIndex, as_user
from tests.web.test_drafts import NEW, Server
from twisted_index.indexes.scope import Scope
from twisted_index.statistics.downloads import Downloads
from twisted_index.testing import IndexInMemory, MemorySource, SynchronousRunner, make_wheel

WHEEL = make_wheel("demo", "1.0")
#: Pages that are looked at; there are as many as their links, and no more of a kind tells more.
MOST = 60
#: Status and body of a path.
Ask = Callable[[str], tuple[int, bytes]]


def asking(index, **headers: str) -> Ask:
    def ask(path: str) -> tuple[int, bytes]:
        reply = index.get(path, headers={"Accept": "text/html", **headers})
        return reply.status, reply.body

    return ask


def followed(ask: Ask, start: str) -> dict[str, int]:
    """Follow all links from a page on; return the status of each place below it."""
    found: dict[str, int] = {}
    waiting = [start]
    while waiting and len(found) < MOST:
        path = waiting.pop(0)
        if path in found:
            continue
        found[path], body = ask(path)
        if found[path] != 200 or not body.startswith(b"<!DOCTYPE html>"):
            continue
        page = html5lib.parse(body, namespaceHTMLElements=False)
        places = [element.get(name) for element in page.iter() for name in ("href", "action")]
        targets = (urlsplit(urljoin(f"http://index.test{path}", place)) for place in places if place)
        waiting += [
            target.path + (f"?{target.query}" if target.query else "")
            for target in targets
            if target.hostname == "index.test"
        ]
    return found


def lost(ask: Ask, start: str = "/") -> dict[str, int]:
    """Return the places that a link leads to and where there is nothing for this visitor."""
    found = followed(ask, start)
    assert len(found) > 8
    return {path: status for path, status in found.items() if status not in (200, 301, 302)}


def downloads() -> Downloads:
    return Downloads(None, SynchronousRunner(), Clock())


@pytest.mark.parametrize("counts", [True, False])
def test_in_an_index(counts: bool):
    index = IndexInMemory(MemorySource(WHEEL), downloads=downloads() if counts else None)
    assert lost(asking(index)) == {}
    assert ("/-/stats" in followed(asking(index), "/")) is counts


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("path", ["/none/at/all", "/simple/none/", "/project/demo/9/"])
def test_in_errors(counts: bool, path: str):
    index = IndexInMemory(MemorySource(WHEEL), downloads=downloads() if counts else None)
    reply = index.get(path, headers={"Accept": "text/html"})
    assert reply.status == 404
    assert ("/stats" in reply.text) is counts


@pytest.mark.parametrize("user", ["", "alice", "bob"])
def test_for_users_with_some_rights_or_none(tmp_path: Path, user: str):
    headers = as_user(user) if user else {}
    found = lost(asking(GuardedIndex(tmp_path), **headers))
    # Who has not logged in is led to where they can.
    assert found == ({} if user else {"/-/problems": 401})


def test_for_one_who_operates_an_index_and_not_the_server(tmp_path: Path):
    rights = '[[rule]]\nallow = ["read"]\nprojects = "*"\nto = "bob"\nindexes = "*"\n'
    rights += '[[rule]]\nallow = ["operate"]\nto = "bob"\nindexes = "dev"\n'
    indexes = MemoryIndexes()
    indexes.set(MemorySource(WHEEL))
    indexes.set(MemorySource(WHEEL), "dev")
    index = GuardedIndex(tmp_path, rights, indexes=indexes)
    found = followed(asking(index, **as_user("bob")), "/+dev/")
    assert found["/+dev/-/problems"] == found["/+dev/-/history"] == 200
    assert not {403, 404} & set(found.values())


def test_for_one_who_operates_an_index_and_not_what_it_inherits(tmp_path: Path):
    rights = '[[rule]]\nallow = ["read"]\nprojects = "*"\nto = "bob"\nindexes = "*"\n'
    rights += '[[rule]]\nallow = ["operate"]\nto = "bob"\nindexes = ["dev", ""]\n'
    indexes = MemoryIndexes()
    indexes.set(MemorySource(WHEEL), "prod")
    indexes.set(MemorySource(WHEEL), "dev", bases=["prod"])
    index = GuardedIndex(tmp_path, rights, indexes=indexes)
    found = followed(asking(index, **as_user("bob")), "/+dev/")
    assert "/+dev/-/problems" not in found
    assert found["/+dev/-/history"] == 200


def test_for_one_who_follows_an_index_that_counts_no_changes(tmp_path: Path):
    rights = (
        '[[rule]]\nallow = ["follow"]\nto = "bob"\n[[rule]]\nallow = ["read"]\nprojects = "*"\nto = "bob"\n'
    )
    index = GuardedIndex(tmp_path, rights)
    assert index.get("/-/changes", headers=as_user("bob")).status == 404
    assert "changes" not in index.get("/-/", headers=as_user("bob")).text


def test_in_the_past_of_an_index():
    indexes = MemoryIndexes()
    for scope in ("", "dev", Scope(index="dev", as_of="2026-11-01")):
        indexes.set(MemorySource(WHEEL), scope)
    index = IndexInMemory(MemorySource(), indexes=indexes, downloads=downloads())
    assert lost(asking(index), "/+dev/+at/2026-11-01/") == {}


@pytest.mark.parametrize("user", ["", "alice"])
@pytest.mark.parametrize("statistics", ["true", "false"])
def test_in_a_draft(tmp_path: Path, user: str, statistics: str):
    server = Server(tmp_path, f"statistics = {statistics}\n")
    try:
        prefix = server.create()
        server.upload(prefix, NEW)

        def ask(path: str) -> tuple[int, bytes]:
            reply = server.answer(path, user=user, Accept="text/html")
            return reply.status, reply.body

        found = lost(ask, f"{prefix}/")
        assert {path: status for path, status in found.items() if status != 401 or user} == {}
    finally:
        server.stop()
