"""Lifetimes of cached pages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheTimes:
    """
    How long things hold, in seconds, and the clocks that say so.

    Attributes:
        ttl: For which a page is fresh.
        absent_ttl: For which a project is taken not to be there.
        revalidate_timeout: For which a client waits when there is an old page to be had.
        response_timeout: For which it waits when there is none.
        wall: Seconds since the epoch.
        monotonic: Seconds that only go up.
    """

    ttl: float
    absent_ttl: float
    revalidate_timeout: float
    response_timeout: float
    wall: Callable[[], float]
    monotonic: Callable[[], float]


class PageFreshness:
    """
    Is what an upstream said still to be repeated? Small, as prepared answers keep it.

    By both clocks: the wall clock knows of restarts and of sleep, and the other cannot be set.

    Args:
        times: The clocks.
        ttl: Seconds.
        confirmed_at: When the upstream said so, by the wall clock.
    """

    __slots__ = ("_current", "_said", "_seen", "_times", "_ttl")

    def __init__(self, times: CacheTimes, ttl: float, confirmed_at: float) -> None:
        self._times = times
        self._ttl = ttl
        self._current = True
        self._said = confirmed_at
        self._seen = times.monotonic()

    def __call__(self) -> bool:
        """Say whether it is."""
        times = self._times
        return (
            self._current
            and times.monotonic() - self._seen < self._ttl
            and 0 <= times.wall() - self._said < self._ttl
        )

    def renew(self, said: float) -> None:
        """Note that the upstream said it again."""
        self._said = said
        self._seen = self._times.monotonic()

    def copy(self) -> PageFreshness:
        """Make another one that holds as long as this one."""
        other = PageFreshness(self._times, self._ttl, self._said)
        other._seen = self._seen
        return other

    def expire(self) -> None:
        """Note that it is not to be repeated until the upstream says it again."""
        self._seen = -math.inf

    def invalidate(self) -> None:
        """Note that something else is true now."""
        self._current = False

    @property
    def age(self) -> float:
        """Seconds since the upstream said so, as far as this process knows."""
        return self._times.monotonic() - self._seen

    @property
    def remaining(self) -> int:
        """Whole seconds for which it holds; less than none if it holds no more."""
        return int(self._said + self._ttl - self._times.wall())
