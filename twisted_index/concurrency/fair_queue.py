"""
A fair queue for password hashing.

Password hashing is deliberately slow, so one client sending many passwords could starve the rest. So only
a few are hashed at once, and the others wait in lanes that take turns, one lane per client network. Guesses
wait in a lane of their own, with a pause after each. The queue refuses nothing: a correct password goes
before all guesses that came earlier, and waits for those that come later from the same address.
"""

from __future__ import annotations

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
        name: Of the lane.
        interval: Seconds from the beginning of one turn in it to that of the next.
    """

    name: bytes = b""
    interval: float = 0.0


@dataclass(slots=True)
class _Lane:
    """
    Those who wait under one name.

    Attributes:
        ready: Reactor seconds from which the next may go.
        waiting: The youngest last.
    """

    ready: float
    interval: float = 0.0
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
        self._lanes: dict[bytes, _Lane] = {}
        self._timer: IDelayedCall | None = None

    def acquire(self, key: QueueKey) -> Deferred[None]:
        """
        Wait for a turn. Its owner calls `release`; a waiter may cancel.

        How many wait is bounded by the number of connections: who leaves, cancels.
        """
        lane = self._lanes.setdefault(key.name, _Lane(self._clock.seconds()))
        lane.interval = key.interval
        turn: Deferred[None] = Deferred(lane.waiting.remove)
        lane.waiting.append(turn)
        self._go_on()
        return turn

    def release(self) -> None:
        """Give the turn back."""
        self._free += 1
        self._go_on()

    def _go_on(self) -> None:
        """Give away what turns there are."""
        while self._free and (lane := self._next()) is not None:
            self._free -= 1
            # Where guesses pile up, the newest goes first: a client that sends a correct password now
            # does not wait behind a heap of wrong ones.
            lane.waiting.pop(-1 if lane.interval else 0).callback(None)

    def _next(self) -> _Lane | None:
        """Choose the lane that has been ready longest; without one, wait for the first that will be."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        now = self._clock.seconds()
        self._lanes = {name: lane for name, lane in self._lanes.items() if lane.waiting or lane.ready > now}
        waiting = [name for name, lane in self._lanes.items() if lane.waiting]
        if not waiting:
            return None
        name = min(waiting, key=lambda name: self._lanes[name].ready)
        lane = self._lanes[name]
        if lane.ready > now:
            self._timer = self._clock.callLater(lane.ready - now, self._go_on)
            return None
        lane.ready = now + lane.interval
        # Behind the others that are ready at the same moment.
        self._lanes[name] = self._lanes.pop(name)
        return lane
