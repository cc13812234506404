"""Bodies that are still coming while they are sent: whole and right, or cut off so that nobody takes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_index.errors import BadGateway, NotImplementedHere, NotReady, Unavailable
from twisted_index.interfaces import FileBody, ISource, Snapshot, StreamingContent
from twisted_index.simple.model import ProjectList, ProjectPage
from twisted_index.testing import IndexInMemory
from twisted_index.web.responses.in_progress import CompleteContent, cache_status_field, wait_until_sendable

CONTENT = bytes(range(256)) * 2000
PATH = "/simple/demo/demo-1.0.tar.gz"


@dataclass
class Slow:
    """A body of which a test lets come what it wants."""

    content: bytes = CONTENT
    readable: int = 0
    begun: bool = False
    closed: int = 0
    error: Exception | None = None
    waiting: list[tuple[int, Deferred[int]]] = field(default_factory=list)

    def wait_for(self, position: int) -> Deferred[int]:
        self.begun = True
        if self.error is not None:
            return fail(self.error)
        if self.readable > position:
            return succeed(self.readable)
        answer: Deferred[int] = Deferred()
        self.waiting.append((position, answer))
        return answer

    def read(self, position: int, size: int) -> bytes:
        return self.content[position : min(position + size, self.readable)]

    def wait_complete(self) -> Deferred[None]:
        return self.wait_for(len(self.content) - 1).addCallback(lambda _readable: None)

    def close(self) -> None:
        self.closed += 1

    def come(self, upto: int) -> None:
        self.readable = upto
        waiting, self.waiting = self.waiting, []
        for position, answer in waiting:
            if upto > position:
                answer.callback(upto)
            else:
                self.waiting.append((position, answer))

    def fail(self, error: Exception) -> None:
        self.error = error
        waiting, self.waiting = self.waiting, []
        for _position, answer in waiting:
            answer.errback(error)


@implementer(ISource)
@dataclass(eq=False)
class OneFile:
    """A source that gives one body."""

    body: FileBody

    def project_list(self) -> Snapshot[ProjectList]:
        return Snapshot(value=ProjectList(), is_current=lambda: False)

    def project_page(self, project: str) -> Snapshot[ProjectPage | None]:
        return Snapshot(value=ProjectPage(name=project), is_current=lambda: False)

    def open_file(self, project: str, filename: str, sidecar: object = None) -> FileBody:
        return self.body


def serving(slow: Slow, cache_status: str = "fwd=miss; stored") -> IndexInMemory:
    body = FileBody(
        content=slow, size=len(slow.content), sha256="ab" * 32, modified=0.0, cache_status=cache_status
    )
    return IndexInMemory(OneFile(body))


def test_the_bodies_of_these_tests_are_what_the_server_expects():
    assert isinstance(Slow(), StreamingContent)
    assert isinstance(CompleteContent(Slow(), 1), StreamingContent)


def test_a_body_is_sent_as_it_comes():
    slow = Slow()
    index = serving(slow)
    connection = index.connect()
    connection.ask(PATH)
    slow.come(1)
    index.settle()
    assert f"Content-Length: {len(CONTENT)}".encode() in connection.received
    for upto in (1, 100, 70_000, 300_000):
        slow.come(upto)
        index.settle()
        assert connection.received.endswith(CONTENT[:upto])
    slow.come(len(CONTENT))
    index.settle()

    (reply,) = connection.responses()
    assert reply.body == CONTENT
    assert slow.closed == 1


def test_a_body_that_has_come_is_sent_at_once_and_the_connection_stays():
    slow = Slow(readable=len(CONTENT))
    index = serving(slow)
    connection = index.connect()
    connection.ask(PATH)
    connection.ask(PATH)

    assert [reply.body for reply in connection.responses()] == [CONTENT, CONTENT]
    assert not connection.closed


def test_the_answer_says_how_the_cache_came_by_it():
    reply = serving(Slow(readable=len(CONTENT))).get(PATH)

    assert reply.headers["Cache-Status"] == "twisted-index; fwd=miss; stored"
    assert cache_status_field("") == ()


def test_a_client_is_cut_off_when_the_rest_never_comes():
    slow = Slow()
    index = serving(slow)
    connection = index.connect()
    connection.ask(PATH)
    slow.come(len(CONTENT) - 1)
    index.settle()
    slow.fail(BadGateway("It is not what was promised."))
    index.settle()

    assert connection.closed
    assert connection.received.endswith(CONTENT[:-1])
    assert slow.closed == 1


def test_a_body_that_is_shorter_than_it_said_is_cut_off():
    slow = Slow(content=CONTENT)
    index = serving(slow)
    connection = index.connect()
    connection.ask(PATH)
    slow.content = CONTENT[:5]
    slow.come(100)
    index.settle()

    assert connection.closed
    assert slow.closed == 1


def test_a_head_request_begins_nothing():
    slow = Slow()
    reply = serving(slow).head(PATH)

    assert reply.headers["Content-Length"] == str(len(CONTENT))
    assert not slow.begun
    assert slow.closed == 1


def test_a_conditional_request_begins_nothing():
    slow = Slow()
    reply = serving(slow).get(PATH, headers={"If-None-Match": f'"{"ab" * 32}"'})

    assert reply.status == 304
    assert not slow.begun
    assert slow.closed == 1


def test_a_client_that_takes_nothing_takes_no_memory():
    slow = Slow(readable=len(CONTENT))
    index = serving(slow)
    connection = index.connect()
    connection.pause_reading()
    connection.ask(PATH)
    (transport,) = index._transports
    queued = len(transport.dataBuffer) + transport._tempDataLen
    assert queued < 200_000

    connection.resume_reading()
    (reply,) = connection.responses()
    assert reply.body == CONTENT


def test_what_comes_while_a_client_takes_nothing_is_sent_later():
    slow = Slow(readable=100_000)
    index = serving(slow)
    connection = index.connect()
    connection.ask(PATH)
    connection.pause_reading()
    slow.come(200_000)
    slow.come(len(CONTENT))
    index.settle()
    connection.resume_reading()

    assert connection.responses()[0].body == CONTENT


def test_a_client_that_is_gone_lets_go_of_the_body():
    slow = Slow()
    index = serving(slow)
    connection = index.connect()
    connection.ask(PATH)
    slow.come(1)
    index.settle()
    connection.disconnect()
    assert slow.closed == 1
    slow.come(len(CONTENT))
    index.settle()

    assert slow.closed == 1


def test_a_client_that_waits_for_bytes_is_not_taken_for_one_that_stalls():
    slow = Slow()
    index = serving(slow)
    connection = index.connect()
    connection.ask(PATH)
    slow.come(1)
    index.advance(600)
    slow.come(len(CONTENT))
    index.settle()

    assert connection.responses()[0].body == CONTENT


def test_a_client_that_stalls_is_dropped_and_the_body_let_go():
    slow = Slow(readable=len(CONTENT))
    index = serving(slow)
    connection = index.connect()
    connection.pause_reading()
    connection.ask(PATH)
    index.advance(200)

    assert connection.closed
    assert slow.closed == 1


# -- Before the head


def test_what_fails_before_its_first_byte_is_an_answer_that_says_so():
    slow = Slow()
    index = serving(slow)
    connection = index.connect()
    connection.ask(PATH)
    index.advance(2)
    assert connection.received == b""
    slow.fail(BadGateway("The upstream lists this file, but does not have it."))
    index.settle()

    assert b" 502 " in connection.received.split(b"\r\n")[0]
    assert b"does not have it" in connection.received
    assert slow.closed == 1


def test_there_is_no_head_without_a_body():
    """A client that waits for a place, or for a slow upstream, gets 503, or gives up, and retries."""
    slow = Slow()
    index = serving(slow)
    connection = index.connect()
    connection.ask(PATH)
    index.advance(24)
    assert connection.received == b""
    index.advance(1)

    assert b" 503 " in connection.received.split(b"\r\n")[0]
    assert b"\r\nRetry-After: 5\r\n" in connection.received
    assert slow.closed == 1


def test_the_first_bytes_bring_the_head_with_them():
    slow = Slow()
    index = serving(slow)
    connection = index.connect()
    connection.ask(PATH)
    slow.come(10)
    index.settle()

    assert connection.received.endswith(b"\r\n\r\n" + CONTENT[:10])


def test_a_client_that_goes_before_the_head_lets_the_body_go():
    slow = Slow()
    index = serving(slow)
    connection = index.connect()
    connection.ask(PATH)
    connection.disconnect()
    slow.come(10)
    index.advance(5)

    assert slow.closed == 1


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [("HEAD", {}, 200), ("GET", {"If-None-Match": '"' + "ab" * 32 + '"'}, 304)],
)
def test_nothing_is_fetched_for_an_answer_without_a_body(method: str, headers: dict[str, str], status: int):
    slow = Slow()
    connection = serving(slow).connect()
    connection.ask(PATH, method=method, headers=headers)

    assert connection.responses(method)[0].status == status
    assert not slow.begun
    assert slow.closed == 1


# -- Parts


def settled(slow: Slow, index: IndexInMemory, wants_range: bool = True) -> list[Any]:
    body = FileBody(content=slow, size=len(slow.content), sha256=None, modified=0.0)
    outcome: list[Any] = []
    Deferred.fromCoroutine(wait_until_sendable(body, wants_range, index.clock)).addBoth(outcome.append)
    return outcome


def test_a_part_waits_for_the_whole():
    slow = Slow()
    index = serving(slow)
    outcome = settled(slow, index)
    slow.come(len(CONTENT) - 1)
    assert outcome == []
    slow.come(len(CONTENT))

    body = outcome[0]
    assert isinstance(body.content, CompleteContent)
    served = IndexInMemory(OneFile(body))
    reply = served.get(PATH, headers={"Range": "bytes=100000-299999"})
    assert reply.status == 206
    assert reply.body == CONTENT[100_000:300_000]
    assert slow.closed == 1


def test_a_part_is_not_waited_for_too_long():
    slow = Slow()
    index = serving(slow)
    outcome = settled(slow, index)
    index.clock.advance(25)

    assert isinstance(outcome[0], Failure)
    assert outcome[0].check(NotReady)
    assert outcome[0].value.retry_after == 5
    assert slow.closed == 1


def test_a_part_of_what_never_comes_is_an_error():
    slow = Slow(error=Unavailable("It is down."))
    outcome = settled(slow, serving(slow))

    assert outcome[0].check(Unavailable)
    assert slow.closed == 1


def test_what_is_passed_on_without_being_kept_is_sent_whole():
    slow = Slow(readable=len(CONTENT))
    slow.wait_complete = lambda: fail(NotImplementedHere("It is passed on."))  # type: ignore[method-assign]
    outcome = settled(slow, serving(slow))

    assert outcome[0].content is slow
    reply = serving(slow).get(PATH, headers={"Range": "bytes=0-9"})
    assert (reply.status, reply.body) == (200, CONTENT)


@pytest.mark.parametrize("content", [b"bytes", Slow(readable=1)])
def test_what_needs_no_wait_is_given_back(content: Any):
    index = serving(Slow())
    body = FileBody(content=content, size=5, sha256=None, modified=0.0)
    outcome: list[Any] = []
    Deferred.fromCoroutine(wait_until_sendable(body, False, index.clock)).addBoth(outcome.append)

    assert outcome == [body]
