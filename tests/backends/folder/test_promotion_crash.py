"""A promotion may end at any moment: nothing of it shows, or all, and it can be resumed or cancelled."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.kit.shelves import EXTRAS, OLD, SDIST, WHEEL, Shelves, digests, tree, visible
from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.backends.folder.promotion import Promotion, cancel, carry_out, resume
from twisted_index.backends.folder.promotion_record import Promotions
from twisted_index.errors import Conflict, SimpleIndexError

from .cutting import CALLS, cut_after

ALL = digests(OLD, WHEEL, SDIST, EXTRAS)
NOTHING = digests(OLD)


def prepare(folder: Path) -> Shelves:
    """A wheel with its signature, which was deleted from prod before."""
    shelves = Shelves(folder)
    WHEEL.write_to(shelves.prod / "acme")
    BlockingStore([os.fsencode(shelves.prod)]).delete("acme", WHEEL.filename, by="alice", reason="too early")
    (shelves.staging / "acme" / f"{WHEEL.filename}.asc").write_text("signed")
    return shelves


def go_on(shelves: Shelves, how: str) -> None:
    """Do what a person does about whatever is left."""
    for promotion in shelves.unfinished():
        if Promotions(os.fsencode(shelves.prod)).record(promotion) is None:
            # It died before it wrote anything down.
            shutil.rmtree(shelves.prod / ".staged" / promotion)
            continue
        try:
            resume(shelves.reopen()) if how == "resume" else cancel(shelves.reopen())
        except Conflict as error:
            if "published already" in error.message:
                resume(shelves.reopen())


def check(shelves: Shelves, was: dict[str, bytes], how: str) -> dict[str, str]:
    """Say what is visible, after a look at what is not."""
    now = visible(shelves.prod)
    assert now in (NOTHING, ALL)
    go_on(shelves, how)
    assert shelves.unfinished() == []
    after = visible(shelves.prod)
    assert after in ((ALL,) if now == ALL else (NOTHING, ALL))
    there = {name: content for name, content in tree(shelves.prod).items() if ".uploads" not in name}
    if after == NOTHING:
        assert there == was
        assert visible(shelves.staging) == digests(WHEEL, SDIST, EXTRAS)
    else:
        assert there[f"acme/{WHEEL.filename}.asc"] == b"signed"
        assert "acme/.deleted" not in there
    return now


@pytest.mark.parametrize("move", [False, True])
@pytest.mark.parametrize("how", ["resume", "cancel"])
def test_wherever_it_is_cut_off_nothing_shows_or_all(tmp_path: Path, move: bool, how: str):
    reached = []
    for calls in range(1000):
        shelves = prepare(tmp_path / str(calls))
        was = tree(shelves.prod)
        with cut_after(calls) as made:
            carry_out(Promotion(shelves.request(move=move)))
        reached.append(check(shelves, was, how))
        if made() < calls:
            break
        shelves.promote(move=move) if visible(shelves.prod) == NOTHING else None
        assert visible(shelves.prod) == ALL
    assert (reached[0], reached[-1]) == (NOTHING, ALL)
    assert len(reached) > 40


@pytest.mark.parametrize("how", ["resume", "cancel"])
def test_going_on_may_be_cut_off_as_well(tmp_path: Path, how: str):
    """Whatever is cut off in turn, of the promotion and then of what goes on with it."""
    for first in range(4, 80, 5):
        for second in range(0, 40, 3):
            shelves = prepare(tmp_path / f"{first}-{second}")
            was = tree(shelves.prod)
            with cut_after(first):
                carry_out(Promotion(shelves.request()))
            with cut_after(second):
                go_on(shelves, how)
            check(shelves, was, "cancel")


class Disk:
    """Refuses one call of the system, or all from that one on."""

    def __init__(self, calls: int, number: int, *, lasting: bool) -> None:
        self.made = 0
        self._calls, self._number, self._lasting = calls, number, lasting

    def refusing(self, call: Any) -> Any:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            self.made += 1
            if self.made == self._calls + 1 or (self._lasting and self.made > self._calls):
                raise OSError(self._number, os.strerror(self._number))
            return call(*arguments, **options)

        return wrapper


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("lasting", [False, True])
def test_whatever_the_disk_refuses_nothing_shows_or_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, lasting: bool
):
    """Once, and then it is undone; or from then on, and then it is undone when the disk has recovered."""
    for calls in range(1000):
        shelves = prepare(tmp_path / str(calls))
        was, failed = tree(shelves.prod), False
        disk = Disk(calls, number, lasting=lasting)
        with monkeypatch.context() as patch:
            for name in CALLS:
                if lasting is False or name != "unlink":
                    patch.setattr(os, name, disk.refusing(getattr(os, name)))
            try:
                carry_out(Promotion(shelves.request()))
            except SimpleIndexError:
                failed = True
        if not lasting and failed and visible(shelves.prod) == NOTHING and not shelves.unfinished():
            assert tree(shelves.prod) == was
        check(shelves, was, "cancel")
        if not failed and disk.made <= calls:
            break
