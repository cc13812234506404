"""
The addresses by which other machines may reach this one.

Read from the kernel, without sending a packet.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def lan_addresses() -> list[str]:
    """
    List the addresses by which other machines may reach this one.

    Loopback and link-local addresses are left out: other machines cannot use them, or only with a zone.

    Returns:
        Numeric addresses, IPv4 before IPv6; empty if the system does not report them.
    """
    return list(dict.fromkeys(address for address in _own_addresses() if _is_reachable(address)))


def _is_reachable(address: str) -> bool:
    """Whether other machines may be able to use an address."""
    parsed = ipaddress.ip_address(address)
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast)


if sys.platform == "linux":
    import fcntl

    #: linux/sockios.h: the IPv4 address of an interface.
    _SIOCGIFADDR = 0x8915

    #: linux/if_addr.h: temporary (privacy extensions), duplicate, deprecated, tentative.
    _IFA_TRANSIENT = 0x01 | 0x08 | 0x20 | 0x40

    def _own_addresses() -> Iterator[str]:
        """Read the addresses of all interfaces from the kernel."""
        yield from _ipv4_addresses()
        yield from _ipv6_addresses()

    def _ipv4_addresses() -> Iterator[str]:
        """Yield the first IPv4 address of each interface."""
        try:
            names = [name for _, name in socket.if_nameindex()]
            probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        except OSError:
            return
        with probe:
            for name in names:
                try:
                    # struct ifreq: 16 bytes of name, then a sockaddr_in whose address is at 4.
                    ifreq = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                except OSError:  # an interface without an IPv4 address
                    continue
                yield socket.inet_ntoa(ifreq[20:24])

    def _ipv6_addresses() -> list[str]:
        """Read the permanent IPv6 addresses: lines of `address index prefix scope flags name`."""
        try:
            with open("/proc/net/if_inet6", encoding="ascii") as table:
                rows = [line.split() for line in table]
            return [
                str(ipaddress.IPv6Address(bytes.fromhex(row[0])))
                for row in rows
                if not int(row[4], 16) & _IFA_TRANSIENT
            ]
        except (OSError, ValueError, IndexError):
            return []

else:

    def _own_addresses() -> Iterator[str]:
        """
        Yield the source addresses of packets to other machines.

        For systems whose interfaces Python cannot list. Connecting a datagram socket selects a source
        address and sends nothing, while resolving this machine's host name could block on a DNS server.
        The targets are reserved for documentation (RFC 5737, RFC 3849).
        """
        targets = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
        for family, target in targets:
            try:
                with socket.socket(family, socket.SOCK_DGRAM) as probe:
                    probe.connect((target, 9))
                    yield probe.getsockname()[0].partition("%")[0]
            except OSError:
                continue
