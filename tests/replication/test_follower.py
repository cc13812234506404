"""Following: when the primary is asked, what becomes of failures, and how far the replica says it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_index.errors import BadGateway, Gone, Unavailable
from twisted_index.events.serials import Change
from twisted_index.replication.follower import Follower
from twisted_index.replication.primary import Feed

ONE, TWO = "1" * 32, "2" * 32


def feed(highest: int, *projects: str, instance: str = ONE, **more: Any) -> Feed:
    changes = {project: Change(highest, TWO) for project in projects}
    return Feed(instance=instance, highest=highest, changes=changes, **more)


class World:
    """A primary that answers when it is told to, and rounds that note what they get."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[int | None, str | None, float]] = []
        self.answers: list[Deferred[Feed]] = []
        self.rounds: list[tuple[tuple[str, ...], bool]] = []
        self.pending: Iterable[str] = ()
        self.fault = ""
        self.bytes_to_go = 0
        self.error: Exception | None = None
        self.is_replica = True
        self.cancelled = 0
        self.follower = Follower(self, self, self, self.clock, jitter=lambda: 0.0)  # type: ignore[arg-type]
        self.follower.start()

    # The primary

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

    # The rounds

    async def run(self, said: Feed, *, whole: bool) -> None:
        self.rounds.append((tuple(said.changes), whole))
        if self.error is not None:
            raise self.error

    # The standing

    def check(self) -> bool:
        return self.is_replica

    def hear(self, said: Feed) -> None:
        if said.epoch is not None:
            raise Unavailable("Another server has taken over.")


@pytest.fixture
def world() -> World:
    return World()


def test_all_is_compared_at_the_start_and_then_only_what_changes(world: World):
    world.answer(feed(5, "acme", "bell"))
    world.answer(feed(7, "bell"))

    assert world.rounds == [(("acme", "bell"), True), (("bell",), False)]
    assert world.asked == [(None, None, 0), (5, ONE, 30), (7, ONE, 30)]


def test_nothing_but_the_wait_of_the_primary_is_under_way_while_nothing_changes(world: World):
    world.answer(feed(5))
    world.answer(feed(5))

    assert len(world.rounds) == 1
    assert world.clock.getDelayedCalls() == []


def test_serials_that_have_begun_anew_are_compared_from_the_start(world: World):
    world.answer(feed(5))
    world.answer(Gone("Begun anew."))
    world.clock.advance(1)
    world.answer(feed(2, "acme", instance=TWO))

    assert world.asked[-2][0] is None
    assert world.rounds[-1] == (("acme",), True)
    assert world.asked[-1] == (2, TWO, 30)


def test_a_primary_that_is_away_is_asked_less_and_less_often_and_at_last_each_minute(world: World):
    rests = []
    for _ in range(10):
        world.answer(BadGateway("Away."))
        (call,) = world.clock.getDelayedCalls()
        rests.append(call.getTime() - world.clock.seconds())
        world.clock.advance(rests[-1])

    assert rests == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert world.follower.progress().fault == "Away."
    world.answer(feed(5))
    assert world.follower.progress().fault == ""


def test_what_failed_in_a_round_is_tried_again_though_nothing_changes(world: World):
    world.pending, world.fault = ["acme"], "acme: its bytes are others."
    world.answer(feed(5, "acme"))
    assert world.asked[-1] == (5, ONE, 1)
    assert world.follower.progress().fault == "acme: its bytes are others."

    for _ in range(12):
        world.answer(feed(5))
    assert world.asked[-1] == (5, ONE, 30)
    world.pending, world.fault = [], ""
    world.answer(feed(5))

    assert world.rounds[-1] == ((), False)
    assert world.follower.progress().is_current


@pytest.mark.parametrize("error", [Unavailable("Away."), OSError(28, "No space left"), ZeroDivisionError()])
def test_a_round_that_fails_as_a_whole_is_made_again_with_the_same_changes(world: World, error: Exception):
    world.answer(feed(5))
    world.error = error
    world.answer(feed(7, "acme"))
    assert world.follower.progress().fault
    world.error = None
    world.clock.advance(1)

    assert world.asked[-1][0] == 5
    world.answer(feed(7, "acme"))
    assert world.rounds[-1] == (("acme",), False)


def test_a_primary_that_is_not_to_be_followed_gets_no_round(world: World):
    world.answer(feed(5, "acme", epoch=(1, ONE)))

    assert world.rounds == []
    assert world.follower.progress().fault == "Another server has taken over."


def test_a_server_that_is_a_replica_no_more_asks_no_more(world: World):
    world.answer(feed(5))
    world.is_replica = False
    world.answer(feed(7, "acme"))

    assert len(world.rounds) == 1
    assert len(world.asked) == 2


def test_it_stops_at_once_within_a_wait(world: World):
    world.answer(feed(5))
    stopping = Deferred.fromCoroutine(world.follower.stop())

    assert stopping.called
    assert world.cancelled == 1
    assert world.clock.getDelayedCalls() == []


def test_it_stops_at_once_within_a_rest(world: World):
    world.answer(BadGateway("Away."))

    assert Deferred.fromCoroutine(world.follower.stop()).called
    assert world.clock.getDelayedCalls() == []


def test_a_replica_is_behind_from_the_last_moment_at_which_it_was_not(world: World):
    assert world.follower.progress().lag is None
    world.answer(feed(5))
    world.clock.advance(20)
    assert (world.follower.progress().lag, world.follower.progress().contact) == (0, 20)
    world.pending = ["acme"]
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
