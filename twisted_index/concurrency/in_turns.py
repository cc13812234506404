"""Choosing among many items, a piece at a time: the reactor has its turns meanwhile."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.task import deferLater

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted.internet.interfaces import IReactorTime

T = TypeVar("T")

#: Items that are asked about without a look at the clock, and the seconds of a turn of the reactor.
_ITEMS, _TURN = 100, 0.001


async def choose_in_turns(
    clock: IReactorTime, may: Callable[[T], bool], items: Iterable[T], limit: int | None = None
) -> list[T]:
    """
    Return the items that may be chosen, in their order.

    Args:
        clock: Twisted's reactor.
        may: Decides about one; it must not wait.
        items: The items.
        limit: How many are wanted at most.
    """
    chosen: list[T] = []
    left, began = iter(items), clock.seconds()
    while piece := list(islice(left, _ITEMS)):
        if clock.seconds() - began > _TURN:
            await deferLater(clock, 0)
            began = clock.seconds()
        chosen += filter(may, piece)
        if limit is not None and len(chosen) >= limit:
            break
    return chosen[:limit]
