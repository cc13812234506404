"""What the audit log says of requests: where changes come from, and what was refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.kit.rights import OPEN, RIGHTS, SECRET, SHARED, GuardedIndex, as_user, basic
from tests.kit.uploads import fields_of, upload_form
from twisted_index.access.htpasswd import HtpasswdChecker
from twisted_index.events.audit_log import AuditLog
from twisted_index.interfaces import AuditEvent, AuditQuery
from twisted_index.testing import MemorySource, SynchronousRunner, make_wheel
from twisted_index.testing.memory_store import MemoryStore

SHARED_FILE = f"/simple/shared-lib/{SHARED.filename}"
PIP = {"User-Agent": "pip/26.0 x"}


class Audited(GuardedIndex):
    """A guarded index with an audit log in memory."""

    def __init__(self, folder: Path, rights: str = RIGHTS, **more: Any) -> None:
        self.log = AuditLog(None, SynchronousRunner())
        source = MemorySource(SECRET, SHARED)
        store = MemoryStore(source, audit_log=self.log)
        super().__init__(folder, rights, source=source, store=store, audit_log=self.log, **more)

    def events(self) -> list[AuditEvent]:
        """The recorded events, the oldest first."""
        found: list[AuditEvent] = []
        self.log.search(AuditQuery()).addCallback(lambda page: found.extend(page.events))
        return found[::-1]

    def only(self) -> AuditEvent:
        (event,) = self.events()
        return event


@pytest.fixture
def index(tmp_path: Path) -> Audited:
    return Audited(tmp_path)


def upload(index: Audited, user: str | None, **fields: str) -> int:
    wheel = make_wheel("shared-lib", "2.0")
    headers = fields_of(as_user=None) | PIP | (as_user(user) if user else {})
    body = upload_form(wheel.content, wheel.filename, **fields)
    return index.get("/legacy/", method="POST", headers=headers, body=body).status


# -- Where changes come from


def test_a_change_names_address_and_client(index: Audited):
    body = b"project=shared-lib&version=1.0&reason=broken"
    headers = as_user("carol") | PIP | {"Content-Type": "application/x-www-form-urlencoded"}
    assert index.get("/-/yank", method="POST", headers=headers, body=body).status == 200
    assert index.get(SHARED_FILE, method="DELETE", headers=as_user("carol") | PIP).status == 200
    for event in index.events():
        assert (event.by, event.client) == ("carol", "pip/26.0 x")
        assert event.address


def test_an_upload_names_address_and_client(index: Audited):
    assert upload(index, "carol") == 200
    event = index.only()
    assert (event.action, event.by, bool(event.address)) == ("upload", "carol", True)
    assert event.client.startswith("pip/26.0")


def test_the_address_is_that_behind_a_trusted_proxy(tmp_path: Path):
    index = Audited(tmp_path, proxies=("0.0.0.0/0", "::/0"))
    headers = as_user("carol") | {"X-Forwarded-For": "203.0.113.9, 192.0.2.44"}
    untrusted = Audited(tmp_path)
    for one in (index, untrusted):
        assert one.get(SHARED_FILE, method="DELETE", headers=headers).status == 200
    assert untrusted.only().address not in ("203.0.113.9", "192.0.2.44")


def test_one_request_is_not_taken_for_the_next(index: Audited):
    """The client of a change is not that of a later one on the same connection."""
    connection = index.connect()
    for client in ("one", "two"):
        connection.ask(
            "/-/yank",
            method="POST",
            body=b"project=shared-lib&version=1.0",
            headers={
                **as_user("carol"),
                "User-Agent": client,
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
    assert [event.client for event in index.events()] == ["one", "two"]


# -- What was refused


def test_a_challenge_is_no_refusal(index: Audited):
    assert index.get("/simple/secret-lib/").status == 401
    assert index.get("/-/history").status == 401
    assert upload(index, None) == 401
    assert index.events() == []


def test_a_request_without_the_right_is_recorded(index: Audited):
    assert index.get("/simple/secret-lib/", headers=as_user("bob") | PIP).status == 403
    event = index.only()
    assert (event.action, event.by, event.project) == ("refuse", "bob", "secret-lib")
    assert event.detail == "bob may not read the project secret-lib."
    assert event.client.startswith("pip/26.0")


def test_a_change_without_the_right_is_recorded_with_its_project(index: Audited):
    headers = as_user("bob") | {"Content-Type": "application/x-www-form-urlencoded"}
    assert index.get("/-/yank", method="POST", headers=headers, body=b"project=Shared.Lib").status == 403
    assert (index.only().by, index.only().project) == ("bob", "shared-lib")


def test_a_refusal_of_a_whole_request_has_no_project(index: Audited):
    assert index.get("/-/metrics", headers=as_user("bob")).status == 403
    assert (index.only().by, index.only().project) == ("bob", "")


def test_a_change_that_another_site_causes_is_recorded(index: Audited):
    headers = as_user("carol") | {"Origin": "http://evil.test"}
    assert index.get(SHARED_FILE, method="DELETE", headers=headers).status == 403
    assert "another site" in index.only().detail


def test_what_is_allowed_or_absent_is_no_refusal(tmp_path: Path):
    index = Audited(tmp_path, OPEN)
    for path in ("/simple/", "/simple/none/", "/-/x"):
        index.get(path, headers=as_user("bob"))
    assert index.events() == []


def test_a_refused_upload_is_recorded_with_its_reason(index: Audited):
    assert upload(index, "carol", sha256_digest="0" * 64) == 400
    event = index.only()
    assert (event.action, event.by, event.project) == ("refuse", "carol", "shared-lib")
    assert event.filename == "shared_lib-2.0-py3-none-any.whl"
    assert "digest" in event.detail.lower() or "sha256" in event.detail.lower()


def test_an_upload_without_the_right_is_recorded_once(index: Audited):
    assert upload(index, "bob") == 403
    assert (index.only().by, index.only().detail) == ("bob", index.only().detail)
    assert "bob may not" in index.only().detail


# -- Logins


def attempt(index: Audited, field: str) -> AuditEvent:
    assert index.get("/simple/secret-lib/", headers={"Authorization": field}).status in (401, 429)
    return index.events()[-1]


def test_a_wrong_password_of_a_user_names_the_user_and_not_the_password(tmp_path: Path):
    users = tmp_path / "users"
    users.write_text("dora:{SHA}NWoZK3kTsExUV00Ywo1G5jlUKKs=\n")
    index = Audited(tmp_path, checkers=[HtpasswdChecker(str(users), SynchronousRunner(), Clock())])
    event = attempt(index, basic("dora", "hunter2"))
    assert (event.action, event.by, event.project) == ("refuse", "anyone", "")
    assert event.detail.startswith("login of dora: The user name or password is wrong.")
    assert "hunter2" not in repr(event)


def test_a_user_who_has_logged_in_is_named(index: Audited):
    index.get("/simple/secret-lib/", headers=as_user("alice"))
    assert attempt(index, basic("alice", "wrong")).detail.startswith("login of alice: ")


def test_a_name_of_no_user_is_not_recorded(index: Audited):
    """People type their passwords there."""
    event = attempt(index, basic("hunter2", ""))
    assert event.detail.startswith("login: ")
    assert "hunter2" not in repr(index.events())


@pytest.mark.parametrize("field", ["Basic %%%", "Digest hunter2", "Bearer hunter2", "Basic aHVudGVyMg=="])
def test_of_what_is_no_login_nothing_is_recorded_but_that(index: Audited, field: str):
    assert "hunter2" not in repr(attempt(index, field))
    assert "aHVudGVyMg" not in repr(index.events())


def test_a_token_is_known_by_its_name(index: Audited):
    secret = index.token("ci", lifetime=5.0, read="*")["Authorization"]
    index.get("/simple/secret-lib/", headers={"Authorization": secret})
    index.advance(60)
    assert attempt(index, secret).detail.startswith("login of token ci: The token ci has expired.")
    forged = "Bearer tix-000000000000-" + "A" * 43
    assert attempt(index, forged).detail == "login: This token is not valid."
    assert "AAAA" not in repr(index.events())


def test_guesses_are_counted(index: Audited):
    index.get("/simple/secret-lib/", headers=as_user("alice"))
    for number in range(50):
        attempt(index, basic("alice", f"guess {number}"))
    assert len(index.events()) == 1
    index.advance(3600)
    assert index.events()[-1].detail.startswith("49 more since")


def test_a_server_without_users_refuses_no_login(tmp_path: Path):
    index = Audited(tmp_path, '[[rule]]\nallow = ["operate"]\nto = "everyone"\n', users=False)
    assert index.get("/simple/shared-lib/", headers=as_user("bob")).status == 200
    assert index.events() == []
