"""Which indexes there are, in all; making and removing them. The work is done in threads."""

from __future__ import annotations

import json
from time import monotonic
from typing import TYPE_CHECKING

from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.errors import Conflict
from twisted_index.indexes.served_index import IndexAbout
from twisted_index.simple.name_patterns import matches_index

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.indexes.index_line import IndexLines


class IndexChanges:
    """
    Changes the folder of indexes; see `IIndexFolders`.

    Args:
        lines: The indexes.
        worker: Threads.
        patterns: See the attribute.
        hold: Seconds for which an overview holds: anyone may ask for it, and in a bucket each costs a read
            of each index.
        now: Monotonic seconds.

    Attributes:
        patterns: Which names indexes may have that are made and removed here: from `index_pattern`.
    """

    def __init__(
        self,
        lines: IndexLines,
        worker: IThreadRunner,
        patterns: Sequence[str] = (),
        *,
        hold: float = 0.0,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._lines = lines
        self._worker = worker
        self.patterns = patterns
        self._hold = hold
        self._now = now
        #: The last overview: until when it holds, and for which names.
        self._last: tuple[float, Sequence[str], list[IndexAbout]] | None = None
        self._surveys = SingleFlight[None, list[IndexAbout]](now)

    async def overview(self) -> Sequence[IndexAbout]:
        """See `IIndexes`: one look for all that wait for it."""
        await self._lines.listed()
        if self._last is not None:
            until, names, found = self._last
            if self._now() < until and self._lines.catalog.names() is names:
                return found
        return await self._surveys.run(None, self._look)

    async def _look(self) -> list[IndexAbout]:
        if not self._hold:
            # Nor are names asked for here: of folders, only a thread lists them.
            return await self._survey()
        until, names = self._now() + self._hold, self._lines.catalog.names()
        found = await self._survey()
        self._last = until, names, found
        return found

    async def _survey(self, *, anew: bool = False) -> list[IndexAbout]:
        return [
            IndexAbout(name=name, title=member.settings.title, bases=tuple(member.settings.bases))
            if member is not None
            else IndexAbout(name=name, problem="Its settings cannot be used; see its list of problems.")
            for name, member in await self._lines.survey(self._worker, anew=anew)
        ]

    def may_create(self, name: str) -> bool:
        """See `IIndexFolders`."""
        return matches_index(name, self.patterns)

    async def create(self, name: str, bases: Sequence[str] = ()) -> bool:
        """See `IIndexFolders`."""
        if bases:
            await self._check(name, tuple(bases))
        settings = f"bases = {json.dumps(list(bases))}\n".encode("ascii") if bases else b""
        return await self._lines.make(self._worker, name, settings)

    async def _check(self, name: str, bases: tuple[str, ...]) -> None:
        known = {about.name: about for about in await self._survey(anew=True)}
        missing = next((base for base in bases if base not in known), None)
        if missing is not None:
            raise Conflict(f"There is no index {missing}, which {name} would inherit.")
        if name in known and known[name].bases != bases:
            raise Conflict(f"The index {name} is there already, and does not have just these bases.")

    async def remove(self, name: str) -> None:
        """See `IIndexFolders`."""
        self._lines.catalog.path(name)
        heirs = [about.name for about in await self._survey(anew=True) if name in about.bases]
        if heirs:
            raise Conflict(f"{', '.join(heirs[:3])} inherits from {name}: it can be removed after that.")
        await self._lines.remove(self._worker, name)
