"""Two slashes in a row are one: micropip adds one to the slash at the end of an index URL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.kit.rights import GuardedIndex
from twisted_index.access.trusted_proxies import TrustedProxies
from twisted_index.testing import IndexInMemory, MemorySource, SiteInMemory, make_wheel
from twisted_index.testing.transport import CLIENT
from twisted_index.web.requests.routes import collapse_slashes, has_empty_segments
from twisted_index.web.resource import IndexResource

WHEEL = make_wheel("demo", "1.0")
FORWARDED = {
    "X-Forwarded-For": "192.0.2.7",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "/python",
}

CASES = [
    ("/simple//demo/", "/simple/demo/"),
    ("/simple//", "/simple/"),
    ("//simple/", "/simple/"),
    ("/simple/demo//", "/simple/demo/"),
    ("/simple//demo", "/simple/demo"),
    (f"/simple//demo//{WHEEL.filename}.metadata", f"/simple/demo/{WHEEL.filename}.metadata"),
    ("/pypi//demo/json", "/pypi/demo/json"),
    ("/-//health", "/-/health"),
    ("//", "/"),
    ("////", "/"),
    ("/simple///demo///", "/simple/demo/"),
]
#: What would lead to another host, or out of the index, if it were passed on as it came.
TRICKS = [
    ("//evil.example", "/evil.example"),
    ("//evil.example//", "/evil.example/"),
    ("///evil.example", "/evil.example"),
    ("//evil.example/%2F..", "/evil.example/%2F.."),
    ("/\\evil.example//", "/%5Cevil.example/"),
    ("//\\evil.example", "/%5Cevil.example"),
    ("/%5Cevil.example//", "/%5Cevil.example/"),
    ("/%2Fevil.example//", "/%2Fevil.example/"),
    ("//%2F%2Fevil.example", "/%2F%2Fevil.example"),
    ("//user@evil.example:80//", "/user@evil.example:80/"),
    ("//http://evil.example", "/http:/evil.example"),
    ("//%0d%0aX:%20b", "/%0D%0AX:%20b"),
    ("//%09/evil.example", "/%09/evil.example"),
    ("//a%3Fb%23c", "/a%3Fb%23c"),
    ("//%25%32%66", "/%252f"),
    ("//%FF%00", "/%FF%00"),
    ("http://evil.example//simple/", "/simple/"),
    ("http://evil.example//evil.example//", "/evil.example/"),
]


@pytest.fixture(scope="module")
def index() -> IndexInMemory:
    return IndexInMemory(MemorySource(WHEEL))


@pytest.mark.parametrize("query", ["", "?", "?a=b&c", "?//evil.example//"])
@pytest.mark.parametrize(("asked", "meant"), CASES + TRICKS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_path_with_empty_segments_leads_to_the_one_without(
    index: IndexInMemory, method: str, asked: str, meant: str, query: str
):
    """On the same host, for ever, in one step, with its query."""
    reply = index.get(asked + query, method=method)
    assert (reply.status, reply.headers["Location"]) == (301, meant + query)
    assert reply.headers.get("X") is None
    led = urlsplit(urljoin("http://index.test/some/page", reply.headers["Location"]))
    assert (led.netloc, led.path) == ("index.test", meant)


@pytest.mark.parametrize(("asked", "meant"), CASES)
def test_what_it_leads_to_answers(index: IndexInMemory, asked: str, meant: str):
    assert index.get(meant + ("/" if meant == "/simple/demo" else "")).status == 200


@pytest.mark.parametrize("path", ["/simple/%2Fdemo/", "/%2Fsimple/", "/simple%2F/", "/simple%2F%2Fdemo/"])
def test_an_escaped_slash_is_no_empty_segment(index: IndexInMemory, path: str):
    assert index.get(path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_what_would_change_something_is_not_led_anywhere(index: IndexInMemory, method: str):
    """A client that follows would repeat it as a GET, and report success."""
    reply = index.get("/simple//demo/", method=method)
    assert reply.status == 405
    assert "Location" not in reply.headers


@pytest.mark.parametrize("path", ["/simple//secret-lib/", "/simple//not-there/", "//simple/secret-lib/"])
def test_the_redirect_tells_nothing_of_what_is_there(tmp_path: Path, path: str):
    """Rights are asked for where it leads."""
    guarded = GuardedIndex(tmp_path)
    reply = guarded.get(path)
    assert (reply.status, reply.headers["Location"]) == (301, path.replace("//", "/"))
    if "secret" in path:
        assert guarded.get(reply.headers["Location"]).status == 401


def below(prefix: bytes, proxies: tuple[str, ...] = (), public_url: str | None = None) -> SiteInMemory:
    root = Resource()
    trusted = TrustedProxies(proxies)
    root.putChild(prefix, IndexResource(MemorySource(WHEEL), proxies=trusted, public_url=public_url))
    clock = Clock()
    return SiteInMemory(Site(root, reactor=clock), clock)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("/x/simple//demo/?a", "/x/simple/demo/?a"),
        ("/x//", "/x/"),
        ("/x//evil.example//", "/x/evil.example/"),
        ("/x///evil.example", "/x/evil.example"),
    ],
)
def test_below_a_prefix_the_prefix_stays(asked: str, meant: str):
    assert below(b"x").get(asked).headers["Location"] == meant


def test_a_prefix_that_needs_escapes_keeps_them():
    assert below("a b/é".encode()).get("/a%20b%2F%C3%A9//").headers["Location"] == "/a%20b%2F%C3%A9/"


def test_behind_a_trusted_proxy_its_prefix_stays():
    for proxies, location in (((CLIENT.host,), "/python/x/simple/"), ((), "/x/simple/")):
        reply = below(b"x", proxies).get("/x//simple/", headers=FORWARDED)
        assert reply.headers["Location"] == location


@pytest.mark.parametrize(
    ("public_url", "location"),
    [
        ("https://packages.example/python", "/python/simple/"),
        ("https://packages.example/python/", "/python/simple/"),
        ("https://packages.example//evil.example", "/evil.example/simple/"),
        ("https://packages.example/é", "/%C3%A9/simple/"),
        ("https://packages.example", "/simple/"),
    ],
)
def test_a_public_url_says_where_the_index_is(public_url: str, location: str):
    """A proxy that takes its prefix away and says nothing of it leaves no other way to know."""
    assert below(b"x", public_url=public_url).get("/x//simple/").headers["Location"] == location


@given(st.lists(st.binary(max_size=6) | st.sampled_from([b"", b"..", b".", b"\\", b"/", b"//"]), min_size=1))
def test_a_folded_path_begins_with_one_slash_and_has_no_two(segments: list[bytes]):
    path = collapse_slashes(segments)
    assert path.startswith("/")
    assert "//" not in path
    assert "\\" not in path
    assert path.isascii()
    assert path.isprintable()
    assert collapse_slashes([part.encode() for part in path[1:].split("/")]).count("/") == path.count("/")
    assert not has_empty_segments([part.encode() for part in path[1:].split("/")])
