"""One look at a time, shared by all who asked before it began."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

K = TypeVar("K", bound="Hashable")
T = TypeVar("T")


class Joint(Generic[K, T]):
    """
    Look at things, each at most once at a time.

    Whoever asks while a look is under way waits for the next one, since what changed before the
    question may already have been passed by the look that runs.

    Args:
        look: Looks at one thing.
    """

    def __init__(self, look: Callable[[K], Awaitable[T]]) -> None:
        self._look = look
        self._waiting: dict[K, list[Deferred[T]]] = {}

    def ask(self, key: K) -> Deferred[T]:
        """Wait for a look at this thing that begins now or later."""
        answer: Deferred[T] = Deferred()
        if key in self._waiting:
            self._waiting[key].append(answer)
        else:
            self._waiting[key] = []
            self._begin(key, [answer])
        return answer

    def _begin(self, key: K, askers: list[Deferred[T]]) -> None:
        async def look() -> T:
            return await self._look(key)

        Deferred.fromCoroutine(look()).addBoth(self._finish, key, askers)

    def _finish(self, result: T | Failure, key: K, askers: list[Deferred[T]]) -> None:
        following = self._waiting.pop(key)
        if following:
            self._waiting[key] = []
        for asker in askers:
            if not asker.called:
                asker.errback(result) if isinstance(result, Failure) else asker.callback(result)
        if following:
            self._begin(key, following)


class Shared(Generic[T]):
    """
    One piece of work that many wait for.

    Args:
        work: Its result goes to all of them.
    """

    def __init__(self, work: Deferred[T]) -> None:
        self._waiting: list[Deferred[T]] = []
        self._result: list[T | Failure] = []
        work.addBoth(self._finish)

    def wait(self) -> Deferred[T]:
        """Wait for the result, or give it if it is there."""
        answer: Deferred[T] = Deferred()
        self._waiting.append(answer)
        if self._result:
            self._deliver(self._result[0])
        return answer

    def _finish(self, result: T | Failure) -> None:
        self._result.append(result)
        self._deliver(result)

    def _deliver(self, result: T | Failure) -> None:
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            answer.errback(result) if isinstance(result, Failure) else answer.callback(result)
