"""
Refuses, at startup, an upstream URL that is this server itself.

Loops through other names or servers are detected by the Via field and end with 508.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address

from twisted_index.errors import ConfigurationError
from twisted_index.http_client.credentials import split_userinfo
from twisted_index.http_client.urls import Origin, origin_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.interfaces import IAddress


def refuse_self_upstream(
    urls: Iterable[str],
    listening: Iterable[IAddress],
    *,
    host_name: str,
    own_addresses: Iterable[str],
    public_url: str | None = None,
) -> None:
    """
    Refuse an upstream that is this server.

    Args:
        urls: URLs of the upstreams.
        listening: Addresses on which this server listens.
        host_name: Host name of this machine.
        own_addresses: Numeric addresses of this machine.
        public_url: Public URL of this server; None if unknown.

    Raises:
        ConfigurationError: An upstream is this server.
    """
    listeners = [address for address in listening if isinstance(address, (IPv4Address, IPv6Address))]
    addresses = {str(_plain(address)) for address in own_addresses}
    names = {host_name.lower(), f"{host_name.lower()}.local"}
    for url in urls:
        plain, _account = split_userinfo(url)
        origin = origin_of(plain)
        is_public = public_url is not None and plain.startswith(public_url.rstrip("/") + "/")
        if is_public or any(_leads_to(origin, listener, names, addresses) for listener in listeners):
            raise ConfigurationError(f"The upstream {plain} is this server itself; name another.")


def _leads_to(origin: Origin, listener: Any, names: set[str], addresses: set[str]) -> bool:
    if origin.port != listener.port:
        return False
    own = _plain(listener.host)
    host = origin.host.rstrip(".").lower()
    if host == "localhost":
        return own.is_loopback or own.is_unspecified
    if host in names:
        return own.is_unspecified or str(own) in addresses
    try:
        target = _plain(host)
    except ValueError:
        return False
    return target == own or (own.is_unspecified and (target.is_loopback or str(target) in addresses))


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return getattr(parsed, "ipv4_mapped", None) or parsed
