"""Asking another index over https, directly and through a proxy."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.kit.hostile_upstream import Asked, HostileUpstream, answer, page
from twisted_index.errors import BadGateway, ConfigurationError, Unavailable
from twisted_index.http_client.tls import TLSOptions
from twisted_index.testing.reactor_thread import BackgroundReactor

from .test_client import DEMO, Asking, redirect


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

    def __init__(self, authority: trustme.CA, *names: str, **more: Any) -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*names, **more).configure_cert(self.context)
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


def test_a_certificate_that_the_environment_does_not_name_is_not_trusted(
    asking: Asking, secure: SecureUpstream
) -> None:
    with pytest.raises(BadGateway, match="certificate is not trusted"):
        asking.page(asking.remote(f"{secure.origin}/simple/"))
    assert secure.asked == []


def test_a_certificate_of_another_name_is_not_trusted(
    asking: Asking, authority: trustme.CA, environ: dict[str, str]
) -> None:
    upstream = SecureUpstream(authority, "other.example")

    with pytest.raises(BadGateway, match="certificate is not trusted"):
        asking.page(asking.remote(f"{upstream.origin}/simple/", environ=environ))
    upstream.close()


def test_a_name_that_no_certificate_can_have_is_told_as_such(asking: Asking) -> None:
    with pytest.raises(BadGateway, match="no certificate can match"):
        asking.page(asking.remote("https://my_host/simple/"))


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


# -- What goes wrong with TLS


def test_a_server_that_speaks_http_behind_https_is_told_as_one(asking: Asking) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(1000)
                client.sendall(answer(400, b"That was no HTTP."))

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(
            BadGateway, match=r"does not support TLS here, .*wrong version number.*may be http"
        ):
            asking.page(asking.remote(f"https://127.0.0.1:{listener.getsockname()[1]}/simple/"))


def test_a_server_that_wants_our_certificate_is_told_as_one(
    asking: Asking, authority: trustme.CA, environ: dict[str, str]
) -> None:
    upstream = wanting(authority)

    with pytest.raises(BadGateway, match=r"requires a client certificate .*certificate required"):
        asking.page(asking.remote(f"{upstream.origin}/simple/", environ=environ))
    upstream.close()


def test_a_server_that_does_not_take_our_certificate_is_told_as_one(
    asking: Asking, authority: trustme.CA, environ: dict[str, str], ours: TLSOptions
) -> None:
    upstream = SecureUpstream(authority, "127.0.0.1")
    trustme.CA().configure_trust(upstream.context)
    upstream.context.verify_mode = ssl.CERT_REQUIRED

    with pytest.raises(BadGateway, match=r"requires a client certificate .*unknown ca"):
        asking.page(asking.remote(f"{upstream.origin}/simple/", environ=environ, tls=ours))
    upstream.close()


def test_a_server_that_speaks_no_tls_that_we_do_is_told_as_one(
    asking: Asking, authority: trustme.CA, environ: dict[str, str]
) -> None:
    upstream = SecureUpstream(authority, "127.0.0.1")
    upstream.context.maximum_version = ssl.TLSVersion.TLSv1_2
    upstream.context.set_ciphers("AES128-SHA")

    with pytest.raises(BadGateway, match=r"aborted the TLS handshake \(.*handshake failure\)"):
        asking.page(asking.remote(f"{upstream.origin}/simple/", environ=environ))
    upstream.close()


def test_the_log_says_why_a_certificate_is_refused_and_which_ones_are_trusted(
    asking: Asking, authority: trustme.CA, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        "twisted_index.http_client.client._log.warn",
        lambda form, **fields: said.append(form.format(**fields)),
    )
    strange = SecureUpstream(trustme.CA(), "127.0.0.1")
    past = datetime.now(UTC) - timedelta(days=1)
    expired = SecureUpstream(authority, "127.0.0.1", not_after=past)
    for upstream, known in ((strange, environ), (expired, environ), (strange, {})):
        with pytest.raises(BadGateway, match="certificate is not trusted"):
            asking.page(asking.remote(f"{upstream.origin}/simple/", environ=known))
    strange.close()
    expired.close()

    host, unknown = "127.0.0.1", "unable to get issuer cert locally (verify code 20)"
    trusted = f"trusted: the certificates of SSL_CERT_FILE, in {environ['SSL_CERT_FILE']}"
    assert said == [
        f"the certificate of {host}:{strange.port} was rejected: {unknown}; {trusted}",
        f"the certificate of {host}:{expired.port} was rejected: cert has expired (verify code 10);"
        f" {trusted}",
        f"the certificate of {host}:{strange.port} was rejected: {unknown}; trusted: the certificates of"
        " this system",
    ]


def test_a_certificate_of_another_name_is_told_as_one(
    asking: Asking, authority: trustme.CA, environ: dict[str, str]
) -> None:
    upstream = SecureUpstream(authority, "other.example")
    with pytest.raises(BadGateway, match="it is for another name"):
        asking.page(asking.remote(f"{upstream.origin}/simple/", environ=environ))
    upstream.close()


# -- What goes wrong with a proxy


def dead() -> str:
    """Return an origin at which no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_away_is_told_as_the_proxy(asking: Asking, scheme: str) -> None:
    environ = {f"{scheme}_proxy": dead()}
    with pytest.raises(Unavailable, match="proxy on the way to the upstream cannot be reached"):
        asking.page(asking.remote(f"{scheme}://pypi.example/simple/", environ=environ))


@pytest.mark.parametrize("target", ["http://pypi.example/simple/demo/", "pypi.example:443"])
def test_a_proxy_that_wants_a_password_is_told_as_the_proxy(asking: Asking, target: str) -> None:
    asking.upstream.on(target, answer(407))
    scheme = "http" if target.startswith("http:") else "https"
    environ = {f"{scheme}_proxy": asking.upstream.origin}

    with pytest.raises(BadGateway, match=r"The proxy .* responded with 407: it requires a user"):
        asking.page(asking.remote(f"{scheme}://pypi.example/simple/", environ=environ))


def test_an_upstream_that_is_away_without_a_proxy_is_told_as_the_upstream(asking: Asking) -> None:
    with pytest.raises(Unavailable, match=r"^The upstream cannot be reached"):
        asking.page(asking.remote(f"{dead()}/simple/"))


# -- What pip can be configured to do besides


@pytest.fixture
def ours(authority: trustme.CA, tmp_path: Path) -> TLSOptions:
    """A certificate of our own, with its key in one file."""
    path = tmp_path / "ours.pem"
    authority.issue_cert("index@example.org").private_key_and_cert_chain_pem.write_to_path(str(path))
    return TLSOptions(client_cert=str(path))


def wanting(authority: trustme.CA) -> SecureUpstream:
    """Make a server that wants to know who asks."""
    upstream = SecureUpstream(authority, "127.0.0.1", "localhost")
    authority.configure_trust(upstream.context)
    upstream.context.verify_mode = ssl.CERT_REQUIRED
    upstream.on(DEMO, page())
    return upstream


def test_we_prove_who_we_are_with_a_certificate(
    asking: Asking, authority: trustme.CA, environ: dict[str, str], ours: TLSOptions
) -> None:
    upstream = wanting(authority)

    assert asking.page(asking.remote(f"{upstream.origin}/simple/", environ=environ, tls=ours)).files == ()
    upstream.close()


def test_our_certificate_is_shown_to_nobody_else(
    asking: Asking, authority: trustme.CA, secure: SecureUpstream, environ: dict[str, str], ours: TLSOptions
) -> None:
    elsewhere = wanting(authority)
    secure.on(DEMO, redirect(f"{elsewhere.origin}{DEMO}"))

    with pytest.raises(Unavailable):
        asking.page(asking.remote(f"{secure.origin}/simple/", environ=environ, tls=ours))
    assert elsewhere.asked == []
    elsewhere.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:{port}"])
def test_a_host_that_is_trusted_need_not_prove_who_it_is(
    asking: Asking, secure: SecureUpstream, host: str
) -> None:
    trusting = TLSOptions(trusted_hosts=(host.format(port=secure.port),))

    assert asking.page(asking.remote(f"{secure.origin}/simple/", tls=trusting)).files == ()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "27.0.0.1"])
def test_another_host_has_to(asking: Asking, secure: SecureUpstream, host: str) -> None:
    with pytest.raises(BadGateway):
        asking.page(asking.remote(f"{secure.origin}/simple/", tls=TLSOptions(trusted_hosts=(host,))))


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", None]
)
def test_a_certificate_of_ours_that_cannot_be_used_is_told_at_once(
    asking: Asking, authority: trustme.CA, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "mine.pem"
    if content is None:
        authority.cert_pem.write_to_path(str(path))  # without a key
    else:
        path.write_bytes(content)

    with pytest.raises(ConfigurationError, match="client-cert"):
        asking.remote("https://pypi.example/simple/", tls=TLSOptions(client_cert=str(path)))
