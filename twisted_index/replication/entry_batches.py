"""
Listings of several projects in one request, for a replica that wants many at once.

The projects that are wanted while one request runs go into the next one. A batch is a shortcut only: what it
does not have, for whatever reason, is requested by itself, which tells the reason.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import deferLater

from twisted_index.concurrency.single_flight import SharedResult
from twisted_index.errors import NotFound, SimpleIndexError
from twisted_index.simple.entry_listing import MAX_BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

T = TypeVar("T")


class EntryBatches(Generic[T]):
    """
    Gathers projects into requests, of which one runs at a time.

    Args:
        clock: Twisted's reactor.
        request: Requests several projects; returns what it got, by project. `NotFound` if the server knows no
            batches.
    """

    def __init__(
        self, clock: Any, request: Callable[[Sequence[str]], Coroutine[Deferred[Any], Any, Mapping[str, T]]]
    ) -> None:
        self._clock = clock
        self._request = request
        self._lane = DeferredLock()
        #: The batch that more projects may join, with its result.
        self._next: tuple[list[str], SharedResult[Mapping[str, T]]] | None = None
        self._are_known = True

    async def ask(self, project: str) -> T | None:
        """Return what a batch has of a project; None if the project has to be requested by itself."""
        if not self._are_known:
            return None
        if self._next is None or len(self._next[0]) >= MAX_BATCH:
            projects: list[str] = []
            work = self._lane.run(lambda: Deferred.fromCoroutine(self._run(projects)))
            self._next = projects, SharedResult(work, partial(self._abandon, projects, work))
        projects, result = self._next
        projects.append(project)
        return (await result.wait()).get(project)

    def _close(self, projects: list[str]) -> None:
        """Let no more projects join a batch."""
        if self._next is not None and self._next[0] is projects:
            self._next = None

    def _abandon(self, projects: list[str], work: Deferred[Any]) -> None:
        # Who joined it would be cancelled with those that have left.
        self._close(projects)
        work.cancel()

    async def _run(self, projects: list[str]) -> Mapping[str, T]:
        # Those that are wanted in the same turn of the reactor are in the same batch.
        await deferLater(self._clock, 0)
        self._close(projects)
        if len(projects) == 1:
            return {}
        try:
            return await self._request(projects)
        except NotFound:
            self._are_known = False
        except SimpleIndexError:
            pass
        return {}
