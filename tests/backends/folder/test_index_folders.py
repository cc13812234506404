"""An index is there by one step and gone by one, with all that it had and nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from twisted_index.backends.folder import index_folders
from twisted_index.backends.folder.index_folders import make_index, remove_index
from twisted_index.errors import Conflict, NotFound, Unavailable


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_an_index_is_made_once(tmp_path: Path):
    assert make_index(os.fsencode(tmp_path), "pr-7")
    (tmp_path / "pr-7" / "a").touch()
    assert not make_index(os.fsencode(tmp_path), "pr-7")
    assert names(tmp_path / "pr-7") == ["a"]


def test_a_file_in_its_place_is_told(tmp_path: Path):
    (tmp_path / "pr-7").touch()
    with pytest.raises(Conflict, match="a file of the name pr-7"):
        make_index(os.fsencode(tmp_path), "pr-7")


def test_an_index_that_cannot_be_made_is_told(tmp_path: Path):
    with pytest.raises(Unavailable):
        make_index(os.fsencode(tmp_path / "none"), "pr-7")


def test_an_index_is_removed_with_all_that_it_has(tmp_path: Path):
    (tmp_path / "pr-7" / "foo" / "deep").mkdir(parents=True)
    (tmp_path / "pr-7" / "foo" / "deep" / "file").touch()
    (tmp_path / "pr-8").mkdir()
    remove_index(os.fsencode(tmp_path), "pr-7")
    assert names(tmp_path) == ["pr-8"]
    with pytest.raises(NotFound):
        remove_index(os.fsencode(tmp_path), "pr-7")


def test_of_a_link_nothing_is_removed_but_the_link(tmp_path: Path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "indexes"
    elsewhere.mkdir()
    folder.mkdir()
    (elsewhere / "precious").touch()
    (folder / "pr-7").symlink_to(elsewhere)
    (folder / "pr-8").mkdir()
    (folder / "pr-8" / "link").symlink_to(elsewhere)
    remove_index(os.fsencode(folder), "pr-7")
    remove_index(os.fsencode(folder), "pr-8")
    assert names(folder) == []
    assert names(elsewhere) == ["precious"]


def test_it_vanishes_before_its_first_file_goes_and_a_crash_leaves_nothing_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[list[str]] = []

    def crash(path: Any) -> None:
        seen.append(names(tmp_path))
        raise OSError("The disk is gone.")

    for name in ("pr-7", "pr-8"):
        (tmp_path / name / "foo").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(index_folders.shutil, "rmtree", crash)
        with pytest.raises(Unavailable):
            remove_index(os.fsencode(tmp_path), "pr-7")
    assert "pr-7" not in seen[0]
    assert [name.startswith(".removed-") for name in names(tmp_path)] == [True, False]
    assert shutil.rmtree is index_folders.shutil.rmtree
    remove_index(os.fsencode(tmp_path), "pr-8")
    assert names(tmp_path) == []


def test_an_index_is_never_there_without_its_settings(tmp_path: Path):
    folder = os.fsencode(tmp_path)
    assert make_index(folder, "pr-7", b"bases = []\n")
    assert (tmp_path / "pr-7" / ".index.toml").read_bytes() == b"bases = []\n"
    (tmp_path / "pr-8").mkdir()
    assert not make_index(folder, "pr-8", b"bases = []\n")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["pr-7", "pr-8"]
    assert not list((tmp_path / "pr-8").iterdir())
