"""
A fair queue, for password hashing and for searches of the audit log.

Password hashing is deliberately slow, so one client sending many passwords could starve the rest. So only
a few are hashed at once, and the others wait in lanes that take turns, one lane per client network. Guesses
wait in a lane of their own, with a pause after each. The queue refuses nothing. In a lane with pauses the
newest and the oldest go in turn: a correct password overtakes a heap of earlier guesses, and later ones,
however many, do not keep it waiting for ever.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred

from twisted_index.concurrency.single_flight import SharedResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T")

#: How many are hashed at once. The worker has more threads, and files are read in the others.
PARALLEL_HASHES = 2


@dataclass(frozen=True, slots=True)
class QueueKey:
    """
    Where to wait.

    Attributes:
        name: Of the lane.
        interval: Seconds from the beginning of one turn in it to that of the next.
    """

    name: bytes = b""
    interval: float = 0.0


@dataclass(slots=True, eq=False)
class _Waiter:
    """
    A waiter for a turn.

    Attributes:
        arrival: Its number.
        choose: Returns where it has to wait now.
    """

    arrival: int
    choose: Callable[[], QueueKey]
    turn: Deferred[None]
    lane: _Lane


@dataclass(slots=True, eq=False)
class _Lane:
    """
    The waiters under one name.

    Attributes:
        ready: Reactor seconds from which the next may go.
        waiting: By arrival.
    """

    name: bytes
    ready: float
    interval: float = 0.0
    waiting: list[_Waiter] = field(default_factory=list)
    _oldest_is_next: bool = False

    def join(self, waiter: _Waiter) -> None:
        waiter.lane = self
        insort(self.waiting, waiter, key=lambda other: other.arrival)

    def take(self) -> _Waiter:
        """Take the next waiter: the oldest, or the newest in turn where there are pauses."""
        oldest = self._oldest_is_next or not self.interval
        self._oldest_is_next = not oldest
        return self.waiting.pop(0 if oldest else -1)


class FairQueue:
    """
    A limited number of turns at once, given to the lanes in rotation.

    Args:
        clock: Reactor.
        limit: The number of turns.
    """

    def __init__(self, clock: IReactorTime, limit: int = PARALLEL_HASHES) -> None:
        self._clock = clock
        self._free = limit
        self._lanes: dict[bytes, _Lane] = {}
        # Each lane once, by `ready`; lanes that are ready at the same moment in the order of their turns.
        self._order: list[tuple[float, int, _Lane]] = []
        self._numbers = count()
        self._waiting = 0
        self._timer: IDelayedCall | None = None
        self._latest = 0.0

    async def run(self, choose: Callable[[], QueueKey], work: Callable[[], Awaitable[T]]) -> T:
        """
        Wait for a turn, and do some work in it.

        A caller that is cancelled gives up its turn. Once the work has begun it goes on, since no thread
        can be stopped, and so does the turn.
        """
        await self.acquire(choose)
        return await SharedResult(Deferred.fromCoroutine(self._work(work))).wait()

    async def _work(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        finally:
            self.release()

    def acquire(self, choose: Callable[[], QueueKey]) -> Deferred[None]:
        """
        Wait for a turn. Its owner calls `release`; a waiter may cancel.

        The number of waiters is bounded by that of connections: a client that leaves cancels.

        Args:
            choose: Returns where to wait; called again when the turn has come, since failures of other
                waiters may have changed it.
        """
        key = choose()
        turn: Deferred[None] = Deferred(lambda _turn: self._leave(waiter))
        waiter = _Waiter(next(self._numbers), choose, turn, self._lane(key))
        waiter.lane.join(waiter)
        self._waiting += 1
        self._go_on()
        return turn

    def release(self) -> None:
        """Give the turn back."""
        self._free += 1
        self._go_on()

    def _leave(self, waiter: _Waiter) -> None:
        waiter.lane.waiting.remove(waiter)
        self._waiting -= 1

    def _lane(self, key: QueueKey) -> _Lane:
        lane = self._lanes.get(key.name)
        if lane is None:
            lane = self._lanes[key.name] = _Lane(key.name, self._now())
            self._enter(lane)
        lane.interval = key.interval
        return lane

    def _enter(self, lane: _Lane) -> None:
        heappush(self._order, (lane.ready, next(self._numbers), lane))

    def _go_on(self) -> None:
        """Give away what turns there are."""
        while self._free and (lane := self._next()) is not None:
            waiter = lane.take()
            key = waiter.choose()
            if key.name == lane.name:
                lane.ready = self._now() + key.interval
            else:
                self._lane(key).join(waiter)
            self._enter(lane)
            if waiter.lane is lane:
                self._free -= 1
                self._waiting -= 1
                waiter.turn.callback(None)
        self._set_timer()

    def _next(self) -> _Lane | None:
        """Take the lane that has been ready longest out of the order; drop those without waiters."""
        now = self._now()
        while self._order and self._order[0][0] <= now:
            lane = heappop(self._order)[2]
            if lane.waiting:
                return lane
            del self._lanes[lane.name]
        return None

    def _now(self) -> float:
        """Return the time. If it was set back, no lane waits longer for that than its pause."""
        now = self._clock.seconds()
        if now < self._latest:
            for lane in self._lanes.values():
                lane.ready = min(lane.ready, now + lane.interval)
            self._order = [(lane.ready, number, lane) for _ready, number, lane in self._order]
            heapify(self._order)
        self._latest = now
        return now

    def _set_timer(self) -> None:
        """Go on when the first lane is ready, if there are waiters."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._free and self._waiting:
            # That may be a lane without waiters, which is then dropped.
            delay = max(0.0, self._order[0][0] - self._clock.seconds())
            self._timer = self._clock.callLater(delay, self._go_on)
