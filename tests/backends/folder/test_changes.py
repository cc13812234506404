"""Changes at random, each followed at once by a look, on file systems whose times tick differently."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import settings

from tests.kit.folder_source import Folder, Times
from tests.kit.mounts import KINDS
from tests.kit.random_changes import PROJECTS, RandomChanges
from twisted_index.files.stamps import StatValidator

CHANGES = 4 * settings.default.max_examples


def change_and_look(serve: Callable[..., Folder], disk: Path, validator: StatValidator) -> None:
    """Make changes, and after each look at its project, before or only after another one."""
    for name in ("root", "aside"):
        (disk / name).mkdir()
    random = Random(CHANGES)
    changes = RandomChanges(disk / "root", disk / "aside", random, in_place=False)
    folder = serve(disk / "root", validator=validator)
    for number in range(CHANGES):
        project, kind = changes.make()
        looks = [project, random.choice(PROJECTS)]
        if random.random() < 0.5:
            looks.reverse()
        for name in looks:
            page = folder.page(name)
            found = {file.filename: file.hashes["sha256"] for file in page.files} if page is not None else {}
            assert found == changes.expected(name), f"{name} after change {number}, {kind} of {project}"


@pytest.mark.parametrize("kind", KINDS)
def test_each_change_is_in_the_next_answer_on_each_file_system(kind: str, mounted, serve):
    """With the times that the file system gives: many changes come within one tick of the clock."""
    change_and_look(serve, mounted(kind), StatValidator())


@pytest.mark.parametrize("tick_ns", [10**8, 10**9, 2 * 10**9])
def test_each_change_is_in_the_next_answer_where_times_are_coarse(
    tick_ns: int, tmp_path: Path, times: Times, serve
):
    times.tick_ns = tick_ns
    change_and_look(serve, tmp_path, StatValidator(stat=times.stat, has_fine_times=times.are_fine))
