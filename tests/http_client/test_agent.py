"""treq over our agent: its comforts, within our bounds. All in memory."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_index.errors import BadGateway, Unavailable
from twisted_index.http_client.agent import BoundedAgent, UpstreamAgent, is_archive_coding
from twisted_index.http_client.body import MemoryBudget, TruncatedBody
from twisted_index.http_client.credentials import BasicCredentials
from twisted_index.http_client.egress import AddressRefused, EgressPolicy
from twisted_index.http_client.treq_client import ExactURL, client_over
from twisted_index.http_client.urls import Origin, origin_of

URL = "http://upstream.example/simple/demo/"
LIMIT, IDLE = 100_000, 20.0
FILES = ["f.tar.gz", "f.TGZ"]


class Server(Resource):
    """Answers every request alike, and remembers their fields."""

    isLeaf = True

    def __init__(self, body: bytes = b"", *, ends: bool = True, **fields: str) -> None:
        super().__init__()
        self.body, self.ends, self.fields = body, ends, fields
        self.seen: list[dict[bytes, list[bytes]]] = []
        self.posted: list[bytes] = []
        self.lost: list[Any] = []

    def render_GET(self, request: Any) -> Any:
        self.seen.append(dict(request.requestHeaders.getAllRawHeaders()))
        for name, value in self.fields.items():
            request.setHeader(name.replace("_", "-"), value)
        if self.ends:
            return self.body
        request.notifyFinish().addErrback(self.lost.append)
        request.write(self.body)
        return NOT_DONE_YET

    def render_POST(self, request: Any) -> bytes:
        self.posted.append(request.content.read())
        for name, value in self.fields.items():
            request.setHeader(name.replace("_", "-"), value)
        return b""


class Bench:
    """A server, and a treq client over our agent."""

    def __init__(self, server: Server, **options: Any) -> None:
        self.clock = Clock()
        self.traversal = RequestTraversalAgent(server)
        self.agent = BoundedAgent(
            self.traversal, self.clock, **({"peer": "upstream", "idle": IDLE, "limit": LIMIT} | options)
        )
        self.treq = client_over(self.agent)

    def begin(self, url: str = URL, *, accept: str | None = "gzip", method: str = "GET", **more: Any) -> Any:
        fields = {} if accept is None else {"Accept-Encoding": accept}
        asking = self.treq.request(
            method,
            ExactURL(url),
            headers=Headers({name: [value] for name, value in fields.items()}),
            allow_redirects=False,
            unbuffered=True,
            reactor=self.clock,
            **more,
        )
        self.traversal.flush()
        return asking

    def get(self, url: str = URL, **more: Any) -> Any:
        return now(self.begin(url, **more))

    def content(self, url: str = URL, **more: Any) -> bytes:
        return now(self.get(url, **more).content())


def now(deferred: Deferred[Any]) -> Any:
    """Give the result that is there already, or raise what it failed with."""
    outcome: list[Any] = []
    deferred.addBoth(outcome.append)
    assert outcome, "there is no result yet"
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]


def test_it_is_an_agent_and_gives_responses():
    bench = Bench(Server(b"x"))

    verifyObject(IAgent, bench.agent)
    verifyObject(IResponse, bench.get().original)


@pytest.mark.parametrize(("accept", "sent"), [("gzip", b"gzip"), ("identity", b"identity"), (None, b"gzip")])
def test_the_wire_has_one_accept_encoding(accept: str | None, sent: bytes):
    server = Server(b"x")
    Bench(server).get(accept=accept)

    assert server.seen[0][b"Accept-Encoding"] == [sent]


def test_gzip_is_decoded_once():
    server = Server(gzip.compress(b'{"files": []}', mtime=0), content_encoding="gzip")

    assert now(Bench(server).get().json()) == {"files": []}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (gzip.compress(b" " * 10_000_000, mtime=0), "more than 100,000 bytes"),
        (gzip.compress(json.dumps(list(range(9999))).encode(), mtime=0)[:60], "response is truncated"),
        (gzip.compress(b"x", mtime=0) + b"\x1f\x8brubbish", "is not gzip"),
    ],
)
def test_the_content_that_treq_reads_is_bounded_and_whole(body: bytes, sentence: str):
    with pytest.raises(BadGateway, match=sentence):
        Bench(Server(body, content_encoding="gzip")).content()


def test_what_is_not_coded_is_bounded_too():
    assert len(Bench(Server(b"x" * LIMIT)).content()) == LIMIT
    with pytest.raises(BadGateway, match="more than"):
        Bench(Server(b"x" * (LIMIT + 1))).content()


@pytest.mark.parametrize("coding", ["br", "gzip,gzip", "deflate"])
def test_a_coding_that_was_not_asked_for_is_told(coding: str):
    assert Bench(Server(b"x", content_encoding=coding)).get().original.body.coding == coding
    assert not Bench(Server(gzip.compress(b"x"), content_encoding="gzip")).get().original.body.coding


@pytest.mark.parametrize("name", FILES)
def test_what_a_server_calls_gzip_is_left_as_it_is_where_that_is_not_asked_for(name: str):
    packed = gzip.compress(b"tar", mtime=0)
    bench = Bench(Server(packed, content_encoding="gzip"))

    assert bench.content(f"http://upstream.example/{name}", accept="identity") == packed
    assert is_archive_coding("gzip", name)
    assert not is_archive_coding("br", name)
    assert not is_archive_coding("gzip", "f.whl")


def test_no_cookie_comes_back():
    server = Server(b"x", set_cookie="a=b; Path=/")
    bench = Bench(server)
    responses = [bench.get(), bench.get()]

    assert [b"Cookie" in seen for seen in server.seen] == [False, False]
    assert not list(responses[1].cookies())


def test_a_redirect_is_a_response_like_any_other():
    class Redirect(Server):
        def render_GET(self, request: Any) -> bytes:
            request.setResponseCode(302)
            request.setHeader("Location", "/elsewhere")
            return b""

    assert Bench(Redirect()).get().code == 302


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1]:8080/x?a=%2f",
        "http://my_host:8080/a%2Fb",
        "http://a.example/%7Euser//x/../y;z?q&&=&a+b=%zz",
        "https://a.example:443/",
    ],
)
def test_a_url_reaches_the_agent_as_it_is_spelled(url: str):
    seen: list[bytes] = []

    @implementer(IAgent)
    class Recorder:
        def request(self, method: bytes, uri: bytes, headers: Any = None, body: Any = None) -> Deferred[Any]:
            seen.append(uri)
            return fail(ZeroDivisionError())

    asking = client_over(Recorder()).get(ExactURL(url), reactor=Clock())

    with pytest.raises(ZeroDivisionError):
        now(asking)
    assert seen == [url.encode()]


def test_only_the_origin_of_an_account_is_told_it():
    server = Server(b"x")
    bench = Bench(
        server, credentials={origin_of(URL): BasicCredentials(user=b"me", password=b"secret")}, via=b"1.1 us"
    )
    bench.get()
    bench.get("http://upstream.example:81/")
    first, second = server.seen

    assert first[b"Authorization"] == [b"Basic " + base64.b64encode(b"me:secret")]
    assert b"Authorization" not in second
    assert first[b"Via"] == second[b"Via"] == [b"1.1 us"]
    assert first[b"User-Agent"][0].startswith(b"twisted-index")


def test_a_body_is_sent_without_a_reactor():
    server = Server()
    Bench(server).get(method="POST", data=b'{"x": 1}')

    assert server.posted == [b'{"x": 1}']


# -- A body on its way


def test_a_body_that_stalls_is_given_up_by_the_clock_that_was_given():
    server = Server(b"x", ends=False)
    bench = Bench(server)
    reading = bench.get().content()
    bench.clock.advance(IDLE - 0.1)
    bench.clock.advance(0.2)
    bench.traversal.flush()

    with pytest.raises(TruncatedBody, match="stalled in the middle"):
        now(reading)
    assert server.lost
    assert bench.clock.getDelayedCalls() == []


def test_a_body_that_is_paused_is_not():
    bench = Bench(Server(b"x", ends=False))
    body = bench.get().original.body
    body.pause()
    reading = body.deliver(lambda _: None)
    bench.clock.advance(IDLE * 9)
    assert not reading.called
    body.resume()
    bench.clock.advance(IDLE)

    with pytest.raises(TruncatedBody):
        now(reading)


def test_reading_that_is_cancelled_aborts_the_connection():
    server = Server(b"x", ends=False)
    bench = Bench(server)
    body, ended = bench.get().original.body, []
    body.on_finished = lambda: ended.append(1)
    reading = body.deliver(lambda _: None)
    reading.addErrback(lambda _: None)
    reading.cancel()
    bench.traversal.flush()

    assert server.lost
    assert ended == [1]
    assert bench.clock.getDelayedCalls() == []


@pytest.mark.parametrize("method", ["loseConnection", "abortConnection", "stopProducing"])
def test_a_protocol_that_reads_can_let_go_of_the_connection(method: str):
    class Reader(Protocol):
        reason: Any = None

        def dataReceived(self, data: bytes) -> None:
            getattr(self.transport, method)()

        def connectionLost(self, reason: Any = None) -> None:
            self.reason = reason

    server, reader = Server(b"x", ends=False), Reader()
    bench = Bench(server)
    bench.get().deliverBody(reader)
    bench.traversal.flush()

    assert server.lost
    assert reader.reason.check(TruncatedBody)


def test_a_collector_that_raises_lets_go_of_the_connection():
    def refuse(_data: bytes) -> None:
        raise ZeroDivisionError

    server = Server(b"x", ends=False)
    bench = Bench(server)
    with pytest.raises(ZeroDivisionError):
        now(bench.get().collect(refuse))
    bench.traversal.flush()

    assert server.lost


@pytest.mark.parametrize(("size", "is_lost"), [(10, False), (70_000, True)])
def test_an_unwanted_body_is_dropped(size: int, is_lost: bool):
    server = Server(b"x" * size, ends=False)
    bench = Bench(server)
    bench.get().original.body.drain()
    bench.traversal.flush()

    assert bool(server.lost) is is_lost


def test_what_is_held_in_memory_is_taken_from_a_budget_and_given_back():
    budget = MemoryBudget(1500)

    def read(size: int) -> bytes:
        with budget.reserve() as reserve:
            body = Bench(Server(b"x" * size)).get().original.body
            return now(Deferred.fromCoroutine(body.read(reserve)))

    assert len(read(1500)) == 1500
    with pytest.raises(Unavailable, match="Too many large pages"):
        read(1501)
    assert budget.available == 1500


def test_the_coding_of_an_answer_that_is_not_read_does_not_matter():
    """A webhook that was delivered is not sent again because of it."""
    assert Bench(Server(content_encoding="br")).get(method="POST", data=b"{}").code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "0"),
        *("localhost", "localhost.", "a.localhost", "169.254.169.254", "2852039166"),
    ],
)
def test_no_spelling_of_an_inner_address_is_passed_to_a_proxy(host: str):
    """The proxy would resolve it, where nothing of ours can check what comes of that."""
    own = Origin("http", "151.101.0.223", 80)
    environ = {"http_proxy": "http://127.0.0.1:9"}
    connections = UpstreamAgent(
        MemoryReactorClock(), own, egress_policy=EgressPolicy(own), environ=environ, timeout=1.0
    )

    with pytest.raises(AddressRefused):
        connections.request(b"GET", f"http://{host}/".encode())


def test_a_body_that_is_dropped_and_drips_is_given_up_soon():
    """Else every answer that is not read would hold a connection for as long as its server likes."""
    server = Server(b"x" * 100, ends=False)
    bench = Bench(server)
    bench.get().original.body.drain()
    for _ in range(4):
        bench.clock.advance(1.0)
        bench.traversal.flush()
    assert not server.lost

    bench.clock.advance(1.0)
    bench.traversal.flush()
    assert server.lost
