"""A change on its way through a replica, with time and the connections in the hands of the test."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport

from tests.kit.uploads import fields_of, head, upload_form
from twisted_index.config.settings import Limits
from twisted_index.replication.change_gate import ChangeGate
from twisted_index.replication.state_file import ReplicationState, Role, StateFile
from twisted_index.testing import Connection, MemorySource, SiteInMemory
from twisted_index.web.endpoints import ENDPOINTS
from twisted_index.web.relay import ChangeRelay
from twisted_index.web.requests.client_info import ClientInfoReader
from twisted_index.web.requests.method_advice import CHANGING
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.site import IndexSite
from twisted_index.web.uploads.slots import UploadSlots

STALL = 60.0
ANSWER = b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n%s\r\ndone\n"


class Primary:
    """The end of a connection at the primary."""

    def __init__(self, replica: Replica, protocol: Any) -> None:
        self.transport: Any = StringTransport(peerAddress=IPv4Address("TCP", "127.0.0.1", 9))
        self._replica, self._protocol = replica, protocol
        protocol.makeConnection(self.transport)

    @property
    def received(self) -> bytes:
        return self.transport.value()

    def answer(self, *fields: bytes) -> None:
        self._protocol.dataReceived(ANSWER % b"".join(line + b"\r\n" for line in fields))
        self._replica.settle()


class Replica(SiteInMemory):
    """A replica of a primary in memory."""

    def __init__(self, url: str = "http://127.0.0.1:9/", **options: Any) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.waits: list[tuple[str, int, float, Deferred[bool]]] = []
        state = StateFile(None)
        state.write(ReplicationState(role=Role.REPLICA))
        relay = ChangeRelay(
            url,
            state,
            self.reactor,
            environ={},
            client_info=ClientInfoReader(),
            instance="twisted-index-0123456789abcdef",
            wait_for=self.wait_for,
            stall=STALL,
            **options,
        )
        resource = IndexResource(MemorySource(), gate=ChangeGate(state, str), relay=relay)
        super().__init__(IndexSite(resource, reactor=self.reactor, limits=Limits()), self.reactor)

    def wait_for(self, index: str, serial: int, seconds: float) -> Deferred[bool]:
        waiting: Deferred[bool] = Deferred()
        self.waits.append((index, serial, seconds, waiting))
        return waiting

    def begin(self, length: int, path: str = "/legacy/") -> Connection:
        """Send the header of an upload."""
        connection = self.connect()
        connection.send(head((fields_of() | {"Content-Length": str(length)}).items(), path=path))
        return connection

    def primary(self) -> Primary:
        """Accept the connection that was made last."""
        *_to, factory, _timeout, _bind = self.reactor.tcpClients[-1]
        primary = Primary(self, factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 9)))
        self.settle()
        return primary


@pytest.fixture
def replica() -> Replica:
    return Replica()


def test_the_body_flows_as_it_arrives(replica: Replica):
    connection = replica.begin(30)
    primary = replica.primary()
    connection.send(b"a" * 10)
    assert primary.received.endswith(b"\r\n\r\n" + b"a" * 10)
    connection.send(b"b" * 20)
    assert primary.received.endswith(b"b" * 20)
    assert connection.received == b""
    primary.answer()
    assert connection.received.startswith(b"HTTP/1.1 200 Fine\r\n")
    assert connection.received.endswith(b"\r\n\r\ndone\n")


def test_the_client_is_read_only_as_fast_as_the_primary_reads(replica: Replica):
    connection = replica.begin(1000)
    primary = replica.primary()
    primary.transport.producer.pauseProducing()
    for _ in range(100):
        connection.send(b"x" * 10)
    # The piece that was asked for before came; what the connection has read since waits.
    assert len(primary.received.partition(b"\r\n\r\n")[2]) <= 10
    assert len(connection._transport.incoming) >= 90
    primary.transport.producer.resumeProducing()
    replica.settle()
    assert len(primary.received.partition(b"\r\n\r\n")[2]) == 1000


@given(
    st.lists(st.integers(1, 3000) | st.sampled_from(["pause", "resume"]), min_size=1, max_size=30),
    st.booleans(),
)
def test_all_of_a_body_arrives_in_its_order_however_it_comes_and_is_read(
    steps: list[int | str], chunked: bool
):
    replica = Replica()
    body = bytes(index % 251 for index in range(sum(step for step in steps if isinstance(step, int))))
    framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))
    connection = replica.connect()
    connection.send(head([*fields_of().items(), framing]))
    primary = replica.primary()
    at = 0
    for step in steps:
        if isinstance(step, int):
            piece = body[at : at + step]
            at += step
            connection.send(b"%x\r\n%s\r\n" % (step, piece) if chunked else piece)
        elif primary.transport.producer is not None:
            switch = primary.transport.producer
            switch.pauseProducing() if step == "pause" else switch.resumeProducing()
    connection.send((b"0\r\n\r\n" if chunked else b"") + b"GET /-/health HTTP/1.1\r\nHost: a\r\n\r\n")
    if primary.transport.producer is not None:
        primary.transport.producer.resumeProducing()
        replica.settle()
    received = primary.received.partition(b"\r\n\r\n")[2]
    assert (_unchunked(received) if chunked else received) == body
    primary.answer()
    # What comes after the body is the next request, and not for the primary.
    assert [reply.status for reply in connection.responses("POST", "GET")] == [200, 200]


def _unchunked(data: bytes) -> bytes:
    pieces = []
    while not data.startswith(b"0\r\n"):
        size, _, rest = data.partition(b"\r\n")
        pieces.append(rest[: int(size, 16)])
        data = rest[int(size, 16) + 2 :]
    assert data == b"0\r\n\r\n"
    return b"".join(pieces)


def test_an_upload_that_moves_may_take_any_time(replica: Replica):
    size, step = 500_000, 10_000
    connection = replica.begin(size)
    primary = replica.primary()
    for _ in range(size // step):
        replica.advance(19.0)
        connection.send(b"x" * step)
    replica.advance(STALL - 1)
    primary.answer()
    assert connection.received.startswith(b"HTTP/1.1 200 ")


def test_a_primary_that_reads_no_more_is_given_up(replica: Replica):
    connection = replica.begin(10_000_000)
    primary = replica.primary()
    connection.send(b"x")
    primary.transport.producer.pauseProducing()
    for _ in range(2):
        connection.send(b"x")
    replica.advance(STALL - 1)
    assert connection.received == b""
    replica.advance(1)
    assert connection.received.startswith(b"HTTP/1.1 503 The primary http://127.0.0.1:9/ stalled.\r\n")
    assert primary.transport.disconnecting


def test_a_primary_that_does_not_answer_is_given_up_and_the_change_left_open(replica: Replica):
    body = upload_form()
    connection = replica.begin(len(body))
    replica.primary()
    connection.send(body)
    replica.advance(STALL)
    assert connection.received.startswith(b"HTTP/1.1 503 The primary http://127.0.0.1:9/ stalled. Whether")


def test_a_client_that_stalls_ends_the_request_to_the_primary(replica: Replica):
    connection = replica.begin(10_000)
    primary = replica.primary()
    connection.send(b"x")
    replica.advance(Limits().upload_stall_timeout)
    assert connection.received.startswith(b"HTTP/1.1 408 ")
    replica.advance(30)
    assert primary.transport.disconnecting


def test_a_primary_that_is_not_reached_is_away(replica: Replica):
    connection = replica.begin(10_000_000)
    replica.advance(10)
    assert connection.received.startswith(b"HTTP/1.1 503 The primary http://127.0.0.1:9/ ")


def test_an_answer_waits_until_the_change_is_here(replica: Replica):
    connection = replica.begin(1, path="/+dev/legacy/")
    primary = replica.primary()
    connection.send(b"x")
    primary.answer(b"X-Index-Serial: 17")
    [(index, serial, seconds, waiting)] = replica.waits
    assert (index, serial, seconds) == ("dev", 17, 10.0)
    assert connection.received == b""
    waiting.callback(True)
    replica.settle()
    [reply] = connection.responses("POST")
    assert (reply.status, reply.headers["X-Index-Serial"]) == (200, "17")
    assert "X-Index-Notice" not in reply.headers


def test_a_client_is_told_when_the_change_is_not_here_in_time(replica: Replica):
    connection = replica.begin(1)
    primary = replica.primary()
    connection.send(b"x")
    primary.answer(b"X-Index-Serial: 17")
    replica.waits[0][3].callback(False)
    replica.settle()
    [reply] = connection.responses("POST")
    assert reply.status == 200
    assert reply.headers["X-Index-Notice"] == "The change is made. This replica does not show it yet."


@pytest.mark.parametrize("serial", [b"", b"-1", b"x", b"1" * 17, "\u0661".encode()])
def test_what_is_no_serial_is_not_waited_for(replica: Replica, serial: bytes):
    connection = replica.begin(1)
    primary = replica.primary()
    connection.send(b"x")
    primary.answer(b"X-Index-Serial: " + serial)
    assert connection.received.startswith(b"HTTP/1.1 200 ")


def test_a_client_that_leaves_is_not_waited_for(replica: Replica):
    connection = replica.begin(1)
    primary = replica.primary()
    connection.send(b"x")
    primary.answer(b"X-Index-Serial: 17")
    assert not replica.waits[0][3].called
    connection.disconnect()
    assert replica.waits[0][3].called


def test_only_so_many_changes_are_on_their_way():
    replica = Replica(slots=UploadSlots(1))
    first = replica.begin(10)
    primary = replica.primary()
    second = replica.begin(10_000_000)
    assert b"503 Too many" in second.received.partition(b"\r\n")[0]
    first.send(b"x" * 10)
    primary.answer()
    replica.begin(10)
    assert len(replica.reactor.tcpClients) == 2


def test_a_large_body_that_is_no_form_is_refused_here(replica: Replica):
    reply = replica.get("/-/yank", method="POST", body=b"x" * 100_000)
    assert reply.status == 413
    assert replica.reactor.tcpClients == []


def test_no_change_is_made_with_the_password_of_the_replica():
    replica = Replica("http://robot:secret@127.0.0.1:9/")
    connection = replica.connect()
    connection.ask("/-/yank", method="POST", body=b"{}")
    primary = replica.primary()
    assert primary.received.startswith(b"POST /-/yank HTTP/1.1\r\n")
    assert b"uthorization" not in primary.received


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND"])
def test_only_changes_are_sent_on(replica: Replica, method: str):
    replica.get("/simple/", method=method)
    assert replica.reactor.tcpClients == []


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "post"])
def test_a_method_that_no_index_has_is_refused_here_for_good(replica: Replica, method: str):
    """A client would repeat a request that a server only cannot serve now."""
    assert replica.get("/simple/", method=method).status in (405, 501)


def test_all_methods_by_which_endpoints_change_something_are_those_of_changes():
    methods = {method for rule in ENDPOINTS.values() for method in rule.methods}
    assert methods - {b"GET", b"HEAD", b"OPTIONS"} <= set(CHANGING)


def test_the_part_of_a_server_in_a_replication_is_its_own(replica: Replica):
    replica.get("/-/replication", method="POST", body=b"{}")
    assert replica.reactor.tcpClients == []
