"""Each private name of Twisted that we use exists, and means what `twisted_index._twisted` says."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import Logger
from twisted.web.http import HTTPChannel, HTTPFactory, Request
from twisted.web.http_headers import Headers
from twisted.web.server import Site

from twisted_index._twisted.client import (
    TwistedClientFactory,
    TwistedClientProtocol,
    TwistedConnectionPool,
    producer_behind,
)
from twisted_index._twisted.server import (
    HTTPProtocolSwitch,
    TwistedHTTPChannel,
    has_pending_bytes,
    internal_readers,
    pending_bytes,
    poller,
    raise_default_backlog,
    waits_for_transport,
)

HEAD = b"POST /path?query HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n"


class Handled(Request):
    """A request that is received and not answered."""

    def process(self) -> None:
        pass


class TestChannels:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def channel(self, clock: Clock) -> TwistedHTTPChannel:
        channel = TwistedHTTPChannel()
        channel.factory = HTTPFactory(reactor=clock)
        channel.requestFactory = lambda channel, queued=False: Handled(channel, queued)
        channel.callLater = clock.callLater
        channel.timeOut = 60
        channel.makeConnection(StringTransport())
        return channel

    def test_a_request_is_awaited_until_its_first_byte_and_after_its_response(self, channel: Any):
        assert channel.awaits_request
        channel.dataReceived(HEAD[:3])
        assert not channel.awaits_request
        channel.dataReceived(HEAD[3:] + b"\r\nbody")
        assert not channel.awaits_request
        channel.requests[0].finish()
        assert channel.awaits_request

    def test_none_is_awaited_on_a_channel_that_waits_for_its_transport(self, channel: Any):
        channel.pauseProducing()
        assert not channel.awaits_request

    def test_none_is_awaited_after_an_empty_line(self, channel: Any):
        """One is allowed before a request, and counted."""
        channel.dataReceived(b"\r\n")
        assert not channel.awaits_request

    def test_a_request_is_handled_from_its_last_byte_to_the_end_of_its_response(self, channel: Any):
        channel.dataReceived(HEAD + b"\r\nbod")
        assert not channel.handles_request
        channel.dataReceived(b"y")
        assert channel.handles_request
        channel.requests[0].finish()
        assert not channel.handles_request

    def test_a_part_of_a_line_is_unparsed(self, channel: Any):
        channel.dataReceived(HEAD)
        assert not channel.has_unparsed_bytes
        channel.dataReceived(b"Acc")
        assert channel.has_unparsed_bytes

    def test_a_body_is_read_until_its_end(self, channel: Any):
        channel.dataReceived(HEAD)
        assert not channel.reads_body
        channel.dataReceived(b"\r\nbod")
        assert channel.reads_body
        channel.dataReceived(b"y")
        assert not channel.reads_body

    def test_header_lines_are_counted(self, channel: Any):
        channel.dataReceived(HEAD)
        assert channel.header_size == len(HEAD.replace(b"\r\n", b""))

    def test_the_request_line_is_kept_in_parts(self, channel: Any):
        channel.dataReceived(HEAD + b"\r\n")
        assert channel.request_line == (b"POST", b"/path?query", b"HTTP/1.1")

    def test_the_network_producer_is_the_transport(self, channel: Any):
        assert channel.network_producer is channel.transport

    def test_the_idle_timer_is_that_of_set_timeout(self, channel: Any):
        channel.setTimeout(5)
        assert channel.idle_timer.getTime() == 5
        channel.setTimeout(None)
        assert channel.idle_timer is None

    def test_continue_is_sent(self, channel: Any):
        channel.send_continue()
        assert channel.transport.value() == b"HTTP/1.1 100 Continue\r\n\r\n"

    def test_a_paused_channel_waits_for_its_transport(self, channel: Any):
        assert not waits_for_transport(channel)
        channel.pauseProducing()
        assert waits_for_transport(channel)
        channel.resumeProducing()
        assert not waits_for_transport(channel)
        assert not waits_for_transport(object())

    def test_the_switch_of_a_site_is_ours_and_holds_the_channel(self):
        channel = HTTPChannel()
        assert HTTPProtocolSwitch(channel).channel is channel
        made = Site(Any, reactor=Clock()).buildProtocol(None)
        assert isinstance(made, HTTPProtocolSwitch.__mro__[1])


class Full(FileDescriptor):
    """A transport whose socket takes as many bytes as the test lets it."""

    taking = 0
    connected = 1

    def writeSomeData(self, data: bytes) -> int:
        taken, self.taking = min(self.taking, len(data)), 0
        return taken


class Wakes:
    """The part of a reactor that a transport needs."""

    def addWriter(self, _writer: object) -> None:
        pass

    removeWriter = addWriter


def test_bytes_are_pending_until_the_socket_has_taken_them():
    transport = Full(reactor=Wakes())  # type: ignore[arg-type]
    assert not has_pending_bytes(transport)
    transport.write(b"12345")
    assert has_pending_bytes(transport)
    assert pending_bytes(transport) == 5
    transport.taking = 2
    transport.doWrite()
    transport.write(b"678")
    assert pending_bytes(transport) == 6
    transport.taking = 9
    transport.doWrite()
    transport.taking = 9
    transport.doWrite()
    assert not has_pending_bytes(transport)
    assert pending_bytes(transport) == 0
    assert pending_bytes(object()) == 0


@pytest.mark.parametrize(
    ("description", "backlog"), [("tcp:80", 999), ("tcp:80:backlog=7", 7), ("tcp6:80:interface=\\:\\:1", 999)]
)
def test_a_backlog_is_raised_unless_it_was_chosen(description: str, backlog: int):
    reactor = MemoryReactorClock()
    endpoint = serverFromString(reactor, description)
    raise_default_backlog(endpoint, 999)
    endpoint.listen(HTTPFactory(reactor=reactor))
    assert reactor.tcpServers[0][2] == backlog


def test_a_reactor_has_readers_by_which_it_wakes_itself():
    reactor = SelectReactor()
    readers = list(internal_readers(reactor))
    assert readers
    assert set(readers) <= set(reactor.getReaders())
    assert poller(reactor) is None
    for reader in readers:
        reactor.removeReader(reader)
        reader.connectionLost(None)


@pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux'")
def test_an_epoll_reactor_has_what_it_polls_by():
    from twisted.internet.epollreactor import EPollReactor

    reactor = EPollReactor()
    for reader in list(internal_readers(reactor)):
        reactor.removeReader(reader)
        reader.connectionLost(None)
    assert not poller(reactor).closed
    poller(reactor).close()


class Asked:
    """A request for a connection of the client."""

    method = b"GET"
    persistent = True
    headers = Headers()

    def writeTo(self, transport: Any) -> Deferred[None]:
        transport.write(b"GET / HTTP/1.1\r\n\r\n")
        return succeed(None)

    stopWriting = writeTo


class TestClient:
    @pytest.fixture
    def protocol(self) -> TwistedClientProtocol:
        protocol = TwistedClientProtocol(lambda _protocol: None)
        protocol.makeConnection(StringTransport())
        return protocol

    def test_a_head_is_read_from_the_request_to_the_empty_line(self, protocol: Any):
        assert not protocol.reads_head
        assert protocol.parser is None
        protocol.request(Asked())
        assert protocol.reads_head
        protocol.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n")
        assert protocol.reads_head
        protocol.dataReceived(b"\r\nbo")
        assert not protocol.reads_head
        assert protocol.parser.response.code == 200

    def test_the_parser_can_log_elsewhere(self, protocol: Any):
        seen: list[Any] = []
        protocol.request(Asked())
        protocol.log_parser_to(Logger(observer=seen.append))
        protocol.dataReceived(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        assert seen

    def test_a_connection_that_is_gone_is_lost(self, protocol: Any):
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        assert not protocol.is_lost
        protocol.connectionLost(Failure(ConnectionDone()))
        assert protocol.is_lost

    def test_a_body_s_transport_stands_for_the_real_one(self, protocol: Any):
        protocol.request(Asked())
        protocol.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        assert producer_behind(protocol.parser.transport) is protocol.transport
        assert producer_behind(object()) is None

    def test_a_pool_makes_connections_by_the_factory_that_it_is_given(self):
        made: list[Any] = []

        class Endpoint:
            def connect(self, factory: Any) -> Deferred[Any]:
                made.append(factory)
                return Deferred()

        class Factory(TwistedClientFactory):
            pass

        pool = TwistedConnectionPool(MemoryReactorClock())
        pool.set_factory(Factory)
        pool.getConnection("key", Endpoint())
        assert [type(factory) for factory in made] == [Factory]

    def test_an_idle_connection_can_be_dropped(self):
        reactor = MemoryReactorClock()
        pool = TwistedConnectionPool(reactor)
        assert pool.idle_connections("key") == []
        connections = []
        for _ in range(2):
            connection = TwistedClientProtocol(lambda _protocol: None)
            connection.makeConnection(StringTransport())
            pool._putConnection("key", connection)
            connections.append(connection)
        assert pool.idle_connections("key") == connections
        pool.drop_idle("key", connections[0])
        assert pool.idle_connections("key") == connections[1:]
        assert connections[0].transport.disconnecting  # type: ignore[union-attr]
        assert len(reactor.getDelayedCalls()) == 1
