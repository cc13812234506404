"""A state folder that cannot be written is said at the start, with what to do."""

from __future__ import annotations

import os

import pytest

from twisted_index.server.state_folder import state_fault


def test_a_folder_that_can_be_written_has_no_fault(tmp_path):
    assert state_fault(str(tmp_path)) is None


def test_a_folder_that_can_be_made_has_no_fault_and_is_not_made(tmp_path):
    assert state_fault(str(tmp_path / "a" / "b")) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "keep", "cache"])
def test_a_file_in_its_place_is_a_fault(tmp_path, name):
    state = tmp_path / "state"
    (state / name).parent.mkdir(exist_ok=True)
    (state / name).touch()

    assert state_fault(str(state)) == (
        f"The state cannot be kept: {state / name} is not a folder:"
        " name another folder with --state, or keep nothing with --state none."
    )


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
@pytest.mark.parametrize("name", ["", "keep"])
def test_a_folder_that_is_not_ones_own_is_a_fault_that_names_the_user(tmp_path, name):
    state = tmp_path / "state"
    (state / name).mkdir(parents=True)
    (state / name).chmod(0o555)

    assert f"{state / name} cannot be written by this process (user {os.geteuid()})" in (
        state_fault(str(state)) or ""
    )
