"""
The directory of the projects of one index: what is searched, what is new, and what needs what.

Names come from the source, whole and current; what else is known of a project is read by a walk.
"""

from __future__ import annotations

from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

from twisted_index.concurrency.in_turns import choose_in_turns
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import SimpleIndexError
from twisted_index.search.known_rows import KnownRows
from twisted_index.search.name_match import Names
from twisted_index.search.query import parse_query
from twisted_index.search.reading import read_row
from twisted_index.search.results import Candidates, Hit, SearchResults, candidates
from twisted_index.search.row import ProjectRow
from twisted_index.search.walk import BRIEF, PATIENCE, SMALL_INDEX, Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.indexes.composite import LocalPart
    from twisted_index.interfaces import ISource
    from twisted_index.search.row_store import RowStore

    #: Whether a client may read a project of this name; None where everything is for everyone.
    May: TypeAlias = Callable[[str], bool] | None
    #: Says that for now.
    Reads: TypeAlias = Callable[[], May]


#: Projects of an index that is not walked which one answer reads: each takes an archive.
_MOST_READ = 10


class ProjectDirectory:
    """
    The directory of one index.

    Args:
        source: The projects.
        parts: The sources in it that are walked (`composite.local_parts`). Without any, as for a look into
            the past, only names are searched.
        store: Keeps what was read.
        thread: The one thread that uses the store.
        reader: Threads that read archives.
        clock: Tells the time, and when a wait is over.

    Attributes:
        source: As given.
    """

    def __init__(
        self,
        source: ISource,
        parts: Sequence[LocalPart],
        store: RowStore,
        *,
        thread: IThreadRunner,
        reader: IThreadRunner,
        clock: IReactorTime,
    ) -> None:
        self.source = source
        self._reader, self._clock = reader, clock
        self._rows = KnownRows(store, thread)
        self._walk = Walk(parts, self._rows, reader, clock) if parts else None
        self._names = Names(())

    async def search(self, query: str, reads: Reads, limit: int) -> SearchResults:
        """
        Search for projects.

        Args:
            query: As typed; see `search.query`.
            reads: Says which projects count at all; asked after everything that takes long.
            limit: How many results are returned.

        Raises:
            Unavailable: The projects cannot be listed now.
        """
        parsed = parse_query(query)
        names = await self._refresh(PATIENCE)
        store, public = self._rows.store, reads() is None
        found = await self._rows.ask(Candidates(), candidates, store, parsed, names, public=public)
        readable, may = None, reads()
        if may is not None:
            asked = names.names if len(names.names) <= SMALL_INDEX else found.all()
            readable = frozenset(await self._allowed(asked, names, may))
        chosen, suggestion = found.readable(readable)
        rows = await self._shown(chosen[:limit])
        known, projects = self._counts(names, readable)
        return SearchResults(
            results=tuple(Hit(row, found.why(row, parsed)) for row in rows),
            total=len(chosen),
            known=known,
            projects=projects,
            suggestion=suggestion,
        )

    def _counts(self, names: Names, readable: frozenset[str] | None) -> tuple[int | None, int | None]:
        """Return of how many projects more than the name is known, and how many there are."""
        if readable is None:
            return self._rows.count(names), len(names.names)
        if len(names.names) > SMALL_INDEX:
            return None, None
        return len(readable & (self._rows.serials or {}).keys()), len(readable)

    async def newest(self, limit: int, reads: Reads) -> Sequence[ProjectRow]:
        """
        Return the releases that came last, the latest first; see `search`.

        Returns:
            The row of its project for each, with its version and time; at most `MOST_RELEASES`.
        """
        names = await self._refresh()
        found = await self._rows.ask([], self._rows.store.newest)
        return _by_release(await self._shown(await self._allowed(found, names, reads(), limit)))[:limit]

    async def requiring(self, project: str, reads: Reads) -> Sequence[str]:
        """Return the names of the projects whose latest release needs one, ascending; see `search`."""
        names = await self._refresh()
        found = await self._rows.ask([], self._rows.store.requiring, project)
        return await self._allowed(found, names, reads())

    def count_files(self, names: Sequence[str], *, public: bool) -> int | None:
        """
        Return how many files projects have, as the walk saw them last; see `KnownRows.count_files`.

        Of a small index that is now, once `newest` has been called.
        """
        return self._rows.count_files(names, public=public)

    def retire(self) -> None:
        """Read nothing more; the last search that is under way leaves the store to be closed."""
        if self._walk is not None:
            self._walk.stop()

    async def close(self) -> None:
        """Close the store."""
        self.retire()
        await self._rows.close()

    async def _refresh(self, patience: float = BRIEF) -> Names:
        """Return the names as they are now; what else is not known is read meanwhile."""
        listed = (await result_of(self.source.project_list)).value.names
        if listed is not self._names.names:
            self._names = Names(listed)
        names = self._names
        if self._walk is not None:
            await self._walk.catch_up(names, patience)
        return names

    async def _allowed(
        self, found: Sequence[str], names: Names, may: May, limit: int | None = None
    ) -> list[str]:
        """Return those that are there and may be read, up to a limit; the reactor has its turns meanwhile."""
        there = [name for name in found if name in names.present]
        if may is None:
            return there[:limit]
        return await choose_in_turns(self._clock, may, there, limit)

    async def _shown(self, names: Sequence[str]) -> list[ProjectRow]:
        """Return the rows of projects, with nothing but the name for those that are not known."""
        if self._walk is None:
            first = [await self._read(name) for name in names[:_MOST_READ]]
            return [*first, *(ProjectRow(name=name) for name in names[_MOST_READ:])]
        await self._walk.check(names)
        found = await self._rows.ask({}, self._rows.store.rows, names)
        return [found.get(name) or ProjectRow(name=name) for name in names]

    async def _read(self, name: str) -> ProjectRow:
        """Read a project of an index that is not walked."""
        try:
            page = (await result_of(self.source.project_page, name)).value
            return ProjectRow(name=name) if page is None else await read_row(self.source, page, self._reader)
        except SimpleIndexError:
            return ProjectRow(name=name)


def _by_release(rows: Iterable[ProjectRow]) -> list[ProjectRow]:
    """Return a row for each release, the latest first."""
    found = [(row, version, time) for row in rows for version, time in row.releases]
    found.sort(key=itemgetter(2), reverse=True)
    return [replace(row, version=version, uploaded=time) for row, version, time in found]
