"""Promotion over HTTP: who may, what is answered, and what all is in the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from zope.interface import implementer

from tests.kit.folder_store import Shop
from tests.kit.memory_indexes import MemoryIndexes
from tests.kit.uploads import ALICE, CAROL
from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.interfaces import ANONYMOUS, Action, Credentials, IAccessControl, Identity
from twisted_index.testing import IndexInMemory, make_sdist, make_wheel

WHEEL, SDIST, EXTRAS = make_wheel("acme", "1.2"), make_sdist("acme", "1.2"), make_wheel("acme-extras", "1.2")
RELEASES = ["acme==1.2", "Acme_Extras==1.2"]


@implementer(IAccessControl)
class Rights:
    """Alice may do everything, Carol what is said."""

    public_read = False
    has_users = True
    generation = 0

    def __init__(self) -> None:
        self.carol: set[tuple[Action, str, str]] = set()

    async def authenticate(self, credentials: Credentials) -> Identity:
        users = {ALICE: "alice", CAROL: "carol"}
        if credentials.authorization is None:
            return ANONYMOUS
        return Identity(user=users[credentials.authorization.decode()])

    def permits(self, identity: Identity, action: Action, project: str = "", *, index: str = "") -> bool:
        if identity.user == "carol" and action is Action.READ and not project:
            # Whether she may read anything at all.
            return True
        return identity.user == "alice" or (
            identity.user == "carol" and (action, project, index) in self.carol
        )


class Server:
    """Two indexes, `staging` and `prod`, and what a client sees of them."""

    def __init__(self, folder: Path, open_shop: Callable[..., Shop]) -> None:
        self.rights, self.indexes = Rights(), MemoryIndexes()
        self.shops = {}
        for name in ("staging", "prod"):
            store = BlockingStore([bytes(folder / name)], index=name)
            self.shops[name] = shop = open_shop(folder / name, blocking_store=store)
            self.indexes.set(shop.source, name, store=shop.store)
        for made in (WHEEL, SDIST, EXTRAS):
            self.shops["staging"].publish(made, index="staging")
        self.indexes.set(self.shops["prod"].source)
        self.index = IndexInMemory(
            self.shops["prod"].source,
            store=self.shops["prod"].store,
            access=self.rights,
            indexes=self.indexes,
        )

    def promote(self, body: Any = None, user: str | None = ALICE, path: str = "/+staging/-/promote") -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": user} if user else {})
        body = {"to": "prod", "releases": RELEASES} if body is None else body
        return self.index.get(path, method="POST", headers=headers, body=json.dumps(body).encode())

    def allow(self, *rights: tuple[Action, str, str]) -> None:
        self.rights.carol |= set(rights)


@pytest.fixture
def server(tmp_path: Path, open_shop: Callable[..., Shop]) -> Server:
    return Server(tmp_path, open_shop)


def test_all_files_of_all_releases_are_in_the_answer_and_in_the_target(server: Server):
    reply = server.promote()
    assert reply.status == 200
    document = reply.json()
    assert (document["from"], document["to"], document["present"]) == ("staging", "prod", [])
    assert {file["filename"]: file["sha256"] for file in document["published"]} == {
        made.filename: made.sha256 for made in (WHEEL, SDIST, EXTRAS)
    }
    page = server.index.get("/+prod/simple/acme/", headers={"Authorization": ALICE})
    assert WHEEL.filename in page.text


def test_again_it_is_success(server: Server):
    server.promote()
    document = server.promote().json()
    assert document["published"] == []
    assert set(document["present"]) == {made.filename for made in (WHEEL, SDIST, EXTRAS)}


def test_everything_that_is_in_the_way_is_in_one_answer(server: Server):
    make_wheel("acme", "1.2", files={"x.py": ""}).write_to(server.shops["prod"].path / "acme")
    reply = server.promote({"to": "prod", "releases": [*RELEASES, "nothing==1.0"]})
    assert reply.status == 409
    assert reply.headers["Content-Type"] == "application/json"
    assert [refusal["name"] for refusal in reply.json()["refusals"]] == [WHEEL.filename, "nothing==1.0"]


def test_a_release_needs_read_at_the_source_and_promote_at_the_target(server: Server):
    everything = [
        (action, project, index)
        for project in ("acme", "acme-extras")
        for action, index in (
            (Action.READ, "staging"),
            (Action.PROMOTE, "prod"),
            (Action.UPLOAD, "prod"),
        )
    ]
    for missing in everything:
        server.rights.carol = set(everything) - {missing}
        reply = server.promote(user=CAROL)
        assert reply.status == 403
        assert missing[1] in [refusal["name"] for refusal in reply.json()["refusals"]]
        assert server.shops["prod"].tree() == []
    server.rights.carol = set(everything)
    assert server.promote(user=CAROL).status == 200


def test_of_what_a_client_may_not_promote_nothing_else_is_said(server: Server):
    server.allow(
        (Action.READ, "acme", "staging"), (Action.PROMOTE, "acme", "prod"), (Action.UPLOAD, "acme", "prod")
    )
    reply = server.promote({"to": "prod", "releases": ["acme==9.9", "secret==1.0"]}, user=CAROL)
    assert reply.status == 403
    assert {refusal["name"]: refusal["reason"] for refusal in reply.json()["refusals"]} == {
        "secret": "carol may not read it here.",
        "acme==9.9": "There is no such release in the folder of staging.",
    }


def test_a_client_without_credentials_is_asked_for_them(server: Server):
    reply = server.promote(user=None)
    assert reply.status == 401
    assert "WWW-Authenticate" in reply.headers


def test_where_an_index_may_not_be_promoted_to_it_is_said(server: Server):
    shop = server.shops["staging"]
    server.indexes.set(shop.source, "staging", store=shop.store, promote_to=("qa",))
    reply = server.promote()
    assert reply.status == 409
    assert reply.json()["refusals"] == [
        {"name": "prod", "reason": "What is here may be promoted to qa only."}
    ]


def test_an_index_that_is_not_there_is_not_found(server: Server):
    assert server.promote({"to": "nowhere", "releases": RELEASES}).status == 404


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"to": "prod"},
        {"to": "prod", "releases": []},
        {"to": "prod", "releases": ["acme"]},
        {"to": "prod", "releases": ["acme=="]},
        {"to": "prod", "releases": [1]},
        {"to": "../prod", "releases": RELEASES},
        {"to": 1, "releases": RELEASES},
        {"to": "prod", "releases": RELEASES, "yanked": "yes"},
        {"to": "prod", "releases": RELEASES, "move": True},
    ],
)
def test_what_is_no_promotion_is_a_bad_request(server: Server, body: Any):
    assert server.promote(body).status == 400


def test_other_types_of_bodies_are_not_read(server: Server):
    reply = server.index.get(
        "/+staging/-/promote", method="POST", headers={"Authorization": ALICE}, body=b"to=prod"
    )
    assert reply.status == 415


def test_it_is_a_post(server: Server):
    reply = server.index.get("/+staging/-/promote", headers={"Authorization": ALICE})
    assert (reply.status, reply.headers["Allow"]) == (405, "POST, OPTIONS")
