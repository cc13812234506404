"""
Piles and lists at random, on real folders.

Several piles that share readings say what sources of their own say of the same folders as `--path`s, and
whose each file is. A list hides exactly what it names: all else is as in folders without those files.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.kit.at_once import answer
from tests.kit.folder_source import AtOnce
from tests.kit.properties import examples
from tests.kit.random_changes import PROJECTS, RandomChanges
from twisted_index.backends.folder.shared_folders import SharedFolders
from twisted_index.backends.folder.source import FolderSource
from twisted_index.errors import SimpleIndexError
from twisted_index.files.stamps import StatValidator
from twisted_index.simple.model import ProjectPage

OWNERS = ("dev", "staging", "prod")
STEPS = 12


class World:
    """Three roots with changes at random, and sources that share or do not."""

    def __init__(self, top: Path, seed: int) -> None:
        self.random = Random(seed)
        self.roots = [top / name for name in OWNERS]
        self.changes = []
        for root in self.roots:
            aside = top / f"{root.name}-aside"
            root.mkdir()
            aside.mkdir()
            self.changes.append(RandomChanges(root, aside, Random(self.random.random()), in_place=True))
        self.clock = Clock()
        self.shared = self.folders()
        self.sources: list[FolderSource] = []

    def folders(self) -> SharedFolders:
        at_once = AtOnce()
        validator = StatValidator(monotonic=self.clock.seconds)
        return SharedFolders(reactor=self.clock, reader=at_once, cache_thread=at_once, validator=validator)

    def source(self, *roots: Path, shared: SharedFolders, owners: Any = ()) -> FolderSource:
        source = FolderSource(*roots, owners=owners, shared=shared, reactor=self.clock)
        self.sources.append(source)
        return source

    def alone(self, look: Callable[[FolderSource], Any], *roots: Path) -> Any:
        """What a source says that has seen nothing before."""
        shared = self.folders()
        try:
            return look(self.source(*roots, shared=shared))
        finally:
            answer(shared.stop)

    def change(self) -> None:
        for _ in range(self.random.randrange(4)):
            self.random.choice(self.changes).make()
        # Whatever was rewritten in place shows after this.
        self.clock.advance(self.random.choice([2.5, 5]))

    def stop(self) -> None:
        answer(self.shared.stop)


def pages(source: FolderSource) -> dict[str, ProjectPage | str | None]:
    """The page of each project, or why there is none."""
    found: dict[str, ProjectPage | str | None] = {}
    for project in PROJECTS:
        try:
            found[project] = answer(source.project_page, project).value
        except SimpleIndexError as error:
            found[project] = error.message
    return found


def all_of(source: FolderSource) -> tuple[Any, ...]:
    """All that a source says."""
    bodies = {}
    shown = pages(source)
    for project, page in shown.items():
        for file in page.files if isinstance(page, ProjectPage) else ():
            body = answer(source.open_file, project, file.filename)
            with body.content as content:
                bodies[file.filename] = content.read()
    report = {(one.path, one.reason) for one in answer(source.problems).problems}
    return shown, answer(source.project_list).value.names, bodies, report


def without_owners(said: tuple[Any, ...]) -> tuple[Any, ...]:
    shown = {
        project: replace(page, files=tuple(replace(file, owner=None) for file in page.files))
        if isinstance(page, ProjectPage)
        else page
        for project, page in said[0].items()
    }
    return (shown, *said[1:])


@examples(40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_piles_that_share_say_what_several_paths_say(seed: int):
    with TemporaryDirectory() as folder:
        world = World(Path(folder), seed)
        piles = [
            (
                start,
                world.source(*world.roots[start:], owners=(None, *OWNERS[start + 1 :]), shared=world.shared),
            )
            for start in range(3)
        ]
        for _ in range(STEPS):
            world.change()
            for start, source in world.random.sample(piles, world.random.randint(1, 3)):
                said = all_of(source)
                assert without_owners(said) == world.alone(all_of, *world.roots[start:])
                check_owners(said[0], world.roots[start:])
        world.stop()


def check_owners(shown: dict[str, ProjectPage | str | None], roots: list[Path]) -> None:
    """A file is that of the first root that has its name."""
    for page in shown.values():
        for file in page.files if isinstance(page, ProjectPage) else ():
            first = next(root for root in roots if file.filename in names_in(root))
            assert file.owner == (None if first is roots[0] else first.name)


def names_in(root: Path) -> set[str]:
    return {name for _folder, _folders, names in os.walk(root, followlinks=True) for name in names}


@examples(40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_list_hides_exactly_what_it_names(seed: int):
    with TemporaryDirectory() as folder:
        world = World(Path(folder), seed)
        source = world.source(*world.roots, shared=world.shared)
        for _ in range(STEPS):
            world.change()
            pages(source)
            # What was seen so often, and so long ago, is not looked at again without a reason.
            world.clock.advance(2.5)
            pages(source)
            before = pages(source)
            if world.random.random() < 0.8:
                toggle_lists(world)
            after = pages(source)
            for project, page in after.items():
                assert page is before[project] or page != before[project]
            seen = all_of(source)
            assert seen == world.alone(all_of, *unhidden(world, Path(folder) / "copies"))
        world.stop()


def toggle_lists(world: World) -> None:
    """Make, change or remove lists in some root, of files that are there or are not."""
    root = world.random.choice(world.roots)
    staged = root / ".staged"
    staged.mkdir(exist_ok=True)
    path = staged / f"{world.random.randrange(3)}.list"
    names = sorted({file.name for file in root.rglob("*.whl")}) or ["alpha_0-1.0-py3-none-any.whl"]
    chosen = world.random.sample(names, world.random.randint(0, len(names)))
    if path.exists() and world.random.random() < 0.5:
        path.unlink()
    elif world.random.random() < 0.5:
        # In one step, as a promotion does.
        (staged / "part").write_text("\n".join(chosen))
        (staged / "part").rename(path)
    else:
        path.write_text("\n".join((*chosen, "")))
        world.clock.advance(2.5)


def hidden_names(root: Path) -> set[str]:
    return {name for path in (root / ".staged").glob("*.list") for name in path.read_text().split()}


def unhidden(world: World, top: Path) -> list[Path]:
    """Copy the roots without what their lists hide."""
    shutil.rmtree(top, ignore_errors=True)
    copies = []
    for root in world.roots:
        hidden = hidden_names(root)
        copies.append(top / root.name)
        shutil.copytree(root, copies[-1], ignore=shutil.ignore_patterns(".staged", *hidden))
    return copies
