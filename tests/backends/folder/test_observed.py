"""What observers hear of a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from zope.interface import implementer

from tests.kit.folder_source import Folder
from twisted_index.interfaces import IIndexObserver
from twisted_index.testing import make_wheel

ONE, TWO = make_wheel("demo", "1.0"), make_wheel("demo", "2.0")


@implementer(IIndexObserver)
class Recorder:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []

    def added(self, project: str, file: Any) -> None:
        self.heard.append(("added", project, file.filename))

    def removed(self, project: str, filename: str) -> None:
        self.heard.append(("removed", project, filename))

    def rejected(self, project: str, filename: str, reason: str) -> None:
        self.heard.append(("refused", project, filename))

    def new(self) -> list[tuple[str, str, str]]:
        heard, self.heard = self.heard, []
        return heard


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def observed(tmp_path: Path, serve: Callable[..., Folder], recorder: Recorder) -> Folder:
    root = tmp_path / "packages"
    root.mkdir()
    (root / ".keep").touch()
    return serve(root, observer=recorder)


def test_at_the_first_look_nothing_has_changed(observed: Folder, recorder: Recorder):
    ONE.write_to(observed.path)
    observed.page("demo")
    assert recorder.new() == []


def test_what_comes_and_goes_is_told_when_somebody_asks(observed: Folder, recorder: Recorder):
    path = ONE.write_to(observed.path)
    observed.page("demo")
    TWO.write_to(observed.path)
    assert recorder.new() == []
    observed.page("demo")
    assert recorder.new() == [("added", "demo", TWO.filename)]
    observed.later()
    observed.page("demo")
    assert recorder.new() == []
    path.unlink()
    observed.page("demo")
    assert recorder.new() == [("removed", "demo", ONE.filename)]


def test_a_project_that_comes_is_told_with_its_files_and_one_that_goes_too(
    observed: Folder, recorder: Recorder
):
    assert observed.page("demo") is None
    path = ONE.write_to(observed.path)
    observed.page("demo")
    assert recorder.new() == [("added", "demo", ONE.filename)]
    path.unlink()
    assert observed.page("demo") is None
    assert recorder.new() == [("removed", "demo", ONE.filename)]


def test_a_project_that_was_only_seen_in_the_list_is_told_too(observed: Folder, recorder: Recorder):
    observed.names()
    ONE.write_to(observed.path)
    assert observed.names() == ("demo",)
    observed.page("demo")
    assert recorder.new() == [("added", "demo", ONE.filename)]


def test_a_file_is_refused_once_and_not_while_it_is_being_copied(observed: Folder, recorder: Recorder):
    ONE.write_to(observed.path)
    observed.page("demo")
    (observed.path / TWO.filename).write_bytes(TWO.content[:100])
    observed.page("demo")
    assert recorder.new() == []
    observed.later()
    observed.page("demo")
    observed.later()
    observed.page("demo")
    assert recorder.new() == [("refused", "demo", TWO.filename)]
    observed.later()
    observed.page("demo")
    assert recorder.new() == []
    (observed.path / TWO.filename).write_bytes(TWO.content)
    observed.later()
    observed.page("demo")
    assert recorder.new() == [("added", "demo", TWO.filename)]


def test_the_number_of_files_that_are_left_out_is_told_without_a_walk(observed: Folder):
    (observed.path / ONE.filename).write_bytes(b"")

    def told() -> list[float]:
        return [sample.value for metric in observed.source.collect() for sample in metric.samples]

    assert told() == [0]
    observed.page("demo")
    assert told() == [1]
