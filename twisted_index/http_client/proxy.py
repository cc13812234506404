"""
The HTTP proxy of the environment, and CONNECT through it to an https origin.

Twisted has a proxy agent for http only.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_index.errors import ConfigurationError
from twisted_index.http_client.credentials import BasicCredentials, split_userinfo
from twisted_index.http_client.urls import Origin, origin_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.interfaces import IProtocol, IProtocolFactory

#: Limit in bytes of a proxy's response to CONNECT.
_MAX_HEAD = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """
    A proxy.

    Attributes:
        origin: Its origin; http.
        credentials: Credentials for the proxy.
    """

    origin: Origin
    credentials: BasicCredentials | None = None


class ProxyRefused(Exception):
    """
    A proxy refused a tunnel; the message is its response.

    Args:
        response: The response as text.
        status: Its status code; 0 without one.
    """

    def __init__(self, response: str, status: int = 0) -> None:
        super().__init__(response)
        self.status = status


def proxy_for(origin: Origin, environ: Mapping[str, str]) -> Proxy | None:
    """
    Find the proxy for an origin, by the same variables as curl.

    Args:
        origin: The origin of the request.
        environ: `http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`, in lower or upper case.

    Raises:
        ConfigurationError: The variable does not name an http proxy.
    """
    if _goes_direct(origin, _variable(environ, "no_proxy")):
        return None
    url = _variable(environ, f"{origin.scheme}_proxy") or _variable(environ, "all_proxy")
    if not url:
        return None
    url = url if "://" in url else f"http://{url}"
    if not url.lower().startswith("http://"):
        scheme = url.partition("://")[0]
        raise ConfigurationError(f"Proxies are supported over http only, not over {scheme}.")
    clean, account = split_userinfo(url)
    return Proxy(origin=origin_of(clean), credentials=account)


def _variable(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    # For CGI, HTTP_PROXY holds a request's Proxy field, so curl reads only the lower-case name. This is
    # not a CGI program, and pip reads both.
    return value if value is not None else environ.get(name.upper(), "")


def _goes_direct(origin: Origin, no_proxy: str) -> bool:
    return any(
        _no_proxy_matches(part.strip().lower(), origin) for part in no_proxy.split(",") if part.strip()
    )


def _no_proxy_matches(pattern: str, origin: Origin) -> bool:
    """Return whether an entry of NO_PROXY (host, domain or network, with optional port) has an origin."""
    if pattern == "*":
        return True
    try:
        return ip_address(origin.host) in ip_network(pattern, strict=False)
    except ValueError:
        pass
    try:
        parts = urlsplit(f"//{pattern.lstrip('.').removeprefix('*.')}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    is_inside = origin.host == host or origin.host.endswith(f".{host}")
    return bool(host) and is_inside and port in (None, origin.port)


@implementer(IStreamClientEndpoint)
class ConnectTunnelEndpoint:
    """
    Connects to an origin through a proxy (RFC 9110 section 9.3.6).

    Args:
        endpoint: Endpoint of the proxy.
        proxy: The proxy.
        origin: The destination.
        timeout: Seconds for the proxy's response.
        clock: Schedules the time-out.
    """

    def __init__(
        self, endpoint: IStreamClientEndpoint, proxy: Proxy, origin: Origin, timeout: float, clock: Any
    ) -> None:
        self._endpoint = endpoint
        self._proxy = proxy
        self._origin = origin
        self._timeout = timeout
        self._clock = clock

    def connect(self, protocol_factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Connect.

        Returns:
            Fails with ProxyRefused, or the errors of connections.
        """
        return Deferred.fromCoroutine(self._connect(protocol_factory))

    async def _connect(self, protocol_factory: IProtocolFactory) -> IProtocol:
        factory = Factory.forProtocol(lambda: _Tunnel(self._request(), protocol_factory))
        factory.noisy = False
        tunnel: Any = await self._endpoint.connect(factory)
        protocol: IProtocol = await tunnel.opened.addTimeout(self._timeout, self._clock)
        return protocol

    def _request(self) -> bytes:
        host = f"[{self._origin.host}]" if ":" in self._origin.host else self._origin.host
        target = f"{host}:{self._origin.port}".encode()
        lines = [b"CONNECT " + target + b" HTTP/1.1", b"Host: " + target]
        if self._proxy.credentials is not None:
            lines.append(b"Proxy-Authorization: " + self._proxy.credentials.authorization)
        return b"\r\n".join((*lines, b"", b""))


class _Tunnel(Protocol):
    """Sends CONNECT, then relays between the transport and the inner protocol."""

    def __init__(self, request: bytes, factory: IProtocolFactory) -> None:
        self.opened: Deferred[Any] = Deferred(lambda _: self._abort())
        self._request = request
        self._factory = factory
        self._head = b""
        self._inner: Any = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if end:
            self._response_received(head.split(b"\r\n")[0], rest)
        elif len(self._head) > _MAX_HEAD:
            self._fail(ProxyRefused("a response head that is too long"))

    def _response_received(self, status_line: bytes, rest: bytes) -> None:
        status = b"".join(status_line.split(b" ")[1:2])[:3]
        code = int(status) if status_line.startswith(b"HTTP/1.") and status.isdigit() else 0
        if not 200 <= code < 300:  # any 2xx opens the tunnel (RFC 9110 section 9.3.6)
            self._fail(ProxyRefused(status.decode("ascii", "replace"), code))
            return
        assert self.transport is not None
        self._head = b""
        self._inner = self._factory.buildProtocol(self.transport.getPeer())
        self._inner.makeConnection(self.transport)
        self.opened.callback(self._inner)
        if rest:
            self._inner.dataReceived(rest)

    def connectionLost(self, reason: Failure = Failure(ConnectionAborted())) -> None:  # noqa: B008
        if self._inner is not None:
            self._inner.connectionLost(reason)
        else:
            self._fail(reason.value)

    def _fail(self, error: Any) -> None:
        if not self.opened.called:
            self.opened.errback(error)
        self._abort()

    def _abort(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()
