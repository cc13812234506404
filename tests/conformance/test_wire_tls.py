"""TLS over the wire: the same bytes as without, real certificates, and clients that misbehave."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import random
import re
import shutil
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.kit.live_server import ANSWER_SECONDS, JSON, LiveServer
from tests.kit.ports import free_port
from twisted_index.testing import make_sdist, make_wheel

AUTHORITY = trustme.CA()
WHEEL = make_wheel("demo", "1.0")
PROXY = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n"


def trusting() -> ssl.SSLContext:
    """A client that trusts the authority of these tests."""
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


@dataclass
class Pair:
    """A file of a certificate and a file of its key."""

    certificate: Path
    key: Path

    def write(self, issued: trustme.LeafCert, *, key_first: bool = False) -> None:
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        writes = [(self.certificate, chain), (self.key, issued.private_key_pem.bytes())]
        for path, content in reversed(writes) if key_first else writes:
            path.write_bytes(content)

    @property
    def listener(self) -> str:
        return f"interface=127.0.0.1:certificate={self.certificate}:key={self.key}"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("tls")
    made = Pair(folder / "fullchain.pem", folder / "privkey.pem")
    made.write(AUTHORITY.issue_cert("127.0.0.1", "localhost"))
    return made


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    WHEEL.write_to(folder / "demo")
    make_sdist("demo", "2.0", files={"demo/x": bytes(200_000)}).write_to(folder / "demo")
    return folder


class Secure:
    """A server, and the port at which it speaks TLS."""

    def __init__(self, server: LiveServer, port: int) -> None:
        self.server, self.port = server, port

    @contextlib.contextmanager
    def connect(self, context: ssl.SSLContext | None = None, **more: Any) -> Iterator[ssl.SSLSocket]:
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_SECONDS) as plain,
            (context or trusting()).wrap_socket(plain, server_hostname="127.0.0.1", **more) as client,
        ):
            yield client

    def get(self, path: str, context: ssl.SSLContext | None = None) -> bytes:
        with self.connect(context) as client:
            client.sendall(request(path, "Connection: close"))
            return read_all(client)


@pytest.fixture(scope="module")
def secure(packages: Path, pair: Pair, server_factory: Callable[..., Any]) -> Iterator[Secure]:
    port = free_port()
    server = server_factory(packages, options=["--listen", f"https:{port}:{pair.listener}"])
    yield Secure(server, port)
    server.stop()
    assert "Traceback (most recent call last)" not in server.log, server.log


def request(path: str, *fields: str, method: str = "GET") -> bytes:
    lines = (f"{method} {path} HTTP/1.1", "Host: index.test", f"Accept: {JSON}", *fields, "", "")
    return "\r\n".join(lines).encode()


def read_all(client: socket.socket) -> bytes:
    received = b""
    while piece := client.recv(1 << 16):
        received += piece
    return received


# -- The same bytes as without TLS


REQUESTS = [
    request("/simple/demo/"),
    request("/simple/demo/", "Accept-Encoding: gzip"),
    request("/simple/demo/", method="HEAD"),
    request("/simple/"),
    request("/simple/nope/"),
    request(f"/simple/demo/{WHEEL.filename}"),
    request(f"/simple/demo/{WHEEL.filename}", "Range: bytes=5-99"),
    request("/simple/demo/demo-2.0.tar.gz"),
    request("/simple/DEMO/"),
]
LAST = request("/simple/demo/", "Connection: close")


@pytest.fixture(scope="module")
def both_ways(
    packages: Path, pair: Pair, server_factory: Callable[..., Any]
) -> Iterator[dict[str, tuple[int, int]]]:
    """The ports of two servers, by kind of listener; only the first takes the fast path."""
    joined = pair.certificate.with_name("joined")
    joined.mkdir(exist_ok=True)
    (joined / "127.0.0.1.pem").write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    kinds = {
        "tcp": "tcp:{}:interface=127.0.0.1",
        "https": "https:{}:" + pair.listener,
        "ssl": f"ssl:{{}}:interface=127.0.0.1:privateKey={pair.key}:certKey={pair.certificate}",
        "tls of Twisted": f"tls:{joined}:port={{}}:interface=127.0.0.1",
        "haproxy": "haproxy:tcp:{}:interface=127.0.0.1",
        "haproxy before TLS": "haproxy:https:{}:" + pair.listener,
    }
    ordinary = joined.with_suffix(".toml")
    ordinary.write_text("fast-path = false")
    # Serials are of one server, unless the other begins with its state.
    states = [joined.with_name("short"), joined.with_name("ordinary")]
    ports, servers = [], []
    for options in (["--state", str(states[0])], ["--config", str(ordinary), "--state", str(states[1])]):
        chosen = {kind: free_port() for kind in kinds}
        for kind, listener in kinds.items():
            options = [*options, "--listen", listener.format(chosen[kind])]
        servers.append(server_factory(packages, options=options))
        ports.append(chosen)
        if not states[1].exists():
            say("tcp", chosen["tcp"], [request("/simple/", "Connection: close")])
            shutil.copytree(states[0], states[1])
    yield {kind: (ports[0][kind], ports[1][kind]) for kind in kinds}
    for server in servers:
        server.stop()
        assert "Traceback (most recent call last)" not in server.log, server.log


def say(kind: str, port: int, pieces: list[bytes]) -> bytes:
    """Send pieces, each by itself, and return what comes back, without its dates."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if "haproxy" in kind:
            client.sendall(PROXY)
        if "tcp" not in kind and kind != "haproxy":
            client = stack.enter_context(trusting().wrap_socket(client, server_hostname="127.0.0.1"))
        for piece in pieces:
            client.sendall(piece)
        return re.sub(rb"Date: [^\r]+", b"Date:", read_all(client))


KINDS = ["tcp", "https", "ssl", "tls of Twisted", "haproxy", "haproxy before TLS"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_fast_path_sends_the_same_bytes_by_every_listener(
    both_ways: dict[str, tuple[int, int]], kind: str
):
    short, ordinary = both_ways[kind]
    for sent in REQUESTS:
        expected = say("tcp", both_ways["tcp"][1], [sent, LAST])
        for pieces in ([sent, LAST], [sent + LAST], [sent[:30], sent[30:], LAST]):
            assert say(kind, short, pieces) == say(kind, ordinary, pieces) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_may_come_byte_by_byte(both_ways: dict[str, tuple[int, int]], kind: str):
    pieces = [LAST[a:b] for a, b in pairwise(range(len(LAST) + 1))]
    short, ordinary = (say(kind, port, pieces) for port in both_ways[kind])
    assert short == ordinary
    assert short.startswith(b"HTTP/1.1 200 ")


def test_the_access_log_names_the_client_of_a_balancer(
    packages: Path, pair: Pair, server_factory: Callable[..., Any], tmp_path: Path
):
    """The header comes before TLS, and may come byte by byte."""
    port, log = free_port(), tmp_path / "access.log"
    options = ["--listen", f"haproxy:https:{port}:{pair.listener}", "--access-log", str(log)]
    server = server_factory(packages, options=options)
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in PROXY:
            client.sendall(bytes([byte]))
        with trusting().wrap_socket(client, server_hostname="127.0.0.1") as secured:
            secured.sendall(LAST)
            assert read_all(secured).startswith(b"HTTP/1.1 200 ")
    server.stop()
    assert log.read_text().splitlines()[-1].startswith("192.0.2.7 - - [")


# -- Connections


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed(secure: Secure, version: ssl.TLSVersion):
    context = trusting()
    context.minimum_version = context.maximum_version = version
    with secure.connect(context) as client:
        client.sendall(request("/-/health", "Connection: close"))
        read_all(client)
        session = client.session
    with secure.connect(context, session=session) as client:
        assert client.session_reused


def test_plain_http_at_this_port_gets_an_instruction(secure: Secure):
    with socket.create_connection(("127.0.0.1", secure.port), timeout=ANSWER_SECONDS) as client:
        client.sendall(request("/simple/"))
        received = read_all(client)
    assert received.startswith(b"HTTP/1.1 400 Use https here\r\n")
    assert received.endswith(b"\r\n\r\nThis port speaks HTTPS: use a URL with https.\n")


def test_the_end_of_a_connection_is_announced(secure: Secure):
    """Without it a client cannot tell the end from an attack (RFC 8446 section 6.1)."""
    with socket.create_connection(("127.0.0.1", secure.port), timeout=ANSWER_SECONDS) as plain:
        client = trusting().wrap_socket(
            plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False, do_handshake_on_connect=True
        )
        client.sendall(request("/-/health", "Connection: close"))
        assert b'"ok"' in read_all(client)
        client.close()


@pytest.mark.parametrize("announced", [True, False])
def test_a_client_that_closes_its_half_gets_its_response(secure: Secure, announced: bool):
    """With TLS's own end, as RFC 8446 section 6.1 asks for, or only with that of TCP."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", secure.port), timeout=ANSWER_SECONDS) as plain:
        while client.version() is None or not client.cipher() or outgoing.pending:
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(1 << 16))
            else:
                plain.sendall(outgoing.read())
        client.write(request(f"/simple/demo/{WHEEL.filename}"))
        if announced:
            with contextlib.suppress(ssl.SSLWantReadError):
                client.unwrap()
        plain.sendall(outgoing.read())
        plain.shutdown(socket.SHUT_WR)
        incoming.write(read_all(plain))
    assert client.read(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_noise_and_broken_handshakes_leave_no_trace(secure: Secure):
    for noise in (
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\xff\xff",
        b"\0" * 100,
        b"\x80\x2e\x01",
        b"SSH-2.0",
    ):
        with socket.create_connection(("127.0.0.1", secure.port), timeout=ANSWER_SECONDS) as client:
            client.sendall(noise)
            # The server may have closed already.
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
                read_all(client)
    assert secure.get("/simple/demo/").startswith(b"HTTP/1.1 200 ")


def test_a_client_that_resets_in_the_middle_harms_no_other(secure: Secure):
    for _ in range(20):
        with secure.connect() as client:
            client.sendall(request("/simple/demo/demo-2.0.tar.gz") * 3)
            client.recv(100)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert secure.get("/simple/demo/").startswith(b"HTTP/1.1 200 ")


def test_a_client_that_sends_new_keys_without_end_is_dropped(secure: Secure):
    """Each costs the server much more than the client (RFC 8446 section 4.6.3)."""
    name = ctypes.util.find_library("ssl")
    if name is None:
        pytest.skip("no OpenSSL that could be called")
    openssl = ctypes.CDLL(name)
    for function in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
        getattr(openssl, function).restype = ctypes.c_void_p
    context = ctypes.c_void_p(openssl.SSL_CTX_new(ctypes.c_void_p(openssl.TLS_client_method())))
    client = ctypes.c_void_p(openssl.SSL_new(context))
    with socket.create_connection(("127.0.0.1", secure.port)) as plain:
        plain.setblocking(True)
        openssl.SSL_set_fd(client, plain.fileno())
        assert openssl.SSL_connect(client) == 1
        sent = 0
        while sent < 100_000 and openssl.SSL_key_update(client, 0) == openssl.SSL_do_handshake(client) == 1:
            sent += 1
    openssl.SSL_free(client)
    openssl.SSL_CTX_free(context)
    assert 0 < sent < 100_000
    assert secure.get("/simple/demo/").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01"])
def test_a_client_that_resets_before_its_handshake_harms_no_other(secure: Secure, sent: bytes):
    """As port checks of balancers do. Their descriptors have to be usable for the connections that follow."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", secure.port), timeout=ANSWER_SECONDS) as client:
            client.sendall(sent)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert secure.get("/simple/demo/").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_slow_reader_gets_every_byte_once(secure: Secure, packages: Path, version: ssl.TLSVersion):
    """Though the socket takes a part of a record at a time."""
    path = "/simple/ballast/ballast-1.0.tar.gz"
    if not (packages / "ballast").exists():
        ballast = random.Random(1).randbytes(12_000_000)
        make_sdist("ballast", "1.0", files={"ballast/x": ballast}).write_to(packages / "ballast")
    context = trusting()
    context.minimum_version = context.maximum_version = version
    expected = b""
    while not expected.startswith(b"HTTP/1.1 200 "):
        expected = say("tcp", secure.server.port, [request(path, "Connection: close")])
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.settimeout(ANSWER_SECONDS)
        plain.connect(("127.0.0.1", secure.port))
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as client:
            client.sendall(request(path, "Connection: close"))
            received = b""
            while piece := client.recv(1 << 12):
                received += piece
    assert re.sub(rb"Date: [^\r]+", b"Date:", received) == expected


# -- Renewal


@pytest.fixture
def renewable(packages: Path, tmp_path: Path, live_server: Callable[..., Any]) -> tuple[Secure, Pair]:
    """A server, and the files of its certificate, for one test to replace."""
    pair = Pair(tmp_path / "fullchain.pem", tmp_path / "privkey.pem")
    pair.write(AUTHORITY.issue_cert("127.0.0.1"))
    port = free_port()
    return Secure(live_server(packages, options=["--listen", f"https:{port}:{pair.listener}"]), port), pair


def test_a_pair_renewed_in_two_writes_fails_no_request(renewable: tuple[Secure, Pair]):
    """Whichever of both files comes first, and however many clients connect meanwhile."""
    secure, pair = renewable
    stopping, failures, served = threading.Event(), [], []

    def connect() -> None:
        while not stopping.is_set():
            try:
                served.append(secure.get("/simple/demo/").startswith(b"HTTP/1.1 200 "))
            except OSError as error:
                failures.append(error)

    clients = [threading.Thread(target=connect) for _ in range(3)]
    for client in clients:
        client.start()
    for number in range(10):
        issued = AUTHORITY.issue_cert("127.0.0.1", f"n{number}.test")
        pair.write(issued, key_first=number % 2 == 1)
        with secure.connect() as client:
            certificate = client.getpeercert()
        assert ("DNS", f"n{number}.test") in certificate["subjectAltName"]
    stopping.set()
    for client in clients:
        client.join()
    assert failures == []
    assert served
    assert all(served)


def test_half_a_pair_shows_in_health_and_log_until_it_is_whole(renewable: tuple[Secure, Pair]):
    secure, pair = renewable
    whole = pair.key.read_bytes()
    pair.key.write_bytes(AUTHORITY.issue_cert("other.test").private_key_pem.bytes())
    assert b"The TLS certificate has a mistake or cannot be read" in secure.get("/-/health")
    assert b"twisted_index_certificate_not_after_seconds{" in secure.get("/-/metrics")
    assert f"does not belong to the certificate in {pair.certificate}" in secure.server.log
    pair.key.write_bytes(whole)
    assert secure.get("/-/health").endswith(b'{"status": "ok"}\n')


# -- The start


def test_the_start_shows_urls_with_the_names_of_the_certificate(secure: Secure):
    for host in ("127.0.0.1", "localhost"):
        assert f"pip install --index-url https://{host}:{secure.port}/simple/ NAME" in secure.server.log
