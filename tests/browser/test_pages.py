"""Every page for people in a browser: nothing is refused, cut off, or out of the reach of anyone."""

from __future__ import annotations

from collections.abc import Callable

import html5lib
import pytest

from tests.kit.browsing import Visit
from tests.kit.live_server import LiveServer

PATHS = [
    "/",
    "/project/demo-tool/",
    "/project/demo-tool/1.0/",
    "/simple/",
    "/simple/demo-tool/",
    "/-/",
    "/-/problems",
    "/-/wanted",
    "/-/why/demo-tool",
    "/-/history",
    "/-/search",
    "/-/search?q=demo",
    "/-/search?q=nothing-of-the-kind",
    "/-/stats",
    "/-/stats?project=demo-tool",
    "/nowhere/at/all",
    "/simple/absent/",
]


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_a_page_runs_without_a_complaint_and_fits_the_screen(
    visit: Callable[..., Visit], path: str, look: str
):
    window = visit(look)
    window.open(path)
    assert window.complaints == []
    assert not window.is_wider_than_the_screen


@pytest.mark.parametrize("path", ["/", "/project/demo-tool/1.0/", "/-/history"])
def test_what_is_to_be_typed_goes_on_in_a_new_line_only_at_its_spaces(visit: Callable[..., Visit], path: str):
    page = visit("phone").open(path)
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    lines = page.evaluate(
        "[...document.querySelectorAll('code span')].map((each) => each.getClientRects().length)"
    )
    assert len(lines) > 4
    assert set(lines) == {1}


def test_axe_finds_nothing_that_keeps_people_from_a_page(visit: Callable[..., Visit], path: str, look: str):
    window = visit(look)
    window.open(path)
    assert window.violations() == []


def test_a_page_is_strict_html(site: LiveServer, path: str):
    reply = site.get(path, headers={"Accept": "text/html"})
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    root = parser.parse(reply.body, transport_encoding="utf-8")
    assert len(root.findall(".//h1")) == 1
