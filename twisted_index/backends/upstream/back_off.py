"""Back-off: no request before the end of an upstream's Retry-After; clients get an error instead."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.concurrency.lru import LRU
from twisted_index.errors import Unavailable
from twisted_index.http_client.retry import TemporaryFailure

if TYPE_CHECKING:
    from collections.abc import Callable

#: Number of projects with a remembered back-off.
_MAX_PROJECTS = 1000
_MAX_DELAY = 120  # seconds


class _Rest(NamedTuple):
    until: float
    message: str
    retry_after: int  # for clients, which wait no longer than that


class BackOff:
    """
    The delays that an upstream requested (Retry-After, RFC 9110 section 10.2.3), by project.

    Not for all projects at once, even for 429: some servers limit by URL, and some return 503 for a page
    that they are still generating. Each other project costs one request until it gets the same response.

    Args:
        now: Returns monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._rests = LRU[str, _Rest](_MAX_PROJECTS)

    def check(self, project: str) -> None:
        """
        Check whether a project may be requested.

        Raises:
            Unavailable: Its Retry-After has not passed.
        """
        rest = self._rests.peek(project)
        left = 0 if rest is None else math.ceil(rest.until - self._now())
        if rest is not None and left > 0:
            message = f"{rest.message} The upstream requested no retry for {left} seconds."
            raise Unavailable(message, min(left, rest.retry_after))

    def record(self, project: str, error: Exception) -> None:
        """Record the delay that an error requests, within bounds."""
        if isinstance(error, TemporaryFailure) and error.requested_delay:
            until = self._now() + min(error.requested_delay, _MAX_DELAY)
            self._rests.put(project, _Rest(until, error.message, error.retry_after))
