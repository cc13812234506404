"""A primary that hands over to a replica, as a client asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.at_once import answer
from tests.kit.rights import as_user
from tests.web.test_changes import NEWER, OPEN, Index
from twisted_index.events.audit_log import AuditFile, AuditLog
from twisted_index.interfaces import AuditQuery
from twisted_index.replication.change_gate import ChangeGate
from twisted_index.replication.state_file import ReplicationState, Role, StateFile
from twisted_index.testing import SynchronousRunner
from twisted_index.web.endpoints import ENDPOINTS, Subject

RIGHTS = """
[[rule]]
allow = ["manage", "follow"]
to = "alice"

[[rule]]
allow = ["follow"]
to = "bob"

[[rule]]
allow = ["read", "upload", "yank"]
projects = ["*"]
to = ["alice", "bob"]
"""
YANK = f"project=open-lib&filename={OPEN.filename}".encode()


@pytest.fixture
def state(tmp_path: Path) -> StateFile:
    return StateFile(str(tmp_path / "state"))


@pytest.fixture
def index(tmp_path: Path, state: StateFile) -> Iterator[Index]:
    gate = ChangeGate(state, lambda: index.folder.serials.instance)
    log = AuditLog(str(tmp_path / "state"), SynchronousRunner())
    index = Index(tmp_path, RIGHTS, replication_state=state, gate=gate, audit_log=log)
    yield index
    index.disconnect_all()
    answer(index.folder.stop)


def post(index: Index, body: bytes = b'{"hand-over": true}', user: str = "alice") -> Any:
    headers = {**as_user(user), "Content-Type": "application/json"}
    return index.get("/-/replication", method="POST", headers=headers, body=body)


def yank(index: Index) -> int:
    headers = {**as_user("bob"), "Content-Type": "application/x-www-form-urlencoded"}
    status: int = index.get("/-/yank", method="POST", headers=headers, body=YANK).status
    return status


def test_the_primary_makes_no_changes_any_more_and_says_which_was_the_last(index: Index, state: StateFile):
    assert yank(index) != 503
    before = index.changes()[1]
    NEWER.write_to(index.root / "open-lib")
    response = post(index)
    assert response.status == 200
    assert state.read().role is Role.RETIRED
    _instance, highest, serials = index.changes()
    assert json.loads(response.body) == {
        "role": "retired",
        "epoch": [1, index.folder.serials.instance],
        "serial": highest,
    }
    # A file that was put there by hand just before counts too.
    assert before < serials["open-lib"] <= highest
    assert yank(index) == 503
    assert json.loads(index.ask("/-/replication").body) == json.loads(response.body)
    assert post(index).body == response.body


def test_it_needs_the_right_to_manage_the_server(index: Index, state: StateFile):
    assert post(index, user="bob").status == 403
    assert state.read().role is Role.PRIMARY


def test_the_audit_log_says_once_who_let_it_hand_over(index: Index, tmp_path: Path):
    serial = json.loads(post(index).body)["serial"]
    post(index)
    (event,) = AuditFile(str(tmp_path / "state")).search(AuditQuery(actions=frozenset({"hand-over"}))).events
    assert (event.by, event.detail) == ("alice", f"epoch 1, serial {serial}")
    assert event.address


@pytest.mark.parametrize("body", [b"", b"{}", b'{"hand-over": false}', b"[]", b"{" * 10_000])
def test_anything_but_a_hand_over_is_refused(index: Index, state: StateFile, body: bytes):
    assert post(index, body).status == 400
    assert state.read().role is Role.PRIMARY


def test_a_replica_has_nothing_to_hand_over(index: Index, state: StateFile):
    state.write(ReplicationState(role=Role.REPLICA))
    assert post(index).status == 409


def test_another_site_cannot_let_it_hand_over(index: Index, state: StateFile):
    headers = {**as_user("alice"), "Content-Type": "application/json", "Origin": "https://evil.example"}
    response = index.get("/-/replication", method="POST", headers=headers, body=b'{"hand-over": true}')
    assert response.status == 403
    assert state.read().role is Role.PRIMARY


def test_an_index_that_clients_only_read_hands_over_and_takes_nothing_else(tmp_path: Path, state: StateFile):
    gate = ChangeGate(state, lambda: index.folder.serials.instance)
    index = Index(tmp_path, RIGHTS, replication_state=state, gate=gate, has_store=False)
    changing = [
        (rule.urls[0], method.decode())
        for rule in ENDPOINTS.values()
        for method in rule.methods
        if method != b"GET" and "/-/replication" not in rule.urls and rule.subject is not Subject.INDEX
    ]
    answers = {
        (url, method): index.get(url, method=method, headers=as_user("alice")).status
        for url, method in changing
    }
    refused = post(index, user="bob").status
    handed = post(index)
    answer(index.folder.stop)

    assert set(answers.values()) <= {403, 404, 405}, answers
    assert (refused, handed.status, state.read().role) == (403, 200, Role.RETIRED)


@pytest.mark.parametrize("scope", ["/+at/2026-01-01", "/+dev", "/+draft/none"])
def test_only_the_server_as_a_whole_hands_over(index: Index, state: StateFile, scope: str):
    headers = {**as_user("alice"), "Content-Type": "application/json"}
    response = index.get(
        f"{scope}/-/replication", method="POST", headers=headers, body=b'{"hand-over": true}'
    )

    assert response.status in (404, 405)
    assert state.read().role is Role.PRIMARY
