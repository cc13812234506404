"""
Files that arrive one by one and get their names together, so that they share the waits for the disk.

What has arrived is given names once all files of the batch have ended, or when it is so much that an
interruption would lose a lot. Out of scope: how (see `puller`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

    from twisted_index.mirror.folder import Arrival

#: Bytes that wait for a name at most.
_BYTES = 64 << 20


class Batch:
    """
    A batch.

    Args:
        names: Of the files that are expected; `end` is called for each, whatever became of it.
        give_names: Gives files their names; returns why some have none, by name.
    """

    def __init__(
        self,
        names: Iterable[str],
        give_names: Callable[[Sequence[Arrival]], Coroutine[Deferred[Any], Any, Mapping[str, str]]],
    ) -> None:
        self._expected = set(names)
        self._give_names = give_names
        self._size = 0
        self._waiting: list[tuple[Arrival, Deferred[str]]] = []

    async def place(self, arrival: Arrival) -> str:
        """
        Wait until a file has its name.

        Returns:
            Why it has none; empty if it has.
        """
        named: Deferred[str] = Deferred()
        self._waiting.append((arrival, named))
        self._size += arrival.line.size or 0
        self.end(arrival.line.name)
        return await named

    def end(self, name: str) -> None:
        """Expect a file no more: it has arrived, or it will not. Harmless when repeated."""
        self._expected.discard(name)
        if self._waiting and (not self._expected or self._size >= _BYTES):
            waiting, self._waiting, self._size = self._waiting, [], 0
            Deferred.fromCoroutine(self._place(waiting))

    async def _place(self, waiting: Sequence[tuple[Arrival, Deferred[str]]]) -> None:
        try:
            reasons = await self._give_names([arrival for arrival, _named in waiting])
        except BaseException as error:
            for _arrival, named in waiting:
                named.errback(error)
            return
        for arrival, named in waiting:
            named.callback(reasons.get(arrival.line.name, ""))
