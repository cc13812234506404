"""
Throttles failed logins, counted by user and client address.

A correct password is never refused, however many wrong ones came before it from the same address:
otherwise any client behind that address could lock a user out. So the server checks every password.
After a few failures it checks those for the same user from the same address one at a time, with a
pause between them (see `concurrency.fair_queue`), and answers 429. A correct password may have to wait
for two such pauses, at most four seconds, and for longer only while guesses come faster than they are
checked; one that was correct before does not wait. A success does not reset the count, since the
attacker may share the address with the user. Guessing many users, or from many addresses, is limited
only by the number of parallel hashes: a firewall can act on the 401s and 429s in the access log.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from typing import TYPE_CHECKING

from twisted_index.concurrency.fair_queue import FairQueue, QueueKey
from twisted_index.concurrency.lru import LRU
from twisted_index.errors import TooManyRequests, Unauthorized
from twisted_index.http_semantics.client_network import client_network

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

#: Failures without consequence; the window in seconds within which failures count.
FREE_FAILURES = 5
_WINDOW = 60.0

#: Whole seconds.
_MAX_RETRY_AFTER = 60
_MAX_PAUSE = 2.0

#: The Retry-After doubles with each failure beyond the free ones, and needs no more of them.
_COUNTED = FREE_FAILURES + 1 + math.ceil(math.log2(_MAX_RETRY_AFTER))

#: Entries kept, the most recent failures first. Each takes about 1 kB.
_MOST_KEPT = 10_000


class LoginThrottle:
    """
    The failures of the last minute, and the queue in which passwords wait to be hashed.

    Args:
        clock: Reactor.
        limit: Pairs of user and address that are kept.

    Attributes:
        turns: The queue.
    """

    def __init__(self, clock: IReactorTime, limit: int = _MOST_KEPT) -> None:
        self._clock = clock
        self._failures = LRU[bytes, "deque[float]"](limit)
        self.turns = FairQueue(clock)

    def queue_for(self, address: str, who: str) -> QueueKey:
        """
        Choose the queue of a password.

        Args:
            address: Of the client.
            who: The user, or the identifier of a token.
        """
        beyond = self._count(_key(address, who)) - FREE_FAILURES
        if beyond <= 0:
            return QueueKey(client_network(address).encode())
        return QueueKey(_key(address, who), min(_MAX_PAUSE, 0.25 * 2.0**beyond))

    def record_failure(self, address: str, who: str, error: Unauthorized) -> Unauthorized | TooManyRequests:
        """
        Count a failure.

        Args:
            address: Of the client.
            who: The user, or the identifier of a token.
            error: The failure.

        Returns:
            The error to send: the same, or 429 after too many.
        """
        key = _key(address, who)
        times = self._failures.peek(key) or deque(maxlen=_COUNTED)
        times.append(self._clock.seconds())
        self._failures.put(key, times)
        beyond = self._count(key) - FREE_FAILURES
        if beyond <= 0:
            return error
        seconds = min(_MAX_RETRY_AFTER, 2 ** (beyond - 1))
        return TooManyRequests(f"{error.message} Too many failed logins; retry in {seconds} s.", seconds)

    def _count(self, key: bytes) -> int:
        """Count the failures within the window, and drop the others."""
        times = self._failures.peek(key)
        if times is None:
            return 0
        oldest = self._clock.seconds() - _WINDOW
        while times and times[0] <= oldest:
            times.popleft()
        if not times:
            self._failures.pop(key)
        return len(times)


def _key(address: str, who: str) -> bytes:
    """Make a key of fixed size, however long the user's name is."""
    return hashlib.sha256(f"{client_network(address)}\n{who}".encode()).digest()
