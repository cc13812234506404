"""An upstream that denies every project, because there is no simple API at its URL."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from tests.kit.hostile_upstream import Asked, answer, page
from twisted_index.backends.upstream.client import HTTPUpstream
from twisted_index.backends.upstream.source import UpstreamSource
from twisted_index.errors import BadGateway, SimpleIndexError
from twisted_index.testing.reactor_thread import BackgroundReactor

from .test_client import DEMO, Asking, redirect

HTML = "text/html; charset=utf-8"
ROOT = "/simple/"
ABSENT = answer(404)


@pytest.fixture
def asking(background: BackgroundReactor) -> Iterator[Asking]:
    asking = Asking(background)
    yield asking
    asking.close()


def page_of(asking: Asking, remote: HTTPUpstream, project: str) -> Any:
    async def ask() -> Any:
        return await remote.page(project)

    return asking.run(ask)


def html(text: str) -> bytes:
    return answer(200, text.encode(), Content_Type=HTML)


NO_API = {
    "devpi": answer(200, b'{"result": {}, "type": "indexconfig"}', Content_Type="application/json"),
    "nexus": html(
        "<html><title>Repository - Nexus</title><h1>pypi-all</h1><p>This group repository is not directly"
        ' browseable at this URL. Please use the <a href="/#browse/browse:pypi-all">browse</a> or <a'
        ' href="/service/rest/repository/browse/pypi-all/">HTML index</a> links.</html>'
    ),
    "a site with an index in it": html(
        '<html><title>The Index</title><a href="/simple/">Index</a> <a href="/simple/simple/">Packages</a>'
        '<a href="https://docs.example/">Documents</a></html>'
    ),
    "a web server": html("<html><body><h1>It works!</h1></body></html>"),
    "an application": html('<html><script src="/app.js"></script><div id="root"></div></html>'),
    "a sign-in": html("<html><form><input type=password></form></html>"),
    "a word": answer(200, b"OK", Content_Type="text/plain"),
}

#: Roots of simple APIs, and those that say nothing of what is below them.
MAY_BE_ONE = {
    "json": page(b'{"meta": {"api-version": "1.0"}, "projects": []}'),
    "json of no type": answer(200, b'{"projects": []}', Content_Type="application/json"),
    "an empty list": html("<html><head><title>Simple Index</title></head><body></body></html>"),
    "a list without a mark": html('<html><a href="acme/">acme</a> <a href="/simple/beta/">beta</a></html>'),
    "a folder": html('<html><title>Index of /simple/</title><a href="../">../</a></html>'),
    "by hand": html("<!DOCTYPE html><html><body></body></html>"),
    "none": ABSENT,
    "forbidden": answer(403),
    "wants a user": answer(401),
    "an object store": answer(200, b"<ListBucketResult/>", Content_Type="application/xml"),
    "an error": answer(500),
    "large": html("<html>" + "<p>word</p>" * 200_000),
}


@pytest.mark.parametrize("root", NO_API)
def test_a_404_means_nothing_where_there_is_no_simple_api(asking: Asking, root: str) -> None:
    asking.upstream.on(ROOT, NO_API[root])

    with pytest.raises(BadGateway, match="not that of a simple API"):
        asking.page()


@pytest.mark.parametrize("root", MAY_BE_ONE)
def test_a_404_means_that_there_is_no_such_project_where_there_may_be_one(asking: Asking, root: str) -> None:
    asking.upstream.on(ROOT, MAY_BE_ONE[root])

    assert asking.page() is None


def test_a_root_is_looked_at_once_and_only_when_a_project_is_denied(asking: Asking) -> None:
    asking.upstream.on(ROOT, MAY_BE_ONE["json"])
    asking.upstream.on(DEMO, page(), ABSENT)
    remote = asking.remote()
    asking.page(remote)
    for name in ("one", "another"):
        assert page_of(asking, remote, name) is None

    assert ROOT not in asking.upstream.targets()
    denied = asking.remote()
    assert [asking.page(denied) for _ in range(3)] == [None] * 3
    assert asking.upstream.targets().count(ROOT) == 1


@pytest.mark.parametrize("root", NO_API)
def test_an_index_that_is_lost_does_not_deny_what_it_had_nor_anything_else(asking: Asking, root: str) -> None:
    """A front end was set up anew, and answers 404 for every name."""
    asking.upstream.on(ROOT, NO_API[root])
    asking.upstream.on(DEMO, page(), ABSENT)
    remote = asking.remote()
    asking.page(remote)

    for name in ("demo", "demo", "private"):
        with pytest.raises(BadGateway, match="not that of a simple API"):
            page_of(asking, remote, name)


@pytest.mark.parametrize("root", MAY_BE_ONE)
def test_a_project_that_was_removed_is_gone(asking: Asking, root: str) -> None:
    asking.upstream.on(ROOT, MAY_BE_ONE[root])
    asking.upstream.on(DEMO, page(), ABSENT)
    remote = asking.remote()
    asking.page(remote)

    assert [asking.page(remote) for _ in range(3)] == [None] * 3
    assert asking.upstream.targets().count(ROOT) == 1


def test_a_project_is_gone_whatever_the_root_is_if_another_one_is_there(asking: Asking) -> None:
    asking.upstream.on(ROOT, NO_API["a web server"])
    asking.upstream.on(DEMO, page(), ABSENT)
    asking.upstream.on("/simple/another/", page())
    remote = asking.remote()
    asking.page(remote)
    with pytest.raises(BadGateway):
        asking.page(remote)

    assert page_of(asking, remote, "another") is not None
    assert asking.page(remote) is None


def test_an_upstream_that_has_given_a_page_is_one_whatever_its_root_is(asking: Asking) -> None:
    asking.upstream.on(ROOT, NO_API["a web server"])
    asking.upstream.on(DEMO, ABSENT, page(), ABSENT)
    remote = asking.remote()
    with pytest.raises(BadGateway):
        asking.page(remote)

    assert asking.page(remote).files == ()
    assert asking.page(remote) is None


@pytest.mark.parametrize("root", ["forbidden", "wants a user", "none"])
def test_a_root_that_says_nothing_is_not_looked_at_for_each_name(asking: Asking, root: str) -> None:
    asking.upstream.on(ROOT, MAY_BE_ONE[root])
    remote = asking.remote()
    for _ in range(3):
        asking.page(remote)

    assert asking.upstream.targets().count(ROOT) == 1


@pytest.mark.parametrize("given", [False, True])
def test_an_upstream_that_denies_names_and_shows_nothing_is_warned_of_until_it_gives_a_page(
    asking: Asking, given: bool
) -> None:
    asking.upstream.on(DEMO, page())
    remote = asking.remote()
    if given:
        asking.page(remote)
    with capturedLogs() as logs:
        assert page_of(asking, remote, "absent") is None
        assert page_of(asking, remote, "away") is None
    assert sum("sent no list of projects" in event["log_format"] for event in logs) == (not given)


def test_a_root_that_leads_names_to_its_simple_api_has_one(asking: Asking) -> None:
    """As pypiserver does, whose root is a page for people."""
    asking.upstream.on(ROOT, NO_API["a web server"])
    asking.upstream.on(DEMO, redirect("/simple/simple/demo/"))

    assert asking.page() is None
    assert asking.upstream.targets() == [DEMO, "/simple/simple/demo/"]


@pytest.mark.parametrize("target", ["/simple/demo", "/login/?next=/simple/demo/", "/", "/simple/demo/?again"])
def test_a_root_that_leads_them_anywhere_has_not(asking: Asking, target: str) -> None:
    asking.upstream.on(ROOT, NO_API["a web server"])
    asking.upstream.on(DEMO, redirect(target), ABSENT)

    with pytest.raises(BadGateway, match="not that of a simple API"):
        asking.page()


def test_another_page_at_the_root_is_not_looked_at_for_each_name(asking: Asking) -> None:
    asking.upstream.on(ROOT, NO_API["a web server"])
    remote = asking.remote()
    for _ in range(3):
        with pytest.raises(BadGateway):
            asking.page(remote)

    assert asking.upstream.targets().count(ROOT) == 1


def test_installers_only_are_given_pages_by_devpi(asking: Asking) -> None:
    """It tells by the User-Agent who is one (`INSTALLER_USER_AGENT`)."""
    installer = re.compile(r"([^ ]* )*(distribute|setuptools|pip|pex|uv)/.*")

    def devpi(found: bytes) -> Callable[[socket.socket, Asked], None]:
        return lambda client, asked: client.sendall(
            found if installer.match(asked.fields["user-agent"]) else ABSENT
        )

    asking.upstream.on(DEMO, devpi(page(b'{"files": [{"url": "demo-1.0.tar.gz"}]}')))
    asking.upstream.on("/simple/demo/demo-1.0.tar.gz", answer(200, b"sdist"))

    assert len(asking.page().files) == 1
    assert asking.fetch("/simple/demo/demo-1.0.tar.gz")[1] == b"sdist"
    pages, files = (asked.fields["user-agent"] for asked in asking.upstream.asked)
    assert pages == f"{files} (like pip/26.0)"
    assert files.startswith("twisted-index")


def test_a_later_upstream_is_not_asked_for_what_the_first_may_have(background: BackgroundReactor) -> None:
    first, second = Asking(background), Asking(background)
    first.upstream.on(ROOT, NO_API["devpi"])
    second.upstream.on(DEMO, page(b'{"files": [{"url": "demo-9.0.tar.gz"}]}'))
    source = UpstreamSource(
        [first.remote(), second.remote()], reactor=background.reactor, worker=first.worker
    )
    try:
        with pytest.raises(SimpleIndexError) as told:
            background.call(lambda: Deferred.fromCoroutine(source._find_page("demo")), 20)
    finally:
        first.close()
        second.close()

    assert told.value.status == 502
    assert second.upstream.asked == []
