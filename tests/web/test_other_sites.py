"""What web pages of other sites may read with `cors`, and URLs that need no resolving."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.kit.rights import GuardedIndex, as_user
from twisted_index.access.trusted_proxies import TrustedProxies
from twisted_index.errors import Unavailable
from twisted_index.testing import (
    IndexInMemory,
    MemorySource,
    SiteInMemory,
    SynchronousRunner,
    make_sdist,
    make_wheel,
)
from twisted_index.testing.transport import CLIENT
from twisted_index.web.resource import IndexResource

JSON = "application/vnd.pypi.simple.v1+json"
WHEEL = make_wheel("demo", "1.0+local.1")
SDIST = make_sdist("demo", "1.0")
QUOTED = WHEEL.filename.replace("+", "%2B")
PAGE = "/simple/demo/"


def index_of(**more: Any) -> IndexInMemory:
    return IndexInMemory(MemorySource(WHEEL, SDIST), cors=True, **more)


def ask(index: SiteInMemory, host: str = "a.test", path: str = PAGE, **fields: str) -> Any:
    more = {name.replace("_", "-"): text for name, text in fields.items()}
    return index.get(path, headers={"Host": host, "Accept": JSON, **more})


def urls(reply: Any) -> set[str]:
    assert reply.status == 200, reply
    return {file["url"] for file in json.loads(reply.body)["files"]}


def below(base: str) -> set[str]:
    return {f"{base}/simple/demo/{name}" for name in (QUOTED, SDIST.filename)}


# -- Whole URLs


@pytest.mark.parametrize("path", [PAGE, "/demo/", f"{PAGE}?format={JSON.replace('+', '%2B')}"])
@pytest.mark.parametrize(
    "host", ["a.test", "a.test:8080", "192.0.2.1", "[2001:db8::1]:80", "my_box", "a.test."]
)
def test_a_json_page_names_its_files_by_the_address_that_its_client_used(path: str, host: str):
    """micropip takes the URLs of a JSON page as they are."""
    assert urls(ask(index_of(), host, path)) == below(f"http://{host}")


def test_without_cors_and_in_html_urls_are_relative():
    """They hold below any prefix and behind any proxy."""
    plain = IndexInMemory(MemorySource(WHEEL, SDIST))
    assert urls(ask(plain)) == {QUOTED, SDIST.filename}
    for page in (PAGE, "/packages/"):
        assert b"http://a.test" not in index_of().get(page, headers={"Host": "a.test"}).body


def test_each_address_gets_a_representation_of_its_own():
    """Neither its bytes nor its tag are those of another, whichever was requested before."""
    index = index_of()
    first, second = ask(index, "a.test"), ask(index, "b.test")
    assert urls(first) == below("http://a.test")
    assert urls(second) == below("http://b.test")
    assert first.headers["ETag"] != second.headers["ETag"]
    assert urls(ask(index, "a.test")) == below("http://a.test")


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_tag_is_good_for_the_address_it_was_given_for_and_no_other(coding: str):
    index = index_of()
    known = ask(index, Accept_Encoding=coding)
    body = gzip.decompress(known.body) if "Content-Encoding" in known.headers else known.body
    assert b"http://a.test/simple/demo/" in body
    again = ask(index, Accept_Encoding=coding, If_None_Match=known.headers["ETag"])
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", known.headers["ETag"])
    assert again.headers["Cache-Control"] == known.headers["Cache-Control"]
    assert ask(index, "b.test", Accept_Encoding=coding, If_None_Match=known.headers["ETag"]).status == 200


def test_no_cache_that_is_shared_keeps_what_repeats_an_address():
    """What a trusted proxy says of the address is in no field that a cache looks at."""
    for path in (PAGE, "/pypi/demo/json", "/demo/json"):
        assert ask(index_of(), path=path).headers["Cache-Control"] == "private, no-cache"
        fixed = index_of(public_url="https://index.example")
        assert ask(fixed, path=path).headers["Cache-Control"] == "no-cache"


def test_head_is_get_without_the_body():
    index = index_of()
    got = ask(index)
    head = index.head(PAGE, headers={"Host": "a.test", "Accept": JSON})
    assert (head.status, head.body) == (200, b"")
    assert {**head.headers, "Date": ""} == {**got.headers, "Date": ""}


@pytest.mark.parametrize("public", ["https://index.example", "https://index.example/python/"])
def test_a_public_url_stands_in_the_page_whatever_the_request_says(public: str):
    index = index_of(public_url=public)
    assert urls(ask(index)) == urls(ask(index, "b.test")) == below(public.rstrip("/"))
    assert ask(index).headers["ETag"] == ask(index, "b.test").headers["ETag"]


def prefixed(proxies: tuple[str, ...] = (), **more: Any) -> SiteInMemory:
    clock = Clock()
    root = Resource()
    source = MemorySource(WHEEL, SDIST)
    trusted = TrustedProxies(proxies)
    root.putChild(
        b"in dex", IndexResource(source, cors=True, worker=SynchronousRunner(), proxies=trusted, **more)
    )
    return SiteInMemory(Site(root, reactor=clock), clock)


FORWARDED = {
    "X_Forwarded_For": "192.0.2.7",
    "X_Forwarded_Proto": "https",
    "X_Forwarded_Host": "public.test",
    "X_Forwarded_Prefix": "/python",
}


def test_a_page_below_a_prefix_names_the_prefix():
    site = prefixed()
    assert urls(ask(site, path=f"/in%20dex{PAGE}")) == below("http://a.test/in%20dex")


def test_a_trusted_proxy_says_by_which_address_its_client_came_and_nobody_else():
    for proxies, base in (((CLIENT.host,), "https://public.test/python"), ((), "http://a.test")):
        reply = ask(prefixed(proxies), path=f"/in%20dex{PAGE}", **FORWARDED)
        assert urls(reply) == below(f"{base}/in%20dex")


@pytest.mark.parametrize(
    "host",
    ["[1.2.3.4]", "[::::]", "[::1]:99999", "a.test:0", "a.test:99999", "a,b", "%61.test", "-", "[::1]x", "!"],
)
@pytest.mark.parametrize("path", [PAGE, "/", "/pypi/demo/json", "//simple/demo/"])
def test_a_host_that_is_none_is_repeated_in_no_answer(host: str, path: str):
    """And costs no answer either: it is refused, or the address of the connection stands in its place."""
    for accept in (JSON, "text/html"):
        index = index_of()
        reply = index.get(path, headers={"Host": host, "Accept": accept})
        assert reply.status in (200, 301, 400)
        assert f"//{host}".encode() not in reply.body
        assert host not in reply.headers.get("Location", "/")


def test_who_may_not_share_a_page_gets_it_at_his_own_address(tmp_path: Path):
    index = GuardedIndex(tmp_path, cors=True)
    reply = ask(index, path="/simple/secret-lib/", **as_user("alice"))
    assert urls(reply) == {"http://a.test/simple/secret-lib/secret_lib-1.0-py3-none-any.whl"}
    assert reply.headers["Cache-Control"] == "private, no-cache"
    assert ask(index, path="/simple/secret-lib/").status == 401


# -- The fast path


class Socket:
    """Takes all at once."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def send(self, data: bytes) -> int:
        self._transport.received += data
        return len(data)


def short_answers(index: IndexInMemory, *requests: bytes) -> int:
    """Say how many requests are answered on the fast path."""
    way: Any = index.site.fast_path  # type: ignore[attr-defined]
    answer, taken = way.try_answer, []

    def counted(channel: Any, data: bytes) -> bool:
        taken.append(answer(channel, data))
        return bool(taken[-1])

    way.try_answer = counted
    for request in requests:
        connection = index.connect()
        transport: Any = connection._transport
        transport.socket = Socket(transport)
        connection.send(request)
    return sum(taken)


def plain(host: str, accept: str) -> bytes:
    return f"GET {PAGE} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n".encode()


def test_only_a_page_with_a_fixed_address_is_kept():
    """Else clients with other Host fields would fill the memory."""
    hosts = [plain(f"h{number}.test", JSON) for number in range(5)]
    assert short_answers(index_of(), *hosts) == 0
    assert short_answers(index_of(public_url="https://index.example"), *hosts) == 4
    assert short_answers(index_of(), *(plain("a.test", "text/html") for _ in range(3))) == 2


def test_a_page_that_is_written_each_time_is_as_fresh_as_any():
    index = index_of()
    assert urls(ask(index)) == below("http://a.test")
    newer = make_wheel("demo", "2.0")
    index.source.add(newer)
    assert f"http://a.test{PAGE}{newer.filename}" in urls(ask(index))
    assert ask(index, path="/simple/later/").status == 404
    index.source.add(make_wheel("later", "1.0"))
    assert ask(index, path="/simple/later/").status == 200


# -- What scripts of other sites learn


def origins(reply: Any) -> tuple[Any, Any]:
    return reply.headers.get("Access-Control-Allow-Origin"), reply.headers.get(
        "Access-Control-Allow-Credentials"
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (PAGE, 200),
        (f"{PAGE}{QUOTED}", 200),
        (f"{PAGE}{QUOTED}.metadata", 200),
        ("/simple", 301),
        ("/simple/DEMO", 301),
        ("//simple/demo/", 301),
        ("/pypi/demo", 301),
        ("/packages/" + QUOTED, 302),
        ("/simple/nope/", 404),
        ("/pypi/nope/json", 404),
        ("/%FF", 404),
    ],
)
def test_every_answer_can_be_read(path: str, status: int):
    """Of one without the field a script learns nothing but that it failed."""
    reply = index_of().get(path)
    assert (reply.status, origins(reply)) == (status, ("*", None))


def test_refusals_for_want_of_rights_can_be_read(tmp_path: Path):
    index = GuardedIndex(tmp_path, cors=True)
    for fields, status in (({}, 401), (as_user("bob"), 403)):
        reply = index.get("/simple/secret-lib/", headers=fields)
        assert (reply.status, origins(reply)) == (status, ("*", None))


def test_failures_can_be_read_and_are_styled_as_any():
    index = index_of()
    index.source.failure = Unavailable("Not now.", 3)
    reply = index.get(PAGE)
    assert (reply.status, origins(reply), reply.headers["Retry-After"]) == (503, ("*", None), "3")
    assert "Retry-After" in reply.headers["Access-Control-Expose-Headers"]


def test_a_request_without_a_host_can_be_read_about():
    connection = index_of().connect()
    connection.send(b"GET / HTTP/1.1\r\n\r\n")
    (reply,) = connection.responses("GET")
    assert (reply.status, origins(reply)) == (400, ("*", None))


def test_scripts_see_the_fields_by_which_files_are_read_in_parts():
    reply = index_of().get(f"{PAGE}{QUOTED}", headers={"Range": "bytes=-5"})
    assert reply.status == 206
    exposed = {name.strip() for name in reply.headers["Access-Control-Expose-Headers"].split(",")}
    assert {"ETag", "Content-Range", "Accept-Ranges"} <= exposed


@pytest.mark.parametrize(
    "path", [PAGE, "/simple//demo/", "//simple/demo/", f"{PAGE}{QUOTED}", "/simple", "//"]
)
def test_the_question_before_is_answered_at_once(path: str):
    """A browser takes no redirect for an answer to it."""
    reply = index_of().get(path, method="OPTIONS", headers={"Origin": "https://tool.test"})
    assert (reply.status, origins(reply)) == (204, ("*", None))
    allowed = {name.strip().lower() for name in reply.headers["Access-Control-Allow-Headers"].split(",")}
    assert {"range", "if-range", "if-none-match", "content-type"} <= allowed
    assert "authorization" not in allowed
    assert reply.headers["Access-Control-Allow-Methods"] == "GET"


def test_with_users_a_script_may_say_who_asks(tmp_path: Path):
    """The question itself comes without a password, whatever it is about."""
    index = GuardedIndex(tmp_path, cors=True)
    for path in ("/simple/secret-lib/", "/simple/secret-lib/x.whl", "/simple//secret-lib/", "/-/problems"):
        reply = index.get(path, method="OPTIONS")
        assert (reply.status, origins(reply)) == (204, ("*", None))
        assert "Authorization" in reply.headers["Access-Control-Allow-Headers"].split(", ")


def test_without_cors_nothing_is_said_of_other_sites(tmp_path: Path):
    for index in (IndexInMemory(MemorySource(WHEEL)), GuardedIndex(tmp_path)):
        for method in ("GET", "OPTIONS"):
            headers = index.get(PAGE, method=method).headers
            assert [name for name in headers if name.lower().startswith("access-control-")] == []
