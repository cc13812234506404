"""
The indexes of a server, each made when it is requested and kept while nothing changes that it is made of.

Nothing is read at the start. A request looks at the folder of indexes and at the settings of the line of its
index, by one or two `stat` each. Sources that were used least are dropped, and made again when needed.
"""

from __future__ import annotations

import math
import weakref
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.concurrency.lru import LRU
from twisted_index.errors import Conflict, Forbidden, NotFound, Unavailable
from twisted_index.indexes.past_indexes import PastIndexes
from twisted_index.indexes.served_index import IIndexes, IIndexFolders
from twisted_index.interfaces import ILifecycle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from twisted_index.backends.folder.source import FolderSource
    from twisted_index.backends.object_store.source import ObjectSource
    from twisted_index.indexes.index_changes import IndexChanges
    from twisted_index.indexes.index_line import IndexLines, IndexMember
    from twisted_index.indexes.scope import Scope
    from twisted_index.indexes.served_index import IndexAbout, ServedIndex

_log = Logger()

#: Indexes whose sources are kept; one that has been asked for a small page takes some 30 KB.
MAX_LIVE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveIndex:
    """
    An index that has been requested.

    Attributes:
        members: Its line; empty for the index without a name.
        served: What answers in its scope.
        folder: The folders of its line as one source; None for an index that has no folders.
        objects: The parts of a bucket that its line has, as one source; None for an index in folders.
        keeps_past: Whether there are views of its past, and drafts.
    """

    members: tuple[IndexMember, ...]
    served: ServedIndex
    folder: FolderSource | None
    objects: ObjectSource | None = None
    keeps_past: bool = True


class DraftMaker(Protocol):
    """
    Makes drafts of indexes.

    Attributes:
        watch: Is set to what starts and stops folders.
    """

    watch: Callable[[ServedIndex, FolderSource], None]

    def at(self, live: LiveIndex, digest: str) -> ServedIndex:
        """Return what the draft of an index serves whose token has a digest; raises NotFound."""


class IndexMaker(Protocol):
    """
    Makes indexes with a name.

    Attributes:
        lines: The indexes that there are.
        live: Is set to what returns an index by its name.
        changes: Lists them all, makes and removes them.
    """

    lines: IndexLines
    changes: IndexChanges
    live: Callable[[str], LiveIndex]

    def make(self, members: tuple[IndexMember, ...], before: LiveIndex | None) -> LiveIndex:
        """Make an index of its line, and of what was made of an earlier state of it, if there is that."""

    def start(self) -> None:
        """Start what indexes share."""

    def stop(self) -> Awaitable[None]:
        """Stop it."""


@implementer(IIndexes, IIndexFolders, ILifecycle)
class IndexRegistry:
    """
    The indexes of a server.

    Args:
        plain: The index without a name.
        reactor: Provides the clock.
        named: Makes the indexes with a name; None without any.
        default: The name of the index that is the one without a name too; empty for none.
        rescan: Seconds for which a look at an index holds.
        past: Makes indexes of the past; by default one that keeps nothing that is deleted.
        drafts: Makes drafts; None without any.
    """

    def __init__(
        self,
        plain: LiveIndex,
        *,
        reactor: Any,
        named: IndexMaker | None = None,
        default: str = "",
        rescan: float = 2.0,
        past: PastIndexes | None = None,
        drafts: DraftMaker | None = None,
    ) -> None:
        self._past = past or PastIndexes(reactor, rescan=rescan)
        self.lines = None if named is None else named.lines
        self._plain = plain
        self._reactor = reactor
        self._named = named
        if named is not None:
            named.live = self.live
        self._default = default
        self._drafts = drafts
        if drafts is not None:
            drafts.watch = self._watch
        self._rescan = rescan
        self._live: LRU[str, LiveIndex] = LRU(MAX_LIVE)
        self._looked_at: dict[str, float] = {}
        self._stale: set[str] = set()
        #: How many served indexes use each source of folders.
        self._uses: Counter[FolderSource] = Counter()

    # -- IIndexes

    def look(self, scope: Scope) -> Awaitable[None] | None:
        """See `IIndexes`."""
        name = scope.index or self._default
        return None if self.lines is None or not name else self.lines.look(name)

    def find(self, scope: Scope) -> ServedIndex:
        """See `IIndexes`."""
        live = self.live(scope.index)
        if scope.draft:
            return self._viewed(live, scope)
        if scope.as_of:
            if not live.keeps_past:
                raise NotFound("Its packages lie in a bucket, of which there are no views of the past.")
            return self._past.at(live.served, live.folder, scope.as_of)
        return self._past.current(live.served, live.folder)

    def recent(self, scope: Scope) -> ServedIndex | None:
        """See `IIndexes`."""
        if scope.draft:
            return None
        served = self._recent(scope)
        return None if served is None else self._past.recent(replace(served.scope, as_of=scope.as_of), served)

    def _recent(self, scope: Scope) -> ServedIndex | None:
        """Return an index as it is now, if that was looked at within the rescan time."""
        name = scope.index or self._default
        if not name:
            return self._plain.served
        live = self._live.peek(name)
        looked_at = self._looked_at.get(name, -math.inf)
        if live is None or name in self._stale or self._reactor.seconds() - looked_at >= self._rescan:
            return None
        if self.lines is None or not self.lines.is_current(name):
            return None
        self._live.touch(name)
        return live.served

    def names(self) -> Sequence[str]:
        """See `IIndexes`."""
        return () if self.lines is None else self.lines.catalog.names()

    async def overview(self) -> Sequence[IndexAbout]:
        """See `IIndexes`."""
        return () if self._named is None else await self._named.changes.overview()

    # -- IIndexFolders

    def may_create(self, name: str) -> bool:
        """See `IIndexFolders`."""
        return self._named is not None and self._named.changes.may_create(name)

    async def create(self, name: str, bases: Sequence[str] = ()) -> bool:
        """See `IIndexFolders`."""
        return await self._changes().create(name, bases)

    async def remove(self, name: str) -> None:
        """See `IIndexFolders`."""
        if name == self._default:
            raise Conflict(f"{name} is the index without a name, too: it cannot be removed.")
        await self._changes().remove(name)
        self._drop(name)

    def _changes(self) -> IndexChanges:
        if self._named is None:
            raise Forbidden("This server has no indexes with a name.")
        return self._named.changes

    # -- What is below

    def live(self, name: str) -> LiveIndex:
        """
        Return an index as it is now.

        Args:
            name: Empty for the index without a name.

        Raises:
            NotFound, Unavailable: See `IIndexes.find`.
        """
        wanted = name or self._default
        if not wanted:
            return self._plain
        if self.lines is None:
            raise NotFound("This server has no indexes with a name.")
        try:
            members = self.lines.line(wanted)
        except NotFound as error:
            self._drop(wanted)
            if not name:
                # The folder of packages is away, and clients must not go on to another index.
                raise Unavailable(f"The index {wanted}, which this URL is about, is not there.") from error
            raise
        return self._refreshed(wanted, members)

    def drop_outdated(self, name: str, project: str) -> None:
        """Let a page of an index with a name be built anew whose project has another serial by now."""
        live = self._live.peek(name)
        if live is not None and live.folder is not None:
            live.folder.drop_outdated(project)

    def replace(self, plain: LiveIndex) -> None:
        """Serve another index without a name, and make all others anew of what they are made of."""
        self._plain = plain
        self._stale.update(name for name, _live in self._live.items())

    def _refreshed(self, name: str, members: tuple[IndexMember, ...]) -> LiveIndex:
        assert self._named is not None
        live = self._live.get(name)
        if live is None or live.members != members or name in self._stale:
            live = self._named.make(members, live)
            self._live.put(name, live)
            self._stale.discard(name)
            if live.folder is not None:
                self._watch(live.served, live.folder)
            if len(self._looked_at) > 2 * MAX_LIVE:
                self._looked_at = {one: at for one, at in self._looked_at.items() if one in self._live}
        self._looked_at[name] = self._reactor.seconds()
        return live

    def _viewed(self, live: LiveIndex, scope: Scope) -> ServedIndex:
        """Return a draft of an index."""
        if scope.draft and scope.as_of:
            raise NotFound("A draft has no past.")
        if not live.keeps_past:
            raise NotFound("Its packages lie in a bucket, of which there are no drafts.")
        if scope.draft and self._drafts is not None:
            return self._drafts.at(live, scope.draft)
        raise NotFound("There is no such view of this index.")

    # -- ILifecycle

    def start(self) -> None:
        """See `ILifecycle`. Folders are started when they are made."""
        if self._named is not None:
            self._named.start()

    async def stop(self) -> None:
        """See `ILifecycle`. Stops all folders but those of the plain index, which stops by itself."""
        for name, _live in list(self._live.items()):
            self._drop(name)
        folders, self._uses = list(self._uses), Counter()
        for folder in folders:
            await self._stop(folder)
        if self._named is not None:
            await self._named.stop()

    def _watch(self, served: ServedIndex, folder: FolderSource) -> None:
        """Start folders, and stop them once nothing uses their index: neither this, nor a request."""
        if not self._uses[folder]:
            folder.start()
        self._uses[folder] += 1
        # Garbage is collected in any thread.
        unused = weakref.finalize(served, self._release_later, folder)
        unused.atexit = False

    def _release_later(self, folder: FolderSource) -> None:
        """Release folders, from any thread; once all are stopped, the reactor may be gone as well."""
        if self._uses[folder]:
            self._reactor.callFromThread(self._release, folder)

    def _release(self, folder: FolderSource) -> None:
        if not self._uses[folder]:
            return
        self._uses[folder] -= 1
        if not self._uses[folder]:
            del self._uses[folder]
            Deferred.fromCoroutine(self._stop(folder))

    def _drop(self, name: str) -> None:
        self._live.pop(name)
        self._looked_at.pop(name, None)
        self._stale.discard(name)

    async def _stop(self, folder: FolderSource) -> None:
        try:
            await folder.stop()
        except Exception:
            _log.failure("The folders of an index cannot be stopped.")
