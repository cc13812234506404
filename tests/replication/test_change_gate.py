"""Whether a change may begin: by the role, the epoch and what peers say; and the end of those that run."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from tests.kit.at_once import answer
from twisted_index.errors import BadRequest, Unavailable
from twisted_index.replication.change_gate import ChangeGate
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.state_file import ReplicationState, Role, StateFile

OWN = "0a" * 16
PRIMARY = "https://b.example/index/"


class Peers:
    """Notes how it is asked; what it then does is up to the test."""

    def __init__(self) -> None:
        self.asked: list[bool] = []
        self.then = lambda: None

    async def ask(self, again: bool) -> None:
        self.asked.append(again)
        self.then()


@pytest.fixture
def state() -> StateFile:
    return StateFile(None)


@pytest.fixture
def peers() -> Peers:
    return Peers()


@pytest.fixture
def gate(state: StateFile, peers: Peers) -> ChangeGate:
    return ChangeGate(state, lambda: OWN, peers.ask)


def test_a_server_that_never_heard_of_replication_makes_changes(gate: ChangeGate):
    answer(gate.begin)
    assert gate.running == 1


@pytest.mark.parametrize(
    ("state_now", "sentence"),
    [
        (ReplicationState(role=Role.RETIRED, primary=PRIMARY), f"The primary is {PRIMARY} now"),
        (ReplicationState(role=Role.RETIRED), "another one takes its place"),
        (ReplicationState(role=Role.REPLICA, primary=PRIMARY), f"replica of {PRIMARY}"),
    ],
)
def test_no_change_begins_where_another_server_is_the_primary(
    gate: ChangeGate, state: StateFile, state_now: ReplicationState, sentence: str
):
    state.write(state_now)
    with pytest.raises(Unavailable, match=sentence):
        answer(gate.begin)
    assert gate.running == 0


def test_a_take_over_by_a_command_lets_changes_begin(gate: ChangeGate, state: StateFile):
    state.write(ReplicationState(role=Role.REPLICA))
    assert gate.is_replica
    state.write(ReplicationState(role=Role.PRIMARY, epoch=Epoch(2, OWN)))
    assert not gate.is_replica
    answer(gate.begin)


def test_peers_are_asked_before_each_change_and_may_stop_it(gate: ChangeGate, state: StateFile, peers: Peers):
    peers.then = lambda: state.write(ReplicationState(role=Role.RETIRED, primary=PRIMARY))
    with pytest.raises(Unavailable, match="The primary is"):
        answer(gate.begin)
    assert peers.asked == [False]


@pytest.mark.parametrize("told", [Epoch(1, OWN), None])
def test_the_epoch_that_this_server_is_in_is_no_hindrance(gate: ChangeGate, told: Epoch | None):
    answer(gate.begin, None if told is None else str(told).encode())


@pytest.mark.parametrize(("told", "again"), [(Epoch(2, "0" * 32), True), (Epoch(1, "0" * 32), False)])
def test_a_client_in_another_epoch_changes_nothing_and_a_higher_one_is_looked_into(
    gate: ChangeGate, peers: Peers, told: Epoch, again: bool
):
    with pytest.raises(Unavailable, match="epoch"):
        answer(gate.begin, str(told).encode())
    assert peers.asked == [again]
    answer(gate.begin)


@pytest.mark.parametrize("told", [b"", b"2", b"1 \xff", b"1 " + OWN.encode() + b", 2 " + OWN.encode()])
def test_a_field_that_is_no_epoch_is_refused(gate: ChangeGate, told: bytes):
    with pytest.raises(BadRequest):
        answer(gate.begin, told)


def test_a_hand_over_waits_for_all_changes_that_have_begun(gate: ChangeGate, state: StateFile):
    ends = [answer(gate.begin), answer(gate.begin)]
    state.write(ReplicationState(role=Role.RETIRED))
    waiting = Deferred.fromCoroutine(gate.drained())
    for end in ends:
        assert not waiting.called
        end()
    assert waiting.called
    assert Deferred.fromCoroutine(gate.drained()).called


def test_a_retired_server_asks_its_peers_who_the_primary_is(gate: ChangeGate, state: StateFile, peers: Peers):
    state.write(ReplicationState(role=Role.RETIRED))
    peers.then = lambda: state.write(ReplicationState(role=Role.RETIRED, primary=PRIMARY))
    with pytest.raises(Unavailable, match=f"The primary is {PRIMARY} now"):
        answer(gate.check)
    with pytest.raises(Unavailable, match=f"The primary is {PRIMARY} now"):
        answer(gate.check)

    assert peers.asked == [False]


def test_a_retired_server_whose_peers_are_away_says_what_it_knows(
    gate: ChangeGate, state: StateFile, peers: Peers
):
    def fail() -> None:
        raise Unavailable("None of them answers.")

    state.write(ReplicationState(role=Role.RETIRED))
    peers.then = fail
    with pytest.raises(Unavailable, match="another one takes its place"):
        answer(gate.check)
