"""Whoever observes the index of a program hears of uploads that were not taken."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from zope.interface import implementer

from tests.kit.uploads import NAME, fields_of, upload_form
from twisted_index.config.settings import Settings, UploadSettings
from twisted_index.interfaces import IIndexObserver
from twisted_index.server.wiring import build_components
from twisted_index.testing import SiteInMemory
from twisted_index.web.server.site import IndexSite


@implementer(IIndexObserver)
class Hearing:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []

    def added(self, project, file):
        raise AssertionError

    def removed(self, project, filename):
        raise AssertionError

    def rejected(self, project, filename, reason):
        self.heard.append((project, filename, reason))
        raise ValueError("It breaks, and the answer does not.")


class Reactor(Clock):
    """A clock on which something may be done at a stop."""

    def addSystemEventTrigger(self, *_):
        return None


def test_an_observer_hears_of_a_refused_upload_whatever_it_does_then(tmp_path: Path):
    clock, hearing = Reactor(), Hearing()
    # The free space would be asked for in a thread.
    uploads = UploadSettings(upload=True, anonymous_upload=True, min_free=0)
    settings = Settings(paths=(str(tmp_path),), uploads=uploads)
    resource = build_components(settings, clock, observer=hearing).resource
    site = SiteInMemory(IndexSite(resource, reactor=clock), clock)
    # Empty, so that it is refused before anything is written by a thread.
    reply = site.get("/legacy/", method="POST", headers=fields_of(as_user=None), body=upload_form(b""))
    assert reply.status == 400
    assert hearing.heard == [("demo", NAME, "The file in content is empty.")]
