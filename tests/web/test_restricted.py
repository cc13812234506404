"""A replica without rights of its own, whose primary restricts who may read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.kit.uploads import ALICE, MemoryAccess
from twisted_index.interfaces import IReplication, Problem
from twisted_index.replication.state_file import RESTRICTED
from twisted_index.testing import MemorySource, SiteInMemory, make_sdist
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.site import IndexSite


@implementer(IReplication)
class Replication:
    is_restricted = False
    refusal = RESTRICTED

    def health(self, is_closed: bool, is_public: bool) -> tuple[Mapping[str, object] | None, Sequence[str]]:
        named = {"indexes": {"dev": {}}} if is_public else {}
        return {"role": "replica"} | named, ["Closed."] if is_closed else []

    def problems(self) -> Sequence[Problem]:
        return [Problem(path="replica-of", reason="It is away.", advice="Wait.")]


class Index(SiteInMemory):
    def __init__(self, access: Any = None) -> None:
        self.replication = Replication()
        source = MemorySource(make_sdist("acme", "1.0"))
        clock = Clock()
        resource = IndexResource(source, access=access, replication=self.replication, reactor=clock)
        super().__init__(IndexSite(resource, reactor=clock), clock)


@pytest.fixture
def index() -> Index:
    return Index()


@pytest.mark.parametrize(
    "path", ["/", "/simple/", "/simple/acme/", "/simple/acme/acme-1.0.tar.gz", "/-/search", "/nothing"]
)
def test_nothing_is_read_while_the_primary_restricts_that(index: Index, path: str):
    # Once from the fast path, which has the page by then.
    assert [index.get(path).status for _ in range(3)][-1] != 503
    index.replication.is_restricted = True
    reply = index.get(path)

    assert reply.status == 503
    assert "give this server rights of its own" in reply.text


def test_whoever_watches_the_server_is_answered(index: Index):
    index.replication.is_restricted = True

    assert index.get("/-/metrics").status == 200


def test_health_lets_balancers_pass_it_over_and_says_why_nobody_else_is_answered(index: Index):
    assert index.get("/-/health").status == 200
    index.replication.is_restricted = True
    reply = index.get("/-/health")
    document = reply.json()

    assert (reply.status, document["status"]) == (503, "closed")
    assert document["replication"] == {"role": "replica"}
    assert document["warnings"] == ["Closed."]


def test_rights_of_its_own_open_a_replica_to_those_who_have_them():
    access = MemoryAccess()
    access.public_read = False
    index = Index(access)
    index.replication.is_restricted = True

    assert index.get("/simple/acme/", headers={"Authorization": ALICE}).status == 200
    health = index.get("/-/health").json()
    assert "warnings" not in health
    assert health["replication"] == {"role": "replica"}


def test_health_names_indexes_and_projects_where_everyone_may_read_all(index: Index):
    assert index.get("/-/health").json()["replication"]["indexes"] == {"dev": {}}


def test_reading_begins_again_when_the_primary_is_open(index: Index):
    index.replication.is_restricted = True
    assert index.get("/simple/").status == 503
    index.replication.is_restricted = False

    assert index.get("/simple/").status == 200


def test_what_a_person_has_to_look_at_is_among_the_problems(index: Index):
    assert "It is away." in index.get("/-/problems", headers={"Accept": "application/json"}).text
