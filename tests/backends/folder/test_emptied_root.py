"""A root that has lost all that it had, on a server that has replicas: neither pages nor 404s."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.at_once import answer
from tests.kit.folder_source import Folder
from twisted_index.errors import UnreadableFolder
from twisted_index.events.serials import REMOVED, Serials
from twisted_index.testing import make_wheel

NAMES = [f"project-{number}" for number in range(20)]


def fill(root: Path, *names: str) -> None:
    for name in names:
        make_wheel(name, "1.0").write_to(root / name)


def empty(root: Path) -> None:
    for entry in root.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


@pytest.fixture
def watched(folder: Folder) -> Folder:
    """A root with packages that those who follow know of, of a server with replicas."""
    folder.source.watch_for_loss()
    fill(folder.path, *NAMES)
    answer(folder.source.sweep, lambda _name: True)
    return folder


def test_where_all_is_gone_at_once_nothing_is_absent(watched: Folder):
    assert watched.page(NAMES[0]) is not None
    empty(watched.path)
    for ask in (
        lambda: watched.page(NAMES[0]),
        lambda: watched.page("never-there"),
        lambda: watched.read(NAMES[0], make_wheel(NAMES[0], "1.0").filename),
        watched.names,
        lambda: answer(watched.source.look),
        lambda: answer(watched.source.sweep, lambda _name: True),
    ):
        with pytest.raises(UnreadableFolder, match="nothing is left of what was in it"):
            ask()
    (problem,) = answer(watched.source.problems).problems
    assert problem.path == "packages/"
    assert ".empty" in problem.advice


def test_no_serial_says_that_it_is_removed(watched: Folder):
    empty(watched.path)
    with pytest.raises(UnreadableFolder):
        answer(watched.source.sweep, lambda _name: True)
    assert REMOVED not in {change.imprint for change in watched.source.serials.read().changes.values()}


def test_a_start_without_the_disk_serves_nothing_either(watched: Folder, serve: Callable[..., Folder]):
    empty(watched.path)
    again = serve(watched.path, serials=watched.source.serials)
    again.source.watch_for_loss()
    with pytest.raises(UnreadableFolder):
        again.page(NAMES[0])


def test_it_is_served_again_once_the_files_are_back(watched: Folder):
    empty(watched.path)
    with pytest.raises(UnreadableFolder):
        watched.names()
    fill(watched.path, *NAMES)
    assert len(watched.names()) == len(NAMES)


def test_while_files_come_back_one_by_one_none_of_the_others_is_absent(watched: Folder):
    empty(watched.path)
    with pytest.raises(UnreadableFolder):
        watched.names()
    fill(watched.path, *NAMES[:17])
    with pytest.raises(UnreadableFolder):
        watched.page(NAMES[17])
    fill(watched.path, NAMES[17])
    assert watched.page(NAMES[17]) is not None
    assert watched.page(NAMES[18]) is None


def test_a_file_in_it_says_that_it_is_meant_to_be_empty(watched: Folder):
    empty(watched.path)
    with pytest.raises(UnreadableFolder):
        watched.names()
    (watched.path / ".empty").touch()
    assert watched.names() == ()
    assert watched.page(NAMES[0]) is None
    answer(watched.source.sweep, lambda _name: True)


def test_what_is_removed_one_by_one_is_absent_at_once(watched: Folder):
    for name in NAMES[1:]:
        shutil.rmtree(watched.path / name)
        assert watched.page(name) is None
    assert watched.page(NAMES[0]) is not None


def test_a_folder_that_never_had_anything_is_an_empty_index(folder: Folder):
    folder.source.watch_for_loss()
    assert folder.names() == ()
    assert folder.page("demo") is None


def test_where_the_state_is_lost_too_other_servers_may_know_that_there_was_something(folder: Folder):
    assert folder.names() == ()
    folder.source.watch_for_loss(expects_some=True)
    with pytest.raises(UnreadableFolder):
        folder.names()
    fill(folder.path, NAMES[0])
    assert folder.names() == (NAMES[0],)


def test_until_other_servers_have_answered_an_empty_folder_is_no_empty_index(folder: Folder):
    folder.source.watch_for_loss(expects_some=None)
    with pytest.raises(UnreadableFolder, match="its peers have not said yet"):
        folder.names()
    folder.source.watch_for_loss(expects_some=False)
    assert folder.names() == ()


def test_other_servers_are_not_awaited_for_what_is_there(folder: Folder):
    fill(folder.path, NAMES[0])
    folder.source.watch_for_loss(expects_some=None)
    assert folder.names() == (NAMES[0],)


def test_a_server_without_replicas_has_an_empty_index_in_the_next_answer(folder: Folder):
    fill(folder.path, *NAMES)
    answer(folder.source.sweep, lambda _name: True)
    empty(folder.path)
    assert folder.page(NAMES[0]) is None
    assert folder.names() == ()


def test_a_replica_is_not_held_up_as_its_rounds_bring_the_files_back(watched: Folder):
    watched.source.serials.follow()
    empty(watched.path)
    assert watched.names() == ()


def test_it_holds_for_serials_of_an_earlier_process(watched: Folder, tmp_path: Path, serve):
    kept = tmp_path / "state" / "serials"
    first = serve(watched.path, serials=Serials(str(kept)))
    answer(first.source.sweep, lambda _name: True)
    empty(watched.path)
    second = serve(watched.path, serials=Serials(str(kept)))
    second.source.watch_for_loss()
    with pytest.raises(UnreadableFolder):
        second.names()
