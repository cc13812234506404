"""
Egress policy: decides by address, when connecting, where a server's URLs and redirects may lead.

A name is resolved once, its addresses are checked, and the connection goes to one of these; DNS rebinding
has no effect.
"""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.error import TimeoutError as ConnectingTimeoutError
from twisted.internet.interfaces import (
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from twisted_index.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from twisted.internet.interfaces import IProtocol, IProtocolFactory

    from twisted_index.http_client.connection import ShunnedAddresses
    from twisted_index.http_client.urls import Origin


class AddressRefused(Exception):
    """A name resolves only to addresses that the egress policy refuses."""


class AddressScope(enum.IntEnum):
    """From where an address can be reached; higher is closer to this machine. CLOSED is never allowed."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2
    CLOSED = 3


# Cloud metadata services return credentials to any local process.
_CLOSED = tuple(
    ip_network(text)
    for text in (
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
    )
)
# RFC 1918, RFC 6598 (carrier-grade NAT), RFC 4193; and those for documentation and benchmarking
# (RFC 5737, 2544, 3849, 9637), which are not routed publicly, and to which some gateways map public names.
_PRIVATE = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "192.0.2.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "fc00::/7",
        "2001:db8::/32",
        "3fff::/20",
    )
)
_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052
# Not destinations, whatever `is_global` of the oldest supported Python returns: deprecated embeddings of
# IPv4 in IPv6 addresses, protocol assignments.
_NO_DESTINATION = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "224.0.0.0/3",
        "::/96",
        "::ffff:0:0:0/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "5f00::/16",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)


def address_scope(text: str) -> AddressScope:
    """Return from where an address can be reached, after unwrapping an embedded IPv4 address."""
    address = _unwrap(ip_address(text.partition("%")[0]))
    if address.is_loopback:
        return AddressScope.LOOPBACK
    if _is_in(address, _CLOSED):
        return AddressScope.CLOSED
    if _is_in(address, _PRIVATE):
        return AddressScope.PRIVATE
    if _is_in(address, _NO_DESTINATION) or not address.is_global or address.is_multicast:
        return AddressScope.CLOSED
    return AddressScope.PUBLIC


def _unwrap(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address embedded in an IPv6 one: mapped, 6to4 (RFC 3056), NAT64 (RFC 6052)."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_in(address: IPv4Address | IPv6Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)


class EgressPolicy:
    """
    Decides to which addresses requests to one upstream may connect.

    Its own origin is allowed: the operator chose it. Other origins may be at public addresses; if the
    upstream is on a private network, also at private ones; if it is on this machine, also on this
    machine. The scope of the upstream is fixed when its name is first resolved: the name cannot later
    resolve to this machine or to a cloud metadata service (DNS rebinding).

    Args:
        own_origin: The upstream's origin.
        exceptions: Additional addresses and networks that are allowed.

    Raises:
        ConfigurationError: An exception is neither an address nor a network.
    """

    def __init__(self, own_origin: Origin, exceptions: Sequence[str] = ()) -> None:
        self.own_origin = own_origin
        self._exceptions = tuple(_network(text) for text in exceptions)
        self._own_scope: AddressScope | None = None

    @property
    def has_own_addresses(self) -> bool:
        """Whether the scope of the upstream itself is known."""
        return self._own_scope is not None

    def set_own_addresses(self, addresses: Iterable[str]) -> None:
        """Set the scope of the upstream from its own addresses; only the first call has an effect."""
        scopes = [address_scope(address) for address in addresses]
        if scopes and self._own_scope is None:
            self._own_scope = AddressScope.PUBLIC if AddressScope.PUBLIC in scopes else min(scopes)

    def allows(self, origin: Origin, address: str) -> bool:
        """Return whether requests for an origin may connect to an address."""
        if self._is_exception(address):
            return True
        scope = address_scope(address)
        if origin == self.own_origin:
            # The name may resolve to public or private addresses, depending on the current network.
            return self._own_scope in (None, AddressScope.CLOSED) or scope <= max(
                self._own_scope, AddressScope.PRIVATE
            )
        own = AddressScope.PUBLIC if self._own_scope in (None, AddressScope.CLOSED) else self._own_scope
        return scope is not AddressScope.CLOSED and scope <= own

    def _is_exception(self, text: str) -> bool:
        address = ip_address(text.partition("%")[0])
        return _is_in(address, self._exceptions) or _is_in(_unwrap(address), self._exceptions)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ConfigurationError(
            f"upstream-allow-address: {text!r} is neither an address nor a network."
        ) from None


@implementer(IStreamClientEndpoint)
class GuardedEndpoint:
    """
    Connects to an origin, at addresses that the egress policy allows.

    Args:
        reactor: Resolves and connects.
        egress_policy: See `EgressPolicy`.
        origin: The destination.
        timeout: Seconds for resolving and connecting together.
        shunned: Failed addresses, tried last.
    """

    def __init__(
        self,
        reactor: Any,
        egress_policy: EgressPolicy,
        origin: Origin,
        timeout: float,
        shunned: ShunnedAddresses | None = None,
    ) -> None:
        self._reactor = reactor
        self._egress_policy = egress_policy
        self._origin = origin
        self._timeout = timeout
        self._shunned = shunned

    def connect(self, protocol_factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Connect.

        Returns:
            Fails with AddressRefused, or the errors of connections and resolvers.
        """
        connecting = Deferred.fromCoroutine(self._connect(protocol_factory))
        return connecting.addTimeout(self._timeout, self._reactor, _too_slow)

    async def _connect(self, protocol_factory: IProtocolFactory) -> IProtocol:
        own = self._egress_policy.own_origin
        if not self._egress_policy.has_own_addresses and own.host != self._origin.host:
            await self._resolve(own.host, own.port)
        addresses = await self._resolve(self._origin.host, self._origin.port)
        allowed = [address for address in addresses if self._egress_policy.allows(self._origin, address.host)]
        if addresses and not allowed:
            raise AddressRefused
        if not allowed:
            raise DNSLookupError
        if self._shunned is not None:
            allowed = self._shunned.move_last(allowed)
        resolved = _Resolved(self._reactor, allowed)
        # By address: the endpoint refuses names that are invalid in IDNA, such as `my_host`.
        endpoint = HostnameEndpoint(resolved, allowed[0].host, self._origin.port, self._timeout)
        protocol: IProtocol = await endpoint.connect(protocol_factory)
        return protocol

    async def _resolve(self, host: str, port: int) -> list[Any]:
        """Resolve a name; an empty list if it has no addresses."""
        receiver = _Receiver()
        self._reactor.nameResolver.resolveHostName(receiver, host, port)
        addresses = await receiver.done
        if host == self._egress_policy.own_origin.host:
            self._egress_policy.set_own_addresses(address.host for address in addresses)
        return addresses


def _too_slow(_result: object, _seconds: float) -> NoReturn:
    raise ConnectingTimeoutError


@implementer(IResolutionReceiver)
class _Receiver:
    """Collects the addresses of a name."""

    def __init__(self) -> None:
        self.done: Deferred[list[Any]] = Deferred()
        self._addresses: list[Any] = []

    def resolutionBegan(self, resolution: object) -> None:
        """Do nothing: a slow resolution is not cancelled."""

    def addressResolved(self, address: object) -> None:
        """Collect an address."""
        self._addresses.append(address)

    def resolutionComplete(self) -> None:
        """Fire with the addresses, unless cancelled."""
        if not self.done.called:
            self.done.callback(self._addresses)


@implementer(IReactorPluggableNameResolver, IHostResolution)
class _Resolved:
    """A reactor whose resolver returns addresses that were resolved and checked before."""

    name = "resolved"

    def __init__(self, reactor: Any, addresses: Sequence[Any]) -> None:
        self._reactor = reactor
        self._addresses = addresses
        self.nameResolver = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def installNameResolver(self, resolver: Any) -> Any:
        """Not supported."""
        raise NotImplementedError

    def resolveHostName(self, receiver: Any, _host: str, _port: int = 0, *_: object, **__: object) -> Any:
        """Return the resolved addresses synchronously."""
        receiver.resolutionBegan(self)
        for address in self._addresses:
            receiver.addressResolved(address)
        receiver.resolutionComplete()
        return self

    def cancel(self) -> None:
        """Do nothing: the resolution is complete."""
