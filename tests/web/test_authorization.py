"""Who gets to see what: private projects, private lists, and rights that change while clients are there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from tests.kit.rights import (
    OPEN,
    PUBLIC,
    RIGHTS,
    SECRET,
    SHARED,
    GuardedIndex,
    Told,
    as_user,
    basic,
)
from twisted_index.errors import Unavailable
from twisted_index.interfaces import FileBody
from twisted_index.testing import IndexInMemory, MemorySource, make_wheel

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
PAGE = "/simple/secret-lib/"
FILE = f"{PAGE}{SECRET.filename}"
CLOSED = '[[rule]]\nprojects = "*"\nallow = ["read"]\nto = "alice"\n'


@pytest.fixture
def index(tmp_path: Path) -> GuardedIndex:
    return GuardedIndex(tmp_path)


# -- 401, 403, 404


@pytest.mark.parametrize("path", [PAGE, FILE, f"{FILE}.metadata", "/secret-lib/", "/pypi/secret-lib/json"])
def test_what_is_not_everyones_asks_nobody_to_log_in(index: GuardedIndex, path: str):
    reply = index.get(path)
    assert reply.status == 401
    assert reply.headers.get("WWW-Authenticate") == 'Basic realm="Python package index", charset="UTF-8"'


@pytest.mark.parametrize("path", [PAGE, FILE, f"{FILE}.metadata", "/secret-lib/", "/pypi/secret-lib/json"])
def test_what_is_not_everyones_is_forbidden_to_whoever_is_known(index: GuardedIndex, path: str):
    reply = index.get(path, headers=as_user("bob"))
    assert reply.status == 403
    assert reply.text == "bob may not read the project secret-lib.\n"


def test_a_wrong_password_is_told_so_where_it_matters(index: GuardedIndex):
    assert index.get(PAGE, headers={"Authorization": basic("alice", "wrong")}).status == 401
    assert index.get("/simple/", headers={"Authorization": basic("alice", "wrong")}).status == 401


@pytest.mark.parametrize(("method", "path"), [("GET", PAGE), ("POST", "/legacy/"), ("POST", "/-/yank")])
def test_whoever_leaves_gives_up_waiting_for_its_password_to_be_checked(
    index: GuardedIndex, monkeypatch: pytest.MonkeyPatch, method: str, path: str
):
    """Else clients that send a guess and leave fill the memory."""
    checks: list[Deferred[bytes]] = []
    left: list[Deferred[bytes]] = []

    def check(*_: object) -> Deferred[bytes]:
        checks.append(Deferred(left.append))
        return checks[-1]

    monkeypatch.setattr(InMemoryUsernamePasswordDatabaseDontUse, "requestAvatarId", check)
    logged: list[object] = []
    globalLogPublisher.addObserver(logged.append)
    try:
        connection = index.connect()
        headers = as_user("alice") | {"Content-Type": "application/json"}
        connection.ask(path, method=method, headers=headers, body=b'{"project": "secret-lib"}')
        assert (len(checks), left) == (1, [])
        connection.disconnect()
    finally:
        globalLogPublisher.removeObserver(logged.append)
    assert left == checks
    assert "log_failure" not in str(logged)


def test_a_wrong_password_costs_nobody_what_is_everyones(index: GuardedIndex):
    """Pip sends to one host whatever it has in the netrc for it."""
    headers = {"Authorization": basic("alice", "wrong")}
    assert index.get("/simple/open-lib/", headers=headers).status == 200


def test_whoever_may_read_gets_page_and_file(index: GuardedIndex):
    page = index.get(PAGE, headers=as_user("alice") | JSON)
    assert [file["filename"] for file in json.loads(page.body)["files"]] == [SECRET.filename]
    assert index.get(FILE, headers=as_user("alice")).body == SECRET.content


def test_a_token_reads_what_it_was_made_for(index: GuardedIndex):
    headers = index.token("ci", read="secret-*")
    assert index.get(FILE, headers=headers).body == SECRET.content


def test_the_very_next_request_after_it_ran_out_a_token_is_none(index: GuardedIndex):
    headers = index.token("ci", lifetime=60.0, read="secret-*")
    assert index.get(PAGE, headers=headers).status == 200
    index.advance(61)
    assert index.get(PAGE, headers=headers).status == 401


def test_rights_are_decided_before_anybody_looks(index: GuardedIndex):
    """Neither the source nor an upstream behind it learns that somebody asked for what is closed."""
    for path in (PAGE, FILE, "/secret-none/", "/packages/secret_lib-1.0-py3-none-any.whl"):
        for headers in ({}, as_user("bob"), {"Authorization": basic("alice", "wrong")}):
            index.get(path, headers=headers)
    assert index.source.calls == []


def test_without_any_user_what_is_closed_is_closed_to_all(tmp_path: Path):
    index = GuardedIndex(tmp_path, users=False)
    assert index.get(PAGE).status == 403
    assert b"secret" not in index.get("/simple/").body


# -- Lists


@pytest.mark.parametrize("path", ["/simple/", "/", "/packages/"])
def test_each_list_names_what_its_reader_may_read(index: GuardedIndex, path: str):
    nobody, alice = index.get(path), index.get(path, headers=as_user("alice"))
    for reply, sees in ((nobody, False), (alice, True)):
        assert reply.status == 200
        assert (b"secret" in reply.body) is sees
        assert b"open" in reply.body


@pytest.mark.parametrize("path", ["/simple/", "/", "/packages/"])
def test_where_nothing_is_open_a_list_asks_nobody_to_log_in(tmp_path: Path, path: str):
    """A browser shown an empty list would never ask its user for a password."""
    index = GuardedIndex(tmp_path, CLOSED)
    assert index.get(path).status == 401
    assert index.get(path, headers=as_user("bob")).status == 403
    assert index.get(path, headers=as_user("alice")).status == 200


# -- What others may keep


@pytest.mark.parametrize("path", [PAGE, FILE, "/simple/", "/packages/", "/pypi/secret-lib/json"])
def test_an_answer_for_some_is_kept_from_others(index: GuardedIndex, path: str):
    reply = index.get(path, headers=as_user("alice"))
    assert reply.status == 200
    assert reply.headers.get("Cache-Control") == "private, no-cache"
    assert "Authorization" in reply.headers.get("Vary")


def test_so_is_the_answer_that_nothing_has_changed(index: GuardedIndex):
    etag = index.get(PAGE, headers=as_user("alice")).headers.get("ETag")
    reply = index.get(PAGE, headers=as_user("alice") | {"If-None-Match": etag})
    assert reply.status == 304
    assert reply.headers.get("Cache-Control") == "private, no-cache"
    assert "Authorization" in reply.headers.get("Vary")


@pytest.mark.parametrize(
    ("path", "user", "status"),
    [
        (PAGE, None, 401),
        (PAGE, "bob", 403),
        ("/simple/secret-none/", "alice", 404),
        (f"{PAGE}x", "alice", 404),
    ],
)
def test_so_is_every_refusal(index: GuardedIndex, path: str, user: str | None, status: int):
    reply = index.get(path, headers=as_user(user) if user else {})
    assert reply.status == status
    assert reply.headers.get("Cache-Control") == "private, no-cache"
    assert "Authorization" in reply.headers.get("Vary")


def test_a_failure_of_the_source_is_no_less_private(index: GuardedIndex):
    index.source.failure = Unavailable("The folder of secret-lib cannot be read.")
    reply = index.get("/packages/", headers=as_user("alice"))
    assert (reply.status, reply.headers.get("Cache-Control")) == (503, "private, no-cache")


def test_the_front_page_of_some_is_for_its_visitor_alone(index: GuardedIndex):
    reply = index.get("/", headers=as_user("alice") | {"Accept": "text/html"})
    assert reply.headers.get("Cache-Control") == "private, no-cache"
    assert "Authorization" in reply.headers.get("Vary")


@pytest.mark.parametrize("path", ["/simple/open-lib/", f"/simple/open-lib/{PUBLIC.filename}"])
def test_what_is_everyones_says_nothing_of_rights(index: GuardedIndex, path: str):
    for headers in ({}, as_user("alice")):
        reply = index.get(path, headers=headers)
        assert reply.headers.get("Cache-Control") == "no-cache"
        assert "Authorization" not in (reply.headers.get("Vary") or "")


# -- Rights that change while clients are connected


def test_a_page_that_becomes_private_is_no_longer_served_as_it_was_prepared(tmp_path: Path):
    index = GuardedIndex(tmp_path, OPEN)
    connection = index.connect()
    for _ in range(3):
        connection.ask(PAGE)
        connection.ask(FILE)
    assert [reply.status for reply in connection.responses()] == [200] * 6
    assert index.short == 2, "the page was prepared and sent on the fast path"
    index.set_rights(RIGHTS)
    connection.ask(PAGE)
    connection.ask(FILE)
    connection.ask("/simple/")
    assert [reply.status for reply in connection.responses()[6:]] == [401, 401, 200]
    assert b"secret" not in connection.responses()[-1].body


def test_an_absence_that_becomes_private_is_no_longer_told(tmp_path: Path):
    index = GuardedIndex(tmp_path, OPEN)
    assert index.get("/simple/secret-none/").status == 404
    assert index.get("/simple/secret-none/").status == 404
    index.set_rights(RIGHTS)
    assert index.get("/simple/secret-none/").status == 401


def test_what_becomes_everyones_is_so_within_a_second(index: GuardedIndex):
    assert index.get(PAGE).status == 401
    index.set_rights(OPEN)
    reply = index.get(PAGE)
    assert (reply.status, reply.headers.get("Cache-Control")) == (200, "no-cache")


def test_closing_what_was_open_does_not_outlive_the_second_on_a_kept_connection(tmp_path: Path):
    """Each single step of that second: what is served is what the rights of then or of now say."""
    index = GuardedIndex(tmp_path, OPEN)
    connection = index.connect()
    connection.ask(PAGE)
    index.rights.write_text(RIGHTS)
    for _ in range(8):
        index.advance(0.125)
        connection.ask(PAGE)
    assert connection.responses()[-1].status == 401


class SlowSource(MemorySource):
    """Answers when it is told to."""

    def __init__(self, *files) -> None:
        super().__init__(*files)
        self.waiting: list[Deferred[None]] = []

    async def _late(self, answer):
        self.waiting.append(Deferred())
        await self.waiting[-1]
        return answer

    def project_page(self, project):
        return self._late(super().project_page(project))

    def project_list(self):
        return self._late(super().project_list())

    def open_file(self, project, filename, sidecar=None):
        body = super().open_file(project, filename, sidecar)
        return self._late(None if body is None else replace(body, reopen=lambda: body))

    def go_on(self) -> None:
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.callback(None)


@pytest.mark.parametrize("path", [PAGE, FILE, "/simple/", "/simple/secret-none/"])
def test_what_was_let_in_by_old_rights_is_not_kept_under_new_ones(tmp_path: Path, path: str):
    """It is asked for while everyone may read, and found when that is over."""
    source = SlowSource(SECRET, PUBLIC)
    index = GuardedIndex(tmp_path, OPEN, source=source)
    first = index.connect()
    first.ask(path)
    index.set_rights(RIGHTS)
    source.go_on()
    index.settle()
    assert first.responses()[0].status in (200, 404)
    second = index.connect()
    second.ask(path)
    source.go_on()
    index.settle()
    (reply,) = second.responses()
    assert index.short == 0
    assert reply.status == (200 if path == "/simple/" else 401)
    assert b"secret-lib" not in reply.body or reply.status == 401


def test_a_file_that_can_be_opened_again_is_not_opened_for_whom_it_is_closed(tmp_path: Path):
    class Reopening(MemorySource):
        def open_file(self, project, filename, sidecar=None) -> FileBody | None:
            body = super().open_file(project, filename, sidecar)
            return None if body is None else replace(body, reopen=lambda: body)

    index = GuardedIndex(tmp_path, OPEN, source=Reopening(SECRET))
    assert [index.get(FILE).status for _ in range(3)] == [200] * 3
    assert index.short == 2
    index.set_rights(RIGHTS)
    assert index.get(FILE).status == 401
    index.set_rights(OPEN)
    assert index.get(FILE).status == 200


# -- Those who look after the server


@pytest.mark.parametrize("path", ["/-/problems", "/-/history", "/-/metrics"])
def test_looking_after_the_server_takes_a_right_once_there_are_users(index: GuardedIndex, path: str):
    assert index.get(path).status == 401
    assert index.get(path, headers=as_user("bob")).status == 403
    reply = index.get(path, headers=as_user("alice"))
    assert (reply.status, reply.headers.get("Cache-Control")) == (200, "private, no-cache")


@pytest.mark.parametrize("path", ["/-/problems", "/-/history", "/-/metrics"])
def test_nobody_looks_after_projects_that_are_closed_to_all(tmp_path: Path, path: str):
    """These pages name files, also of closed projects, and there may be rights without users."""
    assert GuardedIndex(tmp_path, users=False).get(path).status == 403


@pytest.mark.parametrize("path", ["/-/problems", "/-/history", "/-/metrics"])
def test_everyone_looks_after_an_index_without_users(path: str):
    assert IndexInMemory().get(path).status == 200


def test_health_is_told_to_all_and_tells_nothing_else(index: GuardedIndex):
    assert index.get("/-/health").body == b'{"status": "ok"}\n'


def test_the_history_is_shown_to_programs_and_people(tmp_path: Path):
    index = GuardedIndex(tmp_path, audit_log=Told())
    for accept, kind in (("text/html", "text/html; charset=utf-8"), ("application/json", "application/json")):
        reply = index.get("/-/history", headers=as_user("alice") | {"Accept": accept})
        assert (reply.status, reply.headers.get("Content-Type")) == (200, kind)
        assert "Accept" in reply.headers.get("Vary")


# -- Which methods there are


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/", "GET, HEAD, OPTIONS, POST"),
        ("/simple/", "GET, HEAD, OPTIONS, POST"),
        ("/legacy/", "POST, OPTIONS"),
        ("/legacy", "POST, OPTIONS"),
        ("/-/yank", "POST, OPTIONS"),
        ("/-/status", "POST, OPTIONS"),
        (PAGE, "GET, HEAD, OPTIONS"),
        (FILE, "GET, HEAD, OPTIONS, DELETE"),
        ("/packages/", "GET, HEAD, OPTIONS"),
        ("/-/health", "GET, HEAD, OPTIONS"),
        ("/-/history", "GET, HEAD, OPTIONS"),
        ("/nothing/here/at/all", "GET, HEAD, OPTIONS"),
        ("/_/oidc/audience", "GET, HEAD, OPTIONS"),
    ],
)
def test_each_url_says_which_methods_it_knows(index: GuardedIndex, path: str, methods: str):
    options = index.get(path, method="OPTIONS")
    assert (options.status, options.body, options.headers.get("Allow")) == (204, b"", methods)
    refused = index.get(path, method="PATCH")
    assert (refused.status, refused.headers.get("Allow")) == (405, methods)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/-/yank", "/-/status", "/legacy/"])
def test_what_changes_something_is_not_done_by_reading(index: GuardedIndex, path: str, method: str):
    reply = index.get(path, method=method, headers=as_user("alice"))
    assert (reply.status, reply.headers.get("Allow")) == (405, "POST, OPTIONS")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/simple/",
        "/simple/open-lib/",
        f"/simple/open-lib/{PUBLIC.filename}",
        f"/simple/open-lib/{PUBLIC.filename}.metadata",
        "/packages/",
        f"/packages/{PUBLIC.filename}",
        "/project/open-lib/",
        "/open-lib",
        "/open-lib/",
        "/pypi/open-lib/json",
        "/pypi/open-lib/1.0/json",
        "/legacy/+simple/open-lib/",
        "/-/health",
        "/-/history",
        "/-/problems",
        "/simple/Open_Lib/",
        "/simple/none/",
        PAGE,
    ],
)
@pytest.mark.parametrize("user", [None, "alice"])
def test_head_is_get_without_its_body(index: GuardedIndex, path: str, user: str | None):
    headers = as_user(user) if user else {}
    get, head = index.get(path, headers=headers), index.head(path, headers=headers)
    assert head.body == b""
    assert head.status == get.status
    for name in ("Content-Length", "Content-Type", "ETag", "Cache-Control", "Vary", "Allow", "Location"):
        assert head.headers.get(name) == get.headers.get(name)


# -- Other ways to a project


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/pypi/Shared_Lib/json", "../shared-lib/json"),
        ("/pypi/Shared_Lib/1.0/json", "../../shared-lib/1.0/json"),
        ("/pypi/Shared_Lib/1!1.0%2Bx/json?q=1", "../../shared-lib/1%211.0%2Bx/json?q=1"),
        ("/pypi/Shared_Lib/json/", "../../shared-lib/json"),
        ("/Shared_Lib/json", "../shared-lib/json"),
        ("/Shared_Lib/json/?a", "../../shared-lib/json?a"),
        ("/simple/Shared_Lib/json", "../shared-lib/json"),
        ("/pypi/Shared_Lib", "../project/shared-lib/"),
        ("/pypi/Shared_Lib/?a=b", "../../project/shared-lib/?a=b"),
        ("/pypi/none", "../project/none/"),
        ("/pypi/Shared_Lib/1!1.0%2Bx", "../../project/shared-lib/1%211.0%2Bx/"),
        ("/pypi/Shared_Lib/1.0/", "../../../project/shared-lib/1.0/"),
        ("/project/Shared_Lib/1.0", "1.0/"),
        ("/project/Shared_Lib/1.0/", "../../shared-lib/1.0/"),
        ("/project/Shared_Lib", "shared-lib/"),
        ("/project/Shared_Lib/", "../shared-lib/"),
        (f"/packages/{SHARED.filename}", f"../simple/shared-lib/{SHARED.filename}"),
        (f"/packages/shared-lib/{SHARED.filename}", f"../../simple/shared-lib/{SHARED.filename}"),
        (f"/packages/other/old/{SHARED.filename}?q=1", f"../../../simple/shared-lib/{SHARED.filename}?q=1"),
        (f"/packages/aa/bb/{'c' * 60}/{SHARED.filename}", f"../../../../simple/shared-lib/{SHARED.filename}"),
        (f"/packages/x/{SHARED.filename}.metadata", f"../../simple/shared-lib/{SHARED.filename}.metadata"),
        (f"/packages/{SHARED.filename}.asc", f"../simple/shared-lib/{SHARED.filename}.asc"),
    ],
)
def test_other_spellings_lead_to_the_one(index: GuardedIndex, path: str, location: str):
    for method in ("GET", "HEAD"):
        reply = index.get(path, method=method)
        assert reply.status in (301, 302)
        assert reply.headers.get("Location") == location


@pytest.mark.parametrize(
    "path",
    [
        "/packages/a/shared_lib-9.0-py3-none-any.whl",
        "/packages/a/shared_lib-9.0-py3-none-any.whl.metadata",
        f"/packages/a/{SHARED.filename}/",
        f"/packages/a/{SHARED.filename}.md5",
        "/packages/a/..",
        "/packages/a/b/",
        "/packages/a/.metadata",
    ],
)
def test_a_link_of_others_to_what_is_not_here_is_404(index: GuardedIndex, path: str):
    assert index.get(path).status == 404


@pytest.mark.parametrize("plus", ["+", "%2B", "%2b"])
def test_a_link_of_others_may_spell_a_plus_in_both_ways(plus: str):
    with IndexInMemory(MemorySource(make_wheel("demo", "1.0+cpu"))) as index:
        reply = index.get(f"/packages/demo/demo-1.0{plus}cpu-py3-none-any.whl")
        assert reply.headers.get("Location") == "../../simple/demo/demo-1.0%2Bcpu-py3-none-any.whl"


@pytest.mark.parametrize("path", ["/legacy/%2Bsimple/shared-lib/", "/legacy/+simple/shared-lib/"])
def test_hatch_finds_what_is_there_already(index: GuardedIndex, path: str):
    reply = index.get(path, headers={"Accept": "*/*"})
    assert reply.status == 200
    assert SHARED.filename in reply.text


def test_hatch_finds_nothing_that_its_user_may_not_see(index: GuardedIndex):
    assert index.get("/legacy/%2Bsimple/secret-lib/").status == 401
    assert index.get("/legacy/%2Bsimple/secret-lib/", headers=as_user("bob")).status == 403


@pytest.mark.parametrize("path", ["/_/oidc/audience", "/.well-known/pytp?discover=%2Flegacy%2F"])
def test_that_there_is_no_trusted_publishing_is_told_without_a_question(index: GuardedIndex, path: str):
    assert index.get(path).status == 404
    assert index.source.calls == []


# -- Proxies


def test_nobody_is_believed_to_be_a_proxy_who_was_not_named(index: GuardedIndex):
    for name in ("X-Remote-User", "Remote-User", "X-Forwarded-User"):
        assert index.get(PAGE, headers={name: "alice"}).status == 401


def test_only_a_proxy_that_was_named_for_it_vouches_for_users(tmp_path: Path):
    plain = GuardedIndex(tmp_path, proxies=("127.0.0.1", "::1", "192.0.2.0/24", "10.0.0.0/8"))
    assert plain.get(PAGE, headers={"X-Remote-User": "alice"}).status == 401


def test_a_proxy_that_vouches_needs_no_password(tmp_path: Path):
    index = GuardedIndex(tmp_path, proxies=("users:0.0.0.0/0", "users:::/0"))
    assert index.get(PAGE, headers={"X-Remote-User": "alice"}).status == 200
    assert index.get(PAGE, headers={"X-Remote-User": "bob"}).status == 403
    assert index.get(PAGE).status == 401
