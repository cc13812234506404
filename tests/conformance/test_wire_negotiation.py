"""Which representation a client gets (PEP 691, RFC 9110 section 12)."""

from __future__ import annotations

import gzip
import json

import pytest

pytestmark = pytest.mark.places

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"

PAGES = ["/simple/", "/simple/demo/", "/demo/"]

INSTALLERS = {
    "pip and pdm": f"{JSON}, {HTML}; q=0.1, text/html; q=0.01",
    "uv": f"{JSON}, {HTML};q=0.2, text/html;q=0.01",
    "poetry": f"{JSON}, */*;q=0.1",
    "bandersnatch": JSON,
}


@pytest.mark.parametrize("accept", INSTALLERS.values(), ids=INSTALLERS)
@pytest.mark.parametrize("page", PAGES)
def test_installers_get_json(index, page, accept):
    """The Accept that each installer really sends is answered with JSON, its type in lower case."""
    reply = index.get(page, headers={"Accept": accept})

    assert reply.status == 200
    assert reply.media_type == JSON
    assert json.loads(reply.body)["meta"]["api-version"] == "1.4"


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Accept": "*/*"},
        {"Accept": "text/html"},
        {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
        {"Accept": ""},
        {"Accept": ";;;,q="},
        {"Accept": "text/*"},
        {"Accept": f"{JSON};q=0, text/html"},
        {"Accept": f"{JSON};q=0.5, text/html"},
    ],
    ids=str,
)
def test_everyone_else_gets_text_html(index, page, headers):
    """Browsers, curl, old installers and nonsense get HTML (RFC 9110: no Accept means any type)."""
    reply = index.get(page, headers=headers)

    assert reply.status == 200
    assert reply.media_type == "text/html"
    assert reply.body.lower().startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (HTML, HTML),
        ("application/vnd.pypi.simple.latest+json", JSON),
        ("application/vnd.pypi.simple.latest+html", HTML),
        (f"{HTML};q=0.4, {JSON};q=0.3", HTML),
        (f"{JSON} ; q=0.9 , {HTML} ; q=0.1", JSON),
        (JSON.upper(), JSON),
        (f"image/png, {JSON};q=0.001", JSON),
    ],
)
def test_a_named_type_is_what_comes(index, accept, expected):
    """A type that is named wins by its quality; `latest` is labelled with the version it got (PEP 691)."""
    assert index.get("/simple/demo/", headers={"Accept": accept}).media_type == expected


def test_several_accept_lines_are_one_list(index):
    """Field lines of one name are joined before they are read (RFC 9110 section 5.3)."""
    reply = index.get("/simple/demo/", headers=[("Accept", "text/html;q=0.1"), ("Accept", JSON)])

    assert reply.media_type == JSON


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("accept", ["image/png", "application/json", "text/html;q=0"])
def test_who_accepts_nothing_that_there_is_gets_the_plainest_page(index, page, accept):
    """PEP 691 permits a default; the one large index gives it too. Never 300 and never 500."""
    reply = index.get(page, headers={"Accept": accept})

    assert (reply.status, reply.media_type) == (200, "text/html")


def test_the_format_parameter_is_understood_or_ignored(index):
    """`?format=` with a known type gives a page in any case (PEP 691)."""
    target = "/simple/demo/?format=application/vnd.pypi.simple.v1%2Bjson"

    assert index.get(target, headers={"Accept": "text/html"}).media_type in (JSON, "text/html")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("accept", [JSON, HTML, "text/html"])
def test_caches_are_told_what_the_answer_depends_on(index, page, accept):
    """A shared cache may not hand JSON to a browser, or gzip to a client that did not offer it."""
    reply = index.get(page, headers={"Accept": accept})

    assert {"accept", "accept-encoding"} <= reply.header_tokens("Vary")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("accept", [JSON, HTML, "text/html"])
@pytest.mark.parametrize("coding", ["gzip", "gzip, deflate", "gzip, deflate, zstd", "GZIP;q=1.0"])
def test_pages_are_compressed_for_those_who_offer_gzip(index, page, accept, coding):
    """The unpacked bytes are the very bytes of the page without compression."""
    plain = index.get(page, headers={"Accept": accept})
    packed = index.get(page, headers={"Accept": accept, "Accept-Encoding": coding})

    if packed.header("Content-Encoding") is None:  # a page of a few bytes may not be worth it
        assert len(plain.body) < 1000
        assert packed.body == plain.body
    else:
        assert packed.header("Content-Encoding") == "gzip"
        assert gzip.decompress(packed.body) == plain.body
        assert packed.media_type == plain.media_type


@pytest.mark.parametrize("coding", ["identity", "gzip;q=0", "br", "", "zstd, br;q=0.5", "x;;q"])
def test_pages_come_plain_for_those_who_do_not_offer_gzip(index, coding):
    """Identity stays available, and `q=0` is a refusal (RFC 9110 section 12.5.3)."""
    reply = index.get("/simple/demo/", headers={"Accept": JSON, "Accept-Encoding": coding})

    assert reply.header("Content-Encoding") is None
    assert json.loads(reply.body)["name"] == "demo"


@pytest.mark.parametrize("accept", [JSON, "text/html"])
def test_compressed_pages_are_the_same_bytes_after_a_restart(content, index, live_server, accept):
    """No time is in them, so that entity tags stay valid over restarts."""
    headers = {"Accept": accept, "Accept-Encoding": "gzip"}
    again = live_server(content.folder)

    before, after = (server.get("/simple/demo/", headers=headers) for server in (index, again))

    assert after.body == before.body
    assert after.header("ETag") == before.header("ETag")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [(None, "text/plain"), ("*/*", "text/plain"), ("text/html", "text/html"), (JSON, "application/json")],
)
@pytest.mark.parametrize("target", ["/simple/nope/", "/simple/demo/demo-9.9-py3-none-any.whl"])
def test_an_error_is_one_sentence_in_the_form_that_was_asked_for(index, target, accept, media_type):
    """Not found is 404, small, and not a page of the simple API."""
    reply = index.get(target, headers={} if accept is None else {"Accept": accept})

    assert reply.status == 404
    assert reply.media_type == media_type
    # For people it has the style sheet and the script of all pages.
    assert 0 < len(reply.body) < (20_000 if media_type == "text/html" else 1000)
    assert b"Traceback" not in reply.body
