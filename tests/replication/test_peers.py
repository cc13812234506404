"""Asking peers who is the primary."""

import pytest
from twisted.internet.defer import Deferred

from tests.kit.folder_source import AtOnce
from twisted_index.errors import BadGateway, Unavailable
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.peers import PeerAnswer, Peers, format_answer, parse_answer, retire
from twisted_index.replication.state_file import ReplicationState, Role, StateFile

OWN, HIGHER, HIGHEST = (Epoch(number, "0f" * 16) for number in (2, 3, 4))
A, B, C = "https://a.example/", "https://b.example/", "https://c.example/"
PRIMARY = ReplicationState(role=Role.PRIMARY, epoch=OWN)


class Asked:
    """Peers of a primary, whose answers the test gives."""

    def __init__(self, *urls, needed=0, state=PRIMARY, runner=None, process=""):
        self.state = StateFile(None)
        self.state.write(state)
        self.waiting = []
        self.now = 1000.0
        self.peers = Peers(
            urls,
            needed,
            state=self.state,
            own=lambda: Epoch(1, "0" * 32),
            ask=self.ask,
            runner=runner or AtOnce(),
            process=process,
            seconds=lambda: self.now,
        )

    def ask(self, url):
        self.waiting.append((url, Deferred()))
        return self.waiting[-1][1]

    def check(self, again=False):
        """Begin a check; return the list of its outcome, empty while it waits."""
        outcome = []
        self.peers.check(again).addCallbacks(outcome.append, lambda failure: outcome.append(failure.value))
        return outcome

    def answer(self, **answers):
        """Let the peers with these letters answer, by a role and epoch; the others do not."""
        waiting, self.waiting = self.waiting, []
        for url, deferred in waiting:
            answer = answers.get(url[8])
            if answer is None:
                deferred.errback(Unavailable("It does not answer."))
            else:
                deferred.callback(PeerAnswer(*answer, 7))

    @property
    def role(self):
        return self.state.read().role


def test_a_primary_goes_on_if_no_peer_knows_of_a_higher_epoch():
    asked = Asked(B, C)
    outcome = asked.check()
    asked.answer(b=(Role.REPLICA, OWN), c=(Role.RETIRED, Epoch(1, "f" * 32)))
    assert outcome == [None]
    assert asked.state.read() == PRIMARY


@pytest.mark.parametrize(("role", "primary"), [(Role.PRIMARY, B), (Role.REPLICA, ""), (Role.RETIRED, "")])
def test_a_primary_retires_if_any_peer_knows_of_a_higher_epoch(role, primary):
    asked = Asked(B, C)
    outcome = asked.check()
    asked.answer(b=(role, HIGHER), c=(Role.REPLICA, OWN))
    assert outcome == [None]
    assert asked.state.read() == ReplicationState(role=Role.RETIRED, epoch=HIGHER, primary=primary)


def test_an_epoch_too_high_to_be_true_retires_nobody_and_hides_no_other_one():
    asked = Asked(B, C)
    asked.check()
    asked.answer(b=(Role.PRIMARY, Epoch(999_999_999, "f" * 32)), c=(Role.REPLICA, OWN))
    assert asked.state.read() == PRIMARY
    asked.check(again=True)
    asked.answer(b=(Role.PRIMARY, Epoch(999_999_999, "f" * 32)), c=(Role.PRIMARY, HIGHER))
    assert asked.state.read() == ReplicationState(role=Role.RETIRED, epoch=HIGHER, primary=C)


def test_the_primary_of_the_highest_epoch_is_kept_without_credentials():
    asked = Asked("https://user:secret@b.example/", "https://user:secret@c.example/x")
    asked.check()
    asked.waiting[0][1].callback(PeerAnswer(Role.REPLICA, HIGHEST, 1))
    asked.waiting[1][1].callback(PeerAnswer(Role.PRIMARY, HIGHEST, 1))
    assert asked.state.read().primary == "https://c.example/x/"


def test_of_two_epochs_of_one_number_the_instance_decides():
    asked = Asked(B, state=ReplicationState(epoch=Epoch(2, "0" * 32)))
    asked.check()
    asked.answer(b=(Role.PRIMARY, OWN))
    assert asked.role is Role.RETIRED


def test_a_primary_without_a_state_has_the_first_epoch_of_its_own_serials():
    asked = Asked(B, state=ReplicationState())
    asked.check()
    asked.answer(b=(Role.PRIMARY, Epoch(2, "0" * 32)))
    assert asked.role is Role.RETIRED


def test_a_primary_that_has_lost_its_state_goes_on_although_a_replica_knows_another_first_epoch():
    """No take-over began that one, so there is no other primary."""
    asked = Asked(B, state=ReplicationState())
    asked.check()
    asked.answer(b=(Role.REPLICA, Epoch(1, "f" * 32)))
    assert asked.role is Role.PRIMARY


def test_peers_are_asked_once_and_changes_that_come_meanwhile_wait_for_the_same_answers():
    asked = Asked(B)
    first, second = asked.check(), asked.check()
    assert len(asked.waiting) == 1
    assert (first, second) == ([], [])
    asked.answer(b=(Role.REPLICA, OWN))
    assert (first, second) == ([None], [None])
    assert asked.check() == [None]
    assert not asked.waiting


def test_a_primary_that_was_cut_off_retires_without_a_new_start():
    asked = Asked(B, needed=1)
    asked.check()
    asked.answer(b=(Role.REPLICA, OWN))
    asked.now += 60
    asked.check()
    asked.answer(b=(Role.PRIMARY, HIGHER))
    assert asked.role is Role.RETIRED


def test_a_primary_whose_peers_have_answered_goes_on_while_they_are_away():
    asked = Asked(B, needed=1)
    asked.check()
    asked.answer(b=(Role.REPLICA, OWN))
    asked.now += 60
    outcome = asked.check()
    asked.answer()
    assert outcome == [None]
    # Not each change waits for those that do not answer.
    assert asked.check() == [None]
    assert not asked.waiting


def test_peers_are_asked_again_on_a_word_of_a_higher_epoch():
    asked = Asked(B)
    asked.check()
    asked.answer(b=(Role.REPLICA, OWN))
    asked.check(again=True)
    asked.answer(b=(Role.PRIMARY, HIGHER))
    assert asked.role is Role.RETIRED


def test_a_peer_that_does_not_answer_stops_nothing_unless_an_answer_is_needed():
    asked = Asked(B, needed=0)
    outcome = asked.check()
    asked.answer()
    assert outcome == [None]


def test_without_the_needed_answers_changes_wait_and_the_next_one_asks_again():
    asked = Asked(B, C, needed=1)
    outcome = asked.check()
    asked.answer()
    assert isinstance(outcome[0], Unavailable)
    outcome = asked.check()
    asked.answer(c=(Role.REPLICA, OWN))
    assert outcome == [None]
    assert asked.role is Role.PRIMARY


def test_the_server_itself_is_no_answer_so_that_all_servers_can_have_one_list():
    asked = Asked(A, B, needed=1)
    outcome = asked.check()
    asked.answer(a=(Role.PRIMARY, OWN))
    assert isinstance(outcome[0], Unavailable)


def test_a_take_over_while_peers_are_asked_counts():
    asked = Asked(B)
    asked.check()
    asked.state.write(ReplicationState(role=Role.PRIMARY, epoch=HIGHEST))
    asked.answer(b=(Role.PRIMARY, HIGHER))
    assert asked.state.read() == ReplicationState(role=Role.PRIMARY, epoch=HIGHEST)


def test_peers_are_asked_once_more_after_a_take_over():
    asked = Asked(B)
    asked.check()
    asked.answer(b=(Role.REPLICA, OWN))
    asked.state.write(ReplicationState(role=Role.PRIMARY, epoch=HIGHER))
    asked.check()
    asked.answer(b=(Role.PRIMARY, HIGHEST))
    assert asked.role is Role.RETIRED


def test_a_server_without_peers_asks_no_other():
    asked = Asked()
    assert asked.check() == asked.check(again=True) == [None]


def test_a_peer_that_has_heard_of_no_epoch_is_an_answer():
    asked = Asked(B, needed=1)
    outcome = asked.check()
    asked.answer(b=(Role.REPLICA, None))
    assert outcome == [None]
    assert asked.state.read() == PRIMARY


def test_only_a_primary_is_retired_and_a_retired_server_remembers_the_higher_epoch():
    state = StateFile(None)
    state.write(ReplicationState(role=Role.REPLICA, epoch=OWN, primary=A))
    assert not retire(state, lambda: OWN, HIGHER, B)
    assert state.read().role is Role.REPLICA
    state.write(ReplicationState(role=Role.RETIRED, epoch=OWN))
    assert not retire(state, lambda: OWN, HIGHER, B)
    assert state.read() == ReplicationState(role=Role.RETIRED, epoch=HIGHER, primary=B)
    assert not retire(state, lambda: OWN, OWN, A)
    assert state.read().primary == B


@pytest.mark.parametrize("epoch", [None, OWN])
def test_an_answer_is_read_as_it_was_written(epoch):
    answer = PeerAnswer(Role.RETIRED, epoch, 12)
    assert parse_answer(format_answer(answer)) == answer


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"role": "queen", "epoch": null, "serial": 1}',
        b'{"role": "primary", "epoch": [0, "x"], "serial": 1}',
        b'{"role": "primary", "epoch": [1, 2], "serial": 1}',
        b'{"role": "primary", "epoch": ["1", "' + b"0" * 32 + b'"], "serial": 1}',
        b'{"role": "primary", "epoch": null, "serial": "many"}',
        b'{"role": "primary", "epoch": null, "serial": Infinity}',
        b'{"role": "primary", "epoch": null, "serial": 1e999}',
        b'{"role": "primary"}',
    ],
)
def test_a_response_that_is_no_answer_of_a_peer_is_an_error(text):
    with pytest.raises(BadGateway, match="says nothing"):
        parse_answer(text)


def test_a_higher_epoch_counts_even_if_it_could_not_be_written(monkeypatch):
    asked = Asked(B)
    outcome = asked.check()
    with monkeypatch.context() as patched:
        patched.setattr(asked.state, "update", _disk_full)
        asked.answer(b=(Role.PRIMARY, HIGHER))
    assert isinstance(outcome[0], Unavailable)
    asked.check()
    asked.answer()
    assert asked.state.read() == ReplicationState(role=Role.RETIRED, epoch=HIGHER, primary=B)


def _disk_full(_change):
    raise Unavailable("keep/replication in the state folder cannot be written: No space left on device.")


class Later:
    """A thread that works when the test says so."""

    def __init__(self):
        self.work = []

    def run(self, function, *args):
        done = Deferred()
        self.work.append(lambda: done.callback(function(*args)))
        return done


def test_no_change_begins_while_it_is_written_down_that_another_server_is_the_primary():
    thread = Later()
    asked = Asked(B, runner=thread)
    assert asked.check() == []
    asked.answer(b=(Role.REPLICA, OWN))
    first = asked.check(again=True)
    asked.answer(b=(Role.PRIMARY, HIGHER))
    second = asked.check()
    assert (first, second, asked.role) == ([], [], Role.PRIMARY)
    (write,) = thread.work
    write()

    assert (first, second, asked.role) == ([None], [None], Role.RETIRED)


@pytest.mark.parametrize("epoch", [OWN, HIGHER])
def test_a_retired_server_learns_which_peer_is_the_primary(epoch):
    asked = Asked(B, C, state=ReplicationState(role=Role.RETIRED, epoch=OWN))
    outcome = asked.check()
    asked.answer(b=(Role.REPLICA, epoch), c=(Role.PRIMARY, epoch))

    assert outcome == [None]
    assert asked.state.read() == ReplicationState(role=Role.RETIRED, epoch=epoch, primary=C)


def test_a_server_that_has_just_retired_asks_though_its_peers_were_asked_just_before():
    asked = Asked(B)
    asked.check()
    asked.answer(b=(Role.REPLICA, OWN))
    asked.state.write(ReplicationState(role=Role.RETIRED, epoch=OWN))
    asked.check()
    asked.answer(b=(Role.PRIMARY, HIGHER))

    assert asked.state.read() == ReplicationState(role=Role.RETIRED, epoch=HIGHER, primary=B)


def test_a_retired_server_asks_again_later_while_no_peer_is_the_primary():
    asked = Asked(B, state=ReplicationState(role=Role.RETIRED, epoch=OWN))
    asked.check()
    asked.answer(b=(Role.REPLICA, OWN))
    asked.check()
    assert asked.waiting == []
    asked.now += 31
    asked.check()
    asked.answer(b=(Role.PRIMARY, HIGHER))

    assert asked.state.read().primary == B


def test_a_primary_takes_no_change_beside_another_process_of_its_very_epoch():
    asked = Asked(B, process="one")
    outcome = asked.check()
    asked.waiting.pop()[1].callback(PeerAnswer(Role.PRIMARY, OWN, 7, "two"))
    assert B in str(outcome[0])
    assert asked.state.read() == PRIMARY
    # Once the copy has stopped, the next change is made.
    outcome = asked.check()
    asked.answer()

    assert outcome == [None]


@pytest.mark.parametrize(("own", "told"), [("one", "one"), ("one", ""), ("", "two")])
def test_a_primary_among_its_own_peers_is_no_other_one(own, told):
    asked = Asked(B, process=own)
    outcome = asked.check()
    asked.waiting.pop()[1].callback(PeerAnswer(Role.PRIMARY, OWN, 7, told))

    assert outcome == [None]


def test_the_name_of_a_process_is_told_and_read():
    said = PeerAnswer(Role.PRIMARY, OWN, 7, "twisted-index-1")
    assert parse_answer(format_answer(said)) == said
    with pytest.raises(BadGateway):
        parse_answer(b'{"role": "primary", "epoch": null, "serial": 1, "process": 5}')
