"""Several pieces of work at once, of which only so many run at a time."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.python.failure import Failure

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


async def in_groups(
    number: int, size: int, work: Callable[[K], Coroutine[Deferred[Any], Any, object]], items: Iterable[K]
) -> None:
    """
    Do some work for each item, and begin with a group of items in the same turn of the reactor.

    Args:
        number: How much of it runs at a time, at most.
        size: The items of a group; the next group begins when there is room for all of it.
        work: Is called with an item.
        items: The items.

    Raises:
        BaseException: The first error of any of the work; it ends the wait for the rest.
    """
    waiting, running, is_beginning = iter(items), set[Deferred[object]](), False

    def begin() -> None:
        nonlocal is_beginning
        # Work that ends immediately comes back here; not deeper and deeper, but in this loop.
        if is_beginning:
            return
        is_beginning = True
        while not done.called and len(running) <= number - size and (group := list(islice(waiting, size))):
            for item in group:
                one = Deferred.fromCoroutine(work(item))
                running.add(one)
                one.addBoth(end, one)
        is_beginning = False
        if not running and not done.called:
            done.callback(None)

    def end(result: object, one: Deferred[object]) -> None:
        running.discard(one)
        if isinstance(result, Failure) and not done.called:
            done.errback(result)
        begin()

    def cancel(_done: Deferred[None]) -> None:
        for one in tuple(running):
            one.cancel()

    done: Deferred[None] = Deferred(cancel)
    begin()
    await done


async def all_of(work: Iterable[Deferred[T]]) -> Sequence[T]:
    """Wait for all results, in their order; raise the first error, itself and not in a FirstError."""
    try:
        return await gatherResults(list(work), consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
