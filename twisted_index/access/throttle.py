"""
Guessing passwords is slow: failures are counted by who is claimed to be where.

What is decided here, and its price: a right password is never refused, however many wrong ones
came before it from the same place, since else anybody behind the same address could lock a user
out. So every password is looked at. What slows guessing is that, after a few failures, those for the
same user from the same place are looked at one at a time with a pause between (see `turns`), and
are answered 429. A right password may have to wait for such a pause, at most two seconds if
nobody else is guessing just then; one that was right a minute ago is known and does not wait.
Getting it right forgives nothing: whoever guesses may share the address with whoever knows.
Guessing many users, or from many places, is slowed only by there being few turns in all: that is
for a firewall, which sees the 401s and 429s in the access log.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from twisted_index.access.turns import Lane
from twisted_index.errors import TooManyRequests, Unauthorized

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

#: So many failures are anybody's; seconds within which they count.
FREE_FAILURES = 5
_WINDOW = 60.0

#: Whole seconds.
_MAX_RETRY_AFTER = 60
_MAX_PAUSE = 2.0

#: The Retry-After doubles with each failure beyond the free ones, and needs no more of them.
_COUNTED = FREE_FAILURES + 1 + math.ceil(math.log2(_MAX_RETRY_AFTER))

#: Whoever failed longest ago is forgotten. Each takes about 1 kB.
_MOST_KEPT = 10_000


class Throttle:
    """
    The failures of the last minute.

    Args:
        clock: Reactor.
        most: How many users in how many places are remembered.
    """

    def __init__(self, clock: IReactorTime, most: int = _MOST_KEPT) -> None:
        self._clock = clock
        self._most = most
        self._failures: OrderedDict[bytes, deque[float]] = OrderedDict()

    def lane(self, address: str, who: str) -> Lane:
        """
        Say where to wait with a password.

        Args:
            address: Of the client.
            who: The user, or the identifier of a token.
        """
        beyond = self._count(_key(address, who)) - FREE_FAILURES
        if beyond <= 0:
            return Lane(_place(address).encode())
        return Lane(_key(address, who), min(_MAX_PAUSE, 0.25 * 2.0**beyond))

    def failed(self, address: str, who: str, error: Unauthorized) -> Unauthorized | TooManyRequests:
        """
        Count a failure.

        Args:
            address: Of the client.
            who: The user, or the identifier of a token.
            error: What was wrong.

        Returns:
            What to answer: the same, or that it was too often.
        """
        key = _key(address, who)
        times = self._failures.setdefault(key, deque(maxlen=_COUNTED))
        times.append(self._clock.seconds())
        self._failures.move_to_end(key)
        while len(self._failures) > self._most:
            self._failures.popitem(last=False)
        beyond = self._count(key) - FREE_FAILURES
        if beyond <= 0:
            return error
        seconds = min(_MAX_RETRY_AFTER, 2 ** (beyond - 1))
        return TooManyRequests(f"{error.sentence} That was wrong too often: wait {seconds} s.", seconds)

    def _count(self, key: bytes) -> int:
        """Count the failures that are still young enough, and forget the others."""
        times = self._failures.get(key)
        if times is None:
            return 0
        oldest = self._clock.seconds() - _WINDOW
        while times and times[0] <= oldest:
            times.popleft()
        if not times:
            del self._failures[key]
        return len(times)


def _place(address: str) -> str:
    """Give what one client has all of: its address, or in IPv6 its network of 64 bits (RFC 6177)."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.IPv6Network((int(found), 64), strict=False))


def _key(address: str, who: str) -> bytes:
    """Make a key of one size, whatever was sent as the user's name."""
    return hashlib.sha256(f"{_place(address)}\n{who}".encode()).digest()
