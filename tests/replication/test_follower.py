"""Following: when the primary is asked, what becomes of failures, and how far the replica says it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_index.errors import BadGateway, Gone
from twisted_index.events.serials import Change
from twisted_index.replication.follower import Follower
from twisted_index.replication.primary import Feed
from twisted_index.replication.rounds import RoundResult

ONE, TWO = "1" * 32, "2" * 32


def feed(highest: int, *projects: str, instance: str = ONE, **more: Any) -> Feed:
    changes = {project: Change(highest, TWO) for project in projects}
    return Feed(instance=instance, highest=highest, changes=changes, **more)


class World:
    """A primary that answers when it is told to, and rounds that note what they get, and end when told to."""

    def __init__(self) -> None:
        self.clock = Clock()
        # The primary
        self.asked: list[tuple[int | None, str | None, float]] = []
        self.answers: list[Deferred[Feed]] = []
        self.cancelled = 0
        # The rounds
        self.since: int | None = None
        self.instance = ONE
        self.reached = 0
        self.listeners: set[Callable[[], None]] = set()
        self.pending = self.bytes_to_come = 0
        self.taken: list[tuple[tuple[str, ...], bool]] = []
        self.refusal = ""
        self.results: list[RoundResult | Exception | Deferred[RoundResult]] = []
        self.worked = self.confirmed = self.awaiting = 0
        self.is_stopped = False
        # The standing
        self.is_replica = True
        self.called = self.retried = 0
        self.follower = Follower(self, self, self, self.clock, jitter=lambda: 0.0)  # type: ignore[arg-type]
        self.follower.start()

    def changes(
        self, *, since: int | None = None, instance: str | None = None, wait: float = 0.0
    ) -> Deferred[Feed]:
        self.asked.append((since, instance, wait))
        self.answers.append(Deferred(lambda _: self._cancel()))
        return self.answers[-1]

    def _cancel(self) -> None:
        self.cancelled += 1

    def answer(self, said: Feed | Exception) -> None:
        answer = self.answers[-1]
        answer.errback(said) if isinstance(said, Exception) else answer.callback(said)

    async def take(self, said: Feed, *, is_all: bool) -> str:
        self.taken.append((tuple(said.changes), is_all))
        if not self.refusal:
            self.since, self.instance = said.highest, said.instance
        return self.refusal

    async def work(self) -> RoundResult:
        self.worked += 1
        result = self.results.pop(0) if self.results else RoundResult()
        if isinstance(result, Deferred):
            result = await result
        if isinstance(result, Exception):
            raise result
        self.reached = self.since or 0
        for listener in tuple(self.listeners):
            listener()
        return result

    async def confirm(self) -> None:
        self.confirmed += 1

    def ask_for_all(self) -> None:
        self.since = None

    def stop(self) -> None:
        self.is_stopped = True

    async def check(self) -> bool:
        return self.is_replica

    def calls(self) -> int:
        return self.called

    def retry_now(self) -> None:
        self.retried += 1

    def weigh(self, said: Feed) -> Feed:
        return said


@pytest.fixture
def world() -> World:
    return World()


def test_all_is_compared_at_the_start_and_then_only_what_changes(world: World):
    world.answer(feed(5, "acme", "bell"))
    world.answer(feed(7, "bell"))

    assert world.taken == [(("acme", "bell"), True), (("bell",), False)]
    assert world.worked == 2
    assert world.asked == [(None, None, 0), (5, ONE, 30), (7, ONE, 30)]


def test_while_nothing_changes_only_the_long_poll_runs(world: World):
    world.answer(feed(5))
    world.answer(feed(5))

    assert world.worked == 1
    assert world.clock.getDelayedCalls() == []


def test_serials_that_have_begun_anew_are_compared_from_the_start(world: World):
    world.answer(feed(5))
    world.answer(Gone("Begun anew."))
    world.clock.advance(1)
    world.answer(feed(2, "acme", instance=TWO))

    assert world.asked[-2] == (None, None, 0)
    assert world.taken[-1] == (("acme",), True)
    assert world.asked[-1] == (2, TWO, 30)


def test_a_primary_is_asked_whether_it_knows_what_is_here_before_all_is_taken_from_it(world: World):
    world.answer(feed(5))
    world.answer(feed(6, "acme"))
    assert world.confirmed == 1
    world.answer(Gone("Begun anew."))
    world.clock.advance(1)
    assert world.confirmed == 2


def test_a_primary_that_is_away_is_retried_with_back_off_up_to_a_minute(world: World):
    rests = []
    for _ in range(10):
        world.answer(BadGateway("Away."))
        asked, before = len(world.asked), world.clock.seconds()
        while len(world.asked) == asked:
            world.clock.advance(0.5)
        rests.append(world.clock.seconds() - before)

    assert rests == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert world.follower.progress().fault == "Away."
    assert not world.follower.progress().names_projects
    world.answer(feed(5))
    assert world.follower.progress().fault == ""


def test_a_round_that_waits_is_repeated_although_nothing_changes(world: World):
    world.results = [RoundResult(fault="acme: its bytes are others.", retry_in=4.0)]
    world.answer(feed(5, "acme"))
    assert world.follower.progress().fault == "acme: its bytes are others."
    assert world.follower.progress().names_projects
    world.clock.advance(4)

    assert world.worked == 2
    assert len(world.asked) == 2
    assert world.follower.progress().fault == ""
    assert world.clock.getDelayedCalls() == []


@pytest.mark.parametrize("is_told", [False, True])
def test_a_fault_is_logged_once(world: World, log: list[str], is_told: bool):
    fault = "acme is not as at the primary: its bytes are others."
    world.results = [RoundResult(fault=fault, retry_in=4.0, is_told=is_told)] * 2
    world.answer(feed(5))
    world.clock.advance(4.0)

    assert [line for line in log if fault in line] == [f"Not all is as at the primary: {fault}"] * (
        not is_told
    )


def test_a_defect_in_a_round_does_not_end_the_loop(world: World):
    world.results = [ZeroDivisionError()]
    world.answer(feed(5, "acme"))
    assert "log says why" in world.follower.progress().fault
    world.clock.advance(60)

    assert world.worked == 2
    assert world.follower.progress().fault == ""


def test_a_large_file_holds_up_no_other_project(world: World):
    large: Deferred[RoundResult] = Deferred()
    world.results = [large]
    world.answer(feed(5, "acme"))
    world.answer(feed(7, "bell"))
    assert world.worked == 2
    assert not world.follower.progress().is_current
    large.callback(RoundResult())

    assert world.follower.progress().is_current


def test_the_number_of_parallel_rounds_is_bounded(world: World):
    large: list[Deferred[RoundResult]] = [Deferred() for _ in range(4)]
    world.results = [*large]
    for highest in range(1, 5):
        world.answer(feed(highest, "acme"))
    assert len(world.asked) == 4
    large[2].callback(RoundResult())

    assert len(world.asked) == 5


def test_a_primary_that_is_not_to_be_followed_gets_no_round(world: World):
    world.refusal = "It is that of an earlier epoch."
    world.answer(feed(5, "acme"))

    assert world.worked == 0
    assert world.follower.progress().fault == "It is that of an earlier epoch."


def test_a_server_that_is_no_replica_any_more_stops_requesting_changes(world: World):
    world.answer(feed(5))
    world.is_replica = False
    world.answer(feed(7, "acme"))

    assert len(world.taken) == 1
    assert len(world.asked) == 2
    assert world.is_stopped


def stopped(world: World) -> bool:
    return Deferred.fromCoroutine(world.follower.stop()).called and world.clock.getDelayedCalls() == []


def test_a_follower_stops_at_once_during_a_long_poll(world: World):
    world.answer(feed(5))

    assert stopped(world)
    assert world.cancelled == 1


def test_a_follower_stops_at_once_during_a_rest(world: World):
    world.answer(BadGateway("Away."))

    assert stopped(world)


def test_a_follower_stops_at_once_during_a_round(world: World):
    ended: list[int] = []
    world.results = [Deferred(lambda _: ended.append(1))]
    world.answer(feed(5, "acme"))

    assert stopped(world)
    assert ended == [1]
    assert world.is_stopped


def test_a_follower_that_stops_during_as_many_rounds_as_there_may_be_asks_no_more(world: World):
    world.results = [Deferred() for _round in range(4)]
    for serial in range(5, 9):
        world.answer(feed(serial, "acme"))
    before = len(world.asked)

    assert stopped(world)
    assert len(world.asked) == before


def test_a_replica_is_behind_from_the_last_moment_at_which_it_was_not(world: World):
    assert world.follower.progress().lag is None
    world.answer(feed(5))
    world.clock.advance(20)
    assert (world.follower.progress().lag, world.follower.progress().contact) == (0, 20)
    world.results = [Deferred()]
    world.answer(feed(7, "acme"))
    world.clock.advance(5)

    assert (world.follower.progress().lag, world.follower.progress().contact) == (25, 5)
    assert not world.follower.progress().is_current


def test_a_primary_that_is_silent_for_long_leaves_the_replica_behind(world: World):
    world.answer(feed(5))
    world.clock.advance(90)

    assert world.follower.progress().lag == 90


def test_a_client_waits_until_a_change_is_here(world: World):
    world.answer(feed(5))
    here = Deferred.fromCoroutine(world.follower.wait_for(7, 10.0))
    assert not here.called
    world.answer(feed(7, "acme"))

    assert here.result is True
    assert world.clock.getDelayedCalls() == []


def test_a_client_does_not_wait_for_ever(world: World):
    world.answer(feed(5))
    here = Deferred.fromCoroutine(world.follower.wait_for(7, 10.0))
    world.clock.advance(10)

    assert here.result is False


def test_a_client_does_not_wait_for_what_is_here(world: World):
    world.answer(feed(5))

    assert Deferred.fromCoroutine(world.follower.wait_for(5, 10.0)).result is True


# What lets a replica wait no longer


def be_away(world: World, failures: int = 12) -> None:
    """Let the primary be away for some minutes, until it is asked each minute."""
    world.answer(feed(5))
    for _ in range(failures):
        world.answer(BadGateway("Away."))
        world.clock.advance(60.0)
    world.answer(BadGateway("Away."))


def wait_for(world: World, serial: int) -> Deferred[bool]:
    return Deferred.fromCoroutine(world.follower.wait_for(serial, 10.0))


def test_a_change_that_the_primary_has_made_is_asked_for_at_once_after_an_outage(world: World):
    be_away(world)
    asked = len(world.asked)
    here = wait_for(world, 7)

    assert len(world.asked) == asked + 1
    world.answer(feed(7, "acme"))
    assert here.result is True
    assert world.clock.getDelayedCalls() == []


def test_a_sign_of_the_primary_that_deceives_costs_one_request_and_a_short_rest(world: World):
    be_away(world)
    asked = len(world.asked)
    wait_for(world, 7)
    world.answer(BadGateway("Away."))
    assert len(world.asked) == asked + 1
    world.clock.advance(0.5)

    assert len(world.asked) == asked + 2


def test_a_request_that_ends_nowhere_is_not_waited_for_when_there_is_a_change(world: World):
    world.answer(feed(5))
    here = wait_for(world, 7)
    world.clock.advance(1)

    assert world.cancelled == 1
    assert world.follower.progress().fault == ""
    world.answer(feed(7, "acme"))
    assert here.result is True


def test_many_changes_let_a_primary_answer_that_takes_long(world: World):
    world.answer(feed(5))
    for serial in range(6, 66):
        wait_for(world, serial)
        world.clock.advance(1)

    # After 1, 2, 4, 8 and 16 seconds.
    assert world.cancelled == 5


def test_a_change_is_waited_for_without_another_request_while_the_primary_tells_of_each(world: World):
    world.answer(feed(5))
    wait_for(world, 7)
    world.answer(feed(7, "acme"))
    world.clock.advance(1)

    assert world.cancelled == 0


def test_a_command_ends_a_rest(world: World):
    be_away(world)
    asked = len(world.asked)
    world.clock.advance(1)
    assert len(world.asked) == asked
    world.called += 1
    world.clock.advance(1)

    assert (len(world.asked), world.retried) == (asked + 1, 1)
    world.clock.advance(1)
    assert world.retried == 1


def test_a_command_begins_the_round_that_waits(world: World):
    world.results = [RoundResult(fault="Too many files are gone.", retry_in=60.0)]
    world.answer(feed(5, "acme"))
    world.clock.advance(1)
    assert world.worked == 1
    world.called += 1
    world.clock.advance(1)

    assert (world.worked, world.retried) == (2, 1)
    assert world.follower.progress().fault == ""
    assert world.clock.getDelayedCalls() == []


def test_a_server_that_has_taken_over_makes_no_rounds_any_more(world: World):
    world.results = [RoundResult(fault="acme: its bytes are others.", retry_in=4.0), Deferred()]
    world.answer(feed(5, "acme"))
    world.answer(feed(6, "bell"))
    late = world.results
    world.is_replica = False
    world.answer(feed(7))

    assert world.is_stopped
    assert world.clock.getDelayedCalls() == []
    assert late == []
    assert world.worked == 2


@pytest.mark.parametrize("rests", [False, True])
def test_it_leaves_its_primary_at_once_when_it_has_taken_over(world: World, rests: bool):
    world.answer(feed(5))
    if rests:
        world.answer(BadGateway("Away."))
    asked = len(world.asked)
    world.is_replica = False
    world.follower.leave()

    assert world.clock.getDelayedCalls() == []
    assert (len(world.asked), world.cancelled) == (asked, 0 if rests else 1)
    assert world.is_stopped
