"""
Egress policy: decides by address, at the moment of connecting, where a server may lead.

A name is resolved once, its addresses are checked, and the connection goes to one of these; a name that
resolves differently a moment later (DNS rebinding) gains nothing.
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
    """A name stands for nothing but addresses that this upstream may not lead to."""


class AddressScope(enum.IntEnum):
    """From where an address can be reached: more is closer. CLOSED is never allowed."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2
    CLOSED = 3


# Metadata services of clouds give credentials to any process that asks.
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
# RFC 1918, RFC 6598 (behind the NAT of a provider), RFC 4193; and those for documentation and for
# measurements (RFC 5737, 2544, 3849, 9637), which lead nowhere in public and stand for public names
# behind some gateways.
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
# Not for connections, whatever `is_global` of the oldest supported Python says of them: old forms of
# an IPv4 address in an IPv6 one, addresses for protocols.
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
    """Tell from where an address can be reached; of one that stands for an IPv4 address, by that."""
    address = _meant(ip_address(text.partition("%")[0]))
    if address.is_loopback:
        return AddressScope.LOOPBACK
    if _is_in(address, _CLOSED):
        return AddressScope.CLOSED
    if _is_in(address, _PRIVATE):
        return AddressScope.PRIVATE
    if _is_in(address, _NO_DESTINATION) or not address.is_global or address.is_multicast:
        return AddressScope.CLOSED
    return AddressScope.PUBLIC


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Give the IPv4 address that an IPv6 one leads to: mapped, 6to4 (RFC 3056), NAT64 (RFC 6052)."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_in(address: IPv4Address | IPv6Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)


class EgressPolicy:
    """
    Decides which addresses one upstream may lead to.

    Its own origin is always allowed: the operator chose it. Elsewhere a public upstream leads only to
    public addresses, one on a private network to private ones as well, one on this machine to this
    machine as well. What it is itself is settled when its name is first resolved, and stays so: a name
    that stood for another machine then does not come to stand for this one, or for what a cloud tells
    its machines (DNS rebinding).

    Args:
        own_origin: The upstream's origin.
        exceptions: Addresses and networks that are allowed besides.

    Raises:
        ConfigurationError: An exception is none.
    """

    def __init__(self, own_origin: Origin, exceptions: Sequence[str] = ()) -> None:
        self.own_origin = own_origin
        self._exceptions = tuple(_network(text) for text in exceptions)
        self._reach: AddressScope | None = None

    @property
    def has_own_addresses(self) -> bool:
        """Whether it is known what the upstream is itself."""
        return self._reach is not None

    def set_own_addresses(self, addresses: Iterable[str]) -> None:
        """Hear what the upstream's own name stands for; only the first time counts."""
        reaches = [address_scope(address) for address in addresses]
        if reaches and self._reach is None:
            self._reach = AddressScope.PUBLIC if AddressScope.PUBLIC in reaches else min(reaches)

    def allows(self, origin: Origin, address: str) -> bool:
        """Tell whether a connection to an address may be made for the sake of an origin."""
        if self._is_exception(address):
            return True
        reach = address_scope(address)
        if origin == self.own_origin:
            # Between public and private it may move: names do that with the network of the machine.
            return self._reach in (None, AddressScope.CLOSED) or reach <= max(
                self._reach, AddressScope.PRIVATE
            )
        own = AddressScope.PUBLIC if self._reach in (None, AddressScope.CLOSED) else self._reach
        return reach is not AddressScope.CLOSED and reach <= own

    def _is_exception(self, text: str) -> bool:
        address = ip_address(text.partition("%")[0])
        return _is_in(address, self._exceptions) or _is_in(_meant(address), self._exceptions)


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
    Connects to an origin, at addresses that the guard allows.

    Args:
        reactor: Resolves and connects.
        egress_policy: See there.
        origin: Where to.
        timeout: Seconds for resolving and connecting together.
        shunned: Addresses that are tried after the others.
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
            Fails with AddressRefused, or as connections and resolvers fail.
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
        # By an address: the endpoint refuses names that IDNA does not know, such as `my_host`.
        endpoint = HostnameEndpoint(resolved, allowed[0].host, self._origin.port, self._timeout)
        protocol: IProtocol = await endpoint.connect(protocol_factory)
        return protocol

    async def _resolve(self, host: str, port: int) -> list[Any]:
        """Find the addresses of a name; none if there are none."""
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
    """Collects what a name stands for."""

    def __init__(self) -> None:
        self.done: Deferred[list[Any]] = Deferred()
        self._addresses: list[Any] = []

    def resolutionBegan(self, resolution: object) -> None:
        """Need nothing of it: a resolution that takes too long is left to itself."""

    def addressResolved(self, address: object) -> None:
        """Take one."""
        self._addresses.append(address)

    def resolutionComplete(self) -> None:
        """Deliver the addresses, unless the waiter is gone."""
        if not self.done.called:
            self.done.callback(self._addresses)


@implementer(IReactorPluggableNameResolver, IHostResolution)
class _Resolved:
    """A reactor for which one name is already resolved."""

    name = "resolved"

    def __init__(self, reactor: Any, addresses: Sequence[Any]) -> None:
        self._reactor = reactor
        self._addresses = addresses
        self.nameResolver = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def installNameResolver(self, resolver: Any) -> Any:
        """Refuse: the one name is resolved."""
        raise NotImplementedError

    def resolveHostName(self, receiver: Any, _host: str, _port: int = 0, *_: object, **__: object) -> Any:
        """Give the addresses at once."""
        receiver.resolutionBegan(self)
        for address in self._addresses:
            receiver.addressResolved(address)
        receiver.resolutionComplete()
        return self

    def cancel(self) -> None:
        """Do nothing: it is done."""
