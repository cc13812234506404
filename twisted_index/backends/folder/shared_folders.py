"""What the folder sources of a server share: readings of roots, threads, inspections, states of projects."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from twisted_index.backends.folder.inspection_cache import InspectionCache
from twisted_index.backends.folder.inspection_scheduler import InspectionScheduler
from twisted_index.backends.folder.project_cache import StateCache, project_cache
from twisted_index.backends.folder.shared_roots import SharedRoots
from twisted_index.concurrency.thread_pool import ThreadPool

if TYPE_CHECKING:
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.files.stamps import StatValidator


class SharedFolders:
    """
    Made once for a server, and stopped after its sources. Nothing is read or started before a request.

    Args:
        reactor: By default Twisted's global reactor.
        reader: Threads that read files; by default a pool of four.
        cache_thread: The one thread that uses the cache; by default its own.
        cache: Keeps inspection results; by default in memory.
        validator: Replaces the clock and `stat` in tests.

    Attributes:
        roots: The roots.
        inspector: Inspects the files of all sources, each file once.
    """

    def __init__(
        self,
        *,
        reactor: Any = None,
        reader: IThreadRunner | None = None,
        cache_thread: IThreadRunner | None = None,
        cache: InspectionCache | None = None,
        validator: StatValidator | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.reader: IThreadRunner = reader or ThreadPool(reactor, name="index-reader")
        self.cache_thread: IThreadRunner = cache_thread or ThreadPool(reactor, threads=1, name="index-cache")
        self.cache = cache or InspectionCache()
        self.roots = SharedRoots(self.reader, validator)
        self.inspector = InspectionScheduler(
            reader=self.reader,
            cache_thread=self.cache_thread,
            cache=self.cache,
            validator=self.roots.trusting,
        )
        self._states = project_cache()
        self._numbers = count()

    def states(self) -> StateCache:
        """Return room for the states of another source; all of them have one limit."""
        return StateCache(self._states, next(self._numbers))

    async def stop(self) -> None:
        """Finish running inspections, then close the cache."""
        await self.reader.stop()
        await self.cache_thread.run(self.cache.close)
        await self.cache_thread.stop()
