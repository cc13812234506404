"""What a server keeps of its part in a replication."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from twisted_index.errors import Unavailable
from twisted_index.replication.epoch import Epoch, parse_epoch
from twisted_index.replication.state_file import ReplicationState, Role, StateFile

EPOCH = Epoch(2, "0f" * 16)
STATE = ReplicationState(
    role=Role.RETIRED,
    epoch=EPOCH,
    primary="https://b.example/x y/",
    restricted=True,
    awaiting=13,
    accepted=12,
)


def test_without_a_file_a_server_is_a_primary(tmp_path):
    file = StateFile(str(tmp_path))
    assert file.read() == ReplicationState(role=Role.PRIMARY)
    assert not file.exists


@pytest.mark.parametrize("state", [STATE, ReplicationState(role=Role.REPLICA)], ids=["all", "role"])
def test_what_is_written_is_read_by_another_process(tmp_path, state):
    StateFile(str(tmp_path)).write(state)
    assert StateFile(str(tmp_path)).read() == state


def test_a_change_of_the_file_is_seen_at_the_next_look(tmp_path):
    running, command = StateFile(str(tmp_path)), StateFile(str(tmp_path))
    assert running.read().role is Role.PRIMARY
    command.write(STATE)
    assert running.read() == STATE


def test_a_change_is_made_of_what_another_process_has_just_written(tmp_path):
    running, command = StateFile(str(tmp_path)), StateFile(str(tmp_path))
    running.write(STATE)
    command.update(lambda state: replace(state, role=Role.PRIMARY))
    running.update(lambda state: replace(state, restricted=False))
    assert StateFile(str(tmp_path)).read() == replace(STATE, role=Role.PRIMARY, restricted=False)


def test_changes_of_two_processes_never_undo_each_other(tmp_path):
    def count(name):
        file = StateFile(str(tmp_path))
        for _ in range(30):
            file.update(lambda state: replace(state, **{name: getattr(state, name) + 1}))

    with ThreadPoolExecutor() as pool:
        list(pool.map(count, ["awaiting", "accepted"]))
    state = StateFile(str(tmp_path)).read()
    assert (state.awaiting, state.accepted) == (30, 30)


def test_a_change_that_fails_leaves_what_was_kept(tmp_path):
    file = StateFile(str(tmp_path))
    file.write(STATE)

    def fail(_state):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        file.update(fail)
    assert file.read() == StateFile(str(tmp_path)).read() == STATE


def test_a_damaged_file_can_be_replaced(tmp_path):
    file = StateFile(str(tmp_path))
    os.makedirs(tmp_path / "keep")
    (tmp_path / "keep" / "replication").write_bytes(b"role queen\n")
    with pytest.raises(Unavailable):
        file.update(lambda state: state)
    file.write(STATE)
    assert file.read() == STATE


def test_a_state_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "keep").write_text("no folder")
    with pytest.raises(Unavailable, match=r"keep/replication in the state folder cannot be written: .*\."):
        StateFile(str(tmp_path)).update(lambda _state: STATE)


@pytest.mark.parametrize("text", [b"", b"role queen\n", b"role replica\nepoch 0 x\n", b"\xff\n"])
def test_a_damaged_file_is_no_permission_to_change_anything(tmp_path, text):
    os.makedirs(tmp_path / "keep")
    (tmp_path / "keep" / "replication").write_bytes(text)
    with pytest.raises(Unavailable, match="keep/replication"):
        StateFile(str(tmp_path)).read()


def test_of_two_epochs_the_number_decides_and_then_the_instance():
    low, high = "0" * 32, "f" * 32
    assert Epoch(2, low) > Epoch(1, high)
    assert Epoch(2, high) > Epoch(2, low)
    assert parse_epoch(str(EPOCH)) == EPOCH
    assert parse_epoch("2") is None
