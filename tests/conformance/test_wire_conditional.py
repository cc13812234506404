"""Conditional requests and what caches are told (RFC 9110 section 13, RFC 9111)."""

from __future__ import annotations

import email.utils

import pytest

pytestmark = pytest.mark.places

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"

PAGES = ["/simple/", "/simple/demo/"]
REPRESENTATIONS = [
    {"Accept": JSON},
    {"Accept": JSON, "Accept-Encoding": "gzip"},
    {"Accept": HTML},
    {"Accept": "text/html"},
    {"Accept": "text/html", "Accept-Encoding": "gzip"},
    {},
]


@pytest.fixture(params=["page", "list", "file", "metadata"])
def target(request, content):
    return {
        "page": "/simple/demo/",
        "list": "/simple/",
        "file": f"/simple/demo/{content.wheel.filename}",
        "metadata": f"/simple/demo/{content.wheel.filename}.metadata",
    }[request.param]


def is_strong(etag):
    return etag is not None and len(etag) > 2 and etag[0] == etag[-1] == '"'


@pytest.mark.parametrize("headers", REPRESENTATIONS, ids=str)
def test_pages_are_asked_for_each_time_and_say_so(index, headers):
    """`no-cache`, a strong tag and a Date: a new file is seen at once and an old page costs nothing."""
    for page in PAGES:
        reply = index.get(page, headers=headers)
        assert reply.header_tokens("Cache-Control") == {"no-cache"}
        assert is_strong(reply.header("ETag"))
        assert reply.header("Date") is not None
        assert reply.header("Content-Length") == str(len(reply.body))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", REPRESENTATIONS, ids=str)
def test_a_page_that_did_not_change_is_304(index, headers, method):
    """With the same strong tag and a Date, without a body (RFC 9110 section 15.4.5)."""
    for page in PAGES:
        etag = index.get(page, headers=headers).header("ETag")

        reply = index.get(page, method=method, headers=headers | {"If-None-Match": etag})

        assert reply.status == 304
        assert reply.body == b""
        assert reply.header("ETag") == etag
        assert reply.header("Date") is not None
        assert reply.header_tokens("Cache-Control") == {"no-cache"}
        assert {"accept", "accept-encoding"} <= reply.header_tokens("Vary")
        assert reply.header("Content-Length") in (None, str(len(index.get(page, headers=headers).body)))


def test_each_representation_has_a_tag_of_its_own(index):
    tags = [
        index.get("/simple/demo/", headers=headers).header("ETag")
        for headers in (
            {"Accept": JSON},
            {"Accept": JSON, "Accept-Encoding": "gzip"},
            {"Accept": "text/html"},
        )
    ]

    assert len(set(tags)) == 3


@pytest.mark.parametrize("page", PAGES)
def test_a_tag_of_another_representation_is_no_match(index, page):
    """uv sends the tag it has after the type it wants has changed."""
    etag = index.get(page, headers={"Accept": "text/html"}).header("ETag")

    assert index.get(page, headers={"Accept": JSON, "If-None-Match": etag}).status == 200


def test_tags_are_compared_weakly_in_lists_and_by_star(index, target):
    """RFC 9110 section 13.1.2."""
    etag = index.get(target).header("ETag")

    for condition in (f'"x", {etag}', f'"x",{etag},"y"', f"W/{etag}", "*", f'"a,b" , W/"c", {etag}'):
        assert index.get(target, headers={"If-None-Match": condition}).status == 304, condition
    for condition in ('"x"', 'W/"x", "y"', etag.strip('"'), ""):
        assert index.get(target, headers={"If-None-Match": condition}).status == 200, condition


def test_several_lines_of_tags_are_one_list(index, target):
    etag = index.get(target).header("ETag")

    assert index.get(target, headers=[("If-None-Match", '"x"'), ("If-None-Match", etag)]).status == 304


def test_a_tag_outranks_a_date(index, content):
    """If-Modified-Since counts only without If-None-Match (RFC 9110 section 13.2.2)."""
    target = f"/simple/demo/{content.wheel.filename}"
    modified = index.get(target).header("Last-Modified")
    assert email.utils.parsedate_to_datetime(modified).timestamp() == 1612325106

    assert index.get(target, headers={"If-Modified-Since": modified}).status == 304
    assert index.get(target, headers={"If-Modified-Since": "Mon, 01 Jan 2035 00:00:00 GMT"}).status == 304
    assert index.get(target, headers={"If-Modified-Since": "Thu, 01 Jan 2015 00:00:00 GMT"}).status == 200
    assert index.get(target, headers={"If-Modified-Since": "yesterday"}).status == 200
    assert index.get(target, headers={"If-Modified-Since": modified, "If-None-Match": '"x"'}).status == 200


def test_a_precondition_that_fails_is_412(index, target):
    """If-Match compares strongly (RFC 9110 section 13.1.1)."""
    etag = index.get(target).header("ETag")

    assert index.get(target, headers={"If-Match": etag}).status == 200
    assert index.get(target, headers={"If-Match": f'"x", {etag}'}).status == 200
    assert index.get(target, headers={"If-Match": "*"}).status == 200
    assert index.get(target, headers={"If-Match": '"x"'}).status == 412
    assert index.get(target, headers={"If-Match": f"W/{etag}"}).status == 412


def test_a_forced_refresh_may_still_be_304(index):
    """uv and pip send `Cache-Control` with their tag when they are told to refresh."""
    etag = index.get("/simple/demo/", headers={"Accept": JSON}).header("ETag")

    for directive in ("no-cache", "max-age=0"):
        headers = {"Accept": JSON, "If-None-Match": etag, "Cache-Control": directive}
        assert index.get("/simple/demo/", headers=headers).status == 304


def test_the_tag_of_a_file_is_its_digest(index, content):
    """And files are revalidated as pages are, so that a replaced one is seen."""
    for file in content.demo:
        reply = index.get(f"/simple/demo/{file.filename.replace('+', '%2B')}")
        assert file.sha256 in reply.header("ETag")
        assert is_strong(reply.header("ETag"))
        assert "no-cache" in reply.header_tokens("Cache-Control")
