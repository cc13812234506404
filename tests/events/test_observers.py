"""Who is told what becomes of files, and what they are told."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_index.events.observers import Observers, PageDiff, diff_pages
from twisted_index.interfaces import IIndexObserver, Problem
from twisted_index.simple.model import File, ProjectPage, ProjectStatus, Status, Yanked


@implementer(IIndexObserver)
class Recorder:
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def added(self, project: str, file: File) -> None:
        self.heard.append(("added", project, file.filename))

    def removed(self, project: str, filename: str) -> None:
        self.heard.append(("removed", project, filename))

    def rejected(self, project: str, filename: str, reason: str) -> None:
        self.heard.append(("refused", project, filename, reason))


@implementer(IIndexObserver)
class Broken:
    def added(self, *about: object) -> None:
        raise RuntimeError("out of order")

    removed = rejected = added


def file(name: str, digest: str = "00", **more: Any) -> File:
    return File(filename=name, version="1.0", hashes={"sha256": digest}, **more)


def page(*files: File, status: Status = Status.ACTIVE) -> ProjectPage:
    return ProjectPage(name="demo", files=files, status=ProjectStatus(status=status))


def problem(path: str, reason: str = "It is broken.") -> Problem:
    return Problem(path=path, reason=reason, advice="Build it again.")


ONE, TWO = file("demo-1.0.tar.gz"), file("demo-2.0.tar.gz")


def test_every_observer_is_told_and_one_that_fails_hurts_nobody():
    events: list[dict[str, Any]] = []
    first, last = Recorder(), Recorder()
    observers = Observers(first, Broken(), last)
    globalLogPublisher.addObserver(events.append)
    try:
        observers.added("demo", ONE)
        observers.removed("demo", ONE.filename)
        observers.rejected("demo", TWO.filename, "It is broken.")
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert (
        first.heard
        == last.heard
        == [
            ("added", "demo", "demo-1.0.tar.gz"),
            ("removed", "demo", "demo-1.0.tar.gz"),
            ("refused", "demo", "demo-2.0.tar.gz", "It is broken."),
        ]
    )
    assert len([event for event in events if "log_failure" in event]) == 3


def test_many_observers_are_one():
    assert verifyObject(IIndexObserver, Observers())
    inner = Recorder()
    Observers(Observers(inner)).removed("demo", "x")
    assert inner.heard == [("removed", "demo", "x")]


def test_an_observer_may_leave_while_it_is_told():
    observers = Observers()

    class Once(Recorder):
        def added(self, project: str, file: File) -> None:
            super().added(project, file)
            observers.remove(self)

    once, always = Once(), Recorder()
    observers.add(once)
    observers.add(always)
    observers.added("demo", ONE)
    observers.added("demo", TWO)
    assert len(once.heard) == 1
    assert len(always.heard) == 2
    assert observers


def test_without_observers_there_is_nobody_to_tell():
    assert not Observers()


def test_files_that_come_and_go_are_told():
    assert diff_pages(page(ONE), page(TWO)) == PageDiff(added=(TWO,), removed=(ONE.filename,))
    assert diff_pages(None, page(ONE)) == PageDiff(added=(ONE,))
    assert diff_pages(page(ONE), None) == PageDiff(removed=(ONE.filename,))
    assert diff_pages(None, None) == PageDiff()


def test_a_file_with_other_bytes_is_removed_and_added():
    rebuilt = file(ONE.filename, "11")
    assert diff_pages(page(ONE), page(rebuilt)) == PageDiff(added=(rebuilt,), removed=(ONE.filename,))


def test_a_file_that_is_yanked_has_not_come_or_gone():
    assert diff_pages(page(ONE), page(file(ONE.filename, yanked=Yanked()))) == PageDiff()


def test_the_files_of_a_quarantined_project_are_gone():
    assert diff_pages(page(ONE), page(ONE, status=Status.QUARANTINED)).removed == (ONE.filename,)
    assert diff_pages(page(ONE, status=Status.QUARANTINED), page(ONE)).added == (ONE,)


def test_a_problem_is_told_once():
    known, new = problem("demo/a.whl"), problem("demo/b.whl")
    assert diff_pages(page(), page(), [known], [known, new]).rejected == (new,)
    assert diff_pages(page(), page(), [known], []).rejected == ()
    changed = problem("demo/a.whl", "It is empty.")
    assert diff_pages(page(), page(), [known], [changed]).rejected == (changed,)


def test_an_observer_hears_of_what_went_before_what_came():
    recorder = Recorder()
    rebuilt = file(ONE.filename, "11")
    changes = diff_pages(page(ONE), page(rebuilt), (), [problem("Demo/sub/x.whl"), problem("y.whl")])
    changes.notify("demo", recorder)
    assert recorder.heard == [
        ("removed", "demo", ONE.filename),
        ("added", "demo", ONE.filename),
        ("refused", "demo", "x.whl", "It is broken."),
        ("refused", "demo", "y.whl", "It is broken."),
    ]


FILES = st.lists(
    st.builds(file, st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["00", "11"])),
    unique_by=lambda one: one.filename,
).map(lambda files: page(*files))


@given(FILES, FILES)
def test_whoever_follows_the_changes_knows_the_page(before: ProjectPage, after: ProjectPage):
    changes = diff_pages(before, after)
    known = {one.filename: one for one in before.files}
    for filename in changes.removed:
        del known[filename]
    for one in changes.added:
        assert one.filename not in known
        known[one.filename] = one
    assert known == {one.filename: one for one in after.files}
