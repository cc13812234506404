"""Uploads over a live port, into a folder: what upload clients may rely on."""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import contextlib
import hashlib
import json
import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from twisted_index.testing import BuiltFile, make_sdist, make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

pytestmark = pytest.mark.places

HTML = {"Accept": "text/html"}
UV_ACCEPT = "application/json;q=0.9, text/plain;q=0.8, text/html;q=0.7"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


ALICE = basic("alice", "secret")


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("users") / "htpasswd"
    digest = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
    file.write_text(f"alice:{{SHA}}{digest}\n")
    return file


@pytest.fixture
def folder(emptied_folder: Path) -> Path:
    return emptied_folder


@pytest.fixture
def server(folder: Path, users: Path, module_server: Callable[..., Any]) -> Any:
    return module_server("--upload", "--auth", f"htpasswd:{users}")


@pytest.fixture(scope="module")
def small(
    users: Path, server_factory: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A server that takes files of up to 100 kB, for tests after which nothing may be there."""
    root = tmp_path_factory.mktemp("packages")
    server = server_factory(
        root, options=["--upload", "--auth", f"htpasswd:{users}", "--max-upload", "100kB"]
    )
    server.root = root
    yield server
    server.stop()
    assert "Traceback (most recent call last)" not in server.log, server.log
    assert left_in(root) == []


def form(
    file: BuiltFile, *, before: str = "", after: str = "", **fields: str
) -> tuple[dict[str, str], bytes]:
    """Write the form of an upload."""
    said = {":action": "file_upload", "protocol_version": "1"} | fields
    parts = [
        f'--bound\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in said.items()
    ]
    head = "".join(parts) + before
    content = f'--bound\r\nContent-Disposition: form-data; name="content"; filename="{file.filename}"\r\n\r\n'
    body = (head + content).encode() + file.content + b"\r\n" + after.encode() + b"--bound--\r\n"
    return {"Content-Type": "multipart/form-data; boundary=bound", "Authorization": ALICE}, body


def upload(
    server: Any,
    file: BuiltFile,
    target: str = "/legacy/",
    headers: Mapping[str, str] | None = None,
    **fields: str,
) -> Any:
    usual, body = form(file, **fields)
    return server.get(target, method="POST", headers=usual | dict(headers or {}), body=body)


def names_on(server: Any, project: str = "demo") -> list[str]:
    reply = server.get(f"/simple/{project}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    return [file["filename"] for file in json.loads(reply.body)["files"]] if reply.status == 200 else []


def raw(*, filename: str, content: bytes) -> BuiltFile:
    """Give any bytes any name."""
    return BuiltFile(project="demo", version="1.0", filename=filename, content=content, metadata=b"")


def left_in(folder: Path) -> list[str]:
    """Whatever lies in a folder that was empty, but for what a store keeps there for itself."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    names = [str(path.relative_to(folder)) for path in found if "lock" not in path.name]
    return [name for name in names if not name.startswith((".learned/", ".keep/"))]


def reason(received: bytes) -> bytes:
    return received.split(b"\r\n")[0]


# -- T32 to T39


@pytest.mark.parametrize("make", [make_wheel, make_sdist])
def test_an_uploaded_file_is_in_the_very_next_answer(server: Any, make: Callable[..., BuiltFile]):
    file = make("demo", "1.0")
    reply = upload(
        server, file, name="demo", version="1.0", sha256_digest=hashlib.sha256(file.content).hexdigest()
    )
    assert reply.status == 200, reply.text
    assert names_on(server) == [file.filename]
    assert server.get(f"/simple/demo/{file.filename}").body == file.content


@pytest.mark.parametrize("target", ["/legacy/", "/legacy", "/", "/simple/"])
def test_each_upload_url_takes_a_file_without_a_redirect(server: Any, target: str):
    file = make_wheel("demo", "1.0")
    assert upload(server, file, target).status == 200
    assert names_on(server) == [file.filename]


def test_attestations_may_follow_the_content(server: Any):
    after = '--bound\r\nContent-Disposition: form-data; name="attestations"\r\n\r\n[]\r\n'
    assert upload(server, make_wheel("demo", "1.0"), after=after).status == 200


def test_the_same_file_again_is_a_success_and_one_file(server: Any):
    file = make_wheel("demo", "1.0")
    replies = [upload(server, file) for _ in range(3)]
    assert [reply.status for reply in replies] == [200] * 3
    assert names_on(server) == [file.filename]


def test_other_bytes_under_the_same_name_are_a_conflict(server: Any):
    file = make_wheel("demo", "1.0")
    upload(server, file)
    headers, body = form(make_wheel("demo", "1.0", requires_python=">=3.9"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST /legacy/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    received = server.send(f"{head}{lines}\r\n".encode() + body)
    assert reason(received).startswith(b"HTTP/1.1 409 ")
    assert b"already exist" in reason(received)
    assert b"already exist" in received.partition(b"\r\n\r\n")[2]
    assert server.get(f"/simple/demo/{file.filename}").body == file.content


@pytest.mark.parametrize("field", ["sha256_digest", "blake2_256_digest"])
def test_a_wrong_digest_stores_nothing(small: Any, field: str):
    reply = upload(small, make_wheel("demo", "1.0"), **{field: "0" * 64})
    assert reply.status == 400
    assert field in reply.text
    assert names_on(small) == []


@pytest.mark.parametrize(
    "file",
    [
        raw(filename="other-1.0-py3-none-any.whl", content=make_wheel("demo", "1.0").content),
        raw(filename="demo-2.0-py3-none-any.whl", content=make_wheel("demo", "1.0").content),
        raw(filename="demo-1.0.tar.gz", content=make_wheel("demo", "1.0").content),
        raw(filename="demo-1.0-py3-none-any.whl", content=make_wheel("demo", "1.0").content[:-30]),
        raw(filename="demo-1.0-py3-none-any.whl", content=b"no archive"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(small: Any, file: BuiltFile):
    reply = upload(small, file)
    assert reply.status == 400, reply.text
    assert names_on(small) == []


@pytest.mark.parametrize("fields", [{"name": "other"}, {"version": "2.0"}, {"filetype": "sdist"}])
def test_a_form_that_does_not_fit_its_file_is_refused(small: Any, fields: dict[str, str]):
    assert upload(small, make_wheel("demo", "1.0"), **fields).status == 400


# -- T40 to T42


@pytest.mark.parametrize("authorization", [basic("alice", "wrong"), basic("bob", "secret"), "Basic !", None])
def test_wrong_credentials_store_nothing(small: Any, authorization: str | None):
    headers, body = form(make_wheel("demo", "1.0"))
    del headers["Authorization"]
    if authorization is not None:
        headers["Authorization"] = authorization
    reply = small.get("/legacy/", method="POST", headers=headers, body=body)
    assert reply.status == 401, reply.text
    assert reply.header("WWW-Authenticate")
    assert names_on(small) == []


def test_no_body_is_asked_for_without_credentials(small: Any):
    received = small.send(
        b"POST /legacy/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n",
        half_close=True,
    )
    assert reason(received).startswith(b"HTTP/1.1 401 ")
    assert b"100 Continue" not in received


def test_the_body_is_asked_for_with_credentials(server: Any):
    headers, body = form(make_wheel("demo", "1.0"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((server.host, server.port), timeout=20) as client:
        client.sendall(
            f"POST /legacy/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n{lines}\r\n".encode()
        )
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def test_uv_is_told_in_json_what_is_wrong(small: Any):
    reply = upload(small, make_wheel("demo", "1.0"), headers={"Accept": UV_ACCEPT}, name="other")
    assert reply.header("Content-Type") == "application/json"
    document = json.loads(reply.body)
    assert set(document) == {"message", "code", "title"}
    assert document["code"].startswith("400 name is other")


def test_uploads_that_are_off_say_how_to_turn_them_on(folder: Path, live_server: Callable[..., Any]):
    reply = upload(live_server(folder), make_wheel("demo", "1.0"))
    assert reply.status == 403
    assert "--upload" in reply.text


def test_anyone_may_where_that_is_said(folder: Path, live_server: Callable[..., Any]):
    server = live_server(folder, options=["--upload", "--anonymous-upload"])
    headers, body = form(make_wheel("demo", "1.0"))
    del headers["Authorization"]
    assert server.get("/legacy/", method="POST", headers=headers, body=body).status == 200


# -- T44


@pytest.mark.parametrize("status", ["archived", "quarantined"])
def test_a_closed_project_takes_no_files(server: Any, folder: Path, status: str):
    first = make_wheel("demo", "1.0")
    upload(server, first)
    (next(folder.rglob(first.filename)).parent / f".{status}").write_text("enough\n")
    if next(folder.rglob(first.filename)).parent == folder:
        (folder / "demo").mkdir()
        (folder / f".{status}").rename(folder / "demo" / f".{status}")
    reply = upload(server, make_wheel("demo", "2.0"))
    assert reply.status == 403, reply.text
    assert status in reply.text


# -- Damage, lies and haste


def test_a_file_beyond_the_limit_is_told_so_by_its_length_and_by_its_bytes(small: Any):
    headers, body = form(raw(filename="demo-1.0.tar.gz", content=os.urandom(200_000)))
    assert small.get("/legacy/", method="POST", headers=headers, body=body).status == 413
    kind = f"Host: a\r\nAuthorization: {ALICE}\r\nContent-Type: multipart/form-data; boundary=bound\r\n"
    with socket.create_connection((small.host, small.port), timeout=20) as client:
        client.sendall(f"POST /legacy/ HTTP/1.1\r\n{kind}Content-Length: 900000000\r\n\r\n".encode())
        assert client.recv(1000).startswith(
            b"HTTP/1.1 413 The file is larger than the limit of 100,000 bytes"
        )
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    closing = f"POST /legacy/ HTTP/1.1\r\n{kind}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b"413" in reason(small.send(closing.encode() + chunked))


def test_a_client_that_sends_all_of_a_refused_file_reads_the_answer(small: Any):
    headers, body = form(raw(filename="demo-1.0.tar.gz", content=os.urandom(30_000_000)))
    headers["Authorization"] = basic("alice", "wrong")
    reply = small.get("/legacy/", method="POST", headers=headers, body=body)
    assert reply.status == 401
    assert reply.header("Connection") == "close"


@pytest.mark.parametrize("cut", [0, 10, 200, 2000])
def test_an_upload_that_breaks_off_leaves_nothing_and_the_next_one_works(server: Any, folder: Path, cut: int):
    file = make_wheel("demo", "1.0", files={"demo/x.bin": os.urandom(3000)})
    headers, body = form(file)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST /legacy/ HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode()
    assert server.send(head + body[:cut], half_close=True) == b""
    assert names_on(server) == []
    assert left_in(folder) == []
    assert upload(server, file).status == 200


def test_twenty_at_once_are_one_file(server: Any):
    file = make_wheel("demo", "1.0")
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: upload(server, file), range(20)))
    assert [reply.status for reply in replies] == [200] * 20
    assert sum("Published" in reply.text for reply in replies) == 1
    assert names_on(server) == [file.filename]


def test_of_twenty_different_ones_under_one_name_one_is_there(server: Any):
    files = [make_wheel("demo", "1.0", requires_python=f">=3.{minor}") for minor in range(20)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda file: upload(server, file), files))
    assert sorted(reply.status for reply in replies) == [200] + [409] * 19
    won = next(file for file, reply in zip(files, replies, strict=True) if reply.status == 200)
    assert server.get(f"/simple/demo/{won.filename}").body == won.content


def test_uploads_and_pages_take_turns_on_one_connection(server: Any):
    with server.connection() as connection:
        for version in ("1.0", "2.0", "3.0"):
            headers, body = form(make_wheel("demo", version))
            reply = server.ask(connection, "/legacy/", method="POST", headers=headers, body=body)
            assert reply.status == 200
            page = server.ask(connection, "/simple/demo/", headers=HTML)
            assert f"demo-{version}-" in page.text


# -- HTTP/2


@pytest.fixture
def secure(folder: Path, users: Path, tmp_path: Path, live_server: Callable[..., Any]) -> Any:
    """A client that speaks HTTP/2, the URL of a server, and the server."""
    httpx = pytest.importorskip("httpx")
    trustme = pytest.importorskip("trustme")
    pytest.importorskip("h2")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        certificate.private_key_pem.bytes() + b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    )
    options = ["--upload", "--auth", f"htpasswd:{users}", "--max-upload", "80MB"]
    listen = ["--listen", f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}"]
    server = live_server(folder, options=[*options, *listen])
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    with httpx.Client(http2=True, http1=False, verify=context, timeout=60) as client:
        yield client, f"https://127.0.0.1:{server.other_port}", server


def test_uploads_come_over_http_2(secure: Any, folder: Path):
    client, url, server = secure
    file = make_sdist("demo", "1.0", files={"demo/ballast.bin": os.urandom(20_000_000)})
    headers, body = form(file)
    reply = client.post(f"{url}/legacy/", content=body, headers=headers)
    assert (reply.status_code, reply.http_version) == (200, "HTTP/2"), reply.text
    assert server.get(f"/simple/demo/{file.filename}").body == file.content


def test_refusals_come_over_http_2_and_the_connection_goes_on(secure: Any, folder: Path):
    client, url, _server = secure
    headers, body = form(raw(filename="demo-1.0.tar.gz", content=os.urandom(10_000_000)))
    wrong = headers | {"Authorization": basic("alice", "wrong")}
    assert client.post(f"{url}/legacy/", content=body, headers=wrong).status_code == 401
    broken = headers | {"Content-Type": "multipart/form-data; boundary=other"}
    assert client.post(f"{url}/legacy/", content=body, headers=broken).status_code == 400
    assert client.get(f"{url}/simple/").status_code == 200
    headers, body = form(make_wheel("demo", "1.0"))
    assert client.post(f"{url}/legacy/", content=body, headers=headers).status_code == 200
    assert len(left_in(folder)) == 1


def test_several_uploads_share_an_http_2_connection(secure: Any, tmp_path: Path):
    httpx = pytest.importorskip("httpx")
    _client, url, _server = secure
    files = [make_sdist(f"demo{n}", "1.0", files={"x.bin": os.urandom(2_000_000)}) for n in range(4)]
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))

    async def post_all() -> list[int]:
        async with httpx.AsyncClient(http2=True, http1=False, verify=context, timeout=60) as client:
            forms = [form(file) for file in files]
            posts = [client.post(f"{url}/legacy/", content=body, headers=headers) for headers, body in forms]
            return [reply.status_code for reply in await asyncio.gather(*posts)]

    assert asyncio.run(post_all()) == [200] * 4


def test_a_stream_that_is_given_up_leaves_nothing(secure: Any, folder: Path):
    client, url, server = secure
    headers, body = form(raw(filename="demo-1.0.tar.gz", content=os.urandom(5_000_000)))

    def broken() -> Iterator[bytes]:
        yield body[:3_000_000]
        raise ZeroDivisionError

    with contextlib.suppress(ZeroDivisionError):
        client.post(f"{url}/legacy/", content=broken(), headers=headers)
    assert server.get("/-/health").status == 200
    assert left_in(folder) == []
