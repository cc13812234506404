"""The rows of an index, from the reactor's thread: which are known, and in which state of their projects."""

from __future__ import annotations

import sqlite3
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.events.serials import Change
    from twisted_index.search.name_match import Names
    from twisted_index.search.row import ProjectRow
    from twisted_index.search.row_store import RowStore

#: Projects whose files are added up for one client.
_MOST_ADDED = 1000

P = ParamSpec("P")
T = TypeVar("T")


class KnownRows:
    """
    Keeps rows in a store; if that fails, all begins anew in memory.

    Args:
        store: Has them.
        thread: The one thread that uses it.

    Attributes:
        serials: That of each project when it was looked at; None before the store was asked.
    """

    def __init__(self, store: RowStore, thread: IThreadRunner) -> None:
        self.store = store
        self._thread = thread
        self.serials: dict[str, int | None] | None = None
        self._counted: tuple[Names, int] | None = None
        self._files: dict[str, int] = {}
        self._all_files = 0

    def count(self, names: Names) -> int:
        """Return how many of some projects are known; they are counted anew only if one came or went."""
        if self._counted is None or self._counted[0] is not names:
            self._counted = names, len(names.present & (self.serials or {}).keys())
        return self._counted[1]

    def count_files(self, names: Sequence[str], *, public: bool) -> int | None:
        """
        Return how many files projects have.

        Args:
            names: Of the projects, each once.
            public: Whether these are all that there are.

        Returns:
            None if one of them is not known yet, or if to count takes a while.
        """
        if public:
            return self._all_files if len(names) == len(self._files) else None
        if len(names) > _MOST_ADDED:
            return None
        found = [self._files.get(name) for name in names]
        return None if None in found else sum(filter(None, found))

    def _note_files(self, name: str, number: int | None) -> None:
        self._all_files += (number or 0) - self._files.pop(name, 0)
        if number is not None:
            self._files[name] = number

    async def load(self) -> None:
        """Learn which rows there are, once."""
        if self.serials is None:
            self.serials, self._counted = await self.ask({}, self.store.serials), None
            self._files = await self.ask({}, self.store.files)
            self._all_files = sum(self._files.values())

    async def ask(self, default: T, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Call something that uses the store, in its thread.

        Args:
            default: The result if the store fails.
            work: What is called.
            args: Its arguments.
            kwargs: The same.
        """
        try:
            return await self._thread.run(work, *args, **kwargs)
        except sqlite3.Error as error:
            await self._thread.run(self.store.begin_anew, error)
            self.serials, self._counted, self._files, self._all_files = {}, None, {}, 0
            return default

    async def keep(self, name: str, row: ProjectRow | None, serial: int | None) -> None:
        """Keep what was read of a project; None if nothing is there."""
        if row is None:
            await self.ask(None, self.store.delete, [name])
        else:
            await self.ask(None, self.store.put, row, serial)
        self._note_files(name, None if row is None else row.files)
        self.note(name, serial)

    def note(self, name: str, serial: int | None) -> None:
        """Note that a project was looked at, whatever came of it."""
        if self.serials is not None:
            if name not in self.serials:
                self._counted = None
            self.serials[name] = serial

    async def forget_others(self, present: Collection[str]) -> None:
        """Forget projects that are gone."""
        known = self.serials or {}
        gone = known.keys() - present
        if gone:
            await self.ask(None, self.store.delete, gone)
            self._counted = None
            for name in gone:
                known.pop(name, None)
                self._note_files(name, None)

    async def stale(self, names: Sequence[str], changes: Mapping[str, Change] | None) -> Sequence[str]:
        """
        Return which projects have to be read.

        Args:
            names: Of all that there are.
            changes: Their last changes; None if that is unknown.
        """
        # There may be many.
        return await self._thread.run(_stale, names, self.serials or {}, changes)

    async def close(self) -> None:
        """Close the store."""
        with suppress(CancelledError):
            await self._thread.run(self.store.close)


def _stale(
    names: Sequence[str], known: Mapping[str, int | None], changes: Mapping[str, Change] | None
) -> Sequence[str]:
    if changes is None:
        return [name for name in names if name not in known]
    serials = {name: change.serial for name, change in changes.items()}
    return [name for name in names if name not in known or known[name] != serials.get(name)]
