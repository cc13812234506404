"""Lifetimes of cached pages."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheTimes:
    """
    Lifetimes and timeouts in seconds, and their clocks.

    Attributes:
        ttl: Lifetime of a page.
        absent_ttl: Lifetime of the absence of a project.
        revalidate_timeout: How long a client waits for a page when there is a stale one.
        response_timeout: How long it waits when there is none.
        wall: Returns seconds since the epoch.
        monotonic: Returns monotonic seconds.
    """

    ttl: float = 600.0
    absent_ttl: float = 60.0
    revalidate_timeout: float = 5.0
    response_timeout: float = 10.0
    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class PageFreshness:
    """
    Whether a cached page is still fresh. Small, because prepared responses hold it.

    Uses both clocks: the wall clock spans restarts and suspension, the monotonic clock cannot be set.

    Args:
        times: The clocks.
        ttl: Lifetime in seconds.
        confirmed_at: When the upstream confirmed the page, by the wall clock.
    """

    __slots__ = ("_confirmed_at", "_is_current", "_seen", "_times", "_ttl")

    def __init__(self, times: CacheTimes, ttl: float, confirmed_at: float) -> None:
        self._times = times
        self._ttl = ttl
        self._is_current = True
        self._confirmed_at = confirmed_at
        self._seen = times.monotonic()

    def __call__(self) -> bool:
        """Return whether the page is fresh."""
        times = self._times
        return (
            self._is_current
            and times.monotonic() - self._seen < self._ttl
            and 0 <= times.wall() - self._confirmed_at < self._ttl
        )

    def renew(self, confirmed_at: float) -> None:
        """Record that the upstream confirmed the page again."""
        self._confirmed_at = confirmed_at
        self._seen = self._times.monotonic()

    def copy(self) -> PageFreshness:
        """Return another object with the same lifetime."""
        other = PageFreshness(self._times, self._ttl, self._confirmed_at)
        other._seen = self._seen
        return other

    def expire(self) -> None:
        """End the lifetime until the upstream confirms the page again."""
        self._seen = -math.inf

    def invalidate(self) -> None:
        """Record that the page has been replaced: never fresh again."""
        self._is_current = False

    @property
    def age(self) -> float:
        """Seconds since the upstream confirmed the page, or since this process read it from disk."""
        return self._times.monotonic() - self._seen

    @property
    def remaining(self) -> int:
        """Remaining lifetime in whole seconds; negative if expired."""
        return int(self._confirmed_at + self._ttl - self._times.wall())
