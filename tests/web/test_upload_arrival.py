"""How the body of an upload arrives: refused early, held, stalled, cut off, over any kind of request."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.server import Site

from tests.kit.uploads import (
    ALICE,
    BOB,
    CONTENT_TYPE,
    NAME,
    MemoryAccess,
    MemoryStore,
    UploadSite,
    _Taking,
    fields_of,
    head,
    upload_form,
    uploads_of,
)
from twisted_index.config.settings import Limits, UploadSettings
from twisted_index.testing.in_memory import Connection, SiteInMemory
from twisted_index.web.uploads.multipart_form import MAX_FORM_OVERHEAD

LARGE = 50_000_000


def begin(site: UploadSite, length: int, **more: str) -> Connection:
    """Send the header of an upload of so many bytes."""
    connection = site.connect()
    fields = fields_of({"Content-Length": str(length), **more}, more.pop("as_user", ALICE))
    connection.send(head(fields.items()))
    return connection


def status_of(connection: Connection) -> bytes:
    return connection.received.split(b"\r\n")[0].split(b" ")[1] if connection.received else b""


# -- Refused by the header alone


def test_a_large_upload_without_rights_is_answered_before_it_comes():
    site = UploadSite()
    connection = site.connect()
    connection.send(head((fields_of(as_user=BOB) | {"Content-Length": str(LARGE)}).items()))

    assert connection.received.startswith(b"HTTP/1.1 403 bob may not upload to this index.\r\n")
    assert b"\r\nConnection: close\r\n" in connection.received


def test_what_comes_after_such_an_answer_is_dropped_so_that_it_can_be_read():
    site = UploadSite()
    connection = site.connect()
    connection.send(head((fields_of(as_user=BOB) | {"Content-Length": str(LARGE)}).items()))
    answer = connection.received
    for _ in range(50):
        connection.send(b"x" * 1_000_000)

    assert connection.received == answer
    assert not connection.closed
    assert site.store.spools == []
    site.advance(31)
    assert connection.closed


def test_a_small_upload_without_rights_keeps_its_connection():
    site = UploadSite()
    connection = site.connect()
    for _ in range(2):
        connection.ask("/legacy/", method="POST", headers=fields_of(as_user=BOB), body=upload_form())
    connection.ask("/")
    assert [reply.status for reply in connection.responses()] == [403, 403, 200]


def test_a_chunked_upload_without_rights_is_answered_after_a_while():
    site = UploadSite()
    connection = site.connect()
    connection.send(head((fields_of(as_user=BOB) | {"Transfer-Encoding": "chunked"}).items()))
    sent = 0
    while not connection.received and sent < 100:
        connection.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        sent += 1
    assert status_of(connection) == b"403"
    assert 16 <= sent <= 18


def test_a_length_beyond_the_limit_is_413_at_once():
    site = UploadSite(upload_settings=UploadSettings(upload=True, max_upload=1000))
    connection = begin(site, 1001 + MAX_FORM_OVERHEAD)
    assert connection.received.startswith(b"HTTP/1.1 413 The file is larger than the limit of 1,000 bytes")


def test_a_file_beyond_the_limit_is_413_however_it_comes():
    site = UploadSite(upload_settings=UploadSettings(upload=True, max_upload=1000))
    assert site.upload(upload_form(b"x" * 1001)).status == 413
    assert site.upload(upload_form(b"x" * 1000)).status == 200
    body = upload_form(b"y" * 1001)
    connection = site.connect()
    connection.send(head((fields_of() | {"Transfer-Encoding": "chunked"}).items()))
    connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert status_of(connection) == b"413"
    assert site.store.left == 0


def test_a_name_that_nobody_can_install_is_refused_before_its_bytes_come():
    site = UploadSite()
    body = upload_form(b"x" * 1000, filename="demo.exe")
    connection = begin(site, LARGE)
    connection.send(body[:600])
    assert status_of(connection) == b"400"
    assert site.store.spools == []


# -- 100 Continue


def test_the_body_is_asked_for_when_it_is_wanted():
    site = UploadSite()
    body = upload_form()
    connection = begin(site, len(body), Expect="100-continue")
    assert connection.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send(body)
    assert b"HTTP/1.1 200 OK\r\n" in connection.received


def test_the_body_is_not_asked_for_when_it_is_refused():
    site = UploadSite()
    connection = site.connect()
    fields = fields_of(as_user=None) | {"Content-Length": "400", "Expect": "100-Continue"}
    connection.send(head(fields.items()))
    assert status_of(connection) == b"401"
    assert b"Connection: close" in connection.received


def test_the_body_is_asked_for_only_after_a_slow_look_at_the_password():
    access = MemoryAccess(slow=True)
    site = UploadSite(access=access)
    body = upload_form()
    connection = begin(site, len(body), Expect="100-continue")
    assert connection.received == b""
    access.waiting[0].callback(None)
    site.settle()
    assert connection.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send(body)
    assert site.store.files


def test_one_that_does_not_wait_for_the_100_is_served_all_the_same():
    access = MemoryAccess(slow=True)
    site = UploadSite(access=access)
    body = upload_form()
    connection = begin(site, len(body), Expect="100-continue")
    connection.send(body)
    access.waiting[0].callback(None)
    site.settle()
    assert site.store.files


# -- Held


def test_no_more_is_read_than_the_spool_takes():
    store = MemoryStore(slow=True)
    site = UploadSite(store)
    body = upload_form(bytes(8_000_000))
    connection = begin(site, len(body))
    connection.send(body, size=65536)

    waiting = len(connection._transport.incoming)
    assert waiting > 100
    assert len(store.spools[0].data) < 1_200_000
    while store.spools[0].pending is not None:
        store.spools[0].go_on()
        site.settle()
    assert status_of(connection) == b"200"
    assert store.files == {NAME: bytes(8_000_000)}


def test_nothing_is_read_while_a_password_is_looked_at():
    access = MemoryAccess(slow=True)
    site = UploadSite(access=access)
    body = upload_form(bytes(3_000_000))
    connection = begin(site, len(body))
    connection.send(body, size=65536)
    assert len(connection._transport.incoming) > 40
    access.waiting[0].callback(None)
    site.settle()
    assert status_of(connection) == b"200"


# -- Cut off, stalled, slow


def test_a_client_that_goes_leaves_nothing():
    body = upload_form(bytes(3_000_000))
    for sent in (0, 100, 1_500_000, len(body) - 1):
        site = UploadSite()
        connection = begin(site, len(body))
        connection.send(body[:sent], size=65536)
        connection.disconnect()
        assert site.store.left == 0
        assert site.store.files == {}
        assert site.clock.getDelayedCalls() == []


def test_a_client_that_goes_while_it_is_written_leaves_nothing():
    store = MemoryStore(slow=True)
    site = UploadSite(store)
    body = upload_form(bytes(3_000_000))
    connection = begin(site, len(body))
    connection.send(body, size=65536)
    connection.disconnect()
    assert store.left == 1
    store.spools[0].go_on()
    assert store.left == 0


def test_a_client_that_closes_its_half_too_early_leaves_nothing():
    site = UploadSite()
    body = upload_form(bytes(3_000_000))
    connection = begin(site, len(body))
    connection.send(body[:2_000_000], size=65536)
    connection.half_close()
    assert connection.closed
    assert site.store.left == 0


def test_an_upload_may_take_its_time():
    site = UploadSite(limits=Limits(upload_stall_timeout=10, header_timeout=5, idle_timeout=7))
    body = upload_form(b"x" * 50)
    connection = begin(site, len(body))
    for at in range(0, len(body), 10):
        site.advance(9)
        connection.send(body[at : at + 10])
    assert status_of(connection) == b"200"


def test_an_upload_that_stalls_is_dropped_with_a_sentence():
    site = UploadSite(limits=Limits(upload_stall_timeout=10))
    body = upload_form(bytes(3_000_000))
    connection = begin(site, len(body))
    connection.send(body[:2_000_000], size=65536)
    site.advance(9)
    assert connection.received == b""
    site.advance(2)
    assert status_of(connection) == b"408"
    assert connection.closed
    assert site.store.left == 0


def test_time_in_which_the_server_is_slow_is_no_stall():
    store = MemoryStore(slow=True)
    site = UploadSite(store, limits=Limits(upload_stall_timeout=10, idle_timeout=20))
    body = upload_form(bytes(3_000_000))
    connection = begin(site, len(body))
    connection.send(body, size=65536)
    site.advance(500)
    assert not connection.closed
    while store.spools[0].pending is not None:
        store.spools[0].go_on()
        site.settle()
    assert status_of(connection) == b"200"


def test_other_bodies_have_their_deadline_as_before():
    site = UploadSite(limits=Limits(header_timeout=5))
    connection = site.connect()
    connection.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
    for _ in range(6):
        site.advance(1)
        connection.send(b"x")
    assert status_of(connection) == b"408"


def test_a_kept_connection_is_idle_again_after_an_upload():
    site = UploadSite(limits=Limits(idle_timeout=7))
    connection = site.connect()
    connection.ask("/legacy/", method="POST", headers=fields_of(), body=upload_form())
    site.advance(6)
    assert not connection.closed
    site.advance(2)
    assert connection.closed


# -- Stopping


def test_a_running_upload_is_finished_when_the_server_stops():
    site = UploadSite()
    body = upload_form(bytes(2_000_000))
    connection = begin(site, len(body))
    connection.send(body[:1_000_000])
    site.site.drain(10)
    site.settle()
    connection.send(body[1_000_000:])
    assert status_of(connection) == b"200"
    assert connection.closed


def test_an_upload_that_does_not_end_is_cut_off_when_the_server_stops():
    site = UploadSite()
    connection = begin(site, 1000)
    stopped: list[Any] = []
    site.site.drain(10).addBoth(stopped.append)
    site.advance(11)
    assert connection.closed
    assert stopped


# -- On the wire


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_pieces_of_any_size_mean_the_same(size: int):
    site = UploadSite()
    connection = site.connect()
    connection.ask(
        "/legacy/", method="POST", headers=fields_of(), body=upload_form(b"\r\n--a-b\r" * 99), size=size
    )
    assert status_of(connection) == b"200"
    assert site.store.files == {NAME: b"\r\n--a-b\r" * 99}


def test_several_uploads_come_on_one_connection():
    site = UploadSite()
    connection = site.connect()
    request = b"".join(
        head((fields_of() | {"Content-Length": str(len(body))}).items()) + body
        for body in (upload_form(filename=f"demo-{n}.0.tar.gz") for n in range(5))
    )
    connection.send(request)
    assert [reply.status for reply in connection.responses("POST")] == [200] * 5
    assert len(site.store.files) == 5


def test_a_length_that_is_too_short_stores_nothing():
    site = UploadSite()
    connection = begin(site, 100)
    connection.send(upload_form(b"x" * 1000))
    assert status_of(connection) == b"400"
    assert site.store.files == {}
    assert site.store.left == 0


# -- Where the site is not ours


def test_a_plain_site_of_twisted_takes_uploads_too():
    store = MemoryStore()
    clock = Clock()
    site = SiteInMemory(Site(_Taking(uploads_of(store, MemoryAccess())), reactor=clock), clock)
    headers = {"Content-Type": CONTENT_TYPE, "Authorization": ALICE}
    body = upload_form(bytes(range(256)) * 9000)

    assert site.get("/legacy/", method="POST", headers=headers, body=body).status == 200
    assert store.files == {NAME: bytes(range(256)) * 9000}
    assert store.left == 0


def test_a_request_that_is_routed_elsewhere_leaves_nothing():
    class _Elsewhere(_Taking):
        def render_POST(self, request: Any) -> bytes:
            request.setResponseCode(405)
            return b"no"

    site = UploadSite()
    site.site.resource = _Elsewhere(site.uploads)
    assert site.upload(upload_form()).status == 405
    assert site.store.left == 0
    assert site.store.files == {}


def test_a_client_that_goes_while_it_is_published_has_published():
    class _Slow(MemoryStore):
        waiting: Deferred[bool]

        def publish(self, upload: Any) -> Any:
            new = super().publish(upload)
            self.waiting = Deferred()
            return self.waiting.addCallback(lambda _: new)

    store = _Slow()
    site = UploadSite(store)
    connection = begin(site, len(upload_form()))
    connection.send(upload_form())
    connection.disconnect()
    store.waiting.callback(True)
    assert store.files
    assert store.left == 0
