"""Whichever way a request is answered, it is counted, and counted alike."""

from __future__ import annotations

import pytest

from twisted_index.testing import Connection, IndexInMemory, MemorySource, make_wheel
from twisted_index.testing.transport import MemoryTransport

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
    index.site.resource.counters.requests.clear()
    index.site.resource.counters.body_bytes = 0
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
        (b"GET", 200): 2,
        (b"GET", 304): 1,
        (b"HEAD", 200): 1,
        (b"GET", 404): 1,
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
