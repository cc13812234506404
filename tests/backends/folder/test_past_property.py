"""
The promise about the past: the page of a moment is the page that was served at that moment.

On real folders, by the shipped store: uploads, promotions, deletions that keep the bytes, files that come
back, yanks and statuses that are not taken back.
"""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.at_once import answer
from tests.kit.history import Past, rendered
from tests.kit.properties import examples
from twisted_index.backends.folder import dated_list, dated_page, history, kept_files
from twisted_index.simple.model import ProjectStatus, Status
from twisted_index.testing import make_sdist, make_wheel

PROJECTS = ("demo", "other")
FILES = {
    project: (
        make_wheel(project, "1.0"),
        make_sdist(project, "1.0"),
        make_wheel(project, "2.0"),
        # Installers treat it as the first one.
        make_wheel(project, "1.0", filename=f"{project}-1.0.0-py3-none-any.whl"),
    )
    for project in PROJECTS
}
#: Each status but the first replaces none that is less strict, or it would take it back.
STATUSES = (Status.DEPRECATED, Status.ARCHIVED, Status.QUARANTINED)
STEPS = st.tuples(
    st.sampled_from(
        ["upload", "upload", "upload", "delete", "delete", "yank", "yank version", "status", "wait"]
    ),
    st.sampled_from(PROJECTS),
    st.integers(0, 3),
)


class Recorder:
    """Makes a history, and remembers what was served all along."""

    def __init__(self, past: Past) -> None:
        self.past = past
        self.served: list[tuple[Any, ...]] = []
        self.yanked: set[str] = set()
        self.has_status: set[str] = set()

    def step(self, kind: str, project: str, number: int) -> None:
        made, past = FILES[project][number], self.past
        page = past.page(project)
        if kind == "upload":
            past.publish(made)
        elif kind == "promote":
            release = [file for file in FILES[project][:3] if file.version == made.version]
            past.promote(*release)
        elif kind == "delete":
            past.do("delete", project, made.filename, reason="why")
        elif kind.startswith("yank"):
            by_version = kind == "yank version"
            chosen = {
                file.filename
                for file in (() if page is None else page.files)
                if (file.version == "1.0" if by_version else file.filename == made.filename)
            }
            # Another reason would take the first one back.
            if chosen and not chosen & self.yanked:
                what = {"version": "1.0"} if by_version else {"filename": made.filename}
                past.do("yank", project, **what, reason=f"reason {number}")
                self.yanked |= chosen
        elif kind == "status" and project not in self.has_status and page is not None:
            past.do("set_status", project, ProjectStatus(status=STATUSES[number % 3], reason="so"))
            self.has_status.add(project)
        else:
            past.pass_time(3600)
        self.record()

    def record(self) -> None:
        past = self.past
        pages = {project: rendered(past.page(project)) for project in PROJECTS}
        # A change shows from its own second on; the next one is a second later.
        self.served.append((past.now - timedelta(seconds=1), pages, past.names()))

    def check(self) -> None:
        for moment, pages, names in self.served:
            for project, page in pages.items():
                assert rendered(self.past.page_at(moment, project)) == page
            assert self.past.names_at(moment) == names
        for moment, _pages, _names in self.served[::3]:
            for project in PROJECTS:
                self.check_explanation(moment, project)

    def check_explanation(self, moment: datetime, project: str) -> None:
        """The files of an explanation are the page's, and each file on disk has one line."""
        found = answer(self.past.at(moment).explain, project)
        page = self.past.page_at(moment, project)
        assert found.page == page
        assert found.paths.keys() == {file.filename for file in (() if page is None else page.files)}
        lines = [file.path for file in found.hidden if file.path] + list(found.paths.values())
        folders = [self.past.path / project, self.past.path / ".deleted" / project]
        on_disk = [path.name for folder in folders for path in folder.glob("*-*[lz]")]
        assert sorted(line.rpartition("/")[2] for line in lines) == sorted(on_disk)


@examples(60, deadline=None)
@given(steps=st.lists(STEPS, max_size=12), restart=st.booleans())
def test_the_page_of_a_moment_is_the_page_that_was_served_then(steps: Any, restart: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        past = Past(Path(folder) / "packages")
        try:
            recorder = Recorder(past)
            for step in steps:
                recorder.step(*step)
            if restart:
                past.close()
                recorder.past = past = Past(past.path, now=past.now)
            recorder.check()
        finally:
            past.close()


#: A history in which each kind of change counts.
ALL_KINDS = [
    ("upload", "demo", 0),
    ("upload", "demo", 2),
    ("yank", "demo", 0),
    ("delete", "demo", 0),
    ("upload", "demo", 0),
    ("delete", "demo", 0),
    ("status", "demo", 2),
    ("upload", "other", 0),
    ("delete", "other", 0),
    ("promote", "other", 0),
]


def _ignore_uploads(_entry: Any) -> Any:
    return history.ALWAYS


def _ignore_marks(_history: Any, _path: bytes) -> Any:
    return history.ALWAYS


def _lose_what_is_kept(_history: Any, _moment: Any) -> Any:
    return [], {}, {}


def _forget_earlier_lives(folder: bytes) -> Any:
    return {name: lives[-1:] for name, lives in kept_files.lives_in(folder).items()}


def _list_what_is_there_now(_names: Any, _moment: Any) -> Any:
    return _names._now


@pytest.mark.parametrize(
    ("where", "name", "fault"),
    [
        (dated_page, "_uploaded", _ignore_uploads),
        (dated_page, "_kept_at", _lose_what_is_kept),
        (history.ProjectHistory, "time_of", _ignore_marks),
        (history, "lives_in", _forget_earlier_lives),
        (dated_list.DatedNames, "_at", _list_what_is_there_now),
    ],
)
def test_a_fault_in_the_past_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, fault: Any
) -> None:
    past = Past(tmp_path / "packages")
    recorder = Recorder(past)
    for step in ALL_KINDS:
        recorder.step(*step)
    recorder.check()
    past.close()
    recorder.past = past = Past(past.path, now=past.now)
    monkeypatch.setattr(where, name, fault)
    try:
        with pytest.raises(AssertionError):
            recorder.check()
    finally:
        past.close()
