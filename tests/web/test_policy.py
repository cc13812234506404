"""What the pages that browsers show may do (Content Security Policy Level 3)."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from twisted_index.testing import IndexInMemory, MemorySource, SiteInMemory, make_wheel
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.site import IndexSite

WHEEL = make_wheel("demo", "1.0")

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/simple/", "/simple/demo/", "/packages/", "/-/problems"),
        *("/nope", "/simple", "//", "/-/yank", "/pypi/demo", "/simple/demo/nope.whl"),
    ],
)
def test_every_page_may_not_be_framed_and_leads_nowhere_else(path: str):
    reply = IndexInMemory(MemorySource(WHEEL)).get(path, headers={"Accept": "text/html"})
    assert reply.headers["Content-Type"].startswith("text/html")
    assert reply.headers["Content-Security-Policy"] == POLICY


def test_a_fault_of_the_server_is_a_page_like_other_errors():
    index = IndexInMemory(MemorySource(WHEEL))
    index.source.failure = ZeroDivisionError("secret of the inside")
    reply = index.get("/simple/demo/", headers={"Accept": "text/html"})
    assert (reply.status, reply.headers["Content-Security-Policy"]) == (500, POLICY)
    assert b"secret" not in reply.body


def test_a_site_that_shows_tracebacks_shows_them():
    site = IndexSite(IndexResource(source := MemorySource(WHEEL)), reactor=(clock := Clock()))
    site.displayTracebacks = True
    source.failure = ZeroDivisionError("shown")
    assert b"shown" in SiteInMemory(site, clock).get("/simple/demo/").body
