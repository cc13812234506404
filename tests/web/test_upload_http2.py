"""Uploads over HTTP/2, stream by stream, without a port."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.uploads import ALICE, BOB, CONTENT_TYPE, NAME, MemoryStore, UploadSite, upload_form
from twisted_index.config.settings import Limits

h2_connection = pytest.importorskip("h2.connection")
h2_events = pytest.importorskip("h2.events")
h2_config = pytest.importorskip("h2.config")


class Client:
    """The other end of an HTTP/2 connection."""

    def __init__(self, site: UploadSite) -> None:
        self.connection = site.connect()
        self.transport: Any = self.connection._transport
        self.transport.negotiatedProtocol = b"h2"
        self.http = h2_connection.H2Connection(config=h2_config.H2Configuration(client_side=True))
        self.http.initiate_connection()
        self.seen = 0
        self.events: list[Any] = []
        self.flush()

    def flush(self) -> None:
        while data := self.http.data_to_send():
            self.connection.send(data)
            self.read()
        self.read()

    def read(self) -> None:
        new = self.transport.received[self.seen :]
        self.seen += len(new)
        if new:
            self.events += self.http.receive_data(new)

    def begin(self, stream: int, length: int, user: str = ALICE) -> None:
        fields = [
            (":method", "POST"),
            (":path", "/legacy/"),
            (":scheme", "https"),
            (":authority", "index.test"),
        ]
        fields += [("content-type", CONTENT_TYPE), ("content-length", str(length)), ("authorization", user)]
        self.http.send_headers(stream, fields)
        self.flush()

    def send(self, stream: int, body: bytes, end: bool = True) -> int:
        """Send as much as the windows allow, and say how much that was."""
        sent = 0
        while sent < len(body):
            room = min(self.http.local_flow_control_window(stream), 16384, len(body) - sent)
            if not room:
                break
            self.http.send_data(stream, body[sent : sent + room], end_stream=end and sent + room == len(body))
            sent += room
            self.flush()
        return sent

    def status(self, stream: int) -> bytes | None:
        for event in self.events:
            if isinstance(event, h2_events.ResponseReceived) and event.stream_id == stream:
                return dict(event.headers)[b":status"]
        return None

    def was_reset(self, stream: int) -> bool:
        return any(
            isinstance(event, h2_events.StreamReset) and event.stream_id == stream for event in self.events
        )


def test_an_upload_comes_over_a_stream():
    site = UploadSite()
    client = Client(site)
    body = upload_form(bytes(500_000))
    client.begin(1, len(body))
    assert client.send(1, body) == len(body)
    client.flush()
    assert client.status(1) == b"200"
    assert site.store.files == {NAME: bytes(500_000)}


def test_a_window_is_not_opened_while_the_spool_writes():
    store = MemoryStore(slow=True)
    site = UploadSite(store)
    client = Client(site)
    body = upload_form(bytes(3_000_000))
    client.begin(1, len(body))
    sent = client.send(1, body)
    assert 1_000_000 < sent < 1_200_000
    while sent < len(body):
        store.spools[0].go_on()
        site.settle()
        client.flush()
        sent += client.send(1, body[sent:])
    while store.spools[0].pending is not None:
        store.spools[0].go_on()
        site.settle()
    client.flush()
    assert client.status(1) == b"200"
    assert store.files == {NAME: bytes(3_000_000)}


def test_a_refused_stream_is_read_to_its_end_and_answered():
    site = UploadSite()
    client = Client(site)
    body = upload_form(bytes(3_000_000))
    client.begin(1, len(body), BOB)
    assert client.send(1, body) == len(body)
    client.flush()
    assert client.status(1) == b"403"
    assert site.store.spools == []
    client.begin(3, len(upload_form()))
    client.send(3, upload_form())
    client.flush()
    assert client.status(3) == b"200"


def test_a_refused_stream_that_does_not_end_is_reset_and_the_connection_goes_on():
    site = UploadSite(limits=Limits(idle_timeout=100, upload_stall_timeout=100))
    client = Client(site)
    client.begin(1, 5_000_000, BOB)
    client.send(1, bytes(2_000_000), end=False)
    site.advance(31)
    client.flush()
    assert client.was_reset(1)
    client.begin(3, len(upload_form()))
    client.send(3, upload_form())
    client.flush()
    assert client.status(3) == b"200"
    assert site.store.left == 0


def test_a_stalled_stream_is_reset_and_leaves_nothing():
    site = UploadSite(limits=Limits(idle_timeout=100, upload_stall_timeout=10))
    client = Client(site)
    body = upload_form(bytes(3_000_000))
    client.begin(1, len(body))
    client.send(1, body[:2_000_000], end=False)
    assert site.store.left == 1
    site.advance(11)
    client.flush()
    assert client.was_reset(1)
    assert site.store.left == 0


def test_a_stream_that_its_client_resets_leaves_nothing():
    site = UploadSite()
    client = Client(site)
    body = upload_form(bytes(3_000_000))
    client.begin(1, len(body))
    client.send(1, body[:2_000_000], end=False)
    client.http.reset_stream(1)
    client.flush()
    assert site.store.left == 0
    client.connection.disconnect()
