"""Changes at a server that makes none now: what clients get, and what they may do all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.task import Clock

from tests.kit.uploads import ALICE, BOB, MemoryAccess, MemoryStore, fields_of, head, upload_form
from twisted_index.config.settings import UploadSettings
from twisted_index.replication.change_gate import ChangeGate
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.state_file import ReplicationState, Role, StateFile
from twisted_index.testing import MemorySource, SiteInMemory
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.site import IndexSite

OWN = "0a" * 16
RETIRED = ReplicationState(role=Role.RETIRED, primary="https://b.example/")
SENTENCE = "This server makes no changes any more. The primary is https://b.example/ now."


class Index(SiteInMemory):
    """An index with a gate, and the state that it looks at."""

    def __init__(self, state: str | None = None) -> None:
        self.state, self.store = StateFile(state), MemoryStore()
        self.gate = ChangeGate(self.state, lambda: OWN)
        resource = IndexResource(
            MemorySource(),
            access=MemoryAccess(),
            store=self.store,
            upload_settings=UploadSettings(upload=True),
            gate=self.gate,
        )
        clock = Clock()
        super().__init__(IndexSite(resource, reactor=clock), clock)

    def upload(self, as_user: str = ALICE, **headers: str):
        return self.get("/legacy/", method="POST", headers=fields_of(headers, as_user), body=upload_form())


@pytest.fixture
def index() -> Index:
    return Index()


def test_a_retired_server_names_the_primary_where_twine_shows_it(index: Index):
    index.state.write(RETIRED)
    connection = index.connect()
    connection.ask("/legacy/", method="POST", headers=fields_of(), body=upload_form())
    [reply] = connection.responses()
    assert connection.received.startswith(f"HTTP/1.1 503 {SENTENCE}\r\n".encode())
    assert (reply.text, reply.headers["Retry-After"]) == (SENTENCE + "\n", "5")
    assert index.store.files == {}


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/-/yank"), ("DELETE", "/simple/a/a-1.0.tar.gz"), ("PUT", "/-/anything")]
)
def test_a_retired_server_makes_no_change_of_any_kind(index: Index, method: str, path: str):
    index.state.write(RETIRED)
    assert index.get(path, method=method, headers={"Authorization": ALICE}).status == 503


def test_a_large_upload_to_a_retired_server_is_refused_before_it_comes(index: Index):
    index.state.write(RETIRED)
    connection = index.connect()
    connection.send(head((fields_of() | {"Content-Length": "50000000"}).items()))
    assert connection.received.startswith(f"HTTP/1.1 503 {SENTENCE}\r\n".encode())


def test_a_retired_server_is_read_as_before(index: Index):
    index.state.write(RETIRED)
    assert index.get("/simple/").status == 200
    assert index.get("/simple/", method="OPTIONS").status == 204


def test_what_is_about_the_part_in_a_replication_is_no_change(index: Index):
    index.state.write(RETIRED)
    assert index.get("/-/replication", method="POST").status != 503


def test_an_upload_that_arrives_while_its_server_is_retired_is_not_published(index: Index):
    body = upload_form()
    connection = index.connect()
    connection.send(head((fields_of() | {"Content-Length": str(len(body))}).items()) + body[:-1])
    index.state.write(RETIRED)
    connection.send(body[-1:])
    assert [reply.status for reply in connection.responses("POST")] == [503]
    assert index.store.files == {}
    assert index.store.left == 0


def test_a_change_is_counted_until_it_is_made(index: Index):
    index.upload()
    assert list(index.store.files) == ["demo-1.0-py3-none-any.whl"]
    assert index.gate.running == 0
    assert index.upload(as_user=BOB).status == 403
    assert index.gate.running == 0


def test_no_change_is_made_while_it_is_not_known_what_the_server_is(tmp_path: Path):
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "replication").write_bytes(b"role queen\n")
    index = Index(str(tmp_path))
    assert index.upload().status == 503
    assert index.store.files == {}
    assert index.get("/simple/").status == 200


def test_a_client_that_follows_another_epoch_changes_nothing(index: Index):
    assert index.upload(**{"X-Index-Epoch": str(Epoch(2, OWN))}).status == 503
    assert index.store.files == {}
    assert index.upload(**{"X-Index-Epoch": str(Epoch(1, OWN))}).status == 200
