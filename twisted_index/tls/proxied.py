"""
TLS behind a balancer that speaks the PROXY protocol, in its versions 1 and 2.

The header comes before the first byte of TLS, in the clear, and names the client
(https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2). OpenSSL reads the socket
itself, so exactly the header must be taken from it. Twisted's wrapper expects the header inside of
TLS, where no balancer puts it.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from twisted.internet import address

from twisted_index.tls.transport import TLSServer

#: Bytes of the longest header of version 1 (section 2.1).
_LONGEST_LINE = 107
#: How a header of version 2 begins, and the bytes of its part that is always there (section 2.2).
_SIGNATURE, _FIXED = b"\r\n\r\n\0\r\nQUIT\n", 16
#: Bytes of one address by family and protocol; other pairs name no TCP connection.
_ADDRESS_SIZES = {0x11: 4, 0x21: 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyHeader:
    """
    A header.

    Attributes:
        size: Its length in bytes.
        client: Address and port of the client; None if the balancer speaks for itself, as health checks do.
    """

    size: int
    client: tuple[IPv4Address | IPv6Address, int] | None = None


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """
    Parse the header with which a connection begins.

    Args:
        data: All that has been received, at least one byte.

    Returns:
        None while the header is not complete.

    Raises:
        ValueError: It is no header.
    """
    return _parse_binary(data) if data[:1] == _SIGNATURE[:1] else _parse_line(data)


def _parse_line(data: bytes) -> ProxyHeader | None:
    line, end, _ = data[:_LONGEST_LINE].partition(b"\r\n")
    if not end and len(line) < _LONGEST_LINE and (line + b"PROXY "[len(line) :]).startswith(b"PROXY "):
        return None
    match line.decode("ascii").split(" ") if end else []:
        case ["PROXY", "UNKNOWN", *_]:
            return ProxyHeader(size=len(line + end))
        case ["PROXY", "TCP4" | "TCP6", source, _, port, _]:
            return ProxyHeader(size=len(line + end), client=(ip_address(source), int(port)))
    raise ValueError("no header of the PROXY protocol")


def _parse_binary(data: bytes) -> ProxyHeader | None:
    if data[: len(_SIGNATURE)] != _SIGNATURE[: len(data)] or data[12:13] not in (b"", b"\x20", b"\x21"):
        raise ValueError("no header of the PROXY protocol")
    size = _FIXED + int.from_bytes(data[14:_FIXED], "big")
    if len(data) < size:
        return None
    length = _ADDRESS_SIZES.get(data[13])
    if data[12] == 0x20 or length is None:
        return ProxyHeader(size=size)
    if size < _FIXED + 2 * length + 4:
        raise ValueError("a header of the PROXY protocol without its addresses")
    port = data[_FIXED + 2 * length :][:2]
    return ProxyHeader(size=size, client=(ip_address(data[_FIXED:][:length]), int.from_bytes(port, "big")))


class ProxiedTLSServer(TLSServer):
    """A TLS connection that a balancer forwards; arguments as for `TLSServer`."""

    _received = b""
    _header: ProxyHeader | None = None

    def _shake_hands(self) -> None:
        while self._header is None:
            self._receive_header()
        super()._shake_hands()

    def _receive_header(self) -> None:
        """
        Take from the socket what belongs to the header, and leave the rest to OpenSSL.

        Raises:
            OSError: The socket has no more bytes now (`BlockingIOError`), or never.
            ValueError: It is no header.
        """
        seen = self.socket.recv(1 << 10, socket.MSG_PEEK)
        if not seen:
            raise ConnectionError("the balancer closed the connection")
        self._header = parse_proxy_header(self._received + seen)
        size = len(seen) if self._header is None else self._header.size - len(self._received)
        self._received += self.socket.recv(size)

    def getPeer(self) -> Any:
        """Return the address of the client; that of the balancer where it names none."""
        if self._header is None or self._header.client is None:
            return super().getPeer()  # type: ignore[no-untyped-call]
        client, port = self._header.client
        kind = address.IPv4Address if client.version == 4 else address.IPv6Address
        return kind("TCP", str(client), port)
