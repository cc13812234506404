"""
Following one index of a primary: a long poll, then a round for what it tells, while this is a replica.

While nothing changes there is one request in half a minute and nothing else: no timer of ours runs beside it,
and no file is read. Out of scope: what a round does, and when a server follows at all.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_index.concurrency.single_flight import fire
from twisted_index.errors import Gone, SimpleIndexError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from twisted_index.replication.primary import Feed, IPrimary

_log = Logger()

#: Seconds that the primary is asked to wait for a change: proxies in between give up after 60.
WAIT = 30
#: Seconds after the first failure, doubled for each further one, and the longest.
_FIRST_REST, _LONGEST_REST = 0.5, 60.0
#: Seconds between two clocks beyond which a person has to look.
MAX_SKEW = 60.0


class IRounds(Protocol):
    """Makes the folder of an index equal to that of its primary, a round for each feed."""

    @property
    def pending(self) -> Collection[str]:
        """Projects that are not as the primary has them: they failed, wait, or need a person."""

    @property
    def fault(self) -> str:
        """Why, in a sentence; empty without any."""

    @property
    def bytes_to_go(self) -> int:
        """Bytes of the files that are wanted and not there yet."""

    async def run(self, feed: Feed, *, whole: bool) -> None:
        """
        Take the changes of a feed, and try again what is pending.

        Args:
            feed: The changes.
            whole: Whether they are all there are, so that the folder is compared too.

        Raises:
            SimpleIndexError: The round as a whole cannot be made.
            OSError: The same.
        """


class IStanding(Protocol):
    """What this server is, and what it has heard of its primary."""

    def check(self) -> bool:
        """Return whether this server is a replica; if it has become something else, let that take effect."""

    def hear(self, feed: Feed) -> None:
        """
        Keep what a feed says of the primary.

        Raises:
            SimpleIndexError: It is not to be followed.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowProgress:
    """
    How far a replica is.

    Attributes:
        primary_serial: The highest serial that the primary has told.
        is_current: Whether all of that is here.
        contact: Seconds since the primary responded last; None if it never did.
        lag: Seconds since all that it had told was here; None if it never was. 0 while it is.
        bytes_to_go: Of the files that are wanted and not there yet.
        pending: Projects that are not as the primary has them.
        fault: Why not, or why the primary cannot be followed; empty without any.
        skew: Seconds that the primary's clock is ahead.
    """

    primary_serial: int
    is_current: bool
    contact: float | None
    lag: float | None
    bytes_to_go: int
    pending: int
    fault: str
    skew: float


class Follower:
    """
    Keeps one index equal to that of the primary, from `start` to `stop`.

    Args:
        primary: The index there.
        rounds: Make the index here equal.
        standing: Looked at before each round.
        clock: Twisted's reactor.
        name: Of the index, for the log; empty for that without one.
        jitter: Returns a number from 0 to 1 to vary a delay.
    """

    def __init__(
        self,
        primary: IPrimary,
        rounds: IRounds,
        standing: IStanding,
        clock: Any,
        *,
        name: str = "",
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._primary = primary
        self._rounds = rounds
        self._standing = standing
        self._clock = clock
        self._name = name
        self._jitter = jitter
        self._running: Deferred[None] | None = None
        self._instance: str | None = None
        #: All that the primary had told up to this serial has had its round; None before the first one.
        self._since: int | None = None
        self._told = 0
        self._skew = 0.0
        self._fault = ""
        self._failures = 0
        self._contact_at: float | None = None
        self._current_at: float | None = None
        self._waiting: list[tuple[int, Deferred[None]]] = []

    def start(self) -> None:
        """Begin to follow; no-op if it has begun."""
        if self._running is None:
            self._running = Deferred.fromCoroutine(self._follow())
            self._running.addErrback(_ended, self._name)

    async def stop(self) -> None:
        """End at once, also within a round, which can be taken up again."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await running
        waiting, self._waiting = self._waiting, []
        for _serial, waiter in waiting:
            fire(waiter, None)

    def progress(self) -> FollowProgress:
        """Return how far it is."""
        now, fault = self._clock.seconds(), self._fault or self._rounds.fault
        current = self._since is not None and not self._fault and not self._rounds.pending
        return FollowProgress(
            primary_serial=self._told,
            is_current=current and (self._since or 0) >= self._told,
            contact=None if self._contact_at is None else now - self._contact_at,
            lag=self._lag(now),
            bytes_to_go=self._rounds.bytes_to_go,
            pending=len(self._rounds.pending),
            fault=fault,
            skew=self._skew,
        )

    def _lag(self, now: float) -> float | None:
        """Return the seconds since the replica was known to be current, less those of a quiet wait."""
        if self._current_at is None:
            return None
        lag = now - self._current_at
        # While the primary answers each wait in its time, nothing that it has is missing.
        is_quiet = not self._fault and not self._rounds.pending and self._since == self._told
        return 0.0 if is_quiet and lag < 2 * WAIT else lag

    async def wait_for(self, serial: int, seconds: float) -> bool:
        """
        Wait until all that the primary told up to a serial has had its round.

        Args:
            serial: A serial of the primary.
            seconds: How long to wait at most.

        Returns:
            Whether it has.
        """
        if (self._since or 0) < serial:
            waiter: Deferred[None] = Deferred()
            entry = (serial, waiter)
            self._waiting.append(entry)
            timer = self._clock.callLater(seconds, fire, waiter, None)
            try:
                await waiter
            finally:
                if timer.active():
                    timer.cancel()
                if entry in self._waiting:
                    self._waiting.remove(entry)
        return (self._since or 0) >= serial

    # -- The loop

    async def _follow(self) -> None:
        while True:
            try:
                if not self._standing.check():
                    return
                await self._turn()
            except CancelledError:
                raise
            except Gone:
                # The serials there have begun anew, or were set back: all is compared.
                self._since = None
                self._fail("its serials have begun anew, so that all is compared.")
            except SimpleIndexError as error:
                self._fail(error.message)
            except OSError as error:
                self._fail(f"A file cannot be written or read: {error.strerror or error}.")
            except Exception:
                # A defect must not end the following for good.
                _log.failure("A round failed")
                self._fail("A round failed; the log says why.")
            else:
                self._failures = self._failures + 1 if self._rounds.pending else 0
                if self._fault:
                    self._fault = ""
                    _log.info("The primary{index} is followed again.", index=self._shown)
                continue
            await deferLater(self._clock, self._rest())

    async def _turn(self) -> None:
        """Ask once, and make the round."""
        whole, wait = self._since is None, self._patience()
        feed = await self._primary.changes(since=self._since, instance=self._instance, wait=wait)
        self._contact_at = self._clock.seconds()
        self._skew = feed.skew
        if not self._standing.check():
            return
        self._standing.hear(feed)
        self._told = max(feed.highest, 0 if whole else self._told)
        if whole or feed.changes or self._rounds.pending:
            await self._rounds.run(feed, whole=whole)
        self._instance, self._since = feed.instance, feed.highest
        if not self._rounds.pending:
            self._current_at = self._clock.seconds()
        self._release()

    def _patience(self) -> int:
        """Return for how many seconds the primary may wait: only until what failed is tried again."""
        if self._since is None:
            return 0
        return min(WAIT, math.ceil(self._rest())) if self._rounds.pending else WAIT

    def _rest(self) -> float:
        growing = _FIRST_REST * 2.0 ** min(max(self._failures - 1, 0), 10)
        return min(growing, _LONGEST_REST) * (1 + self._jitter() / 4)

    def _fail(self, fault: str) -> None:
        self._failures += 1
        if fault != self._fault:
            self._fault = fault
            _log.warn("The primary{index} is not followed: {fault}", index=self._shown, fault=fault)

    @property
    def _shown(self) -> str:
        return f"'s index {self._name}" if self._name else ""

    def _release(self) -> None:
        for entry in [entry for entry in self._waiting if entry[0] <= (self._since or 0)]:
            self._waiting.remove(entry)
            fire(entry[1], None)


def _ended(failure: Any, name: str) -> None:
    if failure.check(CancelledError) is None:
        _log.failure("The primary's index {name!r} is not followed any more", failure=failure, name=name)
