"""The end of a header of the PROXY protocol, however it is cut."""

from __future__ import annotations

import pytest

from twisted_index.tls.proxy_header import end_of_header

VERSION_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([192, 0, 2, 7, 127, 0, 0, 1, 18, 103, 1, 187])
HEADERS = [
    b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n",
    b"PROXY UNKNOWN\r\n",
    b"PROXY TCP6 " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n",
    VERSION_2,
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_ends_before_the_handshake(header: bytes):
    """A byte more would be missing in the handshake."""
    assert end_of_header(header + b"\x16\x03\x01\r\n") == len(header)


@pytest.mark.parametrize("header", HEADERS)
def test_a_piece_of_a_header_has_no_end(header: bytes):
    """TCP may deliver it in pieces of any size."""
    assert {end_of_header(header[:size]) for size in range(len(header))} == {None}


@pytest.mark.parametrize(
    "received", [b"\x16\x03\x01", b"G", b"PROXIES ", b"\r\n\r\r", b"PROXY " + b"x" * 101]
)
def test_anything_else_is_refused(received: bytes):
    """It would not become a header by waiting for more."""
    with pytest.raises(ValueError, match="PROXY"):
        end_of_header(received)
