"""Folders come whole, and what a process that died has left is swept away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twisted_index.files.anonymous_file import fill_folder, sweep


def test_a_folder_comes_with_all_that_is_in_it_and_no_sweep_takes_it_away(tmp_path: Path):
    root, path = os.fsencode(tmp_path), os.fsencode(tmp_path / "demo")

    def fill(folder: bytes) -> None:
        for name in ("one", "two"):
            (Path(os.fsdecode(folder)) / name).write_text(name)
            assert not os.path.exists(path)
        assert sweep(root) == 0

    fill_folder(root, path, fill)
    assert sorted(os.listdir(tmp_path / "demo")) == ["one", "two"]
    assert os.listdir(tmp_path) == ["demo"]


def test_a_folder_that_cannot_be_filled_or_has_no_place_leaves_nothing(tmp_path: Path):
    root = os.fsencode(tmp_path)
    with pytest.raises(OSError, match="missing"):
        fill_folder(root, os.fsencode(tmp_path / "demo"), lambda folder: os.stat(folder + b"/missing"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(OSError, match="full"):
        fill_folder(root, os.fsencode(tmp_path / "full"), lambda _folder: None)
    assert os.listdir(tmp_path) == ["full"]
    assert os.listdir(tmp_path / "full") == ["mine"]


def test_what_a_process_that_died_was_filling_is_swept_away(tmp_path: Path):
    (tmp_path / ".uploads" / "upload_1").mkdir(parents=True)
    (tmp_path / ".uploads" / "upload_1" / "one").touch()
    assert sweep(os.fsencode(tmp_path)) == 1
    assert os.listdir(tmp_path) == []
