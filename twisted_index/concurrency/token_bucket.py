"""Token buckets: how often each of many clients may have something, with bursts."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.concurrency.lru import LRU

if TYPE_CHECKING:
    from collections.abc import Callable

#: Buckets kept. A full one that is evicted is full again, so nothing is lost with those used last.
_MOST_KEPT = 10_000
#: What sums of fractions of a token may lack of a whole one.
_ROUNDING = 1e-9


class _Bucket(NamedTuple):
    tokens: float
    at: float


class TokenBuckets:
    """
    A bucket for each key, full at first.

    Args:
        burst: Tokens of a full bucket, at least 1.
        per_second: Tokens that flow into it.
        now: Returns monotonic seconds.
    """

    def __init__(self, burst: int, per_second: float, now: Callable[[], float]) -> None:
        self._burst = burst
        self._per_second = per_second
        self._now = now
        self._buckets = LRU[Hashable, _Bucket](_MOST_KEPT)

    def take(self, key: Hashable) -> int:
        """
        Take a token.

        Returns:
            0, or after how many whole seconds there will be one.
        """
        now = self._now()
        known = self._buckets.peek(key)
        tokens: float = self._burst
        if known is not None:
            tokens = min(self._burst, known.tokens + (now - known.at) * self._per_second)
        if tokens < 1 - _ROUNDING:
            return math.ceil((1 - tokens) / self._per_second)
        self._buckets.put(key, _Bucket(max(0.0, tokens - 1), now))
        return 0
