"""Drafts over HTTP: who reads what, what is published, and where their tokens never stand."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, ClassVar, NamedTuple

import pytest

from tests.kit.configured_server import ConfiguredServer
from tests.kit.rights import basic
from tests.kit.uploads import CONTENT_TYPE, upload_form
from tests.web.test_endpoints import spell
from twisted_index.indexes.scope import new_draft_token
from twisted_index.testing import BuiltFile, make_wheel
from twisted_index.web.endpoints import ENDPOINTS

OPEN, CLOSED = make_wheel("open-lib", "1.0"), make_wheel("secret-lib", "1.0")
NEW_OPEN, NEW_CLOSED = make_wheel("open-lib", "2.0"), make_wheel("secret-lib", "2.0")
NEW = make_wheel("new-lib", "1.0")
OTHER = make_wheel("new-lib", "1.0", files={"new_lib/other.py": ""})
#: Alice may do everything, Bob uploads to what there is, Carol reads what everyone reads.
USERS = "memory:alice:secret:bob:secret:carol:secret"
RIGHTS = """
[[rule]]
allow = ["read", "upload", "create", "yank", "delete", "promote"]
projects = "*"
to = "alice"

[[rule]]
allow = ["manage", "operate", "follow"]
to = "alice"

[[rule]]
allow = ["upload"]
projects = "*-lib"
to = "bob"

[[rule]]
allow = ["read"]
projects = "open-*"
to = "everyone"
"""
GONE = "There is no such draft, or it has ended.\n"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server(ConfiguredServer):
    """An index with a closed project and an open one."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        super().__init__(folder, state=str(folder / "state"))
        self.root = folder / "packages"
        for made in (OPEN, CLOSED):
            made.write_to(self.root / made.project)
        (folder / "rights.toml").write_text(RIGHTS)
        self.start(f'rights = "rights.toml"\nupload = true\nauth = "{USERS}"\n{settings}')

    def answer(
        self,
        path: str,
        method: str = "GET",
        user: str = "",
        body: bytes = b"",
        **headers: str,
    ) -> Answer:
        if user:
            headers["Authorization"] = basic(user, "secret")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {key.replace("_", "-"): headers[key] for key in headers})
            reply = connection.getresponse()
            return Answer(reply.status, dict(reply.headers), reply.read())
        finally:
            connection.close()

    def post(self, path: str, document: Any, user: str = "alice") -> Answer:
        return self.answer(path, "POST", user, json.dumps(document).encode(), Content_Type="application/json")

    def create(self, name: str = "v1", user: str = "alice") -> str:
        """Make a draft; return its prefix."""
        made = self.post("/-/drafts", {"name": name}, user)
        assert made.status == 201
        prefix, _, rest = str(made.json["index_url"]).partition("/simple/")
        assert (made.json["upload_url"], rest) == (f"{prefix}/legacy/", "")
        return "/" + prefix.split("/", 3)[3]

    def upload(self, prefix: str, made: BuiltFile, user: str = "alice") -> Answer:
        form = upload_form(made.content, made.filename)
        return self.answer(f"{prefix}/legacy/", "POST", user, form, Content_Type=CONTENT_TYPE)

    def filled(self) -> str:
        prefix = self.create()
        for made in (NEW_OPEN, NEW_CLOSED, NEW):
            assert self.upload(prefix, made).status == 200
        return prefix


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.stop()


def test_its_urls_are_in_one_answer_that_no_cache_stores(server: Server):
    made = server.post("/-/drafts", {"name": "v1", "expires": "2d"})
    assert made.status == 201
    assert "no-store" in made.headers["Cache-Control"]
    token = made.json["index_url"].split("/")[-3]
    listed = server.answer("/-/drafts", user="alice")
    assert [draft["name"] for draft in listed.json["drafts"]] == ["v1"]
    assert token not in listed.text
    assert server.post("/-/drafts", {"name": "v1"}).status == 409


@pytest.mark.parametrize(
    "document",
    [{}, [], {"name": "../x"}, {"name": 1}, {"name": "v1", "expires": "never"}, {"name": "v1", "more": 1}],
)
def test_what_makes_no_draft_is_400(server: Server, document: Any):
    assert server.post("/-/drafts", document).status == 400
    assert not (server.root / ".drafts").exists()


def test_uploads_need_the_rights_of_the_user(server: Server):
    prefix = server.create()
    assert server.upload(prefix, NEW, user="").status == 401
    assert server.upload(prefix, NEW, user="carol").status == 403
    assert server.upload(prefix, NEW, user="bob").status == 403
    assert server.upload(prefix, NEW_OPEN, user="bob").status == 200
    assert server.upload(prefix, NEW, user="alice").status == 200
    assert server.answer("/simple/new-lib/", user="alice").status == 404


def test_a_file_is_replaced_in_a_draft_and_not_once_it_is_published(server: Server):
    prefix = server.create()
    assert server.upload(prefix, NEW).status == 200
    assert server.upload(prefix, OTHER).status == 200
    assert server.answer(f"{prefix}/simple/new-lib/{NEW.filename}").body == OTHER.content
    assert server.post("/-/drafts/v1/publish", {}).status == 200
    assert server.upload("", NEW).status in (400, 409)
    assert server.answer(f"/simple/new-lib/{NEW.filename}", user="alice").body == OTHER.content


def test_other_bytes_than_the_index_has_are_refused_at_once(server: Server):
    other = make_wheel("open-lib", "1.0", files={"open_lib/other.py": ""})
    assert server.upload(server.create(), other).status in (400, 403, 409)


def test_the_token_reads_the_files_of_the_draft_and_nothing_inherited_that_is_closed(server: Server):
    prefix = server.filled()
    names = server.answer(f"{prefix}/simple/").text
    assert "new-lib" in names
    page = server.answer(f"{prefix}/simple/secret-lib/").text
    assert NEW_CLOSED.filename in page
    assert CLOSED.filename not in page
    assert server.answer(f"{prefix}/simple/secret-lib/{NEW_CLOSED.filename}").body == NEW_CLOSED.content
    assert server.answer(f"{prefix}/simple/secret-lib/{CLOSED.filename}").status in (401, 403, 404)
    assert CLOSED.filename in server.answer(f"{prefix}/simple/secret-lib/", user="alice").text
    carols = server.answer(f"{prefix}/simple/secret-lib/", user="carol").text
    assert NEW_CLOSED.filename in carols
    assert CLOSED.filename not in carols


def test_downloads_from_a_draft_are_not_counted_and_those_of_what_was_published_are(server: Server):
    """Small files, so that the fast path sends them after the first time."""
    prefix = server.filled()
    for url in [f"{prefix}/simple/new-lib/{NEW.filename}"] * 3 + [f"/simple/open-lib/{OPEN.filename}"] * 3:
        assert server.answer(url, user="alice").status == 200
    counted = server.answer("/-/stats", user="alice", Accept="application/json").json
    assert counted["projects"] == {"open-lib": 3}
    for path in ("/-/stats", "/-/stats?project=new-lib", "/-/stats/api/packages/new-lib/recent"):
        assert server.answer(prefix + path, user="alice").status == 404
    assert server.post("/-/drafts/v1/publish", {}).status == 200
    assert server.answer(f"/simple/new-lib/{NEW.filename}", user="alice").status == 200
    counted = server.answer("/-/stats", user="alice", Accept="application/json").json
    assert counted["projects"] == {"open-lib": 3, "new-lib": 1}


def test_inherited_files_are_linked_at_their_index_and_its_own_below_the_draft(server: Server):
    prefix = server.filled()
    page = server.answer(f"{prefix}/simple/open-lib/").text
    assert f'href="../../../../simple/open-lib/{OPEN.filename}#' in page
    assert f'href="{NEW_OPEN.filename}#' in page


@pytest.mark.parametrize("how", ["wrong", "cancelled", "published", "ended"])
def test_a_draft_that_is_no_more_is_404_with_one_sentence(server: Server, how: str):
    prefix = server.filled()
    if how == "wrong":
        prefix = f"/+draft/{new_draft_token()}"
    elif how == "cancelled":
        assert server.answer("/-/drafts/v1", "DELETE", "alice").status == 200
    elif how == "published":
        assert server.post("/-/drafts/v1/publish", {}).status == 200
    else:
        (record,) = server.root.glob(".drafts/*/.draft")
        record.write_text(json.dumps(json.loads(record.read_text()) | {"expires": "2020-01-01T00:00:00Z"}))
    for path in ("simple/", "simple/open-lib/", f"simple/new-lib/{NEW.filename}", "", "-/nothing"):
        for user in ("", "alice"):
            answer = server.answer(f"{prefix}/{path}", user=user)
            assert (path, user, answer.status, answer.text) == (path, user, 404, GONE)


def test_all_of_a_draft_is_published_and_a_second_time_there_is_none(server: Server):
    prefix = server.filled()
    published = server.post("/-/drafts/v1/publish", {})
    assert {file["filename"] for file in published.json["published"]} == {
        NEW.filename,
        NEW_OPEN.filename,
        NEW_CLOSED.filename,
    }
    assert server.answer(f"/simple/new-lib/{NEW.filename}", user="alice").body == NEW.content
    assert server.post("/-/drafts/v1/publish", {}).status == 404
    assert server.answer(f"{prefix}/simple/").status == 404
    assert not list((server.root / ".drafts").iterdir())


def test_what_is_in_the_way_is_all_in_one_answer_and_nothing_is_published(server: Server):
    server.filled()
    for made in (NEW, NEW_OPEN):
        (server.root / made.project).mkdir(exist_ok=True)
        (server.root / made.project / made.filename).write_bytes(b"other")
    for _attempt in range(2):
        refused = server.post("/-/drafts/v1/publish", {})
        assert refused.status == 409
        assert NEW.filename in refused.text
        assert NEW_OPEN.filename in refused.text
        assert server.answer(f"/simple/secret-lib/{NEW_CLOSED.filename}", user="alice").status == 404


def test_only_its_maker_and_who_manages_see_a_draft(server: Server):
    server.create("bobs", user="bob")
    server.create("alices")
    listed = {
        user: [draft["name"] for draft in server.answer("/-/drafts", user=user).json["drafts"]]
        for user in ("alice", "bob")
    }
    assert listed == {"alice": ["alices", "bobs"], "bob": ["bobs"]}
    assert server.answer("/-/drafts/alices", "DELETE", "bob").status == 404
    assert server.post("/-/drafts/bobs/publish", {}, user="bob").status == 403
    assert server.answer("/-/drafts", user="carol").status == 403
    assert server.answer("/-/drafts").status == 401


class _Hook(BaseHTTPRequestHandler):
    """Notes the news of uploads."""

    got: ClassVar[list[bytes]] = []
    came = Event()

    def do_POST(self) -> None:
        self.got.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.came.set()

    def log_message(self, *_words: object) -> None:
        pass


def test_webhooks_learn_of_no_upload_to_a_draft(tmp_path: Path):
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hook) as hook:
        Thread(target=hook.serve_forever, daemon=True).start()
        server = Server(tmp_path, f'on-upload = "http://127.0.0.1:{hook.server_port}/"\n')
        try:
            assert server.upload(server.create(), NEW).status == 200
            assert server.upload("", NEW_OPEN).status == 200
            assert _Hook.came.wait(30)
        finally:
            server.stop()
            hook.shutdown()
    assert [json.loads(body)["filename"] for body in _Hook.got] == [NEW_OPEN.filename]


def everything(server: Server, prefix: str) -> Iterator[Answer]:
    """Request every URL of a draft in every way."""
    urls = {url for rule in ENDPOINTS.values() for url in rule.urls}
    paths = {spell(url) for url in urls} | {"", "/simple/new-lib/", "/new-lib", "/pypi/new-lib/json"}
    paths |= {f"/simple/new-lib/{NEW.filename}", f"/simple/new-lib/{NEW.filename}.metadata", "//simple//x"}
    accepts = ("text/html", "application/json", "application/vnd.pypi.simple.v1+json", "text/plain", "x/y")
    for path in sorted(paths):
        for accept in accepts:
            for user in ("", "alice", "carol"):
                yield server.answer(prefix + path, user=user, Accept=accept)
        for method in ("HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"):
            if not (method == "DELETE" and path.endswith(NEW.filename)):
                yield server.answer(prefix + path, method, "alice", Accept="text/html")
    file = f"{prefix}/simple/new-lib/{NEW.filename}"
    yield server.answer(file, Range="bytes=0-3")
    yield server.answer(file, Range="bytes=900000-")
    yield server.answer(file, If_Match='"other"')
    etag = server.answer(f"{prefix}/simple/new-lib/").headers["ETag"]
    unchanged = server.answer(f"{prefix}/simple/new-lib/", If_None_Match=etag)
    assert unchanged.status == 304
    yield unchanged
    yield server.upload(prefix, NEW)
    yield server.upload(prefix, NEW, user="carol")
    yield server.answer(f"{prefix}/legacy/", "POST", "alice", b"nonsense", Content_Type=CONTENT_TYPE)
    xml = "text/xml"
    yield server.answer(f"{prefix}/pypi", "POST", "", b"<methodCall/>", Content_Type=xml)


@pytest.mark.parametrize("log", ["combined", "json"])
def test_its_token_stands_in_no_answer_log_or_file(tmp_path: Path, log: str):
    settings = f'access-log = "access.log"\naccess-log-format = "{log}"\ncors = true\n'
    server = Server(tmp_path, settings)
    try:
        prefix = server.filled()
        token = prefix.rpartition("/")[2].encode()
        gone = f"/+draft/{new_draft_token()}"
        for answer in everything(server, prefix):
            assert token not in answer.body
            fields = {name: value for name, value in answer.headers.items() if name != "Location"}
            assert token.decode() not in str(fields)
            assert answer.headers["Cache-Control"] == "private, no-store", answer
            assert answer.headers["Referrer-Policy"] == "no-referrer"
        for path in ("/simple/", "/simple/x/", "/", "", "/-/health"):
            answer = server.answer(gone + path)
            assert answer.status == 404
            assert answer.headers["Cache-Control"] == "private, no-store"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
        for path in ("/-/problems", "/-/metrics", "/-/history", "/-/wanted", "/-/changes", "/", "/+/"):
            assert token not in server.answer(path, user="alice").body
        assert server.post("/-/drafts/v1/publish", {}).status == 200
    finally:
        server.stop()
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert (tmp_path / "access.log") in written
    assert [path for path, content in written.items() if token in content] == []
    assert [path for path in tmp_path.rglob("*") if token.decode() in path.name] == []
