"""A replica that takes the place of its primary."""

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from twisted_index.errors import Conflict, SimpleIndexError, Unavailable
from twisted_index.http_client.retry import Denied
from twisted_index.http_client.tls import FailedTLS, Untrusted
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.peers import PeerAnswer
from twisted_index.replication.state_file import ReplicationState, Role, StateFile
from twisted_index.replication.takeover import TakeOver, lacking

LOW, OWN, HIGH = (Epoch(number, "0f" * 16) for number in (1, 2, 3))
PRIMARY, PEER = "https://user:secret@primary.example/", "https://peer.example/x/"
REPLICA = ReplicationState(
    role=Role.REPLICA, epoch=OWN, primary="https://primary.example/", restricted=True, awaiting=3, accepted=2
)
INSTANCE = "ab" * 16


class World:
    """A primary, a peer and this server; the test says what they answer."""

    def __init__(self, state=REPLICA):
        self.state = StateFile(None)
        self.state.write(state)
        self.answers = {}
        self.there = {"": ("one", {"acme": 7})}
        self.here = {"": ("one", {"acme": 7})}
        self.asked, self.said, self.handed_over = [], [], []
        self.paused = 0.0
        self.after_hand_over = self.arrive = lambda: None
        self.refusal = None
        self.handed = PeerAnswer(Role.RETIRED, OWN, 7)

    def run(self, *, planned=False, peers=(PEER,), primary=PRIMARY):
        """Run a take-over to its end; return the epoch, or raise."""
        take_over = TakeOver(
            state=self.state,
            primary=primary,
            peers=peers,
            ask=self._ask,
            hand_over=self._hand_over,
            there=self._there,
            here=self._here,
            pause=self._pause,
            patience=10.0,
            say=self.said.append,
            instance=lambda: INSTANCE,
        )
        outcome = []
        ensureDeferred(take_over.run(planned=planned)).addBoth(outcome.append)
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]

    async def _ask(self, url):
        self.asked.append(url)
        if url not in self.answers:
            raise Unavailable("It is down.")
        if isinstance(self.answers[url], Exception):
            raise self.answers[url]
        return self.answers[url]

    async def _hand_over(self, url):
        self.handed_over.append(url)
        if self.refusal is not None:
            raise self.refusal
        self.answers[url] = self.handed
        self.after_hand_over()
        return self.handed

    async def _there(self):
        return self.there

    async def _here(self):
        return self.here

    async def _pause(self, seconds):
        self.paused += seconds
        self.arrive()


def test_a_replica_whose_primary_is_gone_begins_the_next_epoch():
    world = World()
    assert world.run() == Epoch(3, INSTANCE)
    assert world.state.read() == ReplicationState(
        role=Role.PRIMARY, epoch=Epoch(3, INSTANCE), restricted=True, calls=1
    )
    assert world.asked == [PRIMARY, PEER]
    assert not world.handed_over


def test_no_epoch_is_begun_that_could_not_be_read_again():
    last = ReplicationState(role=Role.RETIRED, epoch=Epoch(999_999_999, "0f" * 16))
    world = World(last)
    with pytest.raises(Conflict, match="no higher epoch"):
        world.run(primary="")
    assert world.state.read() == last


def test_a_retired_primary_can_take_over_again():
    world = World(ReplicationState(role=Role.RETIRED, epoch=OWN))
    world.answers[PEER] = PeerAnswer(Role.REPLICA, OWN, 7)
    assert world.run(primary="") == Epoch(3, INSTANCE)
    assert world.state.read().role is Role.PRIMARY


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("role", list(Role))
def test_nothing_is_taken_over_while_a_peer_knows_of_a_higher_epoch(planned, role):
    world = World()
    world.answers = {PRIMARY: PeerAnswer(Role.PRIMARY, OWN, 7), PEER: PeerAnswer(role, HIGH, 9)}
    with pytest.raises(Conflict):
        world.run(planned=planned)
    assert world.state.read() == REPLICA
    assert not world.handed_over


def test_nothing_is_taken_over_while_the_primary_answers():
    world = World()
    world.answers[PRIMARY] = PeerAnswer(Role.PRIMARY, OWN, 7)
    with pytest.raises(Conflict, match=r"https://primary.example/ is the primary.*--planned"):
        world.run()
    assert world.state.read() == REPLICA


def test_nothing_is_taken_over_while_a_peer_is_the_primary_of_this_epoch():
    world = World()
    world.answers[PEER] = PeerAnswer(Role.PRIMARY, OWN, 7)
    with pytest.raises(Conflict, match="stop it first"):
        world.run()


def test_a_primary_that_has_handed_over_has_last_changes_to_wait_for():
    world = World()
    world.answers[PRIMARY] = PeerAnswer(Role.RETIRED, OWN, 7)
    with pytest.raises(Conflict, match="--planned"):
        world.run()


def test_a_primary_of_an_epoch_that_has_ended_is_told_of_and_hinders_nothing():
    world = World()
    world.answers[PEER] = PeerAnswer(Role.PRIMARY, LOW, 7)
    world.run()
    assert any("which has ended" in sentence for sentence in world.said)


def test_a_primary_has_nothing_to_take_over():
    world = World(ReplicationState(epoch=OWN))
    with pytest.raises(Conflict, match="primary already"):
        world.run()


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (Denied("It does not accept the token (401)."), "correct the token"),
        (Untrusted("The server's certificate is not trusted."), "correct what is trusted"),
        (FailedTLS("The server does not support TLS here."), "correct what is trusted"),
    ],
)
def test_a_primary_that_refuses_us_or_that_we_refuse_is_not_taken_for_gone(planned, answer, wrong):
    world = World()
    world.answers[PRIMARY] = answer
    with pytest.raises(Conflict, match="answers, and may still be the primary") as caught:
        world.run(planned=planned)
    assert wrong in caught.value.message
    assert world.state.read() == REPLICA


def test_a_planned_take_over_waits_for_the_last_change():
    world = World()
    world.answers[PRIMARY] = PeerAnswer(Role.PRIMARY, OWN, 7)
    world.after_hand_over = lambda: world.there.update({"": ("one", {"acme": 7, "zoo": 8})})

    def arrive():
        assert world.state.read() == REPLICA
        if world.paused > 1:
            world.here = world.there

    world.arrive = arrive
    assert world.run(planned=True) == Epoch(3, INSTANCE)
    assert world.handed_over == [PRIMARY]
    assert world.said == [
        "https://peer.example/x/ cannot be asked: It is down.",
        "https://primary.example/ takes no changes any more.",
        "Waiting for changes of 1 project (zoo) to arrive here.",
    ]


def test_nothing_is_handed_over_before_this_server_has_what_there_was():
    world = World()
    world.answers[PRIMARY] = PeerAnswer(Role.PRIMARY, OWN, 7)
    world.here = {}
    with pytest.raises(Unavailable, match=r"lacks changes of 1 project \(acme\).* Nothing was changed"):
        world.run(planned=True)
    assert not world.handed_over
    assert world.paused >= 10


def test_an_epoch_that_the_replica_hears_of_while_changes_arrive_is_that_of_its_primary():
    """A primary that has lost its state is in the same epoch by another instance."""
    world = World()
    again = Epoch(OWN.number, "ee" * 16)
    world.answers[PRIMARY] = PeerAnswer(Role.PRIMARY, again, 7)
    world.handed = PeerAnswer(Role.RETIRED, again, 7)
    world.there = {"": ("two", {"acme": 7})}

    def arrive():
        world.here = world.there
        world.state.update(lambda state: replace(state, epoch=again))

    world.arrive = arrive
    assert world.run(planned=True) == Epoch(OWN.number + 1, INSTANCE)
    assert world.state.read().role is Role.PRIMARY


def test_a_server_that_stops_being_a_replica_while_changes_arrive_does_not_take_over():
    world = World()
    world.answers[PRIMARY] = PeerAnswer(Role.PRIMARY, OWN, 7)
    world.there = {"": ("one", {"acme": 8})}

    def arrive():
        world.here = world.there
        world.state.update(lambda state: replace(state, role=Role.RETIRED))

    world.arrive = arrive
    with pytest.raises(Conflict, match="meanwhile"):
        world.run(planned=True)
    assert not world.handed_over


def test_what_goes_on_being_changed_does_not_keep_the_primary_from_handing_over():
    world = World()
    world.answers[PRIMARY] = PeerAnswer(Role.PRIMARY, OWN, 7)
    world.here = {"": ("one", {"acme": 6})}
    serials = iter(range(7, 100))

    def arrive():
        # What came is newer than what was waited for, and older than what is there now.
        serial = next(serials)
        world.here = {"": ("one", {"acme": serial})}
        if not world.handed_over:
            world.there = {"": ("one", {"acme": serial + 1})}

    world.arrive = arrive
    assert world.run(planned=True)


def test_if_the_last_change_does_not_arrive_the_way_back_is_told():
    world = World()
    world.answers[PRIMARY] = PeerAnswer(Role.PRIMARY, OWN, 7)
    world.after_hand_over = lambda: world.there.update({"": ("one", {"acme": 8})})
    with pytest.raises(Unavailable, match="lacks changes"):
        world.run(planned=True)
    assert world.state.read() == REPLICA
    assert "To go back, run twisted-index takeover" in world.said[-1]
    assert "secret" not in "".join(world.said)


def test_after_a_failure_the_same_command_goes_on():
    world = World()
    world.answers[PRIMARY] = PeerAnswer(Role.RETIRED, OWN, 7)
    assert world.run(planned=True) == Epoch(3, INSTANCE)


def test_a_primary_that_refuses_to_hand_over_stays_the_primary():
    world = World()
    world.answers[PRIMARY] = PeerAnswer(Role.PRIMARY, OWN, 7)
    world.refusal = SimpleIndexError("It does not accept our token.")
    with pytest.raises(Unavailable, match=r"nothing was changed\. It does not accept our token"):
        world.run(planned=True)
    assert world.state.read() == REPLICA
    assert not any("go back" in sentence for sentence in world.said)


def test_if_it_is_not_known_whether_the_primary_has_handed_over_the_way_back_is_told():
    world = World()
    world.answers[PRIMARY] = PeerAnswer(Role.PRIMARY, OWN, 7)
    world.refusal = Unavailable("The connection broke off.")

    async def hand_over(url):
        del world.answers[url]
        raise world.refusal

    world._hand_over = hand_over
    with pytest.raises(Unavailable, match="broke off"):
        world.run(planned=True)
    assert "To go back" in world.said[-1]


def test_the_way_back_is_told_when_a_person_interrupts_the_wait():
    world = World()
    world.answers[PRIMARY] = PeerAnswer(Role.PRIMARY, OWN, 7)
    world.after_hand_over = lambda: world.there.update({"": ("one", {"acme": 8})})
    world._pause = lambda _seconds: Deferred()
    working = ensureDeferred(
        TakeOver(
            state=world.state,
            primary=PRIMARY,
            peers=(),
            ask=world._ask,
            hand_over=world._hand_over,
            there=world._there,
            here=world._here,
            pause=world._pause,
            patience=10.0,
            say=world.said.append,
        ).run(planned=True)
    )
    working.cancel()
    working.addErrback(lambda _failure: None)
    assert "To go back" in world.said[-1]
    assert world.state.read() == REPLICA


def test_a_planned_take_over_needs_a_primary_that_answers():
    world = World()
    with pytest.raises(Unavailable, match="leave out --planned"):
        world.run(planned=True)
    assert world.state.read() == REPLICA


def test_a_primary_that_is_not_of_this_epoch_is_not_waited_for():
    world = World()
    world.answers[PRIMARY] = PeerAnswer(Role.PRIMARY, OWN, 7)
    world.handed = PeerAnswer(Role.RETIRED, HIGH, 7)
    with pytest.raises(Conflict, match="not that of the epoch"):
        world.run(planned=True)
    assert world.state.read() == REPLICA


def test_a_server_that_follows_nobody_cannot_plan():
    world = World(ReplicationState(role=Role.RETIRED, epoch=OWN))
    with pytest.raises(Conflict, match="--replica-of"):
        world.run(planned=True)


def test_of_two_take_overs_at_once_one_is_refused():
    world = World()
    first_to_write = ReplicationState(role=Role.PRIMARY, epoch=Epoch(3, "0" * 32))

    async def ask(_url):
        world.state.write(first_to_write)
        raise Unavailable("It is down.")

    world._ask = ask
    with pytest.raises(Conflict, match="meanwhile"):
        world.run()
    assert world.state.read() == first_to_write


def test_a_replica_that_never_heard_of_an_epoch_is_not_above_any():
    world = World(ReplicationState(role=Role.REPLICA))
    world.answers[PRIMARY] = PeerAnswer(Role.PRIMARY, LOW, 7)
    with pytest.raises(Conflict):
        world.run()
    world.answers.clear()
    assert world.run() == Epoch(2, INSTANCE)


def test_changes_are_compared_by_project_and_by_the_count_that_they_are_of():
    there = {"": ("one", {"a": 1, "b": 5}), "dev": ("two", {"c": 3})}
    assert lacking(there, there) == []
    # The highest serial alone would not tell: a later change may arrive before an earlier one.
    assert lacking(there, {**there, "": ("one", {"b": 5})}) == ["a"]
    assert lacking(there, {**there, "": ("one", {"a": 2, "b": 5, "z": 9})}) == []
    assert lacking(there, {**there, "": ("other", {"a": 1, "b": 5})}) == ["a", "b"]
    assert lacking(there, {"": there[""]}) == ["+dev/c"]


def test_an_index_that_has_not_come_at_all_is_waited_for():
    there = {"": ("one", {}), "dev": ("two", {}), "prod": ("three", {"acme": 5})}
    assert lacking(there, {"": ("one", {})}) == ["+dev/", "+prod/acme"]
    assert lacking(there, {"": ("one", {}), "dev": ("two", {}), "prod": ("three", {"acme": 5})}) == []
