"""The list of indexes, and making and removing them over HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from zope.interface import implementer

from tests.kit.memory_indexes import MemoryIndexes
from tests.kit.uploads import ALICE, CAROL, MemoryAccess
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import NotFound, Unavailable
from twisted_index.events.audit_log import AuditLog
from twisted_index.indexes.scope import Scope
from twisted_index.indexes.served_index import IIndexFolders
from twisted_index.interfaces import Action, AuditEvent, AuditQuery
from twisted_index.testing import IndexInMemory, MemorySource, SynchronousRunner, make_wheel

if TYPE_CHECKING:
    from collections.abc import Sequence

HTML = {"Accept": "text/html"}


@implementer(IIndexFolders)
class Changeable(MemoryIndexes):
    """Indexes that can be made, if their names begin with `pr-`."""

    def may_create(self, name: str) -> bool:
        return name.startswith("pr-")

    def create(self, name: str, bases: Sequence[str] = ()) -> bool:
        if name in self.names():
            return False
        self.set(MemorySource(make_wheel("demo", "1.0")), name, bases=tuple(bases))
        return True

    def remove(self, name: str) -> None:
        if name not in self.names():
            raise NotFound(f"There is no index {name} here.")
        super().remove(name)


class Access(MemoryAccess):
    """Alice may do everything, Carol reads in some indexes; everyone else reads nothing."""

    carol = frozenset({"dev", "prod"})

    def permits(self, identity: Any, action: Action, project: str = "", *, index: str = "") -> bool:
        return identity.user == "alice" or (
            identity.user == "carol" and action is Action.READ and index in self.carol
        )


@pytest.fixture
def indexes() -> Changeable:
    made = Changeable()
    made.set(MemorySource())
    made.set(MemorySource(make_wheel("demo", "1.0")), "dev", bases=("prod",), title="For <us>")
    made.set(MemorySource(), "prod")
    made.fail("odd", Unavailable("In line 1 of .index.toml, a word is odd."))
    return made


@pytest.fixture
def log() -> AuditLog:
    return AuditLog(None, SynchronousRunner())


@pytest.fixture
def access() -> Access:
    return Access(public_read=False)


@pytest.fixture
def guarded(indexes: Changeable, access: Access, log: AuditLog) -> IndexInMemory:
    return IndexInMemory(MemorySource(), indexes=indexes, access=access, audit_log=log)


def listed(index: IndexInMemory, **headers: str) -> list[dict[str, Any]]:
    reply = index.get("/+/", headers={"Accept": "application/json", **headers})
    assert reply.headers["Content-Type"] == "application/json"
    found: list[dict[str, Any]] = json.loads(reply.body)["indexes"]
    return found


def test_the_list_has_the_name_title_url_and_bases_of_each_index(indexes: Changeable):
    index = IndexInMemory(MemorySource(), indexes=indexes)
    assert listed(index) == [
        {"name": "dev", "title": "For <us>", "url": "http://index.test/+dev/", "bases": ["prod"]},
        {
            "name": "odd",
            "title": "",
            "url": "http://index.test/+odd/",
            "bases": [],
            "problem": "In line 1 of .index.toml, a word is odd.",
        },
        {"name": "prod", "title": "", "url": "http://index.test/+prod/", "bases": []},
    ]
    page = index.get("/+/", headers=HTML)
    for part in ('<a href="../+dev/">dev</a>', ">For &lt;us&gt;</td>", '<a href="../+prod/">prod</a>'):
        assert part in page.text


def test_the_list_has_the_public_url(indexes: Changeable):
    index = IndexInMemory(MemorySource(), indexes=indexes, public_url="https://p.test/py/")
    assert listed(index)[0]["url"] == "https://p.test/py/+dev/"


def test_the_list_is_found_without_its_slash_and_from_every_front_page(indexes: Changeable):
    index = IndexInMemory(MemorySource(), indexes=indexes)
    assert index.get("/+").headers["Location"] == "+/"
    assert index.get("/%2B").headers["Location"] == "+/"
    assert '<a href="+/">Indexes</a>' in index.get("/", headers=HTML).text
    assert '<a href="../+/">Indexes</a>' in index.get("/+dev/", headers=HTML).text
    assert "<h1>For &lt;us&gt;</h1>" in index.get("/+dev/", headers=HTML).text
    assert "<h1>Python package index prod</h1>" in index.get("/+prod/", headers=HTML).text


def test_without_indexes_there_is_no_list():
    assert IndexInMemory(MemorySource()).get("/+/").status == 404
    none = MemoryIndexes()
    none.set(MemorySource())
    index = IndexInMemory(MemorySource(), indexes=none)
    assert listed(index) == []
    assert "Indexes" not in index.get("/", headers=HTML).text


def test_the_list_names_only_what_the_visitor_may_read(guarded: IndexInMemory):
    assert guarded.get("/+/").status == 401
    assert [row["name"] for row in listed(guarded, Authorization=CAROL)] == ["dev", "prod"]
    assert [row["name"] for row in listed(guarded, Authorization=ALICE)] == ["dev", "odd", "prod"]
    private = guarded.get("/+/", headers={"Authorization": CAROL}).headers["Cache-Control"]
    assert private.startswith("private")


def test_an_index_that_inherits_what_the_visitor_may_not_read_is_not_listed(
    guarded: IndexInMemory, access: Access
):
    access.carol = frozenset({"dev"})
    assert listed(guarded, Authorization=CAROL) == []


def test_ten_thousand_indexes_are_listed_by_a_thread():
    class Counting(SynchronousRunner):
        runs = 0

        def run(self, function: Any, *args: Any) -> Any:
            Counting.runs += 1
            return super().run(function, *args)

    many = MemoryIndexes()
    for number in range(10_000):
        many.set(MemorySource(), f"i{number:05}")
    many.set(MemorySource())
    index = IndexInMemory(MemorySource(), indexes=many)
    index.site.resource._environment.worker.__class__ = Counting
    assert len(listed(index)) == 10_000
    assert Counting.runs == 1


# -- Making and removing


@pytest.mark.parametrize("path", ["/+pr-7/", "/+pr-7", "/%2Bpr-7/"])
def test_an_index_is_made_and_removed_at_its_url(guarded: IndexInMemory, indexes: Changeable, path: str):
    alice = {"Authorization": ALICE}
    made = guarded.get(path, method="PUT", headers=alice)
    assert (made.status, json.loads(made.body)) == (201, {"name": "pr-7", "url": "http://index.test/+pr-7/"})
    assert guarded.get("/+pr-7/simple/demo/", headers=alice).status == 200
    assert guarded.get(path, method="PUT", headers=alice).status == 200
    removed = guarded.get(path, method="DELETE", headers=alice)
    assert (removed.status, removed.body) == (204, b"")
    assert guarded.get("/+pr-7/simple/demo/", headers=alice).status == 404
    assert guarded.get(path, method="DELETE", headers=alice).status == 404


def put(index: IndexInMemory, body: bytes, user: str = ALICE) -> Any:
    return index.get("/+pr-7/", method="PUT", headers={"Authorization": user}, body=body)


def test_an_index_is_made_with_the_bases_of_the_body(guarded: IndexInMemory):
    assert put(guarded, b'{"bases": ["dev", "prod"]}').status == 201
    row = next(row for row in listed(guarded, Authorization=ALICE) if row["name"] == "pr-7")
    assert row["bases"] == ["dev", "prod"]


@pytest.mark.parametrize(
    "body",
    [
        b"bases=dev",
        b"[]",
        b'{"bases": "dev"}',
        b'{"bases": ["../dev"]}',
        b'{"bases": ["dev", "dev"]}',
        b'{"bases": ["dev"], "reserve-names": true}',
        b"\xff",
        b"[" * 5000,
    ],
)
def test_a_body_that_cannot_be_followed_makes_no_index(
    guarded: IndexInMemory, indexes: Changeable, body: bytes
):
    reply = put(guarded, body)
    assert (reply.status, "bases" in reply.text) == (400, True)
    assert "pr-7" not in indexes.names()


def test_an_index_inherits_none_that_its_maker_may_not_read(indexes: Changeable):
    class Maker(Access):
        carol = frozenset({"dev"})

        def permits(self, identity: Any, action: Action, project: str = "", *, index: str = "") -> bool:
            return action is Action.MANAGE or super().permits(identity, action, project, index=index)

    index = IndexInMemory(MemorySource(), indexes=indexes, access=Maker(public_read=False))
    assert put(index, b'{"bases": ["prod"]}', CAROL).status == 403
    assert put(index, b'{"bases": ["dev"]}', CAROL).status == 201


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("name", ["pr-7", "dev", "none"])
def test_it_takes_the_right_to_manage_that_index(guarded: IndexInMemory, method: str, name: str):
    assert guarded.get(f"/+{name}/", method=method).status == 401
    assert guarded.get(f"/+{name}/", method=method, headers={"Authorization": CAROL}).status == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("name", ["dev", "none", "odd"])
def test_a_name_that_the_settings_do_not_name_is_left_alone(
    guarded: IndexInMemory, indexes: Changeable, method: str, name: str
):
    reply = guarded.get(f"/+{name}/", method=method, headers={"Authorization": ALICE})
    assert reply.status == 403
    assert reply.text.startswith(f"The index {name} can be neither made nor removed over HTTP: the setting")
    assert indexes.names() == ["dev", "odd", "prod"]


@pytest.mark.parametrize("path", ["/", "/+dev/simple/", "/+dev/+at/2026-11-01/", "/+/", "/+dev/-/"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_no_other_url_makes_or_removes_an_index(guarded: IndexInMemory, path: str, method: str):
    reply = guarded.get(path, method=method, headers={"Authorization": ALICE})
    assert reply.status in (404, 405)


def test_a_page_of_another_site_removes_no_index(guarded: IndexInMemory):
    headers = {"Authorization": ALICE, "Sec-Fetch-Site": "cross-site"}
    assert guarded.get("/+pr-7/", method="DELETE", headers=headers).status == 403


def test_the_methods_of_an_index_are_told(guarded: IndexInMemory):
    assert "PUT, DELETE" in guarded.get("/+pr-7/", method="OPTIONS").headers["Allow"]
    assert "PUT" not in guarded.get("/", method="OPTIONS").headers["Allow"]


# -- History


def events_of(log: AuditLog, **query: Any) -> list[tuple[str, str]]:
    found: list[Any] = []
    Deferred.fromCoroutine(result_of(log.search, AuditQuery(**query))).addCallback(found.append)
    return [(event.action, event.index) for event in found[0].events]


def test_what_was_made_and_removed_is_in_the_history(guarded: IndexInMemory, log: AuditLog):
    for method in ("PUT", "PUT", "DELETE"):
        guarded.get("/+pr-7/", method=method, headers={"Authorization": ALICE})
    assert events_of(log) == [("index-remove", "pr-7"), ("index-create", "pr-7")]


def test_the_history_of_an_index_is_that_of_no_other(guarded: IndexInMemory, log: AuditLog):
    for index in ("", "dev", "prod"):
        log.record(AuditEvent(time=datetime.now(UTC), by="alice", action="delete", index=index))
    headers = {"Authorization": ALICE, "Accept": "application/json"}
    for path, name in (("/", ""), ("/+dev/", "dev"), ("/+prod/", "prod")):
        document = json.loads(guarded.get(f"{path}-/history", headers=headers).body)
        assert [event.get("index", "") for event in document["events"]] == [name]


def test_with_a_default_index_its_history_is_that_of_the_one_without_a_name_too(
    indexes: Changeable, log: AuditLog
):
    indexes._served[Scope()] = indexes.find(Scope(index="prod"))
    index = IndexInMemory(MemorySource(), indexes=indexes, audit_log=log)
    for name in ("", "dev", "prod"):
        log.record(AuditEvent(time=datetime.now(UTC), by="alice", action="delete", index=name))
    document = json.loads(index.get("/-/history", headers={"Accept": "application/json"}).body)
    assert sorted(event.get("index", "") for event in document["events"]) == ["", "prod"]
