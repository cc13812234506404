"""
A fair queue for password hashing.

Password hashing is deliberately slow, so one client sending many passwords could starve the rest. So only
a few are hashed at once, and the others wait in queues that take turns, one per client network. Guesses
wait in a queue of their own, with a pause after each. The queue refuses nothing: a correct password gets
its turn, however many wrong ones are sent.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: How many are hashed at once. The worker has more threads, and files are read in the others.
PARALLEL_HASHES = 2


@dataclass(frozen=True, slots=True)
class QueueKey:
    """
    Where to wait.

    Attributes:
        name: Of those who share it.
        interval: Seconds from the beginning of one turn in it to that of the next.
    """

    name: bytes = b""
    interval: float = 0.0


@dataclass(slots=True)
class _Queue:
    """
    Those who wait in a lane.

    Attributes:
        pause: See Lane.
        not_before: Reactor seconds.
        waiting: The youngest last.
    """

    pause: float
    not_before: float = 0.0
    waiting: list[Deferred[None]] = field(default_factory=list)


class FairQueue:
    """
    Let a few go at once, lane after lane.

    Args:
        clock: Reactor.
        limit: How many.
    """

    def __init__(self, clock: IReactorTime, limit: int = PARALLEL_HASHES) -> None:
        self._clock = clock
        self._free = limit
        self._queues: OrderedDict[bytes, _Queue] = OrderedDict()
        self._timer: IDelayedCall | None = None

    def acquire(self, lane: QueueKey) -> Deferred[None]:
        """
        Wait for a turn. Its owner calls `release`; a waiter may cancel.

        How many wait is bounded by the number of connections: each of them waits for an answer.
        """
        turn: Deferred[None] = Deferred(lambda left: self._leave(lane, left))
        queue = self._queues.setdefault(lane.name, _Queue(lane.interval))
        queue.pause = lane.interval
        queue.waiting.append(turn)
        self._go_on()
        return turn

    def release(self) -> None:
        """Give the turn back."""
        self._free += 1
        self._go_on()

    def _leave(self, lane: QueueKey, turn: Deferred[None]) -> None:
        queue = self._queues.get(lane.name)
        if queue is not None and turn in queue.waiting:
            queue.waiting.remove(turn)

    def _go_on(self) -> None:
        """Give away what turns there are, then wait for the end of the shortest pause."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._free and (turn := self._next()) is not None:
            self._free -= 1
            turn.callback(None)
        if self._free and self._timer is None:
            self._wait()

    def _next(self) -> Deferred[None] | None:
        """Take the next waiter from the first queue that is not paused, and move that queue to the end."""
        now = self._clock.seconds()
        for name, queue in list(self._queues.items()):
            if queue.not_before > now:
                continue
            if not queue.waiting:
                del self._queues[name]
                continue
            self._queues.move_to_end(name)
            queue.not_before = now + queue.pause
            # Where guesses pile up, the newest goes first: a client that sends a correct password now
            # does not wait behind a heap of wrong ones.
            return queue.waiting.pop(-1 if queue.pause else 0)
        return None

    def _wait(self) -> None:
        """Continue when a pause is over; without waiters, no timer runs."""
        starts = [queue.not_before for queue in self._queues.values() if queue.waiting]
        if starts:
            self._timer = self._clock.callLater(max(0.0, min(starts) - self._clock.seconds()), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._go_on()
