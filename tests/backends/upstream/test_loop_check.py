"""An upstream that is the server itself is refused at the start, where its URL shows it."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from twisted_index.backends.upstream.loop_check import refuse_self_upstream
from twisted_index.errors import ConfigurationError

ANY = IPv4Address("TCP", "0.0.0.0", 8080)
ANY_6 = IPv6Address("TCP", "::", 8080)
LOOPBACK = IPv4Address("TCP", "127.0.0.1", 8080)
LAN = IPv4Address("TCP", "192.0.2.7", 8080)
WEB = IPv4Address("TCP", "0.0.0.0", 80)


def check(url, *listening, public_url=None):
    refuse_self_upstream(
        [url],
        listening,
        host_name="Attic",
        own_addresses=["192.0.2.7", "2001:db8::7"],
        public_url=public_url,
    )


@pytest.mark.parametrize(
    ("url", "listener"),
    [
        ("http://127.0.0.1:8080/simple/", LOOPBACK),
        ("http://127.0.0.2:8080/simple/", ANY),
        ("http://localhost:8080/simple/", LOOPBACK),
        ("http://localhost.:8080/simple/", ANY_6),
        ("http://192.0.2.7:8080/", ANY),
        ("http://192.0.2.7:8080/", LAN),
        ("http://[2001:db8::7]:8080/simple/", ANY_6),
        ("http://[::ffff:127.0.0.1]:8080/simple/", LOOPBACK),
        ("http://attic:8080/simple/", ANY),
        ("http://ATTIC.local:8080/simple/", LAN),
        ("http://user:secret@attic/simple/", WEB),
    ],
)
def test_a_listener_of_its_own_is_no_upstream(url, listener):
    with pytest.raises(ConfigurationError, match="is this server itself") as caught:
        check(url, UNIXAddress("/run/index.sock"), listener)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "listener"),
    [
        ("http://127.0.0.1:8081/simple/", ANY),
        ("http://127.0.0.2:8080/simple/", LOOPBACK),
        ("http://192.0.2.8:8080/simple/", ANY),
        ("http://localhost:8080/simple/", LAN),
        ("http://attic:8080/simple/", LOOPBACK),
        ("http://example.org:8080/simple/", ANY),
    ],
)
def test_another_server_is_an_upstream(url, listener):
    check(url, listener)


def test_what_lies_below_the_public_url_is_no_upstream_and_what_lies_beside_it_is():
    with pytest.raises(ConfigurationError, match="is this server itself"):
        check("https://example.org/index/simple/", public_url="https://example.org/index")
    check("https://example.org/indexes/simple/", public_url="https://example.org/index")
