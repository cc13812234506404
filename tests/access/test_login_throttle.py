"""Guessing is slow, and keeps nobody out who knows."""

from __future__ import annotations

import pytest

from twisted_index.access.login_throttle import FREE_FAILURES, LoginThrottle
from twisted_index.concurrency.fair_queue import FairQueue, QueueKey, _Lane
from twisted_index.errors import TooManyRequests, Unauthorized

WRONG = Unauthorized("Wrong.")


@pytest.fixture
def throttle(clock):
    return LoginThrottle(clock)


def fail(throttle, times, address="192.0.2.1", who="user alice"):
    return [throttle.record_failure(address, who, WRONG) for _ in range(times)]


def test_the_first_failures_are_nothing_special(throttle):
    assert fail(throttle, FREE_FAILURES) == [WRONG] * FREE_FAILURES


def test_after_them_it_is_too_often_for_a_growing_while(throttle):
    fail(throttle, FREE_FAILURES)
    errors = fail(throttle, 10)

    assert all(isinstance(error, TooManyRequests) for error in errors)
    assert [error.retry_after for error in errors] == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert errors[0].message == "Wrong. Too many failed logins; retry in 1 s."


def test_a_minute_later_they_are_forgotten(throttle, clock):
    fail(throttle, 20)
    clock.advance(60)

    assert fail(throttle, 1) == [WRONG]


@pytest.mark.parametrize(("address", "who"), [("192.0.2.2", "user alice"), ("192.0.2.1", "user bob")])
def test_another_place_or_another_user_is_another_count(throttle, address, who):
    fail(throttle, 20)
    assert fail(throttle, 1, address, who) == [WRONG]


def test_a_network_of_ipv6_is_one_place(throttle):
    fail(throttle, 20, "2001:db8::1")

    assert fail(throttle, 1, "2001:db8::ffff:2") != [WRONG]
    assert fail(throttle, 1, "2001:db8:0:1::1") == [WRONG]


def test_only_so_many_are_remembered(clock):
    throttle = LoginThrottle(clock, limit=3)
    fail(throttle, 20)
    for number in range(3):
        fail(throttle, 1, who=f"user {number}" + "x" * 10_000)

    assert len(throttle._failures) == 3
    assert fail(throttle, 1) == [WRONG]


def test_who_guesses_waits_in_a_lane_of_its_own(throttle):
    before = throttle.queue_for("192.0.2.1", "user alice")
    fail(throttle, 20)
    after = throttle.queue_for("192.0.2.1", "user alice")

    assert (before.interval, after.interval) == (0, 2)
    assert before == throttle.queue_for("192.0.2.1", "user bob")
    assert after.name != before.name


# -- Turns


def lane(name: bytes = b"", interval: float = 0.0):
    return lambda: QueueKey(name, interval)


def took(turn) -> bool:
    return turn.called


def test_a_turn_is_had_at_once_while_there_are_any(clock):
    turns = FairQueue(clock, limit=2)
    first, second, third = (turns.acquire(lane(b"a")) for _ in range(3))

    assert [took(turn) for turn in (first, second, third)] == [True, True, False]
    turns.release()
    assert took(third)


def test_lanes_take_turns_however_long_one_of_them_is(clock):
    turns = FairQueue(clock, limit=1)
    crowd = [turns.acquire(lane(b"crowd")) for _ in range(100)]
    single = turns.acquire(lane(b"single"))
    turns.release()
    turns.release()

    assert took(single)
    assert sum(map(took, crowd)) == 2


def test_in_a_slow_lane_there_is_a_pause_between_turns(clock):
    turns = FairQueue(clock)
    slow = [turns.acquire(lane(b"slow", 2.0)) for _ in range(3)]
    turns.release()
    assert sum(map(took, slow)) == 1
    clock.advance(1.9)
    assert sum(map(took, slow)) == 1
    clock.advance(0.1)
    assert sum(map(took, slow)) == 2


def test_a_clock_that_is_set_back_keeps_no_lane_waiting_for_longer_than_its_pause(clock):
    turns = FairQueue(clock, limit=2)
    plain = [turns.acquire(lane(b"plain")) for _ in range(2)]
    slow = [turns.acquire(lane(b"slow", 2.0)) for _ in range(2)]
    assert [took(each) for each in (*plain, *slow)] == [True, True, False, False]
    plain.append(turns.acquire(lane(b"plain")))
    clock.rightNow -= 3600
    turns.release()
    turns.release()
    assert took(slow[0]) or took(plain[2])
    turns.release()
    clock.advance(2.0)
    turns.release()
    clock.advance(2.0)
    assert all(map(took, (*plain, *slow)))


def test_in_a_slow_lane_the_newest_and_the_oldest_go_in_turn(clock):
    turns = FairQueue(clock)
    turns.acquire(lane(b"slow", 2.0))
    guesses = [turns.acquire(lane(b"slow", 2.0)) for _ in range(100)]
    newest = turns.acquire(lane(b"slow", 2.0))
    turns.release()
    clock.advance(2)
    turns.release()
    clock.advance(2)

    assert took(newest)
    assert list(map(took, guesses)) == [True] + [False] * 99


def test_guesses_that_keep_coming_keep_no_other_waiting_for_ever(clock):
    turns = FairQueue(clock)
    waiting = [turns.acquire(lane(b"slow", 2.0)) for _ in range(3)]
    for _ in range(8):
        waiting.append(turns.acquire(lane(b"slow", 2.0)))
        clock.advance(2)
        turns.release()

    assert all(map(took, waiting[:3]))


def test_the_lane_is_chosen_again_when_the_turn_has_come(clock):
    """Who came before the first failure was counted must not be checked without a pause for that."""
    turns, is_slow = FairQueue(clock, limit=1), []

    def choose() -> QueueKey:
        return QueueKey(b"slow", 2.0) if is_slow else QueueKey(b"place")

    crowd = [turns.acquire(choose) for _ in range(100)]
    other = turns.acquire(lane(b"place"))
    is_slow.append(True)
    turns.release()
    assert sum(map(took, crowd)) == 2, "the first of those in the slow lane went without a pause"
    turns.release()
    assert took(other)
    turns.release()
    assert sum(map(took, crowd)) == 2
    clock.advance(2)
    assert sum(map(took, crowd)) == 3


def test_a_turn_is_found_without_a_look_at_every_lane(clock, monkeypatch):
    turns = FairQueue(clock, limit=1)
    for number in range(1000):
        turns.acquire(lane(b"%d" % number))
    seen = []
    monkeypatch.setattr(_Lane, "take", lambda self: seen.append(self) or self.waiting.pop(0))
    turns.release()

    assert len(turns._order) == len(turns._lanes) == 999, "the first lane, in which none waits, was dropped"
    assert [found.name for found in seen] == [b"1"]


def test_everybody_gets_a_turn_at_last(clock):
    turns = FairQueue(clock)
    waiting = [turns.acquire(lane(b"slow", 2.0)) for _ in range(20)]
    waiting += [turns.acquire(lane(b"%d" % (number % 3))) for number in range(20)]
    done = 0
    for _ in range(100):
        for _ in range(sum(map(took, waiting)) - done):
            done += 1
            turns.release()
        clock.advance(0.5)

    assert all(map(took, waiting))


def test_whoever_leaves_is_not_waited_for(clock):
    turns = FairQueue(clock, limit=1)
    turns.acquire(lane())
    gone, stays = turns.acquire(lane()), turns.acquire(lane())
    gone.addErrback(lambda _: None)
    gone.cancel()
    turns.release()

    assert took(stays)


def test_no_timer_runs_and_nothing_is_kept_when_nobody_waits(clock):
    turns = FairQueue(clock)
    for number in range(10):
        turns.acquire(lane(b"%d" % number, 2.0))
        turns.release()
    assert clock.getDelayedCalls() == []
    clock.advance(2)
    turns.acquire(lane())
    assert len(turns._lanes) <= 1
