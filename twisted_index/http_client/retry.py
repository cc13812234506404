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

_MAX_RETRY_AFTER = 120  # seconds passed on to clients; installers sleep that long silently
_RETRIES = 5  # of pip; a rest that outlasts them would only make it silent for ten minutes before it fails
_SHORT_RETRY_AFTER = 5


#: Statuses of temporary failures: one failing node of many (500), a connection idle for too long (408,
#: RFC 9110 section 15.5.9), rate limits (RFC 6585 section 4), and CDN errors.
BUSY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, *range(520, 525), 527})


class TemporaryFailure(Unavailable):
    """
    A request failed in a way that a retry may cure.

    Args:
        message: The public message.
        requested_delay: Seconds in the server's Retry-After; None without that field.
    """

    def __init__(self, message: str, requested_delay: int | None = None) -> None:
        super().__init__(message, _passed_on(requested_delay))
        self.requested_delay = requested_delay or 0


def _passed_on(delay: int | None) -> int:
    """Return the seconds of Retry-After for clients."""
    if delay is None or delay > _RETRIES * _MAX_RETRY_AFTER:
        return _SHORT_RETRY_AFTER
    return min(delay, _MAX_RETRY_AFTER)


class Denied(BadGateway):
    """A server refuses this URL, or our credentials; only a request for another URL may succeed."""


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
    Call `ask` until it succeeds, fails permanently, or all tries have failed.

    Args:
        ask: Sends the request; raises TemporaryFailure if a retry makes sense.
        reactor: Schedules retries.
        tries: Maximum of calls.
        back_off: Seconds before the second call.
        growth: Factor between one delay and the next.
        longest_rest: Seconds; no retry if Retry-After is longer.
        jitter: Returns a factor for each delay, so that clients do not retry at the same moment.

    Raises:
        TemporaryFailure: The last one.
    """
    for _ in range(tries - 1):
        try:
            return await ask()
        except TemporaryFailure as error:
            if error.requested_delay > longest_rest:
                raise
            delay = max(error.requested_delay, back_off * jitter())
        back_off *= growth
        await deferLater(reactor, delay)
    return await ask()


def retry_after(value: str, date: str) -> int | None:
    """
    Parse a Retry-After field (RFC 9110 section 10.2.3).

    Args:
        value: Seconds, or a date.
        date: The response's Date field; without one, the current time.

    Returns:
        Seconds; None if the field is absent or invalid.
    """
    if value.isascii() and value.isdigit():
        return int(value[:9])
    try:
        until, now = parsedate_to_datetime(value), parsedate_to_datetime(date)
        return max(0, int((until - now).total_seconds()))
    except (ValueError, TypeError, OverflowError):  # TypeError also if only one has a time zone
        return None
