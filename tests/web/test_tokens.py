"""Tokens that users make for themselves, over HTTP: no wider than their makers, and seen by no others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.kit.rights import GuardedIndex, as_user, basic
from twisted_index.access.tokens import MAX_OWN_TOKENS
from twisted_index.events.audit_log import AuditLog
from twisted_index.interfaces import Action
from twisted_index.testing import SynchronousRunner

RIGHTS = """
[[rule]]
projects = "secret-*"
allow = ["read", "upload", "create", "yank", "delete"]
to = ["alice", "bob"]

[[rule]]
allow = ["operate"]
to = "carol"
"""
PUBLISHING = Path(__file__).resolve().parents[2] / "docs" / "publishing.md"
JSON = {"Content-Type": "application/json"}
OURS = {"name": "ci", "upload": ["secret-*"]}


@pytest.fixture
def index(tmp_path: Path) -> GuardedIndex:
    history = AuditLog(None, SynchronousRunner())
    return GuardedIndex(tmp_path, RIGHTS, audit_log=history)  # type: ignore[arg-type]


def post(index: GuardedIndex, body: Any, who: dict[str, str] | None = None, **more: str) -> Any:
    """Ask for a token, as Alice if nothing else is said."""
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    who = as_user("alice") if who is None else who
    return index.get("/-/tokens", method="POST", headers={**JSON, **who, **more}, body=written)


def made(index: GuardedIndex, body: Any = OURS, user: str = "alice") -> dict[str, str]:
    """Make a token; give the field by which it is shown."""
    reply = post(index, body, as_user(user))
    assert reply.status == 201, reply.text
    return {"Authorization": basic("__token__", reply.json()["token"])}


def listed(index: GuardedIndex, user: str) -> list[dict[str, Any]]:
    reply = index.get("/-/tokens", headers=as_user(user))
    assert reply.status == 200
    rows: list[dict[str, Any]] = reply.json()["tokens"]
    return rows


def revoke(index: GuardedIndex, name: str, user: str = "alice") -> int:
    return index.get(f"/-/tokens/{name}", method="DELETE", headers=as_user(user)).status


# -- Making, listing, revoking


def test_a_user_makes_a_token_that_works_at_once(index: GuardedIndex):
    reply = post(index, {**OURS, "expires": "2001-01-01"})
    assert reply.status == 201
    assert {key: reply.json()[key] for key in ("name", "expires")} == {
        "name": "ci",
        "expires": "2001-01-01T23:59:59Z",
    }
    assert "no-store" in reply.headers["Cache-Control"]
    token = {"Authorization": f"Bearer {reply.json()['token']}"}
    assert index.get("/simple/secret-lib/").status == 401
    assert index.get("/simple/secret-lib/", headers=token).status == 200


def test_a_token_without_an_end_lives_for_ever(index: GuardedIndex):
    assert post(index, OURS).json()["expires"] is None


def test_the_list_has_the_own_tokens_in_the_words_of_the_request_and_no_secrets(index: GuardedIndex):
    asked = {"name": "ci", "upload": ["Secret_*"], "read": ["open-lib"], "yank": ["secret-lib"]}
    made(index, {**asked, "delete": [], "operate": False})
    made(index, {"name": "carols", "operate": True}, "carol")
    (row,) = listed(index, "alice")
    assert row == {
        "name": "ci",
        "by": "alice",
        "upload": ["secret-*"],
        "read": ["open-lib"],
        "yank": ["secret-lib"],
        "created": "1970-01-12T13:46:40Z",
        "expires": None,
        "last-used": None,
    }


def test_the_list_says_where_a_token_is_good(tmp_path: Path):
    index = GuardedIndex(tmp_path, RIGHTS.replace('to = ["a', 'indexes = ["", "dev", "pr-*"]\nto = ["a'))
    for name, indexes in (("one", "dev"), ("two", ["", "pr-7"])):
        made(index, {**OURS, "name": name, "indexes": indexes})
    assert [row["indexes"] for row in listed(index, "alice")] == [["dev"], ["", "pr-7"]]


def test_the_list_shows_the_last_use(index: GuardedIndex):
    token = made(index)
    index.advance(90)
    index.get("/simple/secret-lib/", headers=token)
    assert listed(index, "alice")[0]["last-used"] == "1970-01-12T13:48:10Z"


def test_an_operator_sees_and_revokes_those_of_all(index: GuardedIndex):
    made(index)
    index.token("console", read="*")
    assert [(row["name"], row["by"]) for row in listed(index, "carol")] == [("ci", "alice"), ("console", "")]
    assert [revoke(index, name, "carol") for name in ("ci", "console")] == [200, 200]
    assert listed(index, "carol") == []


def test_a_revoked_token_is_refused_at_the_next_request(index: GuardedIndex):
    token = made(index)
    assert index.get("/simple/secret-lib/", headers=token).status == 200
    assert revoke(index, "ci") == 200
    assert index.get("/simple/secret-lib/", headers=token).status == 401


@pytest.mark.parametrize(
    "name", ["bobs", "console", "none", "a%2Fb", "..", "%2e%2e", "%00", "bobs%20", "BOBS"]
)
def test_tokens_of_others_are_as_absent_as_others(index: GuardedIndex, name: str):
    made(index, {**OURS, "name": "bobs"}, "bob")
    index.token("console", read="*")
    assert revoke(index, name) in (404, 405)
    assert listed(index, "alice") == []
    assert [token.name for token in index.tokens.read().values()] == ["bobs", "console"]


def test_the_audit_log_names_the_user_and_the_address(index: GuardedIndex):
    made(index)
    revoke(index, "ci", "carol")
    reply = index.get("/-/history", headers=as_user("carol") | {"Accept": "application/json"})
    assert all(event["address"] for event in reply.json()["events"])
    events = [(event["by"], event["action"], event["detail"]) for event in reply.json()["events"]]
    assert events == [
        ("carol", "token-revoke", "ci: upload secret-* (made by alice)"),
        ("alice", "token-create", "ci: upload secret-*"),
    ]


def test_the_request_in_the_documents_makes_a_token(tmp_path: Path):
    (body,) = re.findall(r"curl -u alice --json '(.*?)'", PUBLISHING.read_text(encoding="utf-8"))
    index = GuardedIndex(tmp_path, RIGHTS.replace("secret-*", "acme-*"))
    assert post(index, body.encode()).status == 201


# -- Who may


def test_only_users_have_tokens(index: GuardedIndex):
    token = made(index)
    console = index.token("console", read="*", operate="*")
    for who, status in (({}, 401), (token, 403), (console, 403)):
        assert post(index, {**OURS, "name": "more"}, who).status == status
        assert index.get("/-/tokens", headers=who).status == status
        assert index.get("/-/tokens/ci", method="DELETE", headers=who).status == status
    assert len(index.tokens.read()) == 2


def test_a_page_of_another_site_makes_and_revokes_none(index: GuardedIndex):
    made(index)
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert post(index, {**OURS, "name": "more"}, **foreign).status == 403
    reply = index.get("/-/tokens/ci", method="DELETE", headers={**as_user("alice"), **foreign})
    assert reply.status == 403
    assert [row["name"] for row in listed(index, "alice")] == ["ci"]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"upload": ["*"]}, "No rule allows alice to upload *, so no token of alice may."),
        ({"upload": ["secret-lib", "secret*"]}, "No rule allows alice to upload secret*,"),
        ({"yank": ["s?cret-lib"]}, "No rule allows alice to yank s?cret-lib,"),
        ({"delete": ["open-lib"]}, "No rule allows alice to delete open-lib,"),
        ({"operate": True}, "No rule allows alice to operate, so"),
        ({"follow": True}, "No rule allows alice to follow, so"),
    ],
)
def test_a_token_is_not_made_wider_than_its_maker(index: GuardedIndex, wanted: dict[str, Any], sentence: str):
    reply = post(index, {"name": "wide", **wanted})
    assert (reply.status, sentence in reply.text) == (403, True)
    assert not index.tokens.exists()


@pytest.mark.parametrize(
    ("indexes", "where"), [(["dev", "prod"], " in the index prod"), ("*", " in the index *"), ([""], "")]
)
def test_a_token_is_not_made_for_an_index_in_which_its_maker_has_no_right(
    tmp_path: Path, indexes: Any, where: str
):
    index = GuardedIndex(tmp_path, RIGHTS.replace('to = ["a', 'indexes = "dev"\nto = ["a'))
    reply = post(index, {**OURS, "indexes": indexes})
    assert reply.status == 403
    assert f"No rule allows alice to upload secret-*{where}, so no token of alice may." in reply.text
    assert not index.tokens.exists()


@pytest.mark.parametrize("pattern", ["*", "s*", "secret-lib", "?ecret-lib"])
def test_what_is_closed_to_a_user_is_not_read_by_its_tokens(index: GuardedIndex, pattern: str):
    assert post(index, {"name": "peek", "read": [pattern]}, as_user("carol")).status == 403
    assert post(index, {"name": "peek", "read": ["open-*"]}, as_user("carol")).status == 201


def test_a_token_shrinks_with_the_rights_of_its_maker_at_once(index: GuardedIndex):
    token, console = made(index), index.token("console", read="secret-*")
    for _ in range(2):
        assert index.get("/simple/secret-lib/", headers=token).status == 200
    index.set_rights(RIGHTS.replace('["alice", "bob"]', '"bob"'))
    assert index.get("/simple/secret-lib/", headers=token).status == 403
    assert index.get("/simple/secret-lib/", headers=console).status == 200
    index.set_rights(RIGHTS)
    assert index.get("/simple/secret-lib/", headers=token).status == 200


# -- The body


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"", 400, "not JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b'{"name": "a", "name": "b"}', 400, "The key 'name' is there twice."),
        (b'{"name": "ci", "upload": [{"a": 1, "a": 2}]}', 400, "The key 'a' is there twice."),
        (b"[" * 60_000, 400, "not JSON"),
        (b'{"name": ' + b"9" * 60_000 + b"}", 400, "JSON"),
        (b'{"name": "ci", "operate": NaN}', 400, "operate must be true or false."),
        ('{"name": "ci"}'.encode("utf-16"), 400, "not JSON in UTF-8"),
        (b'{"name": "ci", "read": ["\xff"]}', 400, "not JSON in UTF-8"),
        (b'{"name": "' + b"a" * 70_000 + b'"}', 413, "larger than this URL accepts"),
        ({"upload": ["secret-*"]}, 400, "name must be a string."),
        ({"name": 1, "upload": ["secret-*"]}, 400, "name must be a string."),
        ({"name": "ci"}, 400, "Give at least one permission"),
        ({"name": "ci", "upload": []}, 400, "Give at least one permission"),
        ({"name": "ci", "operate": False}, 400, "Give at least one permission"),
        ({"name": "ci", "upload": "secret-*"}, 400, "upload must be a list of patterns"),
        ({"name": "ci", "upload": [1]}, 400, "upload must be a list of patterns"),
        ({"name": "ci", "upload": None}, 400, "upload must be a list of patterns"),
        ({"name": "ci", "upload": {"a": "b"}}, 400, "upload must be a list of patterns"),
        ({"name": "ci", "upload": ["[a-z]*"]}, 400, "upload: '[a-z]*' is not a pattern for rights"),
        ({"name": "ci", "upload": ["a/b"]}, 400, "upload: 'a/b' is not a pattern of project names"),
        ({"name": "ci", "upload": [""]}, 400, "upload: '' is not a pattern"),
        ({"name": "ci", "upload": ["\ud800"]}, 400, "is not a pattern"),
        ({"name": "ci", "upload": ["a" * 101]}, 400, "upload: a pattern has at most 100 characters."),
        ({"name": "ci", "upload": [f"a{n}" for n in range(101)]}, 400, "A token has at most 100 patterns."),
        ({**OURS, "indexes": []}, 400, "indexes must be a list of names of indexes"),
        ({**OURS, "indexes": None}, 400, "indexes must be a list of names of indexes"),
        ({**OURS, "indexes": [1]}, 400, "indexes must be a list of names of indexes"),
        ({**OURS, "indexes": "a/b"}, 400, "indexes: 'a/b' is not a pattern of index names"),
        ({**OURS, "indexes": "a" * 101}, 400, "indexes: a pattern has at most 100 characters."),
        ({**OURS, "indexes": [f"a{n}" for n in range(100)]}, 400, "A token has at most 100 patterns."),
        ({"name": "ci", "manage": 1}, 400, "manage must be true or false."),
        ({"name": "ci", "operate": 1}, 400, "operate must be true or false."),
        ({"name": "ci", "follow": "*"}, 400, "follow must be true or false."),
        ({**OURS, "create": ["secret-*"]}, 400, "'create' is not a key here; use name, upload, read"),
        ({**OURS, "expires": 90}, 400, "expires must be a string"),
        ({**OURS, "expires": None}, 400, "expires must be a string"),
        ({**OURS, "expires": "soon"}, 400, "expires: 'soon' is not a time"),
        ({**OURS, "expires": "1970-01-01"}, 400, "expires: the token would already have expired."),
        *(
            ({**OURS, "name": name}, 400, "is not a valid token name")
            for name in ("", "a/b", "..", "a\nb", "\x00", "ä", "a" * 65, "ci ", "\u202e", "\ud800")
        ),
    ],
)
def test_what_is_no_request_for_a_token_is_refused_with_a_reason(
    index: GuardedIndex, body: Any, status: int, sentence: str
):
    reply = post(index, body)
    assert (reply.status, sentence in reply.text) == (status, True), reply.text
    assert not index.tokens.exists()


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_only_json_is_taken(index: GuardedIndex, kind: str):
    """Browsers send no JSON to other sites without asking first."""
    assert post(index, OURS, **{"Content-Type": kind}).status == 415


def test_a_name_is_given_once_whoever_has_it(index: GuardedIndex):
    made(index)
    assert post(index, OURS).status == 409
    reply = post(index, OURS, as_user("bob"))
    assert (reply.status, "alice" in reply.text) == (409, False)


def test_a_user_has_so_many_tokens(index: GuardedIndex):
    for number in range(MAX_OWN_TOKENS):
        index.tokens.create(f"a{number}", {Action.READ: ("x",)}, by="alice", bound=True)
    reply = post(index, OURS)
    assert (reply.status, "alice has 100 tokens already" in reply.text) == (409, True)
    made(index, OURS, "bob")


def test_what_cannot_be_kept_is_503_and_names_no_path(index: GuardedIndex, tmp_path: Path):
    made(index)
    Path(index.tokens.path).write_text("{")
    replies = [
        post(index, OURS),
        index.get("/-/tokens", headers=as_user("alice")),
        index.get("/-/tokens/ci", method="DELETE", headers=as_user("alice")),
    ]
    assert [reply.status for reply in replies] == [503] * 3
    assert not any(str(tmp_path) in reply.text for reply in replies)


def test_the_clock_of_the_index_decides_when_a_token_ends(index: GuardedIndex):
    token = made(index, {**OURS, "expires": "1m"})
    index.advance(59)
    assert index.get("/simple/secret-lib/", headers=token).status == 200
    index.advance(1)
    assert index.get("/simple/secret-lib/", headers=token).status == 401
