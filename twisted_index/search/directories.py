"""The directories of a server: one for each index that is searched, over reloads of settings."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from twisted_index.indexes.composite import local_parts
from twisted_index.search.directory import ProjectDirectory
from twisted_index.search.row_store import RowStore

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.indexes.scope import Scope
    from twisted_index.interfaces import ISource

#: Directories that are kept.
_MOST = 64


class Directories:
    """
    Makes and keeps directories.

    Args:
        folder: Keeps a file for each index; None keeps all in memory.
        thread: The one thread that uses these.
        reader: Threads that read archives.
        clock: The reactor; None for the global one.
    """

    def __init__(
        self, folder: str | None, *, thread: IThreadRunner, reader: IThreadRunner, clock: IReactorTime | None
    ) -> None:
        self._folder = folder
        self._thread, self._reader, self._clock = thread, reader, clock
        self._kept: OrderedDict[Scope, ProjectDirectory] = OrderedDict()

    def of(self, scope: Scope, source: ISource) -> ProjectDirectory:
        """Return the directory of what a scope serves: the same one for the same source."""
        kept = self._kept.get(scope)
        if kept is None or kept.source is not source:
            self._forget(scope)
            kept = self._kept[scope] = self._make(scope, source)
            if len(self._kept) > _MOST:
                self._forget(next(iter(self._kept)))
        self._kept.move_to_end(scope)
        return kept

    async def close(self) -> None:
        """Close all files."""
        kept, self._kept = self._kept, OrderedDict()
        for directory in kept.values():
            await directory.close()

    def _make(self, scope: Scope, source: ISource) -> ProjectDirectory:
        clock: Any = self._clock
        if clock is None:
            from twisted.internet import reactor as clock
        # What is kept of the past, or of a draft, would soon be of nothing.
        folder = None if scope.as_of or scope.draft else self._folder
        return ProjectDirectory(
            source,
            () if scope.as_of else local_parts(source),
            RowStore(None if folder is None else os.path.join(folder, f"{scope.index or '+'}.sqlite")),
            thread=self._thread,
            reader=self._reader,
            clock=clock,
        )

    def _forget(self, scope: Scope) -> None:
        kept = self._kept.pop(scope, None)
        if kept is not None:
            kept.retire()
