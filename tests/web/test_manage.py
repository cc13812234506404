"""Deleting, yanking and statuses over HTTP: who may, in what form, and what else is sent to these URLs."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.kit.rights import SECRET, SHARED, GuardedIndex, as_user, basic
from twisted_index.web.requests.context import MAX_SMALL_BODY

FORM = "application/x-www-form-urlencoded"
FILE = f"/simple/shared-lib/{SHARED.filename}"


@pytest.fixture
def index(tmp_path: Path) -> GuardedIndex:
    return GuardedIndex(tmp_path)


def change(index: GuardedIndex, what: str, user: str | None = "carol", *, headers=None, **fields):
    """Ask for a change by JSON."""
    sent = {"Content-Type": "application/json"} | (as_user(user) if user else {}) | (headers or {})
    return index.get(f"/-/{what}", method="POST", headers=sent, body=json.dumps(fields).encode())


def send(index: GuardedIndex, body: bytes, kind: str, path: str = "/-/yank", user: str = "carol"):
    """Send any body."""
    return index.get(path, method="POST", headers={"Content-Type": kind} | as_user(user), body=body)


# -- What can be done


def test_a_file_is_deleted_at_its_url(index: GuardedIndex):
    reply = index.get(FILE, method="DELETE", headers=as_user("carol"))
    assert (reply.status, reply.json()) == (200, {"deleted": SHARED.filename})
    assert index.store.done == [("delete", "shared-lib", SHARED.filename, "carol")]


@pytest.mark.parametrize("suffix", [".metadata", ".asc", ".provenance"])
def test_what_belongs_to_a_file_is_not_deleted_alone(index: GuardedIndex, suffix: str):
    assert index.get(FILE + suffix, method="DELETE", headers=as_user("carol")).status == 400
    assert index.store.done == []


@pytest.mark.parametrize(
    "path", ["/", "/simple/", "/simple/shared-lib/", "/packages/x", "/-/yank", "/legacy/"]
)
def test_nothing_but_a_file_is_deleted(index: GuardedIndex, path: str):
    reply = index.get(path, method="DELETE", headers=as_user("carol"))
    assert reply.status == 405
    assert "DELETE" not in reply.headers["Allow"]


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", FORM])
def test_a_version_is_yanked_by_json_and_by_a_form(index: GuardedIndex, kind: str):
    fields = {"project": "Shared_Lib", "version": "1.0", "reason": "brökén & <b>"}
    body = urlencode(fields) if kind == FORM else json.dumps(fields)
    reply = send(index, body.encode(), kind)
    assert reply.json() == {
        "project": "shared-lib",
        "yanked": True,
        "reason": "brökén & <b>",
        "files": ["shared-lib-1.0"],
    }
    assert index.store.done == [("yank", "shared-lib", "1.0", None, "brökén & <b>", "carol")]


@pytest.mark.parametrize("no", [False, "false", "NO", "0", "off"])
def test_a_yank_is_taken_back(index: GuardedIndex, no: object):
    reply = change(index, "yank", project="shared-lib", filename=SHARED.filename, yanked=no)
    assert reply.json() == {"project": "shared-lib", "yanked": False, "files": [SHARED.filename]}
    assert index.store.done == [("unyank", "shared-lib", None, SHARED.filename, "carol")]


@pytest.mark.parametrize("status", ["active", "archived", "deprecated", "quarantined"])
def test_a_project_gets_a_status(index: GuardedIndex, status: str):
    body = urlencode({"project": "shared-lib", "status": status, "reason": "old"}).encode()
    assert send(index, body, FORM, "/-/status").json() == {
        "project": "shared-lib",
        "status": status,
        "reason": "old",
    }
    assert index.store.done == [("status", "shared-lib", status, "old", "carol")]


def test_an_answer_to_a_change_is_nobody_elses(index: GuardedIndex):
    reply = change(index, "yank", project="shared-lib", version="1.0")
    assert reply.headers["Cache-Control"] == "private, no-cache"
    assert "Authorization" in reply.headers["Vary"]


# -- Who may


@pytest.mark.parametrize("project", ["shared-lib", "secret-lib", "no-such-project"])
@pytest.mark.parametrize(("user", "status"), [(None, 401), ("bob", 403)])
def test_whoever_may_not_learns_nothing_of_what_there_is(
    index: GuardedIndex, project: str, user: str | None, status: int
):
    headers = as_user(user) if user else {}
    file = SECRET.filename.replace("secret_lib", project.replace("-", "_"))
    replies = [
        change(index, "yank", user, project=project, version="1.0"),
        change(index, "status", user, project=project, status="archived"),
        index.get(f"/simple/{project}/{file}", method="DELETE", headers=headers),
    ]
    assert [reply.status for reply in replies] == [status] * 3
    assert index.store.done == []
    assert index.source.calls == []


def test_a_right_to_one_project_is_none_to_another(index: GuardedIndex):
    assert change(index, "yank", "alice", project="shared-lib", version="1.0").status == 403
    assert change(index, "yank", "carol", project="secret-lib", version="1.0").status == 403
    assert index.store.done == []


def test_a_token_changes_what_it_was_made_for(index: GuardedIndex):
    headers = index.token("yanker", yank="shared-*")
    assert change(index, "yank", None, headers=headers, project="shared-lib", version="1.0").status == 200
    assert change(index, "yank", None, headers=headers, project="secret-lib", version="1.0").status == 403
    assert index.get(FILE, method="DELETE", headers=headers).status == 403
    assert [done[-1] for done in index.store.done] == ["token yanker"]


def test_whoever_may_is_told_that_there_is_nothing(index: GuardedIndex):
    headers = index.token("all", yank="*")
    assert change(index, "yank", None, headers=headers, project="none", version="1.0").status == 404


# -- What a web page of another site may make a browser send


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://index.test"},
    {"Origin": "http://evil.test"},
    {"Origin": "null"},
    {"Origin": "https://index.test"},
    {"Origin": "http://index.test:81"},
    {"Origin": "http://index.test.evil.test"},
    {"Origin": "http://index.test, http://evil.test"},
    {"Referer": "http://evil.test/page"},
    {"Referer": "http://index.test.evil.test/"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_page_of_another_site_changes_nothing(index: GuardedIndex, headers: dict[str, str]):
    """Browsers add the password that they know."""
    for what, fields in (("yank", {"version": "1.0"}), ("status", {"status": "archived"})):
        assert change(index, what, headers=headers, project="shared-lib", **fields).status == 403
    assert index.get(FILE, method="DELETE", headers=as_user("carol") | headers).status == 403
    assert index.store.done == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://index.test"},
        {"Origin": "http://INDEX.test"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://index.test"},
        {"Sec-Fetch-Site": "none"},
        {"Referer": "http://index.test/-/history"},
        {},
    ],
)
def test_a_page_of_its_own_and_a_program_do(index: GuardedIndex, headers: dict[str, str]):
    assert change(index, "yank", headers=headers, project="shared-lib", version="1.0").status == 200


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=b", "", "application/jsonp"])
def test_what_a_form_of_another_site_could_send_is_not_read(index: GuardedIndex, kind: str):
    body = json.dumps({"project": "shared-lib", "version": "1.0"}).encode()
    assert send(index, body, kind).status == 415
    assert index.store.done == []


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_method_is_what_the_request_line_says(index: GuardedIndex, name: str):
    reply = index.get(FILE, headers={name: "DELETE"} | as_user("carol"))
    assert reply.body == SHARED.content
    post = index.get(f"{FILE}?_method=DELETE", method="POST", headers={name: "DELETE"} | as_user("carol"))
    assert post.status == 405
    assert index.store.done == []


def test_reading_from_other_sites_does_not_let_them_change_anything(tmp_path: Path):
    index = GuardedIndex(tmp_path, cors=True)
    preflight = index.get("/-/yank", method="OPTIONS", headers={"Origin": "http://evil.test"})
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET"
    assert "Access-Control-Allow-Credentials" not in preflight.headers
    headers = {"Origin": "http://evil.test"}
    assert change(index, "yank", headers=headers, project="shared-lib", version="1.0").status == 403


# -- Bodies that are not what they should be


BAD_JSON = [
    b"",
    b"null",
    b"[]",
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b"1" * 60_000,
    b'{"project": "shared-lib", "version": 1.0}',
    b'{"project": ["shared-lib"], "version": "1.0"}',
    b'{"project": true, "version": "1.0"}',
    b'{"project": "shared-lib", "version": "1.0", "reason": "\\ud800"}',
    b'{"project": "shared-lib", "version": "1.0", "\\udfff": ""}',
    b'{"project": "shared-lib", "version": "1.0", "yanked": "perhaps"}',
    b'{"project": "shared-lib", "version": "1.0", "filename": "x"}',
    b'{"project": "shared-lib"}',
    b'{"project": "../shared-lib", "version": "1.0"}',
    b'{"project": "shared-lib\\u0000", "version": "1.0"}',
    b'{"project": "", "version": "1.0"}',
    b'{"version": "1.0"}',
    b"\xff\xfe{}",
    b"\x00" * 100,
]


@pytest.mark.parametrize("body", BAD_JSON)
def test_json_that_says_nothing_usable_is_refused_in_a_sentence(index: GuardedIndex, body: bytes):
    reply = send(index, body or b" ", "application/json")
    assert reply.status == 400, reply.text
    assert reply.text.endswith(".\n")
    assert index.store.done == []


BAD_FORMS = [
    b"project=shared-lib&version=1.0&reason=%FF",
    b"project=shared-lib&version=1.0&reason=\xff",
    b"project=shared-lib&version=1.0&reason=%ED%A0%80",
    b"project=shared-lib&version=1.0" + b"&a=" * 200,
    b"&" * 60_000,
    b"project=%2e%2e%2fshared-lib&version=1.0",
    b"version=1.0",
]


@pytest.mark.parametrize("body", BAD_FORMS)
def test_a_form_that_says_nothing_usable_is_refused_in_a_sentence(index: GuardedIndex, body: bytes):
    assert send(index, body, FORM).status == 400
    assert index.store.done == []


@pytest.mark.parametrize("kind", ["application/json", FORM])
def test_a_body_that_is_too_large_is_refused_and_not_cut(index: GuardedIndex, kind: str):
    """A form that is cut off would be one that says something else."""
    fields = {"project": "shared-lib", "version": "1.0", "reason": "x" * MAX_SMALL_BODY}
    body = urlencode(fields) if kind == FORM else json.dumps(fields)
    assert send(index, body.encode(), kind).status == 413
    assert index.store.done == []


def test_what_stands_in_the_url_is_no_field(index: GuardedIndex):
    """URLs are logged, kept and linked to."""
    path = "/-/yank?project=shared-lib&version=1.0"
    assert send(index, b"reason=x", FORM, path).status == 400
    assert index.store.done == []


MAIL = [
    b"--b\r\nContent-Disposition: form-data; name*=utf-8''x\r\n\r\nv\r\n--b--\r\n",
    b"".join(
        b"--b%s\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n"
        % (b"%d" % one if one else b"", one + 1)
        for one in range(900)
    ),
]


@pytest.mark.parametrize("path", ["/-/yank", "/simple/shared-lib", "/anything"])
@pytest.mark.parametrize("body", MAIL)
def test_no_form_is_read_before_it_is_known_what_it_is_for(
    index: GuardedIndex, path: str, body: bytes, monkeypatch: pytest.MonkeyPatch
):
    """Twisted reads forms as mail: one costs it more than a second, another is an error of its own."""
    monkeypatch.setattr("twisted.web.http._getMultiPartArgs", lambda *_: pytest.fail("it was read"))
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert index.get(path, method="POST", headers=headers, body=body).status in (405, 415)


def test_the_status_line_of_429_says_what_it_is(index: GuardedIndex):
    """Old twines show nothing else."""
    fields = f"Host: x\r\nAuthorization: {basic('carol', 'wrong')}\r\n"
    connection = index.connect()
    connection.send(f"DELETE /simple/x/x-1.0.tar.gz HTTP/1.1\r\n{fields}\r\n".encode() * 8)
    assert b"HTTP/1.1 429 Too Many Requests\r\n" in connection.received


def test_guesses_are_answered_429_and_a_right_password_is_not(index: GuardedIndex):
    wrong = {"Authorization": basic("carol", "wrong")}
    statuses = [change(index, "yank", None, headers=wrong, project="x", version="1").status for _ in range(8)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert change(index, "yank", project="shared-lib", version="1.0").status == 200
