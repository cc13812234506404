"""When a stamp proves that a folder has not changed since."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from twisted_index.files import filesystems
from twisted_index.files.filesystems import filesystem_type, has_coarse_folders, has_fine_times
from twisted_index.files.stamps import StatValidator


@dataclass
class Young:
    """A folder that has just changed, and the clock that its times come from."""

    path: bytes
    clock: Clock
    fine: bool
    asked: int = 0

    def has_fine_times(self, path: bytes, status: os.stat_result) -> bool:
        self.asked += 1
        return self.fine

    def validator(self) -> StatValidator:
        changed = os.stat(self.path).st_ctime_ns / 1e9
        return StatValidator(
            monotonic=self.clock.seconds,
            wall=lambda: changed + self.clock.seconds(),
            has_fine_times=self.has_fine_times,
        )


@pytest.fixture(params=[True, False], ids=["fine", "coarse"])
def young(request: pytest.FixtureRequest, tmp_path: Path) -> Young:
    return Young(os.fsencode(tmp_path), Clock(), fine=request.param)


def test_a_stamp_within_the_tick_of_the_last_change_is_racy(young: Young):
    validator = young.validator()
    stamp = validator.stamp(young.path)
    assert not stamp.settled
    assert not validator.is_current(young.path, stamp)


def test_a_stamp_from_after_the_tick_of_the_kernel_is_settled_where_times_are_fine(young: Young):
    validator = young.validator()
    young.clock.advance(0.02)
    assert validator.stamp(young.path).settled is young.fine


def test_a_stamp_is_settled_two_seconds_after_the_change_on_every_file_system(young: Young):
    validator = young.validator()
    young.clock.advance(2.1)
    assert validator.stamp(young.path).settled


def test_whether_a_settled_stamp_is_fine_is_found_out_once(young: Young):
    validator = young.validator()
    young.clock.advance(0.02)
    stamp = validator.stamp(young.path)
    assert validator.stamp(young.path, stamp).settled is young.fine
    assert young.asked == (1 if young.fine else 2)


def test_a_reader_of_many_folders_does_not_look_at_the_mounts(young: Young):
    validator = young.validator()
    young.clock.advance(0.02)
    assert not validator.stamp(young.path, fine=False).settled
    assert young.asked == 0


def test_times_of_whole_seconds_are_not_fine(tmp_path: Path):
    values = list(os.stat(tmp_path))
    whole = {"st_ctime_ns": 1_600_000_000 * 10**9, "st_mtime_ns": 1_600_000_000 * 10**9}
    assert not has_fine_times(os.fsencode(tmp_path), os.stat_result(values, whole))


def test_the_times_of_another_folder_are_not_fine(tmp_path: Path):
    """It was swapped since the `stat`."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert not has_fine_times(os.fsencode(tmp_path / "two"), (tmp_path / "one").stat())


def test_a_path_that_is_not_there_has_the_file_system_of_the_folder_above(tmp_path: Path):
    above = os.fsencode(tmp_path)
    assert filesystem_type(above + b"/not/there") == filesystem_type(above)


@pytest.mark.parametrize(
    ("kind", "coarse"),
    [
        ("fuse.mergerfs", True),
        ("fuse.rclone", True),
        ("fuse", True),
        ("vfat", True),
        ("fuse.sshfs", False),
        ("fuseblk", False),
        ("overlay", False),
        (None, False),
    ],
)
def test_folder_times_that_a_program_makes_up_prove_nothing(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, coarse: bool
):
    """A folder of mergerfs keeps its times when a file comes into its second branch."""
    monkeypatch.setattr(filesystems, "filesystem_type", lambda path: kind)
    assert has_coarse_folders(b"/srv/packages") == coarse
