"""Connections to a server: what failed is left alone, and none waits for the other side to end."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import AccumulatingProtocol, StringTransport
from twisted.python.failure import Failure
from twisted.web._newclient import Request
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH

from twisted_index.http_client.connection import BoundedPool, BoundedProtocol, ShunnedAddresses

KEY = ("http", "a.example", 80)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"


class Transport(StringTransport):
    """A connection that the other side does not agree to end."""

    def __init__(self, host: str = "192.0.2.1") -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 80))
        self.asked_to_end = self.aborted = False

    def loseConnection(self) -> None:
        self.asked_to_end = True

    def abortConnection(self) -> None:
        self.aborted = True


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.shunned = ShunnedAddresses(self.clock)
        self.pool = BoundedPool(self.clock, True, self.shunned)

    def connect(self, host: str = "192.0.2.1") -> BoundedProtocol:
        factory = self.pool._factory(lambda made: self.pool._putConnection(KEY, made), "")
        protocol: Any = factory.buildProtocol(None)
        protocol.makeConnection(Transport(host))
        return protocol

    def ask(self, protocol: BoundedProtocol, said: bytes | None = OK + b"\r\n") -> Any:
        headers = Headers({b"Host": [b"a.example"]})
        asking = protocol.request(Request(b"GET", b"/", headers, None, persistent=True))
        if said is not None:
            protocol.dataReceived(said)
        return asking

    def kept(self) -> list[Any]:
        return list(self.pool._connections.get(KEY, ()))


def transport(protocol: BoundedProtocol) -> Any:
    return protocol.transport


def ends(bench: Bench, protocol: BoundedProtocol) -> bool:
    """Tell whether a connection is ended, first in good order and soon in any case."""
    in_order = transport(protocol).asked_to_end and not transport(protocol).aborted
    bench.clock.advance(2)
    return in_order and transport(protocol).aborted


def test_a_connection_that_the_server_ends_does_not_wait_for_the_server():
    bench = Bench()
    protocol = bench.connect()
    bench.ask(protocol, OK + b"Connection: close\r\n\r\n")

    assert ends(bench, protocol)


def test_a_connection_that_was_kept_long_enough_does_not_wait_for_the_server():
    bench = Bench()
    protocol = bench.connect()
    bench.ask(protocol)
    bench.clock.advance(bench.pool.cachedConnectionTimeout)

    assert bench.kept() == []
    assert ends(bench, protocol)


def test_a_connection_that_has_to_make_room_does_not_wait_for_the_server():
    bench = Bench()
    bench.pool.maxPersistentPerHost = 1
    first, second = bench.connect(), bench.connect()
    bench.ask(first)
    bench.ask(second)

    assert bench.kept() == [second]
    assert ends(bench, first)


def test_closing_all_ends_though_the_other_side_is_silent():
    bench = Bench()
    protocol = bench.connect()
    bench.ask(protocol)
    closing = bench.pool.closeCachedConnections()
    bench.clock.advance(2)
    assert transport(protocol).aborted

    protocol.connectionLost(Failure(ConnectionDone()))
    assert closing.called


def test_an_end_in_good_order_leaves_no_timer():
    bench = Bench()
    protocol = bench.connect()
    bench.ask(protocol, OK + b"Connection: close\r\n\r\n")
    protocol.connectionLost(Failure(ConnectionDone()))

    assert bench.clock.getDelayedCalls() == []


@pytest.mark.parametrize("how", ["busy", "broken off", "silent"])
def test_connections_to_an_address_that_failed_are_not_used_again(how: str):
    bench = Bench()
    idle, failing, other = bench.connect(), bench.connect(), bench.connect("192.0.2.2")
    for protocol in (idle, other):
        bench.ask(protocol)
    asking = bench.ask(failing, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" if how == "busy" else None)
    if how == "broken off":
        failing.connectionLost(Failure(ConnectionDone()))
    elif how == "silent":
        asking.cancel()
    asking.addErrback(lambda _failure: None)
    bench.pool.retryAutomatically = False
    got: list[Any] = []
    bench.pool.getConnection(KEY, None).addBoth(got.append)

    assert got == [other]
    assert ends(bench, idle)
    bench.clock.advance(1)
    later = bench.connect()
    bench.ask(later)
    bench.pool.getConnection(KEY, None).addBoth(got.append)
    assert got[1:] == [later]


def test_an_address_that_failed_comes_after_the_others_for_a_while():
    bench = Bench()
    addresses = [IPv4Address("TCP", host, 80) for host in ("192.0.2.1", "192.0.2.2", "192.0.2.3")]
    bench.shunned.add("192.0.2.1")
    assert bench.shunned.move_last(addresses) == [*addresses[1:], addresses[0]]

    bench.clock.advance(61)
    assert bench.shunned.move_last(addresses) == addresses


def test_few_addresses_are_remembered():
    bench = Bench()
    for number in range(1000):
        bench.shunned.add(f"192.0.2.{number}")

    assert len(bench.shunned._failed) <= 64


# -- A response before the end of the request


class Endless:
    """The body of a request that has no end."""

    length = UNKNOWN_LENGTH
    stopped = False

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(b"begun")
        return Deferred()

    def stopProducing(self) -> None:
        self.stopped = True

    def pauseProducing(self) -> None:
        pass

    resumeProducing = pauseProducing


def test_a_response_that_comes_before_the_end_of_the_request_ends_that():
    bench, body = Bench(), Endless()
    protocol = bench.connect()
    headers = Headers({b"Host": [b"a.example"]})
    asking = protocol.request(Request(b"POST", b"/", headers, body, persistent=True))
    heads: list[Any] = []
    asking.addCallback(heads.append)
    # In two pieces: Twisted reads no more of a response before someone takes its body.
    protocol.dataReceived(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert not body.stopped
    protocol.dataReceived(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\n")
    assert [response.code for response in heads] == [413]
    assert body.stopped
    reader = AccumulatingProtocol()
    heads[0].deliverBody(reader)
    protocol.dataReceived(b"no")
    assert reader.data == b"no"
    assert transport(protocol).asked_to_end
    assert bench.kept() == []
