"""The index in memory: real requests, no port, no time but what the test lets pass."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from twisted_index.access.control import AnonymousAccess
from twisted_index.access.rights import Rights, Rule
from twisted_index.config.settings import Limits
from twisted_index.interfaces import Action, FileBody, IAccessControl
from twisted_index.testing import (
    HeaderFields,
    IncompleteResponse,
    IndexInMemory,
    MemorySource,
    SiteInMemory,
    make_wheel,
)

WHEEL = make_wheel("demo", "1.0")
#: More than what is buffered at once on the way.
LARGE = make_wheel("large", "1.0", files={"large/data.bin": bytes(range(256)) * 4000}, compress=False)


@pytest.fixture
def index() -> IndexInMemory:
    return IndexInMemory(MemorySource(WHEEL, LARGE))


class TestAsking:
    def test_a_reply_has_a_status_header_fields_and_a_body(self, index):
        reply = index.get("/simple/demo/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
        assert reply.status == 200
        assert reply.headers["content-type"] == "application/vnd.pypi.simple.v1+json"
        assert [file["filename"] for file in reply.json()["files"]] == [WHEEL.filename]

    def test_an_index_without_a_source_is_empty_and_can_be_filled(self):
        index = IndexInMemory()
        assert index.get("/simple/demo/").status == 404
        index.source.add(WHEEL)
        assert index.get("/simple/demo/").status == 200

    def test_a_file_larger_than_any_buffer_comes_whole(self, index):
        assert index.get(f"/simple/large/{LARGE.filename}").body == LARGE.content

    def test_an_open_file_is_sent_piece_by_piece_and_closed(self, tmp_path):
        LARGE.write_to(tmp_path)
        with IndexInMemory.of_folders(tmp_path) as index:
            assert index.get(f"/simple/large/{LARGE.filename}").body == LARGE.content

    def test_head_has_the_fields_of_get_and_no_body(self, index):
        path = f"/simple/demo/{WHEEL.filename}"
        head, get = index.head(path), index.get(path)
        assert head.body == b""
        assert {**head.headers} | {"date": ""} == {**get.headers} | {"date": ""}

    def test_its_folder_can_be_published_into(self, tmp_path):
        fields = {"Content-Type": "multipart/form-data; boundary=b"}
        with IndexInMemory.of_folders(tmp_path, overwrite=["2.*"]) as index:

            def publish(made):
                named = f'--b\r\nContent-Disposition: form-data; name="content"; filename="{made.filename}"'
                action = b'--b\r\nContent-Disposition: form-data; name=":action"\r\n\r\nfile_upload\r\n'
                body = action + named.encode() + b"\r\n\r\n" + made.content + b"\r\n--b--\r\n"
                return index.get("/legacy/", method="POST", headers=fields, body=body).status

            for version, again in (("1.0", 409), ("2.0", 200)):
                assert publish(make_wheel("demo", version)) == 200
                assert publish(make_wheel("demo", version, requires=["other"])) == again
            assert index.get("/simple/demo/").body.count(b"<a ") == 2

    def test_it_can_be_told_who_may_do_what(self, tmp_path):
        rule = Rule(actions=frozenset({Action.READ}), authenticated=True)

        @implementer(IAccessControl)
        class OnlyUsers(AnonymousAccess):
            public_read = False
            has_users = True

            def permits(self, identity, action, project="", *, index=""):
                return Rights([rule]).permits(identity, action, project)

        with IndexInMemory(MemorySource(WHEEL), access=OnlyUsers()) as index:
            assert index.get("/simple/demo/").status == 401

    def test_any_method_may_be_tried(self, index):
        assert index.get("/simple/", method="DELETE").status == 405
        assert index.get("/simple/", method="PUT", body=b"some bytes").status == 405

    def test_what_the_resource_can_be_told_it_can_be_told_here(self):
        index = IndexInMemory(cors=True, headers=((b"X-Served-By", b"attic"),))
        headers = index.get("/simple/").headers
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert headers["X-Served-By"] == "attic"

    def test_a_folder_is_served_and_a_change_in_it_is_in_the_next_answer(self, tmp_path):
        with IndexInMemory.of_folders(tmp_path) as index:
            assert index.get("/simple/demo/").status == 404
            path = WHEEL.write_to(tmp_path / "demo")
            assert WHEEL.filename in index.get("/simple/demo/").text
            path.unlink()
            assert index.get("/simple/demo/").status == 404


class TestConnection:
    def test_bytes_are_sent_as_they_are_one_by_one_too(self, index):
        connection = index.connect()
        connection.send(b"GET /simple/demo/ HTTP/1.1\r\nHost: a\r\n\r\n", size=1)
        whole = index.connect()
        whole.send(b"GET /simple/demo/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.responses()[0].body == whole.responses()[0].body
        assert connection.received.startswith(b"HTTP/1.1 200 OK\r\n")

    def test_several_requests_are_answered_in_their_order(self, index):
        connection = index.connect()
        connection.ask("/simple/demo/")
        connection.ask("/simple/demo/", method="HEAD")
        connection.ask("/simple/nothing/")
        assert [reply.status for reply in connection.responses()] == [200, 200, 404]
        assert not connection.closed

    def test_requests_that_come_together_are_answered_in_their_order(self, index):
        connection = index.connect()
        request = b"GET /simple/%s/ HTTP/1.1\r\nHost: a\r\n\r\n"
        connection.send(request % b"demo" + request % b"nothing" + request % b"large")
        assert [reply.status for reply in connection.responses()] == [200, 404, 200]

    def test_what_was_sent_by_hand_may_be_of_any_method(self, index):
        connection = index.connect()
        connection.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET /-/health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [reply.status for reply in connection.responses("HEAD", "GET")] == [200, 200]

    def test_the_end_of_a_connection_is_seen(self, index):
        connection = index.connect()
        connection.ask("/simple/demo/", headers={"Connection": "close"})
        assert connection.closed
        assert connection.responses()[0].status == 200

    def test_a_client_that_closes_its_half_still_gets_its_answer(self, index):
        connection = index.connect()
        connection.send(b"GET /simple/demo/ HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.half_close()
        assert connection.responses()[0].status == 200
        assert connection.closed

    def test_a_client_that_takes_nothing_holds_the_answer_back_until_it_goes_on(self, index):
        connection = index.connect()
        connection.pause_reading()
        connection.ask(f"/simple/large/{LARGE.filename}")
        assert connection.received == b""
        connection.resume_reading()
        assert connection.responses()[0].body == LARGE.content


class TestTime:
    def test_time_stands_still_until_it_is_let_pass(self):
        index = IndexInMemory(limits=Limits(idle_timeout=60, header_timeout=20))
        connection = index.connect()
        index.advance(59)
        assert not connection.closed
        index.advance(2)
        assert connection.closed

    def test_each_thing_happens_at_its_own_time(self, index):
        happened = []
        index.clock.callLater(
            1, lambda: index.clock.callLater(1, lambda: happened.append(index.clock.seconds()))
        )
        index.advance(5)
        assert happened == [2]
        assert index.clock.seconds() == 5

    def test_a_stalled_client_is_dropped_after_its_time(self):
        index = IndexInMemory(MemorySource(LARGE), limits=Limits(stall_timeout=30))
        connection = index.connect()
        connection.pause_reading()
        connection.ask(f"/simple/large/{LARGE.filename}")
        index.advance(100)
        assert connection.closed


class SlowSource(MemorySource):
    """Opens files when the test says so."""

    def __init__(self, *files) -> None:
        super().__init__(*files)
        self.waiting: list[Deferred[FileBody | None]] = []

    def open_file(self, *args):
        self.waiting.append(Deferred())
        return self.waiting[-1]


class TestWaiting:
    def test_an_answer_that_has_not_come_is_told_in_a_sentence(self):
        index = IndexInMemory(SlowSource(WHEEL))
        with pytest.raises(
            IncompleteResponse, match=rf"0 responses were sent to GET /simple/demo/{WHEEL.filename}"
        ):
            index.get(f"/simple/demo/{WHEEL.filename}")

    def test_an_answer_comes_when_its_source_has_found_it(self):
        source = SlowSource(WHEEL)
        index = IndexInMemory(source)
        connection = index.connect()
        connection.ask(f"/simple/demo/{WHEEL.filename}")
        assert connection.responses() == []

        source.waiting[0].callback(MemorySource.open_file(source, "demo", WHEEL.filename))
        index.settle()
        assert connection.responses()[0].body == WHEEL.content

    def test_a_client_that_is_gone_is_not_waited_for(self):
        source = SlowSource(WHEEL)
        index = IndexInMemory(source)
        connection = index.connect()
        connection.ask(f"/simple/demo/{WHEEL.filename}")
        connection.disconnect()
        assert connection.closed
        source.waiting[0].callback(None)
        index.settle()
        assert connection.received == b""


class Greeting(Resource):
    """Something that is not ours."""

    isLeaf = True

    def render_GET(self, request):
        return b"hello"


class Halting(Resource):
    """Begins an answer and does not end it."""

    isLeaf = True

    def render_GET(self, request):
        request.setHeader(b"Content-Length", b"10")
        request.write(b"half")
        return NOT_DONE_YET


class TestAnySite:
    def test_another_program_tests_its_own_site_in_the_same_way(self):
        clock = Clock()
        site = SiteInMemory(Site(Greeting(), reactor=clock), clock)
        assert site.get("/").text == "hello"

    def test_half_an_answer_is_no_answer(self):
        clock = Clock()
        site = SiteInMemory(Site(Halting(), reactor=clock), clock)
        with pytest.raises(IncompleteResponse, match="Response 1 is incomplete"):
            site.get("/")


class TestFields:
    def test_names_are_found_in_any_spelling(self):
        fields = HeaderFields((("ETag", '"1"'), ("Vary", "Accept")))
        assert fields["etag"] == fields["ETAG"] == '"1"'
        assert "vary" in fields
        assert "Age" not in fields

    def test_several_lines_of_one_name_are_joined(self):
        fields = HeaderFields((("Allow", "GET"), ("allow", "HEAD")))
        assert fields["Allow"] == "GET, HEAD"
        assert len(fields) == 1
        assert list(fields) == ["allow"]
