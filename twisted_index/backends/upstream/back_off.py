"""Back-off: while an upstream wants no requests, all clients get its last answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from twisted_index.concurrency.lru import LRU
from twisted_index.errors import Unavailable
from twisted_index.http_client.retry import TemporaryFailure

if TYPE_CHECKING:
    from collections.abc import Callable

#: Projects of which it is remembered.
_MAX_PROJECTS = 1000


class BackOff:
    """
    The rests that an upstream asked for (Retry-After, RFC 9110 section 10.2.3), by project.

    Not for all projects at once, be it 429: some servers limit by URL, and some say 503 of a page that
    they are still making. Each other project costs one request until it gets the same answer.

    Args:
        now: Monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._until = LRU[str, float](_MAX_PROJECTS)

    def check(self, project: str) -> None:
        """
        See whether a project may be asked for.

        Raises:
            Unavailable: Not before the seconds in its Retry-After.
        """
        left = math.ceil((self._until.peek(project) or 0.0) - self._now())
        if left > 0:
            raise Unavailable(f"The upstream asked not to be asked again for {left} seconds.", left)

    def record(self, project: str, error: Exception) -> None:
        """Remember what an error says of that; `TemporaryFailure` bounds it."""
        if isinstance(error, TemporaryFailure) and error.requested_delay:
            self._until.put(project, self._now() + error.retry_after)
