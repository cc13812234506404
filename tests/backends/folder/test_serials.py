"""The serial of a page belongs to it: another page has a greater one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Set
from itertools import count
from pathlib import Path

import pytest

from tests.kit.at_once import answer
from tests.kit.folder_source import Folder
from tests.kit.folder_store import Shop
from twisted_index.backends.folder.imprints import Sweep
from twisted_index.backends.folder.root_scan import RootScan
from twisted_index.backends.layout.entries import ProjectEntries
from twisted_index.events.serials import Serials
from twisted_index.files.stamps import StatValidator
from twisted_index.testing import make_sdist, make_wheel

ONE = make_wheel("demo", "1.0")
TWO = make_wheel("demo", "2.0")
STAYS = make_wheel("demo", "0.1")


def serial(folder: Folder | Shop, project: str = "demo") -> int:
    found: int | None = answer(folder.source.project_page, project).serial
    assert found is not None
    return found


def sweep(folder: Folder | Shop) -> Set[str]:
    present: Set[str] = answer(folder.source.sweep, lambda _name: True)
    return present


def listed(folder: Folder | Shop, project: str = "demo") -> int:
    """The serial that the list has after a sweep."""
    sweep(folder)
    found = folder.source.serials.serial_of(project)
    assert found is not None
    return found


def add_a_file(folder: Path) -> None:
    TWO.write_to(folder)


def remove_a_file(folder: Path) -> None:
    (folder / ONE.filename).unlink()


def rename_a_file(folder: Path) -> None:
    (folder / ONE.filename).rename(folder / "demo-1.0-1-py3-none-any.whl")


def yank_a_file(folder: Path) -> None:
    (folder / f"{ONE.filename}.yanked").write_text("broken")


def set_a_status(folder: Path) -> None:
    (folder / ".archived").write_text("done")


def rewrite_in_place(folder: Path) -> None:
    with (folder / ONE.filename).open("r+b") as file:
        file.write(make_wheel("demo", "1.0", requires=["attrs"]).content)


def restore_a_backup(folder: Path) -> None:
    """The same bytes and times, as `cp -a` restores them."""
    shutil.copytree(folder, folder.with_name("backup"))
    shutil.rmtree(folder)
    folder.with_name("backup").rename(folder)


CHANGES = [
    add_a_file,
    remove_a_file,
    rename_a_file,
    yank_a_file,
    set_a_status,
    rewrite_in_place,
    restore_a_backup,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_by_hand_gives_the_page_a_greater_serial_and_the_list_the_same(
    folder: Folder, change: Callable[[Path], None]
):
    for made in (STAYS, ONE):
        made.write_to(folder.path / "demo")
    before = serial(folder)
    folder.later()
    change(folder.path / "demo")
    after = serial(folder)
    assert after > before
    assert listed(folder) == after


@pytest.mark.parametrize("change", CHANGES)
def test_a_sweep_notices_a_change_by_hand_and_the_page_has_its_serial(
    folder: Folder, change: Callable[[Path], None]
):
    for made in (STAYS, ONE):
        made.write_to(folder.path / "demo")
    before = serial(folder)
    folder.later()
    change(folder.path / "demo")
    noticed = listed(folder)
    assert noticed > before
    assert serial(folder) == noticed


def test_a_file_in_the_root_that_is_replaced_is_noticed(folder: Folder):
    path = ONE.write_to(folder.path)
    before = listed(folder)
    folder.later()
    other = make_wheel("demo", "1.0", requires=["attrs"]).write_to(folder.path / "elsewhere")
    other.rename(path)
    assert listed(folder) > before


def test_what_rests_keeps_its_serial(folder: Folder):
    ONE.write_to(folder.path / "demo")
    before = serial(folder)
    for _ in range(3):
        folder.later()
        assert (serial(folder), listed(folder)) == (before, before)


def test_an_equal_page_with_another_serial_is_the_same_object(folder: Folder):
    ONE.write_to(folder.path / "demo")
    page, before = folder.page("demo"), serial(folder)
    folder.later()
    os.chmod(folder.path / "demo" / ONE.filename, 0o600)
    assert serial(folder) > before
    assert folder.page("demo") is page


def test_a_file_that_is_listed_only_once_it_has_rested_changes_the_serial(folder: Folder):
    """Nothing of the file shows that it is listed now."""
    make_sdist("demo", "1.0", extension=".tar").write_to(folder.path / "demo")
    before = serial(folder)
    assert folder.files("demo") == []
    folder.later()
    assert len(folder.files("demo")) == 1
    assert serial(folder) > before
    assert listed(folder) == serial(folder)


def test_a_project_that_was_removed_and_comes_back_has_a_greater_serial(folder: Folder):
    ONE.write_to(folder.path / "demo")
    before = serial(folder)
    folder.later()
    shutil.rmtree(folder.path / "demo")
    assert folder.page("demo") is None
    assert sweep(folder) == set()
    ONE.write_to(folder.path / "demo")
    assert serial(folder) > before


def test_names_that_never_were_have_no_serial(folder: Folder):
    assert folder.page("no-such") is None
    assert folder.source.serials.read().changes == {}


def test_a_change_through_the_server_is_known_at_once(shop: Shop):
    heard: list[str] = []
    shop.source.serials.listeners.add(lambda: heard.append("changed"))
    shop.publish(ONE)
    shop.do("yank", "demo", version="1.0", reason="broken")
    shop.do("delete", "demo", ONE.filename)
    assert len(heard) == 3


def test_a_project_that_another_source_answers_for_is_left_alone(folder: Folder):
    ONE.write_to(folder.path / "demo")
    assert answer(folder.source.sweep, lambda name: name != "demo") == set()
    assert folder.source.serials.read().changes == {}


def test_a_sweep_rests_as_long_as_it_works_so_that_it_keeps_no_page_waiting(tmp_path: Path):
    """Each look at a project takes 0.15 ms here, so there is a rest after every second one."""
    moments, rests = count(), list[float]()
    validator = StatValidator(monotonic=lambda: next(moments) * 0.05e-3)
    projects = {f"project-{number}": ProjectEntries() for number in range(6)}
    reading = RootScan(os.fsencode(tmp_path), validator.stamp(os.fsencode(tmp_path)), projects)

    swept = Sweep(Serials(), validator, rests.append).run([reading], lambda _name: True)

    assert swept.present == projects.keys()
    assert rests
    assert all(rest == pytest.approx(0.2e-3, rel=0.3) for rest in rests)
