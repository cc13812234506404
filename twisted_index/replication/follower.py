"""
The loop that follows one index of a primary: a long poll, then a round for its changes.

While nothing changes there is one request in half a minute and nothing else: no timer of ours runs beside it,
and no file is read. What waits since something failed is tried at once when there is a sign that it is worth
it: a change that the primary has made for a client of this replica, or a command. Out of scope: what a round
does (see `rounds`), and when a server follows at all.
"""

from __future__ import annotations

import math
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.base import DelayedCall
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger

from twisted_index.concurrency.single_flight import fire
from twisted_index.errors import Gone, SimpleIndexError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.replication.primary import Feed, IPrimary
    from twisted_index.replication.rounds import Rounds

_log = Logger()

#: Requested wait for a change, in seconds: proxies in between give up after 60.
WAIT = 30
#: Seconds of rest after the first failure, doubled after each further one, and at most.
_FIRST_REST, _LONGEST_REST = 0.5, 60.0
#: Seconds after which a change that the primary has made should have been told, and for which a request is at
#: least waited for before another one takes its place: doubled each time, or one that takes long never ended.
_PATIENCE = 1.0
#: Seconds between looks for a command, while something waits.
_LOOK = 1.0
#: Number of parallel rounds. Each works on its own projects.
_ROUNDS = 4


class IStanding(Protocol):
    """The standing of this server in its replication."""

    async def check(self) -> bool:
        """
        Return whether this server is a replica. If it has become the primary, its serials begin to lead.

        Raises:
            Unavailable: The role cannot be read.
        """

    def weigh(self, feed: Feed) -> Feed:
        """Return the feed, restricted if the feed of any index of the primary is."""

    def calls(self) -> int:
        """
        Return how often a command has wanted that nothing waits any longer.

        Raises:
            Unavailable: It is not known.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowProgress:
    """
    The progress of a replica.

    Attributes:
        primary_serial: The highest known serial of the primary.
        is_current: Whether the replica has all changes up to this serial.
        contact: Seconds since the primary responded last; None if it never did.
        lag: Seconds since the replica was current; 0 while it is, None if it never was.
        bytes_to_go: Bytes of the files that are being received.
        pending: Projects that differ from the primary's.
        fault: Why they differ, or why the primary cannot be followed; empty without a fault.
        skew: Seconds that the primary's clock is ahead.
        names_projects: Whether the fault names projects.
    """

    primary_serial: int
    is_current: bool
    contact: float | None
    lag: float | None
    bytes_to_go: int
    pending: int
    fault: str
    skew: float
    names_projects: bool = False


class Follower:
    """
    Keeps one index equal to that of the primary, from `start` to `stop`.

    Args:
        primary: The index at the primary.
        rounds: Make the index here equal to it.
        standing: Checked before each request and after it.
        clock: Twisted's reactor.
        name: The name of the index, for the log; empty for the index without one.
        jitter: Returns a number from 0 to 1 that varies delays.
    """

    def __init__(
        self,
        primary: IPrimary,
        rounds: Rounds,
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
        self._working: set[Deferred[None]] = set()
        self._again: Any = None
        self._asking: Deferred[Feed] | None = None
        self._resting: Deferred[None] | None = None
        self._watching: Any = None
        self._is_over = self._is_woken = self._is_away = False
        self._asked_at, self._patience = 0.0, _PATIENCE
        self._calls = 0
        self._told = 0
        self._skew = 0.0
        #: Why the primary cannot be followed; and why projects differ from its.
        self._fault = self._round_fault = ""
        self._failures = 0
        self._contact_at: float | None = None
        self._current_at: float | None = None

    def start(self) -> None:
        """Start following. A follower that was stopped cannot be started again."""
        with suppress(Unavailable):
            self._calls = self._standing.calls()
        self._running = Deferred.fromCoroutine(self._follow())
        self._running.addErrback(_ignore_cancelling)

    async def stop(self) -> None:
        """Stop at once, even within a round; the next start compares what it left."""
        self._finish()
        running, self._running = self._running, None
        # The loop first, which else would begin another round while the others end.
        everything = [*([running] if running is not None else ()), *self._working]
        for work in everything:
            work.cancel()
        for work in everything:
            await work

    def leave(self) -> None:
        """Ask the primary for nothing any more, as this server is no replica; what has begun may end."""
        self._finish()
        self._asked_at = -math.inf
        self._wake()

    def _finish(self) -> None:
        """Begin with nothing more."""
        self._is_over = True
        self._rounds.stop()
        self._plan_again(None)

    def progress(self) -> FollowProgress:
        """Return the progress."""
        now, rounds = self._clock.seconds(), self._rounds
        return FollowProgress(
            primary_serial=self._told,
            is_current=self._current_at is not None and self._has_all and not self._fault,
            contact=None if self._contact_at is None else now - self._contact_at,
            lag=self._lag(now),
            bytes_to_go=rounds.bytes_to_come,
            pending=rounds.pending,
            fault=self._fault or self._round_fault,
            skew=self._skew,
            names_projects=not self._fault and bool(self._round_fault) and not rounds.awaiting,
        )

    @property
    def _has_all(self) -> bool:
        """Whether nothing is running, planned or pending."""
        return not self._working and self._again is None and not self._rounds.pending

    def _lag(self, now: float) -> float | None:
        if self._current_at is None:
            return None
        lag = now - self._current_at
        # While each long poll ends in time, the primary has no change that is not here.
        return 0.0 if self._has_all and not self._fault and lag < 2 * WAIT else lag

    async def wait_for(self, serial: int, seconds: float) -> bool:
        """
        Wait until all changes of the primary up to a serial are here, except to projects that failed.

        Args:
            serial: A serial of the primary.
            seconds: Maximum wait.

        Returns:
            Whether they are.
        """
        rounds = self._rounds
        if rounds.reached < serial:
            waiter: Deferred[None] = Deferred()

            def look() -> None:
                if rounds.reached >= serial:
                    fire(waiter, None)

            timers = [
                self._clock.callLater(seconds, fire, waiter, None),
                # By then it has been told, unless the connection is one that ends nowhere any more.
                self._clock.callLater(_PATIENCE, self._wake),
            ]
            rounds.listeners.add(look)
            if self._is_away:
                self._wake()
            try:
                await waiter
            finally:
                rounds.listeners.discard(look)
                for timer in filter(DelayedCall.active, timers):
                    timer.cancel()
        return rounds.reached >= serial

    # -- Asking

    async def _follow(self) -> None:
        while not self._is_over:
            try:
                if not await self._standing.check():
                    self._finish()
                    return
                await self._turn()
            except CancelledError:
                raise
            except _Woken:
                continue
            except Gone:
                # The serials of the primary have begun anew, or were set back.
                self._rounds.ask_for_all()
                self._fail("Its serials have begun anew, so that all is compared.")
            except SimpleIndexError as error:
                # It may have been restored with its state: changes that it lost are in no feed.
                self._rounds.ask_for_all()
                self._fail(error.message)
            except Exception:
                # A defect must not end the loop.
                _log.failure("The primary could not be followed")
                self._fail("Something failed that should not; the log has it.")
            else:
                self._failures = 0
                if self._fault:
                    self._fault = ""
                    _log.info("The primary{index} is followed again.", index=self._shown)
                continue
            await self._pause(self._rest())

    async def _turn(self) -> None:
        """Request changes once, and start a round for them."""
        since = self._rounds.since
        is_all = since is None
        feed = await self._ask(since)
        self._contact_at, self._skew = self._clock.seconds(), feed.skew
        # This server may have taken over meanwhile.
        if not await self._standing.check():
            return
        fault = await self._rounds.take(self._standing.weigh(feed), is_all=is_all)
        await self._standing.check()
        if fault:
            raise Unavailable(fault)
        self._told = max(feed.highest, 0 if is_all else self._told)
        if is_all or feed.changes:
            self._work()
        self._note_current()
        # Rounds overlap, so that a large file delays no other project; but their number is bounded.
        while len(self._working) >= _ROUNDS:
            await DeferredList(list(self._working), fireOnOneCallback=True)

    async def _ask(self, since: int | None) -> Feed:
        async def ask() -> Feed:
            if since is None:
                await self._rounds.confirm()
                return await self._primary.changes(since=None, instance=None, wait=0)
            return await self._primary.changes(since=since, instance=self._rounds.instance, wait=WAIT)

        self._asking, self._asked_at = Deferred.fromCoroutine(ask()), self._clock.seconds()
        try:
            feed = await self._asking
        except Exception:
            if self._is_woken:
                raise _Woken from None
            self._is_away = True
            raise
        finally:
            self._asking, self._is_woken = None, False
        self._is_away, self._patience = False, _PATIENCE
        return feed

    def _wake(self) -> None:
        """Ask at once, as there is a sign that the primary is there."""
        if self._resting is not None:
            self._failures = 0
            fire(self._resting, None)
        elif self._asking is not None and self._clock.seconds() - self._asked_at >= self._patience:
            self._is_woken = True
            self._patience *= 2
            self._asking.cancel()

    async def _pause(self, seconds: float) -> None:
        self._resting = Deferred()
        timer = self._clock.callLater(seconds, fire, self._resting, None)
        self._watch()
        try:
            await self._resting
        finally:
            self._resting = None
            self._watch()
            if timer.active():
                timer.cancel()

    def _watch(self) -> None:
        """Look now and then whether a command wants that nothing waits any longer, while something does."""
        waits = self._resting is not None or self._again is not None
        if waits and self._watching is None:
            self._watching = self._clock.callLater(_LOOK, self._look)
        elif not waits and self._watching is not None:
            self._watching.cancel()
            self._watching = None

    def _look(self) -> None:
        self._watching = None
        self._watch()
        with suppress(Unavailable):
            before, self._calls = self._calls, self._standing.calls()
            if self._calls != before:
                self._rounds.retry_now()
                if self._again is not None:
                    self._work()
                self._wake()

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

    # -- Rounds

    def _work(self) -> None:
        """Start a round, instead of the planned one."""
        self._plan_again(None)
        work = Deferred.fromCoroutine(self._round())
        self._working.add(work)
        work.addErrback(_ignore_cancelling)
        work.addBoth(lambda _: self._end(work))

    async def _round(self) -> None:
        try:
            result = await self._rounds.work()
        except CancelledError:
            raise
        except Exception:
            _log.failure("A round failed")
            self._round_fault = "A round failed; the log says why."
            self._plan_again(_LONGEST_REST)
            return
        if self._is_over:
            return
        if result.fault and result.fault != self._round_fault and not result.is_told:
            _log.warn("Not all is as at the primary{index}: {fault}", index=self._shown, fault=result.fault)
        self._round_fault = result.fault
        self._plan_again(result.retry_in)

    def _end(self, work: Deferred[None]) -> None:
        self._working.discard(work)
        self._note_current()

    def _plan_again(self, seconds: float | None) -> None:
        """Plan a round for projects that failed or wait; None plans none."""
        if self._again is not None and self._again.active():
            self._again.cancel()
        plans = seconds is not None and not self._is_over
        self._again = self._clock.callLater(max(seconds or 0.0, 0.1), self._work) if plans else None
        self._watch()

    def _note_current(self) -> None:
        if self._has_all:
            self._current_at, self._round_fault = self._clock.seconds(), ""


class _Woken(Exception):
    """The primary is to be asked at once, and not to be waited for any longer."""


def _ignore_cancelling(failure: Any) -> None:
    if failure.check(CancelledError) is None:
        _log.failure("The primary is not followed any more", failure=failure)
