"""
The agent below treq: identity, egress, proxies, and limits of responses.

Out of scope: retries, redirects and public errors (see `client`).
"""

from __future__ import annotations

import socket
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from twisted.internet.endpoints import wrapClientTLS
from twisted.web.client import Agent, ProxyAgent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory
from zope.interface import implementer

from twisted_index.http_client.body import BoundedBody, BoundedResponse
from twisted_index.http_client.connection import BoundedPool, ShunnedAddresses
from twisted_index.http_client.egress import AddressRefused, EgressPolicy, GuardedEndpoint, address_scope
from twisted_index.http_client.proxy import ConnectTunnelEndpoint, Proxy, proxy_for
from twisted_index.http_client.tls import CHECKED, TLSOptions, TLSPolicy
from twisted_index.http_client.urls import Origin, origin_of
from twisted_index.http_semantics.via import append_via

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IStreamClientEndpoint
    from twisted.web.client import URI
    from twisted.web.iweb import IBodyProducer, IResponse

    from twisted_index.http_client.credentials import BasicCredentials, NetrcCredentials

#: Idle connections that are kept to one origin, and for how many seconds. Servers in the field close
#: theirs after 5 to 75; one that was closed meanwhile costs a retry.
_KEPT, _KEPT_SECONDS = 16, 30

#: Content-Encoding that web servers put on archives they send unchanged.
_OWN_CODINGS = {
    ".tar.gz": ("gzip", "x-gzip"),
    ".tgz": ("gzip", "x-gzip"),
    ".tar.bz2": ("bzip2", "x-bzip2"),
    ".tar.xz": ("xz", "x-xz"),
}


def _product() -> bytes:
    try:
        return b"twisted-index/" + version("twisted-index").encode("ascii")
    except PackageNotFoundError:  # run from a checkout
        return b"twisted-index"


#: What requests say of who sends them, unless they say it themselves.
USER_AGENT = _product()


@implementer(IAgent)
class BoundedAgent:
    """
    Sends requests to one server, and to where it leads; every response is a `BoundedResponse`.

    Decoding happens here, below treq, which then finds no Content-Encoding to decode.

    Args:
        agent: Does the requests; a `UpstreamAgent`, or another agent in tests.
        clock: For time-outs.
        peer: What the server is called in errors.
        idle: Seconds without a byte of a body.
        limit: Bytes of a body, unless its reader sets another limit.
        credentials: Credentials, by origin.
        via: What this server calls itself in Via (RFC 9110 section 7.6.3); None if it is no proxy here.
    """

    def __init__(
        self,
        agent: IAgent,
        clock: Any,
        *,
        peer: str,
        idle: float,
        limit: int,
        credentials: Mapping[Origin, BasicCredentials | NetrcCredentials] | None = None,
        via: bytes | None = None,
    ) -> None:
        self._agent = agent
        self._clock = clock
        self._peer = peer
        self._idle = idle
        self._limit = limit
        self._accounts = credentials or {}
        self._via = via

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """
        Request a clean URL.

        Returns:
            Fires with the response when its head is here; whether it has a coding that was not asked
            for, its body says. Cancelling it aborts the connection.
        """
        url = uri.decode("ascii")
        headers = Headers() if headers is None else headers.copy()
        # The caller's; treq adds one of its own.
        coding = headers.getRawHeaders(b"Accept-Encoding", [b"identity"])[0]
        headers.setRawHeaders(b"Accept-Encoding", [coding])
        headers.setRawHeaders(b"User-Agent", headers.getRawHeaders(b"User-Agent", [USER_AGENT])[:1])
        if self._via is not None:
            headers.setRawHeaders(b"Via", [append_via(self._via)])
        known = self._accounts.get(origin_of(url))
        account = None if known is None else known.current()
        if account is not None:
            headers.setRawHeaders(b"Authorization", [account.basic])
        asking: Deferred[IResponse] = self._agent.request(method, uri, headers, bodyProducer)
        return asking.addCallback(self._bounded, coding == b"gzip", method == b"GET")

    def _bounded(self, response: IResponse, takes_gzip: bool, is_read: bool) -> IResponse:
        coding = _coding(response)
        for name in (b"Content-Encoding", b"Set-Cookie"):
            response.headers.removeHeader(name)
        is_content = is_read and response.code in (200, 203, 206)
        gzipped = is_content and takes_gzip and coding in ("gzip", "x-gzip")
        body = BoundedBody(
            response, self._clock, peer=self._peer, idle=self._idle, limit=self._limit, gzipped=gzipped
        )
        body.coding = coding if is_content and not gzipped else ""
        return BoundedResponse(response, body)


def _coding(response: IResponse) -> str:
    """
    Return what has to be decoded, in lower case; empty if nothing has to.

    Object stores repeat what their uploader declared: `aws-chunked` was the framing of the upload, and
    empty members come from merged fields.
    """
    field = b",".join(response.headers.getRawHeaders(b"Content-Encoding", [])).decode("latin-1")
    codings = (coding.strip().lower() for coding in field.split(","))
    return ",".join(coding for coding in codings if coding not in ("", "identity", "aws-chunked"))


def is_archive_coding(coding: str, filename: str) -> bool:
    """Tell whether a coding is only what web servers call an archive of that name, sent as it is."""
    name = filename.lower()
    return any(coding in codings for end, codings in _OWN_CODINGS.items() if name.endswith(end))


@implementer(IAgent, IAgentEndpointFactory)
class UpstreamAgent:
    """
    Connects to one server and to where it leads, through the environment's proxy if there is one.

    Args:
        reactor: Makes them.
        own_origin: The server's origin.
        egress_policy: Decides which addresses it may lead to; None if it may be anywhere.
        environ: Names proxies and certificates; see `proxy` and `tls`.
        timeout: Seconds for one connection to be made.
        persistent: Whether connections are kept open.
        tls: How https is spoken, besides.

    Raises:
        ConfigurationError: A proxy or certificates that are named cannot be used.
    """

    def __init__(
        self,
        reactor: Any,
        own_origin: Origin,
        *,
        egress_policy: EgressPolicy | None,
        environ: Mapping[str, str],
        timeout: float,
        persistent: bool = True,
        tls: TLSOptions = CHECKED,
    ) -> None:
        self._reactor = reactor
        self._egress_policy = egress_policy
        self._environ = environ
        self._timeout = timeout
        self._shunned = ShunnedAddresses(reactor)
        self._pool = BoundedPool(reactor, persistent, self._shunned)
        self._pool.maxPersistentPerHost = _KEPT
        self._pool.cachedConnectionTimeout = _KEPT_SECONDS
        self._agent = Agent.usingEndpointFactory(reactor, self, self._pool)
        self._proxied: dict[Proxy, ProxyAgent] = {}
        self._own = own_origin
        self._tls = tls
        self._tls_policy: TLSPolicy | None = None
        if own_origin.scheme == "https":
            self._https()
        proxy_for(own_origin, environ)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """
        Request a clean URL.

        Raises:
            AddressRefused: It is an address that may not be led to.
        """
        origin = origin_of(uri.decode("ascii"))
        proxy = proxy_for(origin, self._environ)
        agent: Agent | ProxyAgent = self._agent
        if proxy is not None and origin.scheme == "http":
            self._check_unresolved(origin)
            agent = self._through(proxy)
            if proxy.credentials is not None:
                headers = Headers() if headers is None else headers.copy()
                headers.setRawHeaders(b"Proxy-Authorization", [proxy.credentials.basic])
        asking: Deferred[IResponse] = agent.request(method, uri, headers, bodyProducer)
        return asking

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Make the endpoint of an origin: by the tunnel of a proxy if there is one, with TLS for https."""
        origin = Origin(uri.scheme.decode("ascii"), uri.host.decode("ascii").strip("[]"), uri.port)
        proxy = proxy_for(origin, self._environ)
        if proxy is None:
            endpoint = self._endpoint(origin, self._egress_policy)
        else:
            self._check_unresolved(origin)
            way = self._endpoint(proxy.origin)
            endpoint = ConnectTunnelEndpoint(way, proxy, origin, self._timeout, self._reactor)
        if origin.scheme == "http":
            return endpoint
        creator = self._https().creatorForNetloc(origin.host.encode("ascii"), origin.port)
        return wrapClientTLS(creator, endpoint, self._reactor)

    def proxy_for_url(self, url: str) -> Proxy | None:
        """Give the proxy for a URL; None without one."""
        return proxy_for(origin_of(url), self._environ)

    def explain_tls(self, url: str) -> str:
        """Say for the log why the certificate of a URL's server was refused just now."""
        origin = origin_of(url)
        return self._https().explain(origin.host, origin.port)

    def close(self) -> Deferred[None]:
        """Close the connections that are kept open."""
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing

    def _through(self, proxy: Proxy) -> ProxyAgent:
        if proxy not in self._proxied:
            self._proxied[proxy] = ProxyAgent(self._endpoint(proxy.origin), self._reactor, self._pool)
        return self._proxied[proxy]

    def _endpoint(self, origin: Origin, guard: EgressPolicy | None = None) -> IStreamClientEndpoint:
        """Make an endpoint; without a guard for what the operator of this server chose."""
        return GuardedEndpoint(
            self._reactor, guard or EgressPolicy(origin), origin, self._timeout, self._shunned
        )

    def _check_unresolved(self, origin: Origin) -> None:
        """
        Check an origin that the proxy will resolve: only a literal address can be checked here.

        Raises:
            AddressRefused: It is an address that may not be led to.
        """
        host = _as_resolved(origin.host)
        if self._egress_policy is None or not _is_address(host):
            return
        if _is_address(self._egress_policy.own_origin.host):
            self._egress_policy.set_own_addresses([self._egress_policy.own_origin.host])
        if not self._egress_policy.allows(origin, host):
            raise AddressRefused

    def _https(self) -> TLSPolicy:
        """Read the certificates to trust, once."""
        if self._tls_policy is None:
            self._tls_policy = TLSPolicy(self._own, self._environ, self._tls)
        return self._tls_policy


def _as_resolved(host: str) -> str:
    """Return the address that resolvers make of a host without a query; else the host itself."""
    host = host.removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 section 6.3
        return "127.0.0.1"
    try:
        return socket.inet_ntoa(socket.inet_aton(host))  # also 127.1, 0x7f000001 and 2130706433
    except (OSError, UnicodeError):
        return host


def _is_address(host: str) -> bool:
    try:
        address_scope(host)
    except ValueError:
        return False
    return True
