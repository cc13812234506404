"""
Connections to an upstream and to where it leads: guarded, kept open, through a proxy where there is one.

Not for: what is asked on them (`client`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    ProxyAgent,
)
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from twisted_index.upstream.addresses import AddressRefused, Guard, GuardedEndpoint, reach_of
from twisted_index.upstream.heads import bounded_pool
from twisted_index.upstream.origins import Origin, origin_of
from twisted_index.upstream.proxies import Proxy, TunnelEndpoint, proxy_for
from twisted_index.upstream.trust import trust_root
from twisted_index.upstream.via import with_way

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IProtocol, IProtocolFactory
    from twisted.web.client import URI
    from twisted.web.http_headers import Headers
    from twisted.web.iweb import IResponse

#: Idle connections that are kept to one origin, and for how many seconds. Servers in the field close
#: theirs after 5 to 75; one that was closed meanwhile costs a retry.
_KEPT, _KEPT_SECONDS = 16, 30


class Connections:
    """
    All connections for the sake of one upstream.

    Args:
        reactor: Makes them.
        guard: Says where to.
        environ: Names proxies and certificates; see `proxies` and `trust`.
        timeout: Seconds for one connection to be made.

    Raises:
        ConfigurationError: The environment names a proxy or certificates that cannot be used.
    """

    def __init__(self, reactor: Any, guard: Guard, environ: Mapping[str, str], timeout: float) -> None:
        self._environ = environ
        self._guard = guard
        self._pool = bounded_pool(reactor)
        self._pool.maxPersistentPerHost = _KEPT
        self._pool.cachedConnectionTimeout = _KEPT_SECONDS
        self._endpoints = _Endpoints(reactor, guard, environ, timeout)
        self._agent = Agent.usingEndpointFactory(reactor, self._endpoints, self._pool)
        self._proxied: dict[Proxy, ProxyAgent] = {}
        self._reactor = reactor
        proxy_for(guard.own, environ)

    def request(self, url: str, headers: Headers) -> Deferred[IResponse]:
        """
        Ask for a clean URL.

        Returns:
            Fires with the head of the answer. Cancelling it breaks the connection off.
        """
        origin = origin_of(url)
        headers.setRawHeaders(b"Via", [with_way(own) for own in headers.getRawHeaders(b"Via", [])])
        proxy = proxy_for(origin, self._environ)
        if proxy is None or origin.scheme == "https":
            return self._ask(self._agent, url, headers)
        self._endpoints.check_unresolved(origin)
        if proxy.account is not None:
            headers.setRawHeaders(b"Proxy-Authorization", [proxy.account.basic])
        return self._ask(self._through(proxy), url, headers)

    def close(self) -> Deferred[None]:
        """Close the connections that are kept open."""
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing

    def _ask(self, agent: Agent | ProxyAgent, url: str, headers: Headers) -> Deferred[IResponse]:
        asking: Deferred[IResponse] = agent.request(b"GET", url.encode("ascii"), headers)
        return asking

    def _through(self, proxy: Proxy) -> ProxyAgent:
        if proxy not in self._proxied:
            endpoint = self._endpoints.of_proxy(proxy)
            self._proxied[proxy] = ProxyAgent(endpoint, self._reactor, self._pool)
        return self._proxied[proxy]


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Says how an origin is connected to."""

    def __init__(self, reactor: Any, guard: Guard, environ: Mapping[str, str], timeout: float) -> None:
        self._reactor = reactor
        self._guard = guard
        self._environ = environ
        self._timeout = timeout
        self._policy: BrowserLikePolicyForHTTPS | None = None
        if guard.own.scheme == "https":
            self._https()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Make an endpoint, with TLS for https."""
        origin = Origin(uri.scheme.decode("ascii"), uri.host.decode("ascii").strip("[]"), uri.port)
        endpoint = self._plain(origin)
        if origin.scheme == "http":
            return endpoint
        creator = self._https().creatorForNetloc(origin.host.encode("ascii"), origin.port)
        return _TLSEndpoint(endpoint, creator, self._reactor)

    def of_proxy(self, proxy: Proxy) -> IStreamClientEndpoint:
        """Make the endpoint of a proxy: whoever runs this server chose it, so it may be anywhere."""
        return GuardedEndpoint(self._reactor, Guard(proxy.origin), proxy.origin, self._timeout)

    def check_unresolved(self, origin: Origin) -> None:
        """
        Check an origin whose name only the proxy will resolve: it is what there is to be checked.

        Raises:
            AddressRefused: It is an address that may not be led to.
        """
        host = "127.0.0.1" if origin.host == "localhost" else origin.host
        if not _is_address(host):
            return
        if _is_address(self._guard.own.host):
            self._guard.settle([self._guard.own.host])
        if not self._guard.allows(origin, host):
            raise AddressRefused

    def _plain(self, origin: Origin) -> IStreamClientEndpoint:
        proxy = proxy_for(origin, self._environ)
        if proxy is None:
            return GuardedEndpoint(self._reactor, self._guard, origin, self._timeout)
        self.check_unresolved(origin)
        return TunnelEndpoint(self.of_proxy(proxy), proxy, origin, self._timeout, self._reactor)

    def _https(self) -> BrowserLikePolicyForHTTPS:
        if self._policy is None:
            self._policy = BrowserLikePolicyForHTTPS(trust_root(self._environ))
        return self._policy


@implementer(IStreamClientEndpoint)
class _TLSEndpoint:
    """
    Speaks TLS on the connections of an endpoint.

    `wrapClientTLS` does so too, but in the oldest supported Twisted it takes its timers from the
    reactor that is installed, which need not be this one.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, creator: Any, clock: Any) -> None:
        self._endpoint = endpoint
        self._creator = creator
        self._clock = clock

    def connect(self, protocol_factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; the handshake goes on while the first request waits."""
        factory = TLSMemoryBIOFactory(self._creator, True, protocol_factory, clock=self._clock)
        factory.noisy = False
        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting.addCallback(lambda protocol: protocol.wrappedProtocol)


def _is_address(host: str) -> bool:
    try:
        reach_of(host)
    except ValueError:
        return False
    return True
