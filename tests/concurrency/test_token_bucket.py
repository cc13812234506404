"""Token buckets: bursts, then a steady rate, for each key alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from twisted_index.concurrency.token_bucket import TokenBuckets


def test_a_burst_is_free_and_then_the_wait_is_said():
    clock = Clock()
    buckets = TokenBuckets(3, 0.5, clock.seconds)
    assert [buckets.take("alice") for _ in range(4)] == [0, 0, 0, 2]


def test_one_key_does_not_wait_for_another():
    buckets = TokenBuckets(1, 1.0, Clock().seconds)
    assert [buckets.take(key) for key in ("alice", "alice", "bob")] == [0, 1, 0]


@given(
    st.integers(1, 5),
    st.sampled_from([0.25, 0.5, 1.0, 4.0]),
    st.lists(st.floats(0, 10), max_size=30),
)
def test_the_wait_is_enough_and_no_more_is_given_than_flows_in(burst: int, rate: float, steps: list[float]):
    clock = Clock()
    buckets = TokenBuckets(burst, rate, clock.seconds)
    for count, step in enumerate(steps, 1):
        clock.advance(step)
        wait = buckets.take("alice")
        if wait:
            clock.advance(wait)
            assert buckets.take("alice") == 0
        assert count <= burst + clock.seconds() * rate + 1e-6
