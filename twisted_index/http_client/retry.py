"""Retries: one rule for every request to another server."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.task import deferLater

from twisted_index.errors import BadGateway, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_MAX_RETRY_AFTER = 120  # seconds that are passed on to clients; installers sleep that long without a word


#: Statuses that may be others in a moment: of one failing node of many (500), of a connection that was
#: kept open too long (408, RFC 9110 section 15.5.9), of rate limits (RFC 6585 section 4), and of CDNs.
BUSY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, *range(520, 525), 527})


class TemporaryFailure(Unavailable):
    """
    A request failed in a way that a retry may cure.

    Args:
        message: What happened.
        requested_delay: Seconds that the server asked for in Retry-After; None without that field.
    """

    def __init__(self, message: str, requested_delay: int | None = None) -> None:
        super().__init__(message, 5 if requested_delay is None else min(requested_delay, _MAX_RETRY_AFTER))
        self.requested_delay = requested_delay or 0


class Denied(BadGateway):
    """A server refuses this very URL, or us; asking again is in vain, unless for another URL."""


async def retrying(
    ask: Callable[[], Awaitable[T]],
    reactor: Any,
    *,
    tries: int,
    back_off: float,
    growth: float = 2.0,
    longest_rest: float = math.inf,
    jitter: Callable[[], float] = lambda: 1.0,
) -> T:
    """
    Call `ask` until it succeeds, fails for good, or has failed often enough.

    Args:
        ask: Raises TemporaryFailure if a retry makes sense.
        reactor: Counts the time.
        tries: Calls in all.
        back_off: Seconds before the second call.
        growth: How many times longer each further wait is.
        longest_rest: Seconds; a server that asks for a longer rest is not asked again.
        jitter: Gives a factor for each wait, so that many clients do not come back at once.

    Raises:
        TemporaryFailure: The last one.
    """
    for _ in range(tries - 1):
        try:
            return await ask()
        except TemporaryFailure as error:
            if error.requested_delay > longest_rest:
                raise
            rest = max(error.requested_delay, back_off * jitter())
        back_off *= growth
        await deferLater(reactor, rest)
    return await ask()


def retry_after(value: str, date: str) -> int | None:
    """
    Read a Retry-After (RFC 9110 section 10.2.3).

    Args:
        value: Seconds, or a date.
        date: When the answer was made: by the clock of its server if it tells, else by ours.

    Returns:
        Seconds; None if it says nothing.
    """
    if value.isascii() and value.isdigit():
        return int(value[:9])
    try:
        until, now = parsedate_to_datetime(value), parsedate_to_datetime(date)
        return max(0, int((until - now).total_seconds()))
    except (ValueError, TypeError, OverflowError):  # also for one with a zone and one without
        return None
