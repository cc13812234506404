"""Asking another index over https, directly and through a proxy."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from twisted_index.errors import BadGateway, Unavailable
from twisted_index.testing.background import BackgroundReactor

from .hostile import Asked, HostileUpstream, answer, page
from .test_client import DEMO, Asking, redirect


@pytest.fixture(scope="module")
def background() -> Iterator[BackgroundReactor]:
    background = BackgroundReactor()
    yield background
    background.stop(10)


@pytest.fixture
def asking(background: BackgroundReactor) -> Iterator[Asking]:
    asking = Asking(background)
    yield asking
    asking.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def environ(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return {"SSL_CERT_FILE": str(path)}


class SecureUpstream(HostileUpstream):
    """The same over TLS, for the names that its certificate has."""

    def __init__(self, authority: trustme.CA, *names: str) -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*names).configure_cert(self.context)
        super().__init__()
        self.origin = self.origin.replace("http:", "https:")

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            super()._serve(self.context.wrap_socket(client, server_side=True))


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[SecureUpstream]:
    upstream = SecureUpstream(authority, "127.0.0.1", "localhost", "pypi.example")
    upstream.on(DEMO, page())
    yield upstream
    upstream.close()


def tunnel_to(port: int) -> Callable[[socket.socket, Any], None]:
    """Do what a proxy does with CONNECT, wherever it should lead."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def script(client: socket.socket, _: Any) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n")
            threading.Thread(target=pump, args=(client, server), daemon=True).start()
            pump(server, client)

    return script


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_CERT"])
def test_certificates_are_trusted_that_the_environment_names(
    asking: Asking, secure: SecureUpstream, environ: dict[str, str], variable: str
) -> None:
    path = environ["SSL_CERT_FILE"]
    named = {variable: str(Path(path).parent) if variable == "SSL_CERT_DIR" else path}

    assert asking.page(asking.remote(f"{secure.origin}/simple/", environ=named)).files == ()


def test_others_are_not(asking: Asking, secure: SecureUpstream) -> None:
    with pytest.raises(BadGateway, match="certificate is not trusted"):
        asking.page(asking.remote(f"{secure.origin}/simple/"))
    assert secure.asked == []


def test_a_certificate_of_another_name_is_not(
    asking: Asking, authority: trustme.CA, environ: dict[str, str]
) -> None:
    upstream = SecureUpstream(authority, "other.example")

    with pytest.raises(BadGateway, match="certificate is not trusted"):
        asking.page(asking.remote(f"{upstream.origin}/simple/", environ=environ))
    upstream.close()


def test_https_does_not_lead_to_http(asking: Asking, secure: SecureUpstream, environ: dict[str, str]) -> None:
    secure.on(DEMO, redirect(f"{asking.upstream.origin}/simple/demo/"))

    with pytest.raises(BadGateway, match="from https to http"):
        asking.page(asking.remote(f"{secure.origin}/simple/", environ=environ))
    assert asking.upstream.asked == []


def test_an_endless_page_is_cut_off_under_tls_too(
    asking: Asking, secure: SecureUpstream, environ: dict[str, str]
) -> None:
    def endless(client: socket.socket, _: Asked) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/html\r\n\r\n")
        for piece in secure.endless(b"2000\r\n" + b"a" * 0x2000 + b"\r\n"):
            client.sendall(piece)

    secure.on(DEMO, endless)

    with pytest.raises(BadGateway, match="more than"):
        asking.page(asking.remote(f"{secure.origin}/simple/", environ=environ))


def test_https_goes_through_a_proxy_that_sees_nothing_of_it(
    asking: Asking, secure: SecureUpstream, environ: dict[str, str]
) -> None:
    asking.upstream.on("pypi.example:443", tunnel_to(secure.port))
    environ = {**environ, "https_proxy": asking.upstream.origin.replace("//", "//me:secret@")}
    remote = asking.remote("https://user:word@pypi.example/simple/", environ=environ)

    assert asking.page(remote).files == ()
    asked = asking.upstream.asked[0]
    assert asked.target == "pypi.example:443"
    assert "proxy-authorization" in asked.fields
    assert "authorization" not in asked.fields
    assert "proxy-authorization" not in secure.asked[0].fields
    assert secure.asked[0].fields["host"] == "pypi.example"


def test_the_host_that_is_asked_through_a_proxy_proves_who_it_is(
    asking: Asking, secure: SecureUpstream, environ: dict[str, str]
) -> None:
    asking.upstream.on("other.example:443", tunnel_to(secure.port))
    environ = {**environ, "https_proxy": asking.upstream.origin}

    with pytest.raises(BadGateway, match="certificate is not trusted"):
        asking.page(asking.remote("https://other.example/simple/", environ=environ))


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2", b"x" * 100_000, b"SSH\r\n\r\n", answer(200)[:-4]])
def test_a_proxy_that_is_none_is_unavailable(asking: Asking, environ: dict[str, str], said: bytes) -> None:
    asking.upstream.on("pypi.example:443", said)
    environ = {**environ, "https_proxy": asking.upstream.origin}

    with pytest.raises(Unavailable):
        asking.page(asking.remote("https://pypi.example/simple/", environ=environ))
