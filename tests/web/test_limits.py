"""What one client may take: time, memory, connections."""

from __future__ import annotations

import pytest

from twisted_index.config.settings import Limits
from twisted_index.testing import IndexInMemory, MemorySource, make_wheel

LIMITS = Limits(header_timeout=5, idle_timeout=20, stall_timeout=10)
REQUEST = b"GET /simple/demo/ HTTP/1.1\r\nHost: index.test\r\n\r\n"


@pytest.fixture
def index() -> IndexInMemory:
    source = MemorySource()
    for number in range(100):
        source.add(make_wheel("demo", f"{number}.0"))
    return IndexInMemory(source, limits=LIMITS)


def waiting(index: IndexInMemory) -> int:
    return index._transports[-1]._waiting


def test_a_request_header_has_a_deadline_however_steadily_it_drips(index: IndexInMemory):
    connection = index.connect()
    for byte in REQUEST[:20]:
        connection.send(bytes([byte]))
        index.advance(0.5)
    assert connection.received.startswith(b"HTTP/1.1 408 ")
    assert connection.closed


def test_a_request_body_has_a_deadline_however_steadily_it_drips(index: IndexInMemory):
    connection = index.connect()
    connection.send(b"POST /simple/ HTTP/1.1\r\nHost: index.test\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(20):
        connection.send(b"x")
        index.advance(0.5)
    assert connection.received.startswith(b"HTTP/1.1 408 ")
    assert connection.closed


def test_an_idle_connection_is_closed(index: IndexInMemory):
    connection = index.connect()
    connection.send(REQUEST)
    index.advance(LIMITS.idle_timeout - 1)
    assert not connection.closed
    index.advance(2)
    assert connection.closed


def test_a_reader_that_takes_nothing_is_dropped_even_if_it_keeps_talking(index: IndexInMemory):
    connection = index.connect()
    connection.pause_reading()
    connection.send(REQUEST)
    for _ in range(60):
        connection.send(b"G")
        index.advance(1)
    assert connection.closed


def test_a_slow_reader_is_kept_as_long_as_it_takes_something(index: IndexInMemory):
    connection = index.connect()
    connection.pause_reading()
    connection.send(REQUEST)
    for _ in range(10):
        index.advance(LIMITS.stall_timeout * 0.9)
        transport = index._transports[-1]
        # The client takes one byte of what waits.
        transport.offset += 1
    assert not connection.closed


def test_pipelined_requests_of_one_who_reads_nothing_do_not_fill_the_memory(index: IndexInMemory):
    page = len(index.get("/simple/demo/").body)
    connection = index.connect()
    connection.pause_reading()
    connection.send(REQUEST * 100)
    assert page > 10_000
    assert waiting(index) < 64 * 1024 + 3 * page
    connection.resume_reading()
    assert connection.received.count(b"HTTP/1.1 200 OK") == 100
