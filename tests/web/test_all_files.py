"""All files on one page: one project that cannot be told does not take the others with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_index.errors import (
    BadGateway,
    NotReady,
    OutOfResources,
    SimpleIndexError,
    Unavailable,
    UnreadableFolder,
)
from twisted_index.interfaces import Snapshot
from twisted_index.simple.model import ProjectPage
from twisted_index.testing import MemorySource, SiteInMemory, make_wheel
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.site import IndexSite

ONE, TWO = make_wheel("one", "1.0"), make_wheel("two", "1.0")


class Partly(MemorySource):
    """A source of whose projects one cannot be told."""

    broken: SimpleIndexError | None = None

    def project_page(self, project: str) -> Deferred[Snapshot[ProjectPage | None]]:
        if project == "two" and self.broken is not None:
            raise self.broken
        return super().project_page(project)


@pytest.fixture
def source() -> Partly:
    return Partly(ONE, TWO)


@pytest.fixture
def site(source: Partly) -> Iterator[SiteInMemory]:
    clock = Clock()
    site = SiteInMemory(IndexSite(IndexResource(source), reactor=clock), clock)
    yield site
    site.disconnect_all()


@pytest.mark.parametrize(
    "error",
    [
        UnreadableFolder(
            "The folder two/", display_path="two/", reason="Permission denied", advice="Mend it."
        ),
        Unavailable("It cannot be told."),
        BadGateway("The upstream is away."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_project_that_cannot_be_told_is_left_out_and_named(
    site: SiteInMemory, source: Partly, error: SimpleIndexError
):
    assert site.get("/packages/").body.count(b"<a ") == 2
    source.broken = error
    reply = site.get("/packages/")
    assert reply.status == 200
    assert reply.body.count(b"<a ") == 1
    assert b"Left out, as unreadable right now: two" in reply.body
    assert site.get("/simple/two/").status == error.status


@pytest.mark.parametrize(
    "error",
    [NotReady("1 of 2 files have been read."), OutOfResources("The server is short of open files.")],
    ids=lambda error: type(error).__name__,
)
def test_what_is_only_not_told_yet_is_waited_for(site: SiteInMemory, source: Partly, error: SimpleIndexError):
    """Such a page would lack files for no reason that lies in them."""
    source.broken = error
    assert site.get("/packages/").status == 503
