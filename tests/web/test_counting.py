"""Whichever way a request is answered, it is counted, and counted alike."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from tests.kit.scripted_remote import ScriptedRemote
from twisted_index.backends.upstream.source import UpstreamSource
from twisted_index.errors import Unavailable
from twisted_index.interfaces import Snapshot
from twisted_index.testing import (
    Connection,
    IndexInMemory,
    MemorySource,
    SiteInMemory,
    SynchronousRunner,
    make_wheel,
)
from twisted_index.testing.transport import MemoryTransport
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.site import IndexSite

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
WHEEL = make_wheel("demo", "1.0")
FILE = f"/simple/demo/{WHEEL.filename}"


class Socket:
    """A socket that takes whatever it is given."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport

    def send(self, data: bytes) -> int:
        self._transport.received += data
        return len(data)


@pytest.fixture(params=["short", "ordinary"])
def index(request: pytest.FixtureRequest) -> IndexInMemory:
    index = IndexInMemory(MemorySource(WHEEL))
    for path in ("/simple/", "/simple/demo/", "/simple/nope/", FILE):
        index.get(path, headers=JSON)
    way = index.site.fast_path
    if request.param == "short":
        way.find = way.try_answer
        way.taken = 0

        def answer(channel: object, data: bytes) -> bool:
            done = way.find(channel, data)
            way.taken += done
            return done

        way.try_answer = answer
    else:
        index.site.fast_path = None
    index.site.resource.counters.__init__()
    return index


def connect(index: IndexInMemory) -> Connection:
    connection = index.connect()
    transport = index._transports[-1]
    transport.socket = Socket(transport)
    return connection


def test_requests_and_the_bytes_of_their_answers_are_counted_alike_on_both_ways(index: IndexInMemory):
    connection = connect(index)
    connection.ask("/simple/demo/", headers=JSON)
    etag = connection.responses()[0].headers["ETag"]
    connection.ask("/simple/demo/", headers=JSON | {"If-None-Match": etag})
    connection.ask("/simple/demo/", headers=JSON, method="HEAD")
    connection.ask("/simple/nope/", headers=JSON)
    connection.ask(FILE, headers=JSON)
    page, unchanged, _head, absent, file = connection.responses()
    assert unchanged.status == 304
    counters = index.site.resource.counters
    assert counters.requests == {
        (b"GET", 200, "page"): 1,
        (b"GET", 200, "file"): 1,
        (b"GET", 304, "page"): 1,
        (b"HEAD", 200, "page"): 1,
        (b"GET", 404, "page"): 1,
    }
    assert counters.body_bytes == sum(len(reply.body) for reply in (page, absent, file))
    # A file in memory cannot be opened once more, and goes the ordinary way.
    assert index.site.fast_path is None or index.site.fast_path.taken == 4


def test_the_numbers_can_be_asked_for(index: IndexInMemory):
    connect(index).ask("/simple/demo/", headers=JSON)
    reply = index.get("/-/metrics")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = reply.body.decode().splitlines()
    assert 'twisted_index_http_requests_total{method="GET",status="200"} 1.0' in lines
    assert "twisted_index_projects 1.0" in lines


def test_the_numbers_come_as_openmetrics_to_who_asks_for_it(index: IndexInMemory):
    reply = index.get("/-/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert reply.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert reply.headers["Vary"] == "Accept"
    assert reply.body.endswith(b"\n# EOF\n")


def buckets(index: IndexInMemory) -> dict[tuple[str, str], float]:
    """Give the histogram of durations by route and bound; zeros are left out."""
    text = index.get("/-/metrics").body.decode()
    return {
        (sample.labels["route"], sample.labels.get("le", sample.name.rpartition("_")[2])): sample.value
        for family in text_string_to_metric_families(text)
        if family.name == "twisted_index_http_request_duration_seconds"
        for sample in family.samples
        if sample.value
    }


def test_durations_are_counted_by_route_on_both_ways(index: IndexInMemory):
    connection = connect(index)
    for path in ("/simple/", "/simple/demo/", "/simple/demo/", "/simple/nope/", FILE, "/-/health"):
        connection.ask(path, headers=JSON)
    found = buckets(index)
    for route, number in (("list", 1), ("page", 3), ("file", 1), ("other", 1)):
        for bound in ("0.005", "60.0", "+Inf", "count"):
            assert found.pop((route, bound)) == number, (route, bound)
    assert {route for route, _bound in found} == {"list", "page", "file", "other"}, "and nothing else"


class Slow(MemorySource):
    """A source whose pages take their time, and of which some come from elsewhere."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(WHEEL)
        self._clock = clock
        self.cache_status = ""

    def project_page(self, project: str) -> Any:
        page = super().project_page(project)
        later = Snapshot(value=page.value, is_current=lambda: False, cache_status=self.cache_status)
        return deferLater(self._clock, 2.0, lambda: later)


@pytest.mark.parametrize(
    ("cache_status", "route"),
    [("", "page"), ("hit; ttl=5", "page"), ("fwd=miss; stored", "upstream"), ("fwd=stale", "upstream")],
)
def test_a_slow_response_is_in_the_bucket_of_its_duration(cache_status: str, route: str):
    clock = Clock()
    source = Slow(clock)
    source.cache_status = cache_status
    index = IndexInMemory(source, clock=clock)
    connection = index.connect()
    connection.ask("/simple/demo/", headers=JSON)
    index.advance(2.0)
    assert [reply.status for reply in connection.responses()] == [200]
    found = buckets(index)
    assert (route, "0.5") not in found
    assert found[route, "2.5"] == found[route, "count"] == 1
    assert found[route, "sum"] == 2.0


def test_a_duration_begins_with_the_request_and_not_with_the_end_of_its_body():
    clock = Clock()
    index = IndexInMemory(MemorySource(), clock=clock)
    connection = index.connect()
    connection.send(b"POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
    index.advance(3.0)
    connection.send(b"x")
    found = buckets(index)
    assert ("other", "2.5") not in found
    assert found["other", "10.0"] == 1


def test_a_page_that_an_upstream_did_not_give_counts_for_the_upstream():
    clock = Clock()
    remote = ScriptedRemote(pages={"demo": Unavailable("It is down.")})
    source = UpstreamSource([remote], reactor=clock, worker=SynchronousRunner())
    index = IndexInMemory(source, clock=clock)
    assert index.get("/simple/demo/").status == 503
    found = buckets(index)
    assert found["upstream", "count"] == 1
    assert ("page", "count") not in found


class Dead(MemorySource):
    """A source on a mount that does not answer any more."""

    asked = 0

    def project_list(self) -> Any:
        self.asked += 1
        return Deferred()


def test_a_folder_that_does_not_answer_is_no_reason_for_a_scrape_to_fail():
    source, clock = Dead(), Clock()
    resource = IndexResource(source, reactor=clock)
    index = SiteInMemory(IndexSite(resource, reactor=clock), clock)
    for _ in range(3):
        connection = index.connect()
        connection.ask("/-/metrics")
        index.advance(5.0)
        (reply,) = connection.responses()
        assert reply.status == 200
        assert "twisted_index_projects " not in reply.body.decode()
    assert source.asked == 1
