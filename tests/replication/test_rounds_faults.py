"""Each promise of `test_rounds_property.py` fails where a part of what keeps it is taken away."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit.at_once import answer
from tests.kit.followed_folder import ReplicaPair, files_of
from tests.kit.replica_pages import BrokenPromise, PageWatch
from twisted_index.events.serials import Change, Serials
from twisted_index.files.anonymous_file import AnonymousFile
from twisted_index.replication import adoption_order, compare
from twisted_index.replication.receipt import Receipt
from twisted_index.replication.replica_folder import ReplicaFolder
from twisted_index.testing import make_sdist, make_wheel

ONE, TWO, SDIST = make_wheel("demo", "1.0"), make_wheel("demo", "2.0"), make_sdist("demo", "2.0")
OTHER = make_wheel("other", "1.0")


class Watched(ReplicaPair):
    """A pair with one file, whose pages are looked at after each step."""

    def __init__(self, top: Path) -> None:
        self.watch = PageWatch(["demo"])
        super().__init__(top, self.carry_out)
        self.watch.start(self)
        ONE.write_to(self.there / "demo")
        self.follow_watched()

    def carry_out(self, step: Callable[[], object]) -> None:
        step()
        self.watch.look()

    def follow_watched(self) -> None:
        self.watch.begin()
        self.settle()
        assert files_of(self.here) == files_of(self.there)

    def mark(self, file: Any, text: str = "bad") -> Path:
        path = self.there / "demo" / f"{file.filename}.yanked"
        path.write_text(text)
        return path


def release(pair: Watched) -> None:
    for file in (TWO, SDIST):
        file.write_to(pair.there / "demo")


def yanked_file(pair: Watched) -> None:
    pair.mark(TWO)
    TWO.write_to(pair.there / "demo")


def removal_of_a_yanked_file(pair: Watched) -> None:
    pair.mark(ONE)
    TWO.write_to(pair.there / "demo")
    pair.follow_watched()
    pair.mark(ONE).unlink()
    (pair.there / "demo" / ONE.filename).unlink()


def lying_primary(pair: Watched) -> None:
    TWO.write_to(pair.there / "demo")
    other = make_wheel("demo", "2.0", requires_python=">=3.1").content
    pair.primary.spoil = lambda entry, content: other if "2.0" in entry.path else content


def other_time(pair: Watched) -> None:
    TWO.write_to(pair.there / "demo")
    pair.follow_watched()
    os.utime(pair.there / "demo" / TWO.filename, ns=(10**18, 10**18))


def nothing(*_args: object, **_more: object) -> Any:
    return None


def _without_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "_together", lambda *_args: ())


def _marks_last(monkeypatch: pytest.MonkeyPatch) -> None:
    begin, finish = ReplicaFolder.begin, ReplicaFolder.finish
    held: list[Any] = []
    monkeypatch.setattr(
        ReplicaFolder, "begin", lambda self, plan, marks: (held.extend(marks), begin(self, plan, ()))
    )
    monkeypatch.setattr(ReplicaFolder, "finish", lambda self, plan, marks=(): finish(self, plan, tuple(held)))


def _marks_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "_weight", lambda path: -compare.is_mark(path))


def _nothing_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Receipt, "check", lambda self: self._file.set_time(self.entry.time))
    monkeypatch.setattr(Receipt, "write", lambda self, data: self._file.write(data))


def _times_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AnonymousFile, "set_time", nothing)


@pytest.mark.parametrize(
    ("happens", "plant"),
    [
        (release, _without_list),
        (yanked_file, _marks_last),
        (removal_of_a_yanked_file, _marks_go_first),
        (lying_primary, _nothing_checked),
        (other_time, _times_ignored),
    ],
)
def test_the_folder_and_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, happens: Callable[[Watched], None], plant: Any
):
    for name in ("sound", "planted"):
        (tmp_path / name).mkdir()
    _follow_all(Watched(tmp_path / "sound"), happens)
    pair = Watched(tmp_path / "planted")
    plant(monkeypatch)
    with pytest.raises((AssertionError, BrokenPromise)):
        _follow_all(pair, happens)


def _follow_all(pair: Watched, happens: Callable[[Watched], None]) -> None:
    try:
        happens(pair)
        pair.watch.begin()
        pair.follow()
        pair.primary.spoil = lambda _entry, content: content
        pair.clock.advance(61)
        pair.follow_watched()
    finally:
        pair.stop()


def _known_to_others(pair: ReplicaPair, since: int) -> dict[str, int]:
    changes = pair.serials.read().changes.items()
    return {project: change.serial for project, change in changes if change.serial > since}


@pytest.mark.parametrize("is_planted", [False, True])
def test_changes_are_adopted_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_planted: bool
):
    """Else one who follows the replica would miss what failed at first."""
    pair = ReplicaPair(tmp_path)
    ONE.write_to(pair.there / "demo")
    pair.follow()
    since = pair.serials.read().highest
    TWO.write_to(pair.there / "demo")
    pair.primary.spoil = lambda entry, content: b"x" if "2.0" in entry.path else content
    answer(pair.primary.changes)
    OTHER.write_to(pair.there / "other")
    if is_planted:
        monkeypatch.setattr(
            adoption_order.AdoptionOrder, "first", lambda self, is_ready: _first_ready(self, is_ready)
        )
    pair.follow()
    known = _known_to_others(pair, since)
    since = max(known.values(), default=since)
    pair.primary.spoil = lambda _entry, content: content
    pair.settle()
    known |= _known_to_others(pair, since)
    assert (known.keys() == {"demo", "other"}) is not is_planted
    pair.stop()


def _first_ready(order: Any, is_ready: Callable[[str], bool]) -> tuple[str, int] | None:
    for project, serial in tuple(order._told.items()):
        if is_ready(project):
            del order._told[project]
            return project, serial
    return None


@pytest.mark.parametrize("is_planted", [False, True])
def test_a_serial_never_falls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_planted: bool):
    if is_planted:
        monkeypatch.setattr(
            Serials, "adopt", lambda self, project, change, flush=True: self._keep(project, change)
        )
    serials = Serials(str(tmp_path / "keep" / "serials"))
    serials.follow("c" * 32)
    for number in (9, 7):
        serials.adopt("demo", Change(number, "1" * 32))
    assert (serials.serial_of("demo") == 9) is not is_planted
