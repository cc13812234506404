"""Several pieces of work at once, of which only so many run at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults

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
    waiting, results = enumerate(items), dict[int, T]()

    # Not by a semaphore: the next work would begin within the end of the one before, and thousands that end
    # at once, as on a full disk, are deeper than Python's stack.
    async def work_on() -> None:
        for at, item in waiting:
            results[at] = await work(item)

    await all_of(Deferred.fromCoroutine(work_on()) for _ in range(number))
    return [results[at] for at in sorted(results)]


async def all_of(work: Iterable[Deferred[T]]) -> Sequence[T]:
    """Wait for all results, in their order; raise the first error, itself and not in a FirstError."""
    try:
        return await gatherResults(list(work), consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
