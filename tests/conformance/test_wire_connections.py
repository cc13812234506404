"""What happens on a connection: framing, limits, and clients with odd manners (RFC 9112)."""

from __future__ import annotations

import concurrent.futures
import json
import socket

import pytest

pytestmark = pytest.mark.places

JSON = "application/vnd.pypi.simple.v1+json"
PAGE = b"GET /simple/demo/ HTTP/1.1\r\nHost: h\r\nAccept: %s\r\n" % JSON.encode()
LAST = b"Connection: close\r\n\r\n"


@pytest.fixture(
    params=["page", "gzip page", "not modified", "file", "large file", "missing", "redirect", "HTML"]
)
def request_bytes(request, index, content):
    """The head of a request of each kind, without its empty line."""
    etag = index.get("/simple/demo/", headers={"Accept": JSON}).header("ETag").encode()
    targets = {
        "page": PAGE,
        "gzip page": PAGE + b"Accept-Encoding: gzip\r\n",
        "not modified": PAGE + b"If-None-Match: %s\r\n" % etag,
        "file": b"GET /simple/demo/%s HTTP/1.1\r\nHost: h\r\n" % content.wheel.filename.encode(),
        "large file": b"GET /simple/demo/%s HTTP/1.1\r\nHost: h\r\n" % content.sdist.filename.encode(),
        "missing": b"GET /simple/nope/ HTTP/1.1\r\nHost: h\r\n",
        "redirect": b"GET /simple/De_Mo/?a=b HTTP/1.1\r\nHost: h\r\n",
        "HTML": b"GET /simple/demo/ HTTP/1.1\r\nHost: h\r\nAccept: text/html\r\n",
    }
    return targets[request.param]


def without_date(reply):
    return reply.status, reply.body, [field for field in reply.fields if field[0].lower() != "date"]


def test_a_request_without_host_is_400(index):
    """As is one with two, or with a Host that is none (RFC 9112 section 3.2)."""
    for hosts in (
        b"",
        b"Host: a\r\nHost: b\r\n",
        b"Host: h\r\nHost: h\r\n",
        b"Host: a b\r\n",
        b"Host: a/b@c\r\n",
    ):
        (reply,) = index.exchange(b"GET /simple/demo/ HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
        assert reply.status == 400, hosts
        assert 0 < len(reply.body) < 1000


def test_http_1_0_needs_no_host(index):
    (reply,) = index.exchange(b"GET /simple/demo/ HTTP/1.0\r\nAccept: %s\r\n\r\n" % JSON.encode())

    assert reply.status == 200
    assert json.loads(reply.body)["name"] == "demo"


def test_a_target_may_be_a_whole_url(index):
    """Every server must take the absolute form (RFC 9112 section 3.2.2)."""
    (plain,) = index.exchange(PAGE + LAST)
    (reply,) = index.exchange(
        b"GET http://h/simple/demo/ HTTP/1.1\r\nHost: h\r\nAccept: %s\r\nConnection: close\r\n\r\n"
        % JSON.encode()
    )

    assert reply.status == 200
    assert reply.body == plain.body


def test_a_client_that_closes_its_side_gets_its_answer(index, request_bytes):
    """As `nc` and simple scripts do."""
    (usual,) = index.exchange(request_bytes + LAST)
    (reply,) = index.exchange(request_bytes + b"\r\n", half_close=True)

    assert (reply.status, reply.body) == (usual.status, usual.body)


def test_a_client_that_sends_byte_by_byte_gets_the_same_answer(index, request_bytes):
    whole = request_bytes + LAST
    (usual,) = index.exchange(whole)
    (reply,) = index.exchange(*(bytes([byte]) for byte in whole), wait=0.0005)

    assert without_date(reply) == without_date(usual)


def test_requests_may_follow_each_other_without_waiting(index, request_bytes):
    """The answers come in the order of the requests (RFC 9112 section 9.3.2)."""
    (usual,) = index.exchange(request_bytes + LAST)
    first, second, third = index.exchange(
        request_bytes + b"\r\n" + b"HEAD /simple/ HTTP/1.1\r\nHost: h\r\n\r\n" + request_bytes + LAST,
        methods=("GET", "HEAD", "GET"),
    )

    assert (first.status, first.body) == (usual.status, usual.body)
    assert (second.status, second.media_type) == (200, "text/html")
    assert (third.status, third.body) == (usual.status, usual.body)


def test_fifty_requests_in_one_piece_get_fifty_answers(index):
    received = index.exchange(
        PAGE.replace(b"\r\n", b"\r\n", 1) + b"\r\n" + (PAGE + b"\r\n") * 48 + PAGE + LAST,
        methods=("GET",) * 50,
    )

    assert {reply.status for reply in received} == {200}
    assert len({reply.body for reply in received}) == 1


def test_a_request_split_at_any_byte_gets_the_same_answer(index):
    whole = PAGE + LAST
    (usual,) = index.exchange(whole)

    for at in range(1, len(whole), 7):
        (reply,) = index.exchange(whole[:at], whole[at:], wait=0.001)
        assert without_date(reply) == without_date(usual), at


def test_a_connection_goes_on_after_every_kind_of_answer(index, content):
    etag = index.get("/simple/demo/", headers={"Accept": JSON}).header("ETag")
    with index.connection() as connection:
        for _ in range(2):
            assert index.ask(connection, "/simple/demo/", headers={"Accept": JSON}).status == 200
            assert (
                index.ask(connection, "/simple/demo/", headers={"Accept": JSON, "If-None-Match": etag}).status
                == 304
            )
            assert index.ask(connection, "/simple/nope/").status == 404
            assert index.ask(connection, "/simple/demo", method="HEAD").status == 301
            assert (
                index.ask(connection, f"/simple/demo/{content.sdist.filename}").body == content.sdist.content
            )
            assert (
                index.ask(
                    connection, f"/simple/demo/{content.sdist.filename}", headers={"Range": "bytes=0-1"}
                ).status
                == 206
            )
            assert (
                index.ask(connection, f"/simple/demo/{content.sdist.filename}", method="HEAD").status == 200
            )


def test_a_get_with_a_body_does_not_confuse_what_follows(index):
    """The body is read and means nothing (RFC 9110 section 9.3.1)."""
    inner = b"GET /simple/nope/ HTTP/1.1\r\nHost: h\r\n\r\n"
    received = index.exchange(
        PAGE + b"Content-Length: %d\r\n\r\n" % len(inner) + inner + PAGE + LAST, methods=("GET", "GET")
    )

    assert [reply.status for reply in received] == [200, 200]


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: x\r\n",
        b"Transfer-Encoding: gzip, nonsense\r\n",
        b"Content-Length : 5\r\n",
    ],
)
def test_framing_that_could_be_read_in_two_ways_is_refused(index, framing):
    """And the connection is closed, so that nothing is smuggled (RFC 9112 section 11.2)."""
    received = index.send(
        PAGE + framing + b"\r\n0\r\n\r\nGET /simple/nope/ HTTP/1.1\r\nHost: h\r\n\r\n", half_close=True
    )

    assert received.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert received.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"GET",
        b"GET /simple/",
        b"GET /simple/ HTTP/9.9",
        b"GET / HTTP/1.1 x",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_what_is_no_request_line_is_an_error_and_the_end(index, line):
    received = index.send(line + b"\r\nHost: h\r\n\r\n", half_close=True)

    assert received == b"" or received.split(b" ")[1] in (b"400", b"505", b"501")


def test_a_target_that_is_too_long_is_414(index):
    (reply,) = index.exchange(
        b"GET /simple/%s/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % (b"a" * 9000)
    )

    assert reply.status == 414


def test_a_target_of_8000_bytes_is_read(index):
    """The least that a server should take (RFC 9112 section 3)."""
    (reply,) = index.exchange(
        b"GET /simple/demo/?%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % (b"a" * (8000 - 14))
    )

    assert reply.status == 200


def test_a_header_that_is_too_big_is_431(index):
    """In one line, in many, and when it never ends (RFC 6585 section 5)."""
    for fields in (
        b"X-Big: %s\r\n" % (b"a" * 20_000),
        b"".join(b"X-%d: %s\r\n" % (n, b"a" * 100) for n in range(200)),
    ):
        received = index.send(b"GET /simple/demo/ HTTP/1.1\r\nHost: h\r\n" + fields + LAST)
        assert received.startswith(b"HTTP/1.1 431"), fields[:20]
    received = index.send(b"GET /simple/demo/ HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 100_000, half_close=True)
    assert received.startswith(b"HTTP/1.1 431")


def test_a_header_of_eight_kilobytes_is_read(index):
    """Tokens and the descriptions that installers give of themselves are long."""
    reply = index.get("/simple/demo/", headers={"Accept": JSON, "User-Agent": "pip/26 " + "x" * 8000})

    assert reply.status == 200


def test_fifty_clients_at_once_are_all_served(index):
    """uv opens fifty connections and asks on all of them."""
    clients = [socket.create_connection((index.host, index.port), timeout=20) for _ in range(64)]
    try:
        for client in clients:
            client.sendall(PAGE + LAST)

        def finish(client):
            received = b""
            while chunk := client.recv(65536):
                received += chunk
            return received

        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            received = list(pool.map(finish, clients))
    finally:
        for client in clients:
            client.close()

    assert {answer.split(b"\r\n")[0] for answer in received} == {b"HTTP/1.1 200 OK"}
    assert len({answer.partition(b"\r\n\r\n")[2] for answer in received}) == 1


def test_more_clients_than_there_are_descriptors_are_all_served(live_server, content):
    """They wait for their turn; none is cut off before it has got its answer."""
    server = live_server(content.folder, open_files=256)
    server.get("/simple/demo/")

    def ask(_):
        statuses = []
        for _ in range(3):
            with server.connection() as connection:
                statuses.append(server.ask(connection, "/simple/demo/", headers={"Accept": JSON}).status)
                statuses.append(server.ask(connection, "/simple/nope/").status)
        return statuses

    with concurrent.futures.ThreadPoolExecutor(400) as pool:
        answers = list(pool.map(ask, range(400)))

    assert answers == [[200, 404] * 3] * 400


def test_a_client_that_hangs_up_in_the_middle_harms_nobody(index, content):
    """As readers of ranges and of streamed wheels do."""
    for _ in range(20):
        with socket.create_connection((index.host, index.port), timeout=20) as client:
            client.sendall(
                b"GET /simple/demo/%s HTTP/1.1\r\nHost: h\r\n\r\n" % content.sdist.filename.encode()
            )
            client.recv(1000)

    assert index.get(f"/simple/demo/{content.sdist.filename}").body == content.sdist.content


def test_an_idle_server_stops_at_once_and_in_order(live_server, content):
    server = live_server(content.folder)
    with server.connection() as idle:
        server.ask(idle, "/simple/demo/")
        server.stop()

    assert "Traceback" not in server.log


def test_a_running_download_is_finished_when_the_server_stops(live_server, tmp_path):
    from twisted_index.testing import make_wheel

    wheel = make_wheel("large", "1.0", files={"large.bin": b"x" * 30_000_000}, compress=False)
    wheel.write_to(tmp_path)
    server = live_server(tmp_path)
    assert server.get("/simple/large/").status == 200
    with socket.create_connection((server.host, server.port), timeout=20) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.sendall(
            b"GET /simple/large/%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % wheel.filename.encode()
        )
        received = client.recv(1000)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            stopped = pool.submit(server.stop)
            while chunk := client.recv(1 << 20):
                received += chunk
            stopped.result()

    assert received.partition(b"\r\n\r\n")[2] == wheel.content


@pytest.mark.parametrize("options", [(), ("--upload", "--anonymous-upload", "--max-upload", "1kB")])
def test_refused_uploads_that_drip_keep_nobody_out(live_server, content, tmp_path, options):
    """Neither where uploads are off, nor where they are on: there the file is too large to be taken."""
    (tmp_path / "few.toml").write_text("[limits]\nmax-connections = 20\n")
    server = live_server(content.folder, options=["--config", str(tmp_path / "few.toml"), *options])
    upload = (
        b"POST /legacy/ HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 900000\r\n\r\n--b\r\nContent-Disposition: form-data; name=content; "
        b"filename=demo-9.0.tar.gz\r\n\r\n" + b"x" * 2000
    )
    clients = [socket.create_connection((server.host, server.port), timeout=20) for _ in range(25)]
    try:
        for client in clients:
            client.sendall(upload)
        # Some of the clients are themselves still waiting to be accepted, ahead of this request.
        assert server.get("/simple/demo/").status == 200
    finally:
        for client in clients:
            client.close()
