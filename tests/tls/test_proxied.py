"""Headers of the PROXY protocol that come before TLS."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from itertools import pairwise

import pytest

from twisted_index.tls.proxied import ProxyHeader, parse_proxy_header

LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
CLIENT = ip_address("2001:db8::7")


def binary(command: int, family: int, rest: bytes) -> bytes:
    """Build a header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


ADDRESSES = CLIENT.packed * 2 + struct.pack("!HH", 4711, 443)
HEADERS = {
    LINE: (ip_address("192.0.2.7"), 4711),
    b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n": (CLIENT, 4711),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff:: ffff:: 1 2\r\n": None,
    binary(0x21, 0x11, bytes([192, 0, 2, 7, 198, 51, 100, 1, 18, 103, 1, 187])): (
        ip_address("192.0.2.7"),
        4711,
    ),
    binary(0x21, 0x21, ADDRESSES): (CLIENT, 4711),
    binary(0x21, 0x21, ADDRESSES + b"\x04\x00\x02ab"): (CLIENT, 4711),
    binary(0x20, 0x00, b""): None,
    binary(0x21, 0x00, b""): None,
    binary(0x21, 0x31, b"/" * 216): None,
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_names_the_client_and_ends_before_tls(header: bytes):
    """What follows belongs to OpenSSL, so the length is as important as the address."""
    for follows in (b"", b"\x16\x03\x01\r\n"):
        assert parse_proxy_header(header + follows) == ProxyHeader(size=len(header), client=HEADERS[header])


@pytest.mark.parametrize("header", HEADERS)
def test_a_part_of_a_header_is_waited_for(header: bytes):
    """A header may come in pieces, whatever its version."""
    assert not any(parse_proxy_header(header[:end]) for _, end in pairwise(range(len(header))))


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY \xff\r\n",
        b"PROXY TCP4 192.0.2.7\r\n",
        b"PROXY TCP4 nonsense 198.51.100.1 4711 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 port 443\r\n",
        b"PROXY " + b"x" * 200 + b"\r\n",
        b"\r\n\r\nGET",
        SIGNATURE + b"\x11\x11\x00\x00",
        binary(0x21, 0x11, b"short"),
    ],
)
def test_anything_else_is_an_error(data: bytes):
    """A client that reaches the port without the balancer gets no further."""
    with pytest.raises(ValueError, match=r"PROXY|address|invalid|codec"):
        parse_proxy_header(data)
