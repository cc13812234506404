"""Whoever observes the index of a program hears of uploads that were not taken."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from uploadkit import NAME, fields_of, upload_form
from zope.interface import implementer

from twisted_index.assembly import assemble
from twisted_index.interfaces import IIndexObserver
from twisted_index.settings import Publishing, Settings
from twisted_index.testing import SiteInMemory
from twisted_index.web.site import IndexSite


@implementer(IIndexObserver)
class Hearing:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []

    def added(self, project, file):
        raise AssertionError

    def removed(self, project, filename):
        raise AssertionError

    def refused(self, project, filename, reason):
        self.heard.append((project, filename, reason))
        raise ValueError("It breaks, and the answer does not.")


class Reactor(Clock):
    """A clock on which something may be done at a stop."""

    def addSystemEventTrigger(self, *_):
        return None


def test_an_observer_hears_of_a_refused_upload_whatever_it_does_then(tmp_path: Path):
    clock, hearing = Reactor(), Hearing()
    settings = Settings(paths=(str(tmp_path),), publishing=Publishing(upload=True, anyone_may_upload=True))
    resource = assemble(settings, clock, observer=hearing).resource
    site = SiteInMemory(IndexSite(resource, reactor=clock), clock)
    # Empty, so that it is refused before anything is written by a thread.
    reply = site.get("/legacy/", method="POST", headers=fields_of(as_user=None), body=upload_form(b""))
    assert reply.status == 400
    assert hearing.heard == [("demo", NAME, "The file in content is empty.")]
