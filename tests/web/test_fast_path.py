"""The fast path and the ordinary way give the same bytes, whatever comes and however it is cut."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from twisted.protocols.policies import ThrottlingFactory, TimeoutFactory, WrappingFactory

from tests.kit.memory_indexes import MemoryIndexes
from tests.kit.properties import examples
from twisted_index.indexes.scope import Scope
from twisted_index.testing import IndexInMemory, MemorySource, make_sdist, make_wheel
from twisted_index.testing.transport import MemoryTransport
from twisted_index.web.server import channel
from twisted_index.web.server.channel import IndexChannel
from twisted_index.web.server.protocol import IndexProtocol

JSON = "application/vnd.pypi.simple.v1+json"
WHEEL = make_wheel("demo", "1.0", requires_python=">=3.8")
SDIST = make_sdist("demo", "1.0+local.1")


#: What URLs of indexes begin with, besides that of the one without a name.
SCOPES = ("/+dev", "/+dev/+at/2026-11-01")


class Socket:
    """A socket that takes some bytes at once and not the rest."""

    def __init__(self, transport: MemoryTransport, takes: int) -> None:
        self._transport = transport
        self._takes = takes

    def fileno(self) -> int:
        raise OSError

    def send(self, data: bytes) -> int:
        taken = data[: self._takes]
        if not taken or not self._transport.is_reading:
            raise BlockingIOError
        self._transport.received += taken
        return len(taken)


class Pair:
    """One source behind two servers: one that may take the fast path, and one that may not."""

    def __init__(self, takes: int = 1 << 20, indexes: MemoryIndexes | None = None, **more: Any) -> None:
        source = MemorySource()
        for made in (WHEEL, SDIST, make_wheel("other", "2.0")):
            source.add(made)
        self.takes = takes
        if indexes is None:
            indexes = MemoryIndexes()
            indexes.set(source)
            indexes.set(MemorySource(make_wheel("demo", "1.0", requires=["other"])), "dev")
            indexes.set(source, Scope(index="dev", as_of="2026-11-01"))
        self.indexes = more["indexes"] = indexes
        self.short, self.ordinary = IndexInMemory(source, **more), IndexInMemory(source, **more)
        self.ordinary.site.fast_path = None
        for index in (self.short, self.ordinary):
            for accept in (JSON, "*/*", "text/html"):
                for path in ("/simple/", "/simple/demo/", "/simple/nope/", f"/simple/demo/{WHEEL.filename}"):
                    for coding in ("gzip", "identity"):
                        for scope in ("", *SCOPES):
                            fields = {"Accept": accept, "Accept-Encoding": coding}
                            index.get(f"{scope}{path}", headers=fields)
        way = self.short.site.fast_path
        assert way is not None
        self.taken = 0
        answer = way.try_answer

        def counted(channel: IndexChannel, data: bytes) -> bool:
            done = answer(channel, data)
            self.taken += done
            return done

        way.try_answer = counted

    def say(self, pieces: Iterable[bytes]) -> tuple[bytes, bytes]:
        """Say the same to both, and give what both answered, without the date."""
        pieces = list(pieces)
        answers, ends = [], []
        for index in (self.short, self.ordinary):
            connection = index.connect()
            transport = index._transports[-1]
            transport.socket = Socket(transport, self.takes)
            for piece in pieces:
                connection.send(piece)
            answers.append(re.sub(rb"Date: [^\r]+", b"Date:", connection.received))
            ends.append(connection.closed)
            connection.disconnect()
        assert ends[0] is ends[1]
        return answers[0], answers[1]


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair()


def head(path: str, *fields: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join((f"{method} {path} {version}", "Host: index.test", *fields, "", "")).encode("latin-1")


PLAIN = [
    head("/simple/demo/", f"Accept: {JSON}"),
    head("/simple/demo/", f"Accept: {JSON}", "Accept-Encoding: gzip, deflate", "User-Agent: pip/26"),
    head("/simple/demo/", "Accept: */*", method="HEAD"),
    head("/simple/", "Accept: text/html"),
    head("/simple/nope/", f"Accept: {JSON}"),
    head("/simple/nope/", "Accept: text/html", method="HEAD"),
    # Ignored where everyone may read: some tools always send it.
    head("/simple/demo/", "Authorization: Basic eDp5"),
    head("/+dev/simple/demo/", f"Accept: {JSON}"),
    head("/+dev/simple/", "Accept: text/html"),
    head("/+dev/simple/nope/", f"Accept: {JSON}", method="HEAD"),
    head("/+dev/+at/2026-11-01/simple/demo/", "Accept: */*"),
]


@pytest.mark.parametrize("request_bytes", PLAIN)
def test_a_plain_request_is_answered_on_the_fast_path_with_the_same_bytes(pair: Pair, request_bytes: bytes):
    before = pair.taken
    short, ordinary = pair.say([request_bytes])
    assert short == ordinary
    assert short.startswith(b"HTTP/1.1 ")
    assert pair.taken == before + 1


def test_a_client_that_has_the_page_is_told_so_on_the_fast_path(pair: Pair):
    tag = pair.ordinary.get("/simple/demo/", headers={"Accept": JSON}).headers["ETag"]
    for given_tags in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        before = pair.taken
        short, ordinary = pair.say([head("/simple/demo/", f"Accept: {JSON}", f"If-None-Match: {given_tags}")])
        assert short == ordinary
        assert short.startswith(b"HTTP/1.1 304 ")
        assert pair.taken == before + 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        head("/simple/demo/", "Content-Length: 3") + b"abc",
        head("/simple/demo/", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        head("/simple/demo/", "Expect: 100-continue", "Content-Length: 0"),
        head("/simple/demo/", "Upgrade: h2c", "Connection: Upgrade"),
        head("/simple/demo/", "Connection: close, te"),
        head("/simple/demo/", "Accept: */*", "accept: text/html"),
        head("/simple/demo/", "Host: other.test"),
        head("/simple/demo/", "Folded: one", " two"),
        head("/simple/demo/?format=x"),
        head("/simple/demo/", version="HTTP/1.0"),
        head("/simple//"),
        head("/simple/DEMO/"),
        head("/simple/%64emo/"),
        head("/%2Bdev/simple/demo/"),
        head("/+none/simple/demo/"),
        head("/+dev/+dev/simple/demo/"),
        head("/+draft/secret/simple/demo/"),
        head("/+dev"),
        head("/simple/demo/", method="POST"),
        b"\r\n" + PLAIN[0],
        PLAIN[0].replace(b"\r\n", b"\n"),
        PLAIN[0] + PLAIN[1],
        PLAIN[0][:-2],
        b"GET /simple/demo/ HTTP/1.1\r\n\r\n",
    ],
)
def test_whatever_is_not_plain_goes_the_ordinary_way(pair: Pair, request_bytes: bytes):
    before = pair.taken
    short, ordinary = pair.say([request_bytes])
    assert short == ordinary
    assert pair.taken == before


@pytest.mark.parametrize("request_bytes", [*PLAIN, PLAIN[0] + PLAIN[5] + PLAIN[3]])
def test_a_request_may_be_cut_anywhere(pair: Pair, request_bytes: bytes):
    whole = pair.say([request_bytes])[1]
    for at in range(1, len(request_bytes)):
        short, ordinary = pair.say([request_bytes[:at], request_bytes[at:]])
        assert short == ordinary == whole


@pytest.mark.parametrize("takes", [0, 1, 100, 5000])
def test_a_socket_that_takes_only_a_part_gets_the_rest_in_order(takes: int, monkeypatch: pytest.MonkeyPatch):
    pair = Pair(takes)
    monkeypatch.setattr(channel, "DIRECT_TRANSPORTS", (MemoryTransport,))
    short, ordinary = pair.say(PLAIN)
    assert short == ordinary
    assert pair.taken == len(PLAIN)


def test_a_small_file_of_an_index_is_answered_on_the_fast_path(tmp_path: Path):
    WHEEL.write_to(tmp_path)
    with IndexInMemory.of_folders(tmp_path) as folder:
        folder.advance(10)
        indexes = MemoryIndexes()
        indexes.set(MemorySource())
        indexes.set(folder.source, "dev")
        pair = Pair(indexes=indexes)
        request_bytes = head(f"/+dev/simple/demo/{WHEEL.filename}")
        assert len({*pair.say([request_bytes]), *pair.say([request_bytes])}) == 1
        assert pair.taken == 2


def test_after_the_rescan_time_an_index_is_looked_at_again_the_ordinary_way():
    pair = Pair()
    pair.indexes.rescans = True
    for request_bytes in PLAIN:
        short, ordinary = pair.say([request_bytes])
        assert short == ordinary
    assert pair.taken == 0


def test_an_index_that_is_another_now_is_not_answered_on_the_fast_path():
    pair = Pair()
    pair.indexes.set(MemorySource(), "dev")
    short, ordinary = pair.say([head("/+dev/simple/demo/", f"Accept: {JSON}")])
    assert short == ordinary
    assert short.startswith(b"HTTP/1.1 404 ")
    pair.indexes.remove("dev")
    before = pair.taken
    for _ in range(2):
        short, ordinary = pair.say([head("/+dev/simple/demo/", f"Accept: {JSON}")])
        assert short == ordinary
    assert pair.taken == before


@pytest.mark.parametrize("request_bytes", PLAIN)
@pytest.mark.parametrize("public_url", [None, "https://index.example/python"])
def test_with_whole_urls_both_ways_give_the_same_bytes(request_bytes: bytes, public_url: str | None):
    """A JSON page whose URLs have the address of the request never takes the fast path."""
    pair = Pair(cors=True, public_url=public_url)
    short, ordinary = pair.say([request_bytes])
    assert short == ordinary
    repeats_host = public_url is None and b"/demo/" in request_bytes and JSON.encode() in request_bytes
    assert pair.taken == (0 if repeats_host else 1)
    folded = request_bytes.replace(b"/simple/", b"/simple//")
    assert len(set(pair.say([folded]))) == 1


@pytest.mark.parametrize("wrap", [WrappingFactory, TimeoutFactory, ThrottlingFactory])
def test_a_wrapped_transport_gets_the_same_bytes(wrap: type[WrappingFactory]):
    """Bytes go through the wrapper, and not to the socket below it."""
    pair = Pair()
    for index in (pair.short, pair.ordinary):
        wrapped = wrap(index.site)
        index.site.buildProtocol, build = wrapped.buildProtocol, index.site.buildProtocol
        wrapped.wrappedFactory = SimpleNamespace(buildProtocol=build, protocol=None)
    before = pair.taken
    short, ordinary = pair.say([PLAIN[0], PLAIN[5]])
    assert short == ordinary
    assert short.count(b"HTTP/1.1 ") == 2
    assert pair.taken == before + 2


def test_the_next_request_may_have_a_body_and_be_pipelined(pair: Pair):
    refused = head("/simple/demo/", "Content-Length: 5", method="POST") + b"hello"
    short, ordinary = pair.say([PLAIN[0], refused + PLAIN[1], PLAIN[3]])
    assert short == ordinary
    assert short.count(b"HTTP/1.1 ") == 4


def test_an_answer_on_the_fast_path_puts_off_the_end_of_an_idle_connection_as_any_does():
    pair = Pair()
    idle = pair.short.site.limits.idle_timeout
    connection = pair.short.connect()
    transport = pair.short._transports[-1]
    transport.socket = Socket(transport, pair.takes)
    for _ in range(3):
        pair.short.advance(idle * 0.75)
        connection.send(PLAIN[0])
        assert not connection.closed
    pair.short.advance(idle * 0.9)
    assert not connection.closed
    pair.short.advance(idle * 0.2)
    assert connection.closed


def test_a_changed_page_is_not_answered_as_it_was():
    pair = Pair()
    source = pair.short.source
    source.add(make_wheel("demo", "9.9"))
    short, ordinary = pair.say([PLAIN[0], PLAIN[0]])
    assert short == ordinary
    assert short.count(b"demo-9.9-py3-none-any.whl") > 0


def test_twisted_keeps_its_two_layers_so_that_http_2_is_not_lost():
    """The channel stands inside Twisted's switch between HTTP/1.1 and HTTP/2."""
    from twisted.web.http import _GenericHTTPChannelProtocol

    protocol = Pair().short.site.buildProtocol(None)
    assert isinstance(protocol, _GenericHTTPChannelProtocol)
    assert isinstance(protocol, IndexProtocol)
    assert isinstance(protocol._channel, IndexChannel)


_NAMES = ["Accept", "accept", "Accept-Encoding", "If-None-Match", "Connection", "Host", "X-Other", "Range"]
_VALUES = [
    JSON,
    "*/*",
    "gzip",
    "gzip;q=0",
    "*",
    '"x"',
    "keep-alive",
    "close",
    "a b",
    "",
    "bytes=0-1",
    "\t",
    "\x00",
    "é",
]
_PATHS = [
    "/simple/demo/",
    "/simple/",
    "/simple/nope/",
    "/",
    "/simple",
    "/simple/demo",
    "/demo/",
    "*",
    "//",
    "/%2e/",
    *(f"{scope}{path}" for scope in SCOPES for path in ("/simple/demo/", "/simple/", "/simple/nope/", "")),
    "/%2Bdev/simple/demo/",
    "/+dev//simple/demo/",
    "/+other/simple/demo/",
    "/+/",
]


_FILES = [f"{scope}/simple/demo/{file.filename}" for scope in ("", *SCOPES) for file in (WHEEL, SDIST)]


@examples(300, suppress_health_check=list(HealthCheck))
@given(
    requests=st.lists(
        st.tuples(
            st.sampled_from(["GET", "HEAD", "POST", "get", "OPTIONS"]),
            st.sampled_from([*_PATHS, *_FILES]),
            st.lists(st.tuples(st.sampled_from(_NAMES), st.sampled_from(_VALUES)), max_size=4),
            st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]),
            st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r"]),
        ),
        min_size=1,
        max_size=3,
    ),
    cuts=st.lists(st.integers(0, 400), max_size=4),
    noise=st.binary(max_size=8),
)
def test_random_heads_cut_at_random_get_the_same_bytes_on_both_ways(pair: Pair, requests, cuts, noise):
    said = b""
    for method, path, fields, version, end in requests:
        lines = [f"{method} {path} {version}", "Host: index.test", *(f"{n}: {v}" for n, v in fields), "", ""]
        said += end.join(lines).encode("latin-1")
    said += noise
    places = [0, *sorted(min(cut, len(said)) for cut in cuts), len(said)]
    short, ordinary = pair.say(said[a:b] for a, b in pairwise(places) if a < b)
    assert short == ordinary
