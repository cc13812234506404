"""
Single flight: one computation for all concurrent callers.

`SingleFlight` joins a running computation; `FreshSingleFlight` waits for the next one, since the running
one may already have passed what changed.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable

K = TypeVar("K", bound="Hashable")
T = TypeVar("T")


class SharedResult(Generic[T]):
    """
    One result for several waiters.

    Args:
        work: Provides the result.
        abandon: Called when the last waiter has left; without it the work goes on.
    """

    def __init__(self, work: Deferred[T], abandon: Callable[[], None] = lambda: None) -> None:
        self._abandon = abandon
        self._waiters: deque[Deferred[T]] = deque()
        self._result: list[T | Failure] = []
        work.addBoth(self._finish)

    def wait(self) -> Deferred[T]:
        """Wait for the result; fires at once if it is there. A waiter may be cancelled by itself."""
        waiter: Deferred[T] = Deferred(self._leave)
        self._waiters.append(waiter)
        if self._result:
            self._deliver(self._result[0])
        return waiter

    def _leave(self, waiter: Deferred[T]) -> None:
        self._waiters.remove(waiter)
        if not self._waiters:
            self._abandon()

    def _finish(self, result: T | Failure) -> None:
        self._result.append(result)
        self._deliver(result)

    def _deliver(self, result: T | Failure) -> None:
        while self._waiters:
            fire(self._waiters.popleft(), result)


def shielded(work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
    """Start work that goes on if its caller is cancelled."""
    return SharedResult(Deferred.fromCoroutine(work)).wait()


class SingleFlight(Generic[K, T]):
    """
    Runs at most one computation per key; a caller joins the running one.

    Args:
        now: Monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._running: dict[K, tuple[float, SharedResult[T]]] = {}

    def run(self, key: K, work: Callable[[], Awaitable[T]]) -> Deferred[T]:
        """Wait for the running computation, or start one. It goes on without its callers."""
        running = self._running.get(key)
        return self._begin(key, work) if running is None else running[1].wait()

    def __len__(self) -> int:
        """Return how many computations are running."""
        return len(self._running)

    def age(self, key: K) -> float:
        """Return the seconds for which a computation has been running; 0 without one."""
        running = self._running.get(key)
        return 0.0 if running is None else max(0.0, self._now() - running[0])

    def _begin(self, key: K, work: Callable[[], Awaitable[T]]) -> Deferred[T]:
        began = self._now()

        async def run() -> T:
            return await work()

        def finish(result: T) -> T:
            self._running.pop(key, None)
            return result

        running = Deferred.fromCoroutine(run())
        ended = running.called
        running.addBoth(finish)
        shared = SharedResult(running)
        if not ended:
            self._running[key] = (began, shared)
        return shared.wait()


class FreshSingleFlight(Generic[K, T]):
    """
    Runs at most one scan per key; a caller gets one that starts no earlier than its call.

    Args:
        scan: Scans what a key names.
        abandon: Whether to cancel a scan when its last caller has left.
    """

    def __init__(self, scan: Callable[[K], Awaitable[T]], *, abandon: bool = False) -> None:
        self._scan = scan
        self._abandon = abandon
        self._next: dict[K, list[Deferred[T]]] = {}
        self._running: dict[K, tuple[Deferred[T], list[Deferred[T]]]] = {}

    def run(self, key: K) -> Deferred[T]:
        """Wait for a scan that begins now or later. A waiter may be cancelled by itself."""
        waiters = self._next.get(key)
        begins = waiters is None
        waiters = [] if waiters is None else waiters
        waiter: Deferred[T] = Deferred(lambda waiter: self._leave(key, waiters, waiter))
        waiters.append(waiter)
        if begins:
            self._begin(key, waiters)
        return waiter

    def _leave(self, key: K, waiters: list[Deferred[T]], waiter: Deferred[T]) -> None:
        waiters.remove(waiter)
        work, running = self._running.get(key, (None, None))
        if self._abandon and work is not None and running is waiters and not waiters:
            work.cancel()

    def _begin(self, key: K, waiters: list[Deferred[T]]) -> None:
        async def scan() -> T:
            return await self._scan(key)

        self._next[key] = []
        work = Deferred.fromCoroutine(scan())
        self._running[key] = (work, waiters)
        work.addBoth(self._finish, key, waiters)

    def _finish(self, result: T | Failure, key: K, waiters: list[Deferred[T]]) -> None:
        del self._running[key]
        while waiters:
            fire(waiters.pop(0), result)
        following = self._next.pop(key)
        if following:
            self._begin(key, following)


def fire(waiter: Deferred[T], result: T | Failure) -> None:
    """Fire a Deferred with a result or a failure, unless it has been cancelled."""
    if not waiter.called:
        waiter.errback(result) if isinstance(result, Failure) else waiter.callback(result)
