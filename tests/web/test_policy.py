"""What the pages that browsers show may do (Content Security Policy Level 3)."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from twisted.internet.task import Clock

from twisted_index.testing import IndexInMemory, MemorySource, ReceivedResponse, SiteInMemory, make_wheel
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.site import IndexSite

WHEEL = make_wheel("demo", "1.0")


def is_strict(reply: ReceivedResponse) -> bool:
    """Tell whether nothing runs but what stands in a page, and that is named by its digest."""
    policy = reply.headers["Content-Security-Policy"]
    own = {}
    for element in ("style", "script"):
        for text in re.findall(f"<{element}>(.*?)</{element}>", reply.text, re.DOTALL):
            own[element] = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return (
        policy.startswith("default-src 'none'; ")
        and policy.endswith("; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
        and "unsafe" not in policy
        and all(f"{element}-src 'sha256-{digest}'; " in policy for element, digest in own.items())
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
    assert is_strict(reply)


def test_a_fault_of_the_server_is_a_page_like_other_errors():
    index = IndexInMemory(MemorySource(WHEEL))
    index.source.failure = ZeroDivisionError("secret of the inside")
    reply = index.get("/simple/demo/", headers={"Accept": "text/html"})
    assert (reply.status, is_strict(reply)) == (500, True)
    assert b"secret" not in reply.body


def test_a_site_that_shows_tracebacks_shows_them():
    site = IndexSite(IndexResource(source := MemorySource(WHEEL)), reactor=(clock := Clock()))
    site.displayTracebacks = True
    source.failure = ZeroDivisionError("shown")
    assert b"shown" in SiteInMemory(site, clock).get("/simple/demo/").body
