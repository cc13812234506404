"""A primary that takes no changes any more."""

from twisted.internet.defer import Deferred, ensureDeferred, succeed

from tests.kit.folder_source import AtOnce
from twisted_index.errors import Conflict, Unavailable
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.hand_over import hand_over_role
from twisted_index.replication.peers import PeerAnswer
from twisted_index.replication.state_file import ReplicationState, Role, StateFile

OWN = Epoch(1, "0f" * 16)


def begin(state, *, drained=lambda: succeed(None), last_serial=lambda: succeed(7), runner=None):
    """Begin a hand-over; return the list of its outcome, empty while it waits."""
    outcome = []
    working = ensureDeferred(hand_over_role(state, lambda: OWN, drained, last_serial, runner or AtOnce()))
    working.addCallbacks(outcome.append, lambda failure: outcome.append(failure.value))
    return outcome


def test_a_primary_hands_over_and_says_which_change_was_the_last(tmp_path):
    state = StateFile(str(tmp_path))
    assert begin(state) == [PeerAnswer(Role.RETIRED, OWN, 7)]
    assert StateFile(str(tmp_path)).read() == ReplicationState(role=Role.RETIRED, epoch=OWN)


def test_a_repeated_hand_over_gives_the_same_answer():
    state = StateFile(None)
    assert begin(state) == begin(state) == [PeerAnswer(Role.RETIRED, OWN, 7)]


def test_the_changes_that_run_end_before_the_last_serial_is_looked_for():
    state, running, looked = StateFile(None), Deferred(), []
    outcome = begin(state, drained=lambda: running, last_serial=lambda: looked.append(7) or succeed(7))
    assert (outcome, looked) == ([], [])
    # None can begin any more.
    assert state.read().role is Role.RETIRED
    running.callback(None)
    assert outcome == [PeerAnswer(Role.RETIRED, OWN, 7)]


def test_a_replica_has_nothing_to_hand_over():
    state = StateFile(None)
    state.write(ReplicationState(role=Role.REPLICA, epoch=OWN))
    assert isinstance(begin(state)[0], Conflict)
    assert state.read().role is Role.REPLICA


def test_a_primary_that_cannot_write_it_down_stays_the_primary(tmp_path):
    (tmp_path / "keep").write_bytes(b"")
    state = StateFile(str(tmp_path))
    assert isinstance(begin(state)[0], Unavailable)
    (tmp_path / "keep").unlink()
    assert state.read().role is Role.PRIMARY
