"""The network of a client, as what counts clients needs it."""

from __future__ import annotations

import ipaddress


def client_network(address: str) -> str:
    """
    Return the network of one client: its address, or its /64 in IPv6 (RFC 6177).

    Args:
        address: Textual; returned as it is if it is no address.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.IPv6Network((int(found), 64), strict=False))
