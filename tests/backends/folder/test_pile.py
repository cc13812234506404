"""Folders of several indexes, served as one pile: by whom each file is, and what a change touches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.at_once import answer
from tests.kit.folder_source import AtOnce, Folder, Times
from tests.kit.folder_store import Shop
from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.backends.folder.shared_folders import SharedFolders
from twisted_index.backends.folder.source import FolderSource
from twisted_index.errors import Conflict, NotFound, UnreadableFolder
from twisted_index.files.stamps import StatValidator
from twisted_index.simple.model import ProjectStatus, Status
from twisted_index.testing import make_sdist, make_wheel

OLD, NEW, SDIST = make_wheel("demo", "1.0"), make_wheel("demo", "2.0"), make_sdist("demo", "1.0")
CHANGED = make_wheel("demo", "1.0", files={"demo/other.py": "x = 1\n"})


@pytest.fixture
def shared(times: Times) -> Iterator[SharedFolders]:
    at_once = AtOnce()
    validator = StatValidator(stat=times.stat, monotonic=times.clock.seconds, has_fine_times=times.are_fine)
    shared = SharedFolders(reactor=times.clock, reader=at_once, cache_thread=at_once, validator=validator)
    yield shared
    answer(shared.stop)


@pytest.fixture
def serve_shared(shared: SharedFolders, times: Times) -> Callable[..., Folder]:
    def start(*paths: Path, **arguments: Any) -> Folder:
        source = FolderSource(*paths, shared=shared, reactor=times.clock, **arguments)
        return Folder(paths[0], source, times)

    return start


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    (tmp_path / "dev").mkdir()
    return tmp_path / "dev"


@pytest.fixture
def prod(tmp_path: Path) -> Path:
    (tmp_path / "prod").mkdir()
    return tmp_path / "prod"


def owners(folder: Folder, project: str = "demo") -> dict[str, str | None]:
    page = folder.page(project)
    assert page is not None
    return {file.filename: file.owner for file in page.files}


def test_each_file_says_which_index_it_belongs_to(dev: Path, prod: Path, serve_shared):
    NEW.write_to(dev / "demo")
    OLD.write_to(prod / "demo")
    SDIST.write_to(prod)
    folder = serve_shared(dev, prod, owners=(None, "prod"))
    assert owners(folder) == {NEW.filename: None, OLD.filename: "prod", SDIST.filename: "prod"}


def test_a_file_of_several_folders_belongs_to_the_first(dev: Path, prod: Path, serve_shared):
    OLD.write_to(dev / "demo")
    OLD.write_to(prod / "demo")
    assert owners(serve_shared(dev, prod, owners=(None, "prod"))) == {OLD.filename: None}


def test_the_index_without_a_name_can_be_inherited(dev: Path, prod: Path, serve_shared):
    OLD.write_to(prod / "demo")
    assert owners(serve_shared(dev, prod, owners=(None, ""))) == {OLD.filename: ""}


def test_of_two_equal_paths_the_first_says_whose_the_files_are(dev: Path, serve_shared):
    OLD.write_to(dev / "demo")
    assert owners(serve_shared(dev, dev, owners=(None, "prod"))) == {OLD.filename: None}


def test_each_path_needs_an_owner_if_one_has(dev: Path, prod: Path, serve_shared):
    with pytest.raises(ValueError, match="shorter"):
        serve_shared(dev, prod, owners=(None,))


def test_a_root_is_read_once_for_all_piles(dev: Path, prod: Path, serve_shared, times: Times):
    OLD.write_to(prod / "demo")
    own, pile = serve_shared(prod), serve_shared(dev, prod, owners=(None, "prod"))
    before = own.source._roots, own.names()
    assert pile.names() == before[1]
    assert pile.source._roots.readings[1] is before[0].readings[0]


def test_what_another_pile_has_read_is_no_news_that_is_missed(dev: Path, prod: Path, serve_shared):
    own, pile = serve_shared(prod), serve_shared(dev, prod, owners=(None, "prod"))
    assert pile.names() == ()
    assert pile.page("demo") is None
    OLD.write_to(prod / "demo")
    # The reading that this begins is the other pile's too.
    assert own.names() == ("demo",)
    assert pile.names() == ("demo",)
    assert owners(pile) == {OLD.filename: "prod"}


def test_what_came_while_the_server_ran_is_verified_first_in_every_pile(dev: Path, prod: Path, serve_shared):
    """A file that came half is not listed by a pile that learned of its project from another's reading."""
    own, pile = serve_shared(prod), serve_shared(dev, prod, owners=(None, "prod"))
    assert (own.names(), pile.names()) == ((), ())
    OLD.write_to(prod / "demo")
    assert own.names() == ("demo",)
    assert "demo" in pile.source._roots.new_projects


def test_a_base_that_cannot_be_read_is_an_error_and_no_shorter_page(dev: Path, prod: Path, serve_shared):
    NEW.write_to(dev / "demo")
    OLD.write_to(prod / "demo")
    own, pile = serve_shared(prod), serve_shared(dev, prod, owners=(None, "prod"))
    assert owners(pile) == {NEW.filename: None, OLD.filename: "prod"}
    prod.rename(prod.with_name("away"))
    for folder in (pile, own):
        with pytest.raises(UnreadableFolder):
            folder.page("demo")
    prod.with_name("away").rename(prod)
    assert owners(pile) == {NEW.filename: None, OLD.filename: "prod"}


def test_a_source_that_stops_leaves_the_others_at_work(dev: Path, prod: Path, serve_shared, shared):
    OLD.write_to(prod / "demo")
    own, pile = serve_shared(prod), serve_shared(dev, prod, owners=(None, "prod"))
    page = own.page("demo")
    assert pile.page("demo") is not None
    answer(pile.source.stop)
    assert own.page("demo") is page
    NEW.write_to(prod / "demo")
    assert own.files("demo") == [OLD.filename, NEW.filename]


def test_a_stopped_source_leaves_no_states_behind(prod: Path, serve_shared, shared: SharedFolders):
    OLD.write_to(prod / "demo")
    folder = serve_shared(prod)
    folder.page("demo")
    answer(folder.source.stop)
    assert len(shared._states) == 0


# -- Changes


@pytest.fixture
def shop(dev: Path, prod: Path, open_shop: Callable[..., Shop]) -> Shop:
    """The index dev, which inherits prod."""
    return open_shop(dev, prod, owners=(None, "prod"), overwrite=("*",))


@pytest.fixture
def unchanged(prod: Path) -> Iterator[None]:
    """Check at the end that nothing in prod was changed."""
    yield
    assert not list(prod.rglob(".*"))
    assert not list(prod.rglob("*.yanked"))


def test_other_bytes_under_a_name_of_a_base_are_refused_by_its_name(shop: Shop, prod: Path):
    OLD.write_to(prod / "demo")
    with pytest.raises(Conflict, match="exists with different content in the index prod"):
        shop.publish(CHANGED)
    assert shop.tree() == []
    assert shop.files() == {OLD.filename: OLD.sha256}


def test_a_file_of_this_index_is_not_overwritten_while_a_base_has_its_name(shop: Shop, prod: Path):
    shop.publish(OLD)
    OLD.write_to(prod / "demo")
    with pytest.raises(Conflict, match="in the index prod"):
        shop.publish(CHANGED)
    assert shop.publish(OLD) is False


def test_the_bytes_of_a_base_are_published_here_too(shop: Shop, prod: Path):
    OLD.write_to(prod / "demo")
    assert shop.publish(OLD) is True
    assert shop.tree() == [f"demo/{OLD.filename}"]
    assert shop.file(OLD.filename).owner is None


def test_a_name_that_was_deleted_in_a_base_stays_taken_here(shop: Shop, prod: Path):
    OLD.write_to(prod / "demo")
    BlockingStore([os.fsencode(prod)]).delete("demo", OLD.filename, by="alice")
    with pytest.raises(Conflict, match="was deleted in the index prod"):
        shop.publish(OLD)


CHANGES = {
    "delete": ("demo", OLD.filename),
    "yank": ("demo", OLD.filename),
    "unyank": ("demo", OLD.filename),
    "set_status": ("demo", ProjectStatus(status=Status.ARCHIVED)),
}


def change(shop: Shop, action: str) -> object:
    project, what = CHANGES[action]
    if action in ("yank", "unyank"):
        return shop.do(action, project, filename=what)
    return shop.do(action, project, what)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("action", CHANGES)
def test_what_lies_in_a_base_is_changed_there_only(shop: Shop, prod: Path, action: str):
    OLD.write_to(prod / "demo")
    with pytest.raises(Conflict, match=r"It lies in the index prod, which this one inherits; do it there\."):
        change(shop, action)
    assert shop.files() == {OLD.filename: OLD.sha256}
    assert shop.tree() == []


@pytest.mark.parametrize("action", CHANGES)
def test_what_lies_nowhere_is_not_found(shop: Shop, action: str):
    with pytest.raises(NotFound):
        change(shop, action)


@pytest.mark.usefixtures("unchanged")
def test_of_a_release_only_the_files_of_this_index_are_yanked(shop: Shop, prod: Path):
    SDIST.write_to(prod / "demo")
    shop.publish(OLD)
    assert shop.do("yank", "demo", version="1.0", reason="broken") == (OLD.filename,)
    assert shop.file(OLD.filename).yanked is not None
    assert shop.file(SDIST.filename).yanked is None


@pytest.mark.usefixtures("unchanged")
def test_a_file_that_both_have_is_deleted_here_and_stays_deleted(shop: Shop, prod: Path):
    OLD.write_to(prod / "demo")
    shop.publish(OLD)
    shop.do("delete", "demo", OLD.filename)
    assert shop.files() == {}
    assert (prod / "demo" / OLD.filename).exists()


@pytest.mark.usefixtures("unchanged")
def test_old_pre_releases_of_a_base_are_kept(dev: Path, prod: Path, open_shop: Callable[..., Shop]):
    old, new = make_wheel("demo", "1.0.dev1"), make_wheel("demo", "1.0.dev2")
    old.write_to(prod / "demo")
    roots = [os.fsencode(dev), os.fsencode(prod)]
    store = BlockingStore(roots, owners=(None, "prod"), keep_prereleases=1)
    shop = open_shop(dev, prod, owners=(None, "prod"), blocking_store=store)
    shop.publish(new)
    assert set(shop.files()) == {old.filename, new.filename}


def test_unfinished_uploads_in_a_base_are_left_alone(shop: Shop, prod: Path):
    """Another server may be writing there."""
    unfinished = prod / ".uploads" / "one"
    unfinished.parent.mkdir()
    unfinished.write_bytes(b"half")
    answer(shop.store.sweep)
    assert unfinished.exists()


def test_the_projects_to_prune_are_those_of_this_index(shop: Shop, prod: Path):
    OLD.write_to(prod / "demo")
    shop.publish(make_wheel("other", "1.0"))
    assert shop.store._editor.projects() == ["other"]
    assert not shop.store._editor.inventory("demo").exists
