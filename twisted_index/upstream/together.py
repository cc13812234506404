"""One piece of work at a time for each thing, shared by all who ask for it before it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from twisted.internet.defer import Deferred

from twisted_index.sources.joint import Shared

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

K = TypeVar("K", bound="Hashable")
T = TypeVar("T")


class Together(Generic[K, T]):
    """
    Work that whoever asks joins, also when it has begun.

    Unlike a folder, which may have changed after a look at it began, an upstream is taken at its
    word for a while: an answer that is on its way is as good as a later one.

    Args:
        now: Monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._running: dict[K, tuple[float, Shared[T]]] = {}

    def ask(self, key: K, work: Callable[[], Awaitable[T]]) -> Deferred[T]:
        """Wait for the work on this thing, which begins now unless it is under way, and goes on alone."""
        running = self._running.get(key)
        return self._begin(key, work) if running is None else running[1].wait()

    def age(self, key: K) -> float:
        """Say for how many seconds the work has been under way; 0 if it is not."""
        running = self._running.get(key)
        return 0.0 if running is None else max(0.0, self._now() - running[0])

    def _begin(self, key: K, work: Callable[[], Awaitable[T]]) -> Deferred[T]:
        began = self._now()

        async def do() -> T:
            return await work()

        def finish(result: T) -> T:
            self._running.pop(key, None)
            return result

        doing = Deferred.fromCoroutine(do())
        ended = doing.called
        doing.addBoth(finish)
        shared = Shared(doing)
        if not ended:
            self._running[key] = (began, shared)
        return shared.wait()
