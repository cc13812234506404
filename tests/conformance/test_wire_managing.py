"""Deleting, yanking and statuses over a live port: what is in the folder afterwards, and what is not."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import os
import re
import select
import socket
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from twisted_index.testing import BuiltFile, make_sdist, make_wheel

pytestmark = pytest.mark.places

WHEEL, SDIST = make_wheel("demo", "1.0"), make_sdist("demo", "1.0")
FILE = f"/simple/demo/{WHEEL.filename}"
SIMPLE = {"Accept": "application/vnd.pypi.simple.v1+json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ALICE = {"Authorization": "Basic " + base64.b64encode(b"alice:secret").decode()}
HOSTILE = "\"><script>alert(1)</script>\r\nX-Evil: 1\n\x00\u202e'&#34;"


@pytest.fixture
def folder(emptied_folder: Path) -> Path:
    for file in (WHEEL, SDIST):
        file.write_to(emptied_folder / "demo")
    return emptied_folder


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    users = tmp_path_factory.mktemp("users") / "htpasswd"
    users.write_text(f"alice:{{SHA}}{base64.b64encode(hashlib.sha1(b'secret').digest()).decode()}\n")
    return users


@pytest.fixture
def server(folder: Path, users: Path, module_server: Callable[..., Any]) -> Any:
    return module_server("--upload", "--auth", f"htpasswd:{users}")


def change(server: Any, what: str, **fields: str) -> Any:
    body = urlencode(fields).encode()
    return server.get(f"/-/{what}", method="POST", headers=ALICE | FORM, body=body)


def page(server: Any, project: str = "demo") -> dict[str, Any]:
    reply = server.get(f"/simple/{project}/", headers=SIMPLE)
    return json.loads(reply.body) if reply.status == 200 else {"files": [], "status": reply.status}


def form(file: BuiltFile) -> tuple[dict[str, str], bytes]:
    part = '--b\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'
    head = part.format(":action", "") + "file_upload\r\n"
    head += part.format("content", f'; filename="{file.filename}"')
    headers = {"Content-Type": "multipart/form-data; boundary=b"} | ALICE
    return headers, head.encode() + file.content + b"\r\n--b--\r\n"


def upload(server: Any, file: BuiltFile) -> Any:
    headers, body = form(file)
    return server.get("/legacy/", method="POST", headers=headers, body=body)


class _Elements(HTMLParser):
    """Notes the elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.add(tag)
        assert not any(name.startswith("on") for name, _value in attrs)


def test_a_deleted_file_is_gone_at_once_and_only_its_own_bytes_may_return(server: Any):
    with server.connection() as connection:
        assert server.ask(connection, FILE).status == 200
        assert server.ask(connection, FILE, method="DELETE", headers=ALICE).status == 200
        assert server.ask(connection, FILE).status == 404
        assert server.ask(connection, f"{FILE}.metadata").status == 404
        assert server.ask(connection, FILE, method="DELETE", headers=ALICE).status == 404
    assert [file["filename"] for file in page(server)["files"]] == [SDIST.filename]
    assert upload(server, make_wheel("demo", "1.0", files={"x.py": ""})).status == 409
    assert upload(server, WHEEL).status == 200


def test_a_yank_and_its_end_are_in_the_very_next_answer(server: Any, folder: Path):
    assert change(server, "yank", project="demo", version="1.0", reason="broken").status == 200
    assert [file["yanked"] for file in page(server)["files"]] == ["broken"] * 2
    assert change(server, "yank", project="Demo", filename=WHEEL.filename, yanked="false").status == 200
    yanked = {file["filename"]: file.get("yanked", False) for file in page(server)["files"]}
    assert yanked == {WHEEL.filename: False, SDIST.filename: "broken"}
    assert change(server, "yank", project="demo", version="7.0").status == 404
    assert change(server, "yank", project="demo", filename="../demo-1.0.tar.gz").status == 404


def test_a_status_is_in_the_very_next_answer(server: Any):
    assert change(server, "status", project="demo", status="archived", reason="done").status == 200
    assert page(server)["project-status"] == {"status": "archived", "reason": "done"}
    assert change(server, "status", project="demo", status="active").status == 200
    assert page(server).get("project-status", {"status": "active"})["status"] == "active"
    assert change(server, "status", project="none", status="archived").status == 404


def test_whatever_a_reason_holds_it_stays_text(server: Any):
    """On the project's page, in the history, and in the fields of every answer."""
    for reply in (
        change(server, "yank", project="demo", version="1.0", reason=HOSTILE),
        change(server, "status", project="demo", status="deprecated", reason=HOSTILE),
    ):
        assert reply.status == 200
        assert reply.header("X-Evil") is None
    for path in ("/simple/demo/", "/-/history", "/-/problems", "/"):
        reply = server.get(path, headers={"Accept": "text/html"} | ALICE)
        assert reply.status == 200
        # The script of a page, if it has one, is its own.
        own = re.sub(r"<script>.*?</script>\n</body>", "</body>", reply.text, flags=re.DOTALL)
        assert "script" not in _Elements(own).found
        assert "\u202e" not in reply.text
        assert "\x00" not in reply.text
        assert "default-src 'none'" in (reply.header("Content-Security-Policy") or "")
    events = json.loads(server.get("/-/history", headers=ALICE).body)["events"]
    assert {event["by"] for event in events} == {"alice"}


def test_the_history_tells_what_was_done_the_youngest_first(server: Any):
    upload(server, make_wheel("other", "1.0"))
    change(server, "yank", project="demo", version="1.0", reason="x")
    server.get(FILE, method="DELETE", headers=ALICE)
    events = json.loads(server.get("/-/history", headers=ALICE).body)["events"]
    assert [event["action"] for event in events[:4]] == ["delete", "yank", "yank", "upload"]
    assert server.get("/-/history").status == 401


def test_changes_of_one_file_at_the_same_moment_end_in_one_of_their_orders(server: Any, folder: Path):
    files = [make_wheel("race", "1.0", files={"race/x.py": str(n).encode()}) for n in range(4)]
    url = f"/simple/race/{files[0].filename}"

    def deed(number: int) -> int:
        match number % 4:
            case 0 | 1:
                return int(upload(server, files[number % len(files)]).status)
            case 2:
                return int(change(server, "yank", project="race", version="1.0", reason=str(number)).status)
            case _:
                return int(server.get(url, method="DELETE", headers=ALICE).status)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(deed, range(48)))
    assert set(statuses) <= {200, 403, 404, 409}, statuses
    listed = page(server, "race")["files"]
    left = server.get(url)
    assert (left.status == 200) is bool(listed)
    if listed:
        assert left.body in [file.content for file in files]
        assert listed[0]["hashes"]["sha256"] == hashlib.sha256(left.body).hexdigest()
    assert upload(server, make_wheel("race", "2.0")).status == 200


# -- Requests within requests


HEAD = b"Host: a\r\nAuthorization: %s\r\n" % ALICE["Authorization"].encode()
SMUGGLED = b"DELETE %s HTTP/1.1\r\n%s\r\n" % (FILE.encode(), HEAD)


AMBIGUOUS = [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    b"Content-Length: 5\r\nContent-Length: 6\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: 0x5\r\n",
    b"Transfer-Encoding: identity, chunked\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
]
KINDS = [b"multipart/form-data; boundary=b", b"application/json"]


def test_a_body_whose_end_can_be_told_in_two_ways_hides_no_request(server: Any):
    for fields, kind, target in itertools.product(AMBIGUOUS, KINDS, (b"/legacy/", b"/-/yank")):
        head = b"POST %s HTTP/1.1\r\n%sContent-Type: %s\r\n%s\r\n" % (target, HEAD, kind, fields)
        received = server.send(head + b"0\r\n\r\n" + SMUGGLED, half_close=True)
        assert received.count(b"HTTP/1.1 ") <= 1, (fields, received)
        assert not received.startswith(b"HTTP/1.1 2"), (fields, received)
    assert server.get(FILE).body == WHEEL.content


@pytest.mark.parametrize("chunked", [False, True])
def test_what_follows_an_upload_on_its_connection_is_a_request_of_its_own(server: Any, chunked: bool):
    file = make_wheel("next", "1.0", files={"next/x.bin": os.urandom(200_000)})
    headers, body = form(file)
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    length = "Transfer-Encoding: chunked\r\n" if chunked else f"Content-Length: {len(body)}\r\n"
    if chunked:
        pieces = [body[start : start + 50_000] for start in range(0, len(body), 50_000)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    following = b"GET /simple/next/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    head = f"POST /legacy/ HTTP/1.1\r\nHost: a\r\n{fields}{length}\r\n".encode()
    published, listed = server.exchange(head + body + following, methods=("POST", "GET"))
    assert (published.status, listed.status) == (200, 200)
    assert file.filename in listed.text


def test_a_body_is_no_request_where_a_body_is_not_expected(server: Any):
    inner = SMUGGLED
    request = b"GET /-/health HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (HEAD, len(inner), inner)
    closing = b"GET /-/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert [reply.status for reply in server.exchange(request + closing, methods=("GET", "GET"))] == [
        200,
        200,
    ]
    assert server.get(FILE).status == 200


# -- What lies in the folder besides


@pytest.mark.folder_only("a bucket has no links")
def test_nothing_is_written_through_a_link_or_read_from_what_is_no_file(
    server: Any, folder: Path, tmp_path: Path
):
    outside = tmp_path / "outside.txt"
    outside.write_text("precious")
    (folder / "demo" / f"{WHEEL.filename}.yanked").symlink_to(outside)
    os.mkfifo(folder / "demo" / f"{SDIST.filename}.yanked")
    os.mkfifo(folder / "demo" / "demo-3.0-py3-none-any.whl")
    os.mkfifo(folder / "demo" / ".archived")
    assert page(server)["files"]
    for version in ("1.0", "3.0"):
        assert change(server, "yank", project="demo", version=version, reason="x").status < 500
    assert upload(server, make_wheel("demo", "3.0")).status in (200, 403, 409)
    assert change(server, "status", project="demo", status="archived", reason="x").status < 500
    assert outside.read_text() == "precious"
    assert page(server)["files"]


def test_spellings_of_one_name_are_one_file(server: Any, folder: Path):
    for name in ("Demo-1.0-py3-none-any.whl", "demo-1.0.0-py3-none-any.whl", "DEMO-1-PY3-none-any.whl"):
        content = make_wheel("demo", "1.0", files={"x": b""}).content
        other = BuiltFile(project="demo", version="1.0", filename=name, content=content, metadata=b"")
        reply = upload(server, other)
        assert reply.status in (400, 409), (name, reply.text)
    assert len(list((folder / "demo").glob("*.whl"))) == 1


def test_half_open_uploads_are_bounded_and_end_with_their_connections(server: Any):
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{server.process.pid}/fd"))

    headers, _body = form(SDIST)
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST /legacy/ HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: 3000000\r\n\r\n".encode()
    empty = BuiltFile(project="x", version="1", filename="x-1.tar.gz", content=b"", metadata=b"")
    begun = form(empty)[1].removesuffix(b"\r\n--b--\r\n")
    before = descriptors()
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection((server.host, server.port), timeout=20))
            for _ in range(90)
        ]
        for client in clients:
            client.sendall(head + begun + b"x" * 1_200_000)
        assert server.get("/-/health").status == 200
        # The refused ones are answered one after the other, while the others are still being received.
        answers = []
        while len(answers) < 90 - 64 and (readable := select.select(clients, [], [], 20)[0]):
            answers += [client.recv(1000) for client in readable]
            clients = [client for client in clients if client not in readable]
        assert server.get("/-/health").status == 200
        assert not select.select(clients, [], [], 0)[0]
        assert descriptors() <= before + 90 + 64 + 5
    assert len(answers) == 90 - 64
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 503 Too many files are being uploaded right now; try again.\r\n")
        assert b"\r\nRetry-After: 5\r\n" in answer
    # As soon as the server has noticed that they are gone; until then it says when to come again.
    statuses = {upload(server, make_wheel("demo", "5.0")).status for _ in range(50)}
    assert 200 in statuses
    assert statuses <= {200, 503}
