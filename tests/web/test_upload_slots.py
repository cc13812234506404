"""How many uploads are under way at once, and what is told of those that are not taken."""

from __future__ import annotations

import pytest

from tests.kit.uploads import (
    ALICE,
    BOB,
    CAROL,
    NAME,
    MemoryAccess,
    MemoryStore,
    UploadSite,
    fields_of,
    form,
    head,
    part,
    upload_form,
)
from twisted_index.config.settings import Limits
from twisted_index.errors import Unavailable
from twisted_index.metrics.counters import Outcome
from twisted_index.testing.in_memory import Connection
from twisted_index.web.uploads.receiver import READ_SIZE
from twisted_index.web.uploads.slots import UploadSlots


def begin(site: UploadSite, body: bytes = b"", user: str = ALICE) -> Connection:
    """Send an upload without its last byte."""
    body = body or upload_form()
    connection = site.connect()
    connection.send(head((fields_of(as_user=user) | {"Content-Length": str(len(body))}).items()) + body[:-1])
    return connection


def crowded(most: int = 2, **more) -> tuple[UploadSite, list[Connection]]:
    """Let so many uploads be under way as may be."""
    site = UploadSite(**more)
    site.uploads.slots = UploadSlots(most)
    return site, [begin(site) for _ in range(most)]


def test_one_upload_too_many_is_told_to_try_again():
    site, _ = crowded()
    reply = site.upload(upload_form())
    assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
    assert reply.text == "Too many files are being uploaded right now; try again.\n"
    assert site.store.files == {}


@pytest.mark.parametrize(
    ("connections", "uploads"), [(20, 10), (5, 2), (2, 1), (1, 1), (1000, 64), (None, 64)]
)
def test_uploads_leave_half_of_the_connections_to_others(connections: int | None, uploads: int):
    """Each is kept for as long as its bytes come slowly, which may be a quarter of an hour."""
    site = UploadSite(limits=Limits(max_connections=connections))
    admitted = [site.uploads.slots.acquire() for _ in range(uploads)]
    with pytest.raises(Unavailable):
        site.uploads.slots.acquire()
    assert len(admitted) == uploads


def test_the_place_of_one_that_has_ended_is_the_next_ones():
    site, (first, _second) = crowded()
    first.send(b"\n")
    assert first.responses("POST")[0].status == 200
    assert site.upload(upload_form()).status == 200
    assert site.uploads.slots.in_use == 1


def test_the_place_of_one_whose_sender_has_gone_is_the_next_ones():
    site, (first, _second) = crowded()
    first.disconnect()
    assert site.upload(upload_form()).status == 200
    assert site.uploads.slots.in_use == 1


def test_whoever_may_not_upload_takes_no_place():
    site = UploadSite()
    begin(site, user=BOB)
    assert site.uploads.slots.in_use == 0


def test_one_that_is_refused_on_its_way_gives_its_place_back():
    site = UploadSite()
    begin(site, form(part("content", b"x", "no-distribution.txt")))
    assert site.uploads.slots.in_use == 0


def test_a_sender_that_goes_before_it_is_known_takes_no_place():
    access = MemoryAccess(slow=True)
    site = UploadSite(access=access)
    connection = begin(site)
    connection.disconnect()
    access.waiting[0].callback(None)
    site.settle()
    assert site.uploads.slots.in_use == 0


def test_what_is_being_published_keeps_its_place_though_its_sender_has_gone():
    from twisted.internet.defer import Deferred

    class Slow(MemoryStore):
        def publish(self, upload):
            self.publishing: Deferred[None] = Deferred()
            return self.publishing.addCallback(lambda _: MemoryStore.publish(self, upload))

    site = UploadSite(store=Slow())
    connection = begin(site)
    connection.send(b"\n")
    connection.disconnect()
    assert site.uploads.slots.in_use == 1
    site.store.publishing.callback(None)
    site.settle()
    assert site.uploads.slots.in_use == 0


def test_a_place_is_given_back_once():
    places = UploadSlots(1)
    leave = places.acquire()
    with pytest.raises(Unavailable):
        places.acquire()
    leave()
    leave()
    assert places.in_use == 0


def test_a_wheel_of_a_project_of_others_is_refused_before_it_takes_room():
    """Carol may upload to demo and to nothing else."""
    site = UploadSite()
    body = upload_form(b"x" * (3 * READ_SIZE), "other-1.0-py3-none-any.whl")
    connection = site.connect()
    length = {"Content-Length": str(len(body))}
    connection.send(head((fields_of(as_user=CAROL) | length).items()) + body[:1000])
    assert connection.received.startswith(b"HTTP/1.1 403 carol may not upload to the project other.\r\n")
    assert site.store.spools == []


# -- What is told


@pytest.fixture
def told() -> tuple[UploadSite, list[tuple[str, str, str]]]:
    site = UploadSite()
    heard: list[tuple[str, str, str]] = []
    site.uploads._on_rejected = lambda *about: heard.append(about)
    return site, heard


def test_whoever_observes_hears_of_a_file_that_was_not_taken(told):
    site, heard = told
    site.upload(upload_form(version="2.0"))
    reason = f"version is 2.0, but {NAME} says 1.0; build the file again."
    assert heard == [("demo", NAME, reason)]
    assert site.uploads.counters.uploads[Outcome.REFUSED] == 1


def test_of_one_that_is_refused_early_too_and_once(told):
    site, heard = told
    body = upload_form(b"x" * (3 * READ_SIZE), "other-1.0-py3-none-any.whl")
    length = {"Content-Length": str(len(body))}
    site.connect().send(head((fields_of(as_user=CAROL) | length).items()) + body[:1000])
    site.upload(upload_form(b"x", "other-1.0-py3-none-any.whl"), as_user=CAROL)
    assert [about[:2] for about in heard] == [("other", "other-1.0-py3-none-any.whl")] * 2
    assert site.uploads.counters.uploads[Outcome.REFUSED] == 2


def test_of_what_never_said_its_name_only_a_number_tells(told):
    site, heard = told
    site.upload(upload_form(), as_user=BOB)
    assert heard == []
    assert site.uploads.counters.uploads[Outcome.REFUSED] == 1
