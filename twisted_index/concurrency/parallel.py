"""Several pieces of work at once, of which only so many run at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore, FirstError, gatherResults

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

T = TypeVar("T")
K = TypeVar("K")


async def at_once(
    number: int, work: Callable[[K], Coroutine[Deferred[Any], Any, T]], items: Iterable[K]
) -> Sequence[T]:
    """
    Do some work for each item.

    Args:
        number: How much of it runs at a time.
        work: Is called with an item.
        items: The items.

    Returns:
        The results, in the order of the items.

    Raises:
        BaseException: The first error of any of the work; it ends the wait for the rest.
    """
    slots = DeferredSemaphore(number)
    return await all_of(slots.run(lambda one: Deferred.fromCoroutine(work(one)), item) for item in items)


async def all_of(work: Iterable[Deferred[T]]) -> Sequence[T]:
    """Wait for all results, in their order; raise the first error, itself and not in a FirstError."""
    try:
        return await gatherResults(list(work), consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
