"""Back-off: no request before the end of an upstream's Retry-After; clients get an error instead."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from twisted_index.concurrency.lru import LRU
from twisted_index.errors import Unavailable
from twisted_index.http_client.retry import TemporaryFailure

if TYPE_CHECKING:
    from collections.abc import Callable

#: Number of projects with a remembered back-off.
_MAX_PROJECTS = 1000


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
        self._until = LRU[str, float](_MAX_PROJECTS)

    def check(self, project: str) -> None:
        """
        Check whether a project may be requested.

        Raises:
            Unavailable: Its Retry-After has not passed.
        """
        left = math.ceil((self._until.peek(project) or 0.0) - self._now())
        if left > 0:
            raise Unavailable(f"The upstream requested no retry for {left} seconds.", left)

    def record(self, project: str, error: Exception) -> None:
        """Record the delay that an error requests; `TemporaryFailure` bounds it."""
        if isinstance(error, TemporaryFailure) and error.requested_delay:
            self._until.put(project, self._now() + error.retry_after)
