"""No clock is put off by single bytes: what one client sends slowly ends, and others get its place."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.uploads import ALICE, BOB, NAME, MemoryStore, UploadSite, fields_of, head, upload_form
from twisted_index.config.settings import Limits, UploadSettings
from twisted_index.testing import IndexInMemory
from twisted_index.testing.in_memory import Connection, SiteInMemory

SECONDS = Limits().header_timeout


def status_of(connection: Connection) -> bytes:
    return connection.received.split(b" ")[1] if connection.received else b""


def drip(site: SiteInMemory, connection: Connection, data: bytes, every: float, until: float) -> None:
    """Send one byte after the other, until a time or the end of the connection."""
    end = site.clock.seconds() + until
    for byte in data:
        if connection.closed or site.clock.seconds() + every > end:
            break
        site.advance(every)
        connection.send(bytes([byte]))


def begin(site: SiteInMemory, as_user: str | None, **more: str) -> Connection:
    connection = site.connect()
    connection.send(head((fields_of(as_user=as_user) | more).items()))
    return connection


LENGTH = {"Content-Length": "900000"}
CHUNKED = {"Transfer-Encoding": "chunked"}


@pytest.mark.parametrize("framing", [LENGTH, CHUNKED, {"Content-Length": "5000000"}])
@pytest.mark.parametrize(("as_user", "status"), [(None, b"401"), (BOB, b"403")])
@pytest.mark.parametrize("every", [0.5, 15])
def test_a_refused_upload_is_answered_and_closed_however_it_drips(
    framing: dict[str, str], as_user: str | None, status: bytes, every: float
):
    site = UploadSite()
    connection = begin(site, as_user, **framing)
    drip(site, connection, b"5\r\nhello\r\n" * 100, every, SECONDS)
    site.advance(SECONDS / 2)
    assert status_of(connection) == status
    assert connection.closed
    assert site.clock.getDelayedCalls() == []


def test_an_upload_is_closed_in_time_where_uploads_are_turned_off():
    site = UploadSite(upload_settings=UploadSettings(upload=False))
    connection = begin(site, ALICE, **LENGTH)
    drip(site, connection, b"x" * 100, 1, SECONDS + 1)
    assert status_of(connection) == b"403"
    assert connection.closed


def test_an_upload_refused_for_what_is_in_it_has_as_much_time_from_then_on():
    site = UploadSite()
    connection = begin(site, ALICE, **LENGTH)
    site.advance(SECONDS * 2)
    connection.send(upload_form(b"x", filename="demo.exe"))
    site.advance(SECONDS - 1)
    assert connection.received == b""
    site.advance(2)
    assert status_of(connection) == b"400"
    assert connection.closed


@pytest.mark.parametrize("every", [10, 59])
def test_an_accepted_upload_that_only_trickles_ends(every: float):
    """A quarter of an hour, as long as uv waits for all of one; until then only pauses count."""
    site = UploadSite()
    connection = begin(site, ALICE, **LENGTH)
    drip(site, connection, b"x" * 1000, every, 880)
    assert connection.received == b""
    drip(site, connection, b"x" * 1000, every, 130)
    assert status_of(connection) == b"408"
    assert connection.closed
    assert site.store.left == 0


def test_what_came_fast_buys_no_more_than_that():
    site = UploadSite()
    connection = begin(site, ALICE, **{"Content-Length": "50000000"})
    connection.send(upload_form(bytes(20_000_000))[:20_000_000], size=1 << 20)
    drip(site, connection, b"x" * 1000, 30, 1000)
    assert status_of(connection) == b"408"


def test_an_upload_over_a_slow_line_may_take_an_hour():
    """600 bytes a second, which no line is below for long."""
    site = UploadSite()
    body = upload_form(bytes(3600 * 600))
    connection = begin(site, ALICE, **{"Content-Length": str(len(body))})
    for at in range(0, len(body), 24_000):
        site.advance(40)
        connection.send(body[at : at + 24_000])
    assert status_of(connection) == b"200"
    assert site.store.files == {NAME: bytes(3600 * 600)}


def test_time_in_which_the_server_is_slow_costs_nothing():
    site = UploadSite(MemoryStore(slow=True))
    body = upload_form(bytes(3_000_000))
    connection = begin(site, ALICE, **{"Content-Length": str(len(body))})
    connection.send(body[:2_000_000], size=1 << 16)
    for at in range(2_000_000, len(body), 10_000):
        site.advance(60)
        connection.send(body[at : at + 10_000])
    while site.store.spools[0].pending is not None:
        site.store.spools[0].go_on()
        site.settle()
    assert status_of(connection) == b"200"


@pytest.mark.parametrize(
    "request_head",
    [
        b"POST /-/yank HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n",
        b"PUT /simple/demo/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n",
        b"DELETE /simple/demo/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n",
        b"POST /legacy/ HTTP/1.0\r\nContent-Length: 100\r\n\r\n",
        b"",
        b"\r\n",
        b"GET /simple/ HTTP/1.1\r\nHost: a\r\n\r\nGET /simple/ HTTP/1.1\r\n",
        b"GET /simple/ HTTP/1.1\r\nHost: a\r\n\r\n"
        b"POST /-/yank HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n",
    ],
)
def test_every_head_and_every_other_body_has_its_deadline(request_head: bytes):
    index = IndexInMemory()
    connection = index.connect()
    connection.send(request_head)
    drip(index, connection, b"a: bcdefghijklmnopqrstuvwxyz" * 3, 1, SECONDS + 2)
    assert b"HTTP/1.1 408 " in connection.received
    assert connection.closed


# -- Whose place others get


LIMITS = Limits(max_connections=4)


def test_refused_uploads_give_their_places_before_anybody_else():
    site = UploadSite(limits=LIMITS)
    idle = site.connect()
    idle.ask("/")
    site.advance(3)
    small, large = begin(site, BOB, **LENGTH), begin(site, BOB, **{"Content-Length": "5000000"})
    site.connect()
    site.settle()
    assert (status_of(small), status_of(large)) == (b"403", b"403")
    assert small.closed
    assert large.closed
    assert not idle.closed


def test_what_is_refused_while_all_places_are_taken_gives_its_own_soon():
    """Even if all came at once, and none had asked anything yet."""
    site = UploadSite(limits=LIMITS)
    connections = [site.connect() for _ in range(4)]
    for connection in connections:
        connection.send(head((fields_of(as_user=None) | LENGTH).items()))
    for _ in range(3):
        site.advance(1)
        for connection in connections:
            connection.send(b"x")
    assert [status_of(connection) for connection in connections] == [b"401"] * 4
    assert all(connection.closed for connection in connections)
    assert site.clock.getDelayedCalls() == []


def test_a_client_that_does_not_read_its_refusal_keeps_no_others_from_being_closed():
    site = UploadSite(limits=LIMITS)
    deaf = site.connect()
    deaf.pause_reading()
    deaf.send(head((fields_of(as_user=BOB) | {"Content-Length": "5000000"}).items()))
    idle = [site.connect() for _ in range(3)]
    site.advance(5)
    assert all(connection.closed for connection in idle)
    assert not deaf.closed
    deaf.resume_reading()
    assert deaf.received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HTTP/1.1\r\nHos", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"]
)
def test_what_does_not_come_whole_gives_its_place_when_all_are_taken(begun: bytes):
    site = UploadSite(limits=LIMITS)
    connections = [site.connect() for _ in range(4)]
    for connection in connections:
        connection.send(begun)
    site.advance(1)
    assert not any(connection.closed for connection in connections)
    site.advance(3)
    assert all(connection.closed for connection in connections)


def test_a_client_that_does_not_agree_to_the_end_of_its_connection_keeps_no_place(monkeypatch):
    """As under TLS, where both sides have to say so."""
    site = UploadSite(limits=LIMITS)
    connections = [site.connect() for _ in range(4)]
    for connection in connections:
        monkeypatch.setattr(connection._transport, "loseConnection", lambda: None)
    site.advance(3)
    assert not any(connection.closed for connection in connections)
    site.advance(4)
    assert all(connection.closed for connection in connections)


def test_an_accepted_upload_keeps_its_place():
    site = UploadSite(limits=LIMITS)
    connections = [begin(site, ALICE, **{"Content-Length": str(len(upload_form()))}) for _ in range(2)]
    others = [site.connect() for _ in range(2)]
    site.advance(30)
    assert all(connection.closed for connection in others)
    for connection in connections:
        connection.send(upload_form())
    assert [status_of(connection) for connection in connections] == [b"200"] * 2


# -- HTTP/2


def http2(site: SiteInMemory) -> Any:
    pytest.importorskip("h2.connection")
    from tests.web.test_upload_http2 import Client

    return Client(site)  # type: ignore[arg-type]


def ping(site: SiteInMemory, client: Any, seconds: int) -> None:
    for _ in range(0, seconds, 5):
        site.advance(5)
        if client.connection.closed:
            return
        client.http.ping(b"12345678")
        client.flush()


@pytest.mark.parametrize("as_user", [BOB, ""])
def test_a_refused_stream_ends_in_time_however_its_client_pings(as_user: str):
    site = UploadSite()
    client = http2(site)
    client.begin(1, 900_000, as_user)
    client.send(1, b"x" * 10, end=False)
    ping(site, client, 25)
    assert client.was_reset(1)


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("sent", [b"", b"x"])
def test_a_stream_whose_body_does_not_come_is_reset(method: str, sent: bytes):
    site = UploadSite()
    client = http2(site)
    fields = [(":method", method), (":path", "/-/yank"), (":scheme", "https"), (":authority", "a")]
    client.http.send_headers(1, [*fields, ("content-type", "application/json")])
    client.flush()
    if sent:
        client.send(1, sent, end=False)
    ping(site, client, 25)
    assert client.was_reset(1)


def test_a_connection_on_which_nothing_is_asked_is_closed_however_its_client_pings():
    site = UploadSite()
    client = http2(site)
    ping(site, client, 50)
    assert not client.connection.closed
    client.begin(1, 100)
    client.http.reset_stream(1)
    client.flush()
    ping(site, client, 50)
    assert not client.connection.closed
    ping(site, client, 30)
    assert client.connection.closed


def test_a_reader_over_http_2_that_takes_nothing_is_dropped_however_it_pings():
    site = UploadSite()
    client = http2(site)
    client.http.update_settings({4: 0})
    client.http.send_headers(
        1, [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "a")], end_stream=True
    )
    client.flush()
    assert client.status(1) == b"200"
    ping(site, client, 50)
    assert not client.connection.closed
    ping(site, client, 30)
    assert client.connection.closed
