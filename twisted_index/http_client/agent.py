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

    from twisted_index.http_client.credentials import ICredentials

#: Idle connections kept per origin, and for how many seconds. Servers close theirs after 5 to 75 seconds;
#: a connection closed in the meantime costs a retry.
_MAX_IDLE, _IDLE_SECONDS = 16, 30

#: Content-Encoding that web servers set on archives that they send unchanged.
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


#: The default User-Agent.
USER_AGENT = _product()


@implementer(IAgent)
class BoundedAgent:
    """
    Sends requests to one server and its redirect targets; every response is a `BoundedResponse`.

    Decodes bodies below treq, which then finds no Content-Encoding to decode.

    Args:
        agent: Sends the requests; an `UpstreamAgent`, or another agent in tests.
        clock: Schedules time-outs.
        peer: Description of the server in errors.
        idle: Seconds without a byte before a body is aborted.
        limit: Bytes of a body, unless its reader sets another limit.
        credentials: Credentials, by origin.
        via: This server's entry in Via (RFC 9110 section 7.6.3); None if it is not acting as a proxy.
    """

    def __init__(
        self,
        agent: IAgent,
        clock: Any,
        *,
        peer: str,
        idle: float,
        limit: int,
        credentials: Mapping[Origin, ICredentials] | None = None,
        via: bytes | None = None,
    ) -> None:
        self._agent = agent
        self._clock = clock
        self._peer = peer
        self._idle = idle
        self._limit = limit
        self._credentials = credentials or {}
        self._via = via

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """
        Request a normalized URL.

        Returns:
            Fires with the response after its head; its body reports an unrequested content coding.
            Cancelling it aborts the connection.
        """
        url = uri.decode("ascii")
        headers = Headers() if headers is None else headers.copy()
        # Only the caller's: treq appends its own.
        coding = headers.getRawHeaders(b"Accept-Encoding", [b"identity"])[0]
        headers.setRawHeaders(b"Accept-Encoding", [coding])
        headers.setRawHeaders(b"User-Agent", headers.getRawHeaders(b"User-Agent", [USER_AGENT])[:1])
        if self._via is not None:
            headers.setRawHeaders(b"Via", [append_via(self._via)])
        credentials = self._credentials.get(origin_of(url))
        current = None if credentials is None else credentials.current()
        if current is not None:
            headers.setRawHeaders(b"Authorization", [current.authorization])
        requesting: Deferred[IResponse] = self._agent.request(method, uri, headers, bodyProducer)
        return requesting.addCallback(self._bounded, coding == b"gzip", method == b"GET")

    def _bounded(self, response: IResponse, takes_gzip: bool, is_read: bool) -> IResponse:
        coding = _coding(response)
        for name in (b"Content-Encoding", b"Set-Cookie"):
            response.headers.removeHeader(name)
        is_content = is_read and response.code in (200, 203, 206)
        gzipped = (is_content or response.code >= 400) and takes_gzip and coding in ("gzip", "x-gzip")
        body = BoundedBody(
            response, self._clock, peer=self._peer, idle=self._idle, limit=self._limit, gzipped=gzipped
        )
        body.coding = coding if is_content and not gzipped else ""
        return BoundedResponse(response, body)


def _coding(response: IResponse) -> str:
    """
    Return the content codings to decode, in lower case; empty without any.

    Object stores repeat the uploader's fields: `aws-chunked` was the framing of the upload; empty members
    come from merged fields.
    """
    field = b",".join(response.headers.getRawHeaders(b"Content-Encoding", [])).decode("latin-1")
    codings = (coding.strip().lower() for coding in field.split(","))
    return ",".join(coding for coding in codings if coding not in ("", "identity", "aws-chunked"))


def is_archive_coding(coding: str, filename: str) -> bool:
    """Return whether a coding is only a web server's label for an archive of that name, sent unchanged."""
    name = filename.lower()
    return any(coding in codings for end, codings in _OWN_CODINGS.items() if name.endswith(end))


@implementer(IAgent, IAgentEndpointFactory)
class UpstreamAgent:
    """
    Connects to one server and its redirect targets, through the environment's proxy if there is one.

    Args:
        reactor: Twisted's reactor.
        own_origin: The server's origin.
        egress_policy: Decides which addresses may be connected to; None allows all.
        environ: Environment variables that name proxies and certificates; see `proxy` and `tls`.
        timeout: Seconds for establishing one connection.
        persistent: Whether connections are reused.
        tls: See `TLSOptions`.

    Raises:
        ConfigurationError: A configured proxy or certificate file cannot be used.
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
        self._pool.maxPersistentPerHost = _MAX_IDLE
        self._pool.cachedConnectionTimeout = _IDLE_SECONDS
        self._agent = Agent.usingEndpointFactory(reactor, self, self._pool)
        self._proxy_agents: dict[Proxy, ProxyAgent] = {}
        self._own = own_origin
        self._tls = tls
        self._tls_policy: TLSPolicy | None = None
        if own_origin.scheme == "https":
            self._get_tls_policy()
        proxy_for(own_origin, environ)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """
        Request a normalized URL.

        Raises:
            AddressRefused: The egress policy refuses the address.
        """
        origin = origin_of(uri.decode("ascii"))
        proxy = proxy_for(origin, self._environ)
        agent: Agent | ProxyAgent = self._agent
        if proxy is not None and origin.scheme == "http":
            self._check_unresolved(origin)
            agent = self._proxy_agent(proxy)
            if proxy.credentials is not None:
                headers = Headers() if headers is None else headers.copy()
                headers.setRawHeaders(b"Proxy-Authorization", [proxy.credentials.authorization])
        requesting: Deferred[IResponse] = agent.request(method, uri, headers, bodyProducer)
        return requesting

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Make the endpoint of an origin: through a proxy's tunnel if there is one, with TLS for https."""
        origin = Origin(uri.scheme.decode("ascii"), uri.host.decode("ascii").strip("[]"), uri.port)
        proxy = proxy_for(origin, self._environ)
        if proxy is None:
            endpoint = self._endpoint(origin, self._egress_policy)
        else:
            self._check_unresolved(origin)
            proxy_endpoint = self._endpoint(proxy.origin)
            endpoint = ConnectTunnelEndpoint(proxy_endpoint, proxy, origin, self._timeout, self._reactor)
        if origin.scheme == "http":
            return endpoint
        creator = self._get_tls_policy().creatorForNetloc(origin.host.encode("ascii"), origin.port)
        return wrapClientTLS(creator, endpoint, self._reactor)

    def proxy_for_url(self, url: str) -> Proxy | None:
        """Return the proxy for a URL; None without one."""
        return proxy_for(origin_of(url), self._environ)

    def explain_tls(self, url: str) -> str:
        """Return, for the log, why the certificate of a URL's server was just refused."""
        origin = origin_of(url)
        return self._get_tls_policy().explain(origin.host, origin.port)

    def close(self) -> Deferred[None]:
        """Close persistent connections."""
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing

    def _proxy_agent(self, proxy: Proxy) -> ProxyAgent:
        if proxy not in self._proxy_agents:
            self._proxy_agents[proxy] = ProxyAgent(self._endpoint(proxy.origin), self._reactor, self._pool)
        return self._proxy_agents[proxy]

    def _endpoint(self, origin: Origin, policy: EgressPolicy | None = None) -> IStreamClientEndpoint:
        """Make an endpoint; without a policy for an origin that the operator chose."""
        return GuardedEndpoint(
            self._reactor, policy or EgressPolicy(origin), origin, self._timeout, self._shunned
        )

    def _check_unresolved(self, origin: Origin) -> None:
        """
        Check an origin that the proxy will resolve: only a literal address can be checked here.

        Raises:
            AddressRefused: The egress policy refuses the address.
        """
        host = _as_resolved(origin.host)
        if self._egress_policy is None or not _is_address(host):
            return
        if _is_address(self._egress_policy.own_origin.host):
            self._egress_policy.set_own_addresses([self._egress_policy.own_origin.host])
        if not self._egress_policy.allows(origin, host):
            raise AddressRefused

    def _get_tls_policy(self) -> TLSPolicy:
        """Load the trusted certificates, once."""
        if self._tls_policy is None:
            self._tls_policy = TLSPolicy(self._own, self._environ, self._tls)
        return self._tls_policy


def _as_resolved(host: str) -> str:
    """Return the address to which a host resolves without a query; otherwise the host itself."""
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
