"""What a scope serves, and the contract by which the web part gets it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zope.interface import Interface

from twisted_index.config.settings import UploadSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from twisted_index.indexes.scope import Scope
    from twisted_index.interfaces import ISource, IStore, MaybeAwaitable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class ServedIndex:
    """
    What answers in one scope. While nothing changes it is the same object, so that caches can hold on to it.

    Attributes:
        scope: With `default-index`, that of the named index also for the index without a name.
        line: The names of the indexes whose folders are one pile, its own first: to read a project here, a
            client has to have `read` for it in each of them.
        source: The projects.
        store: Publishes and changes files; None where nothing can be changed, as in the past.
        uploads: What may be uploaded.
        title: For people; empty if it has none.
        promote_to: The names of the indexes that releases may be promoted to; None for all.
        upstreams: Where names come from that are not here, for people: origins, and repositories.
        own: Of a draft: the names that it may have something of. Its token is enough to read these.
        alone: Of a draft: its own folder without what it inherits, for clients that may not read that.
    """

    scope: Scope
    line: tuple[str, ...]
    source: ISource
    store: IStore | None = None
    uploads: UploadSettings = field(default_factory=UploadSettings)
    title: str = ""
    promote_to: tuple[str, ...] | None = None
    upstreams: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()
    alone: ISource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexAbout:
    """
    What an index says of itself.

    Attributes:
        name: Its name.
        title: For people; empty if it has none.
        bases: The names of the indexes from which it inherits, in its order.
        problem: Why its settings cannot be used, as a sentence; empty if they can.
    """

    name: str
    title: str = ""
    bases: tuple[str, ...] = ()
    problem: str = ""


class IIndexes(Interface):
    """The indexes of a server. Its methods are for the reactor thread: they read small files at most."""

    def look(scope: Scope) -> Awaitable[None] | None:
        """
        Read again what `find` needs, if that takes its time: what is in a bucket, and has been held too long.

        Returns:
            None if there is nothing to wait for.

        Raises:
            Unavailable: It cannot be read.
        """

    def find(scope: Scope) -> ServedIndex:
        """
        Return what a scope serves now.

        Raises:
            NotFound: There is no such index, draft or snapshot.
            BadRequest: The moment is in the future.
            Unavailable: Its settings or those of its bases cannot be read or contradict each other.
        """

    def recent(scope: Scope) -> ServedIndex | None:
        """
        Return what `find` has returned, if that was looked at within the rescan time.

        A cached response that is current besides may be sent: stamps of its folders show what came or went.
        """

    def names() -> Sequence[str]:
        """
        List the names of all indexes, without the one that has none.

        Raises:
            Unavailable: The folder of indexes cannot be read.
        """

    def overview() -> MaybeAwaitable[Sequence[IndexAbout]]:
        """
        List all indexes that have a name, in the order of their names, with what they say of themselves.

        Raises:
            Unavailable: The folder of indexes cannot be read.
        """


class IIndexFolders(Interface):
    """Indexes that can be made and removed while the server runs."""

    def may_create(name: str) -> bool:
        """Return whether the settings of the server let an index of this name be made and removed."""

    def create(name: str, bases: Sequence[str] = ()) -> MaybeAwaitable[bool]:
        """
        Make an index.

        Args:
            name: A name that an index may have.
            bases: The names of the indexes that it inherits, in order.

        Returns:
            False if it is there already.

        Raises:
            Conflict: Something else has its place, it has other bases already, or a base does not exist.
            InsufficientStorage, Unavailable: The folder cannot be made.
        """

    def remove(name: str) -> MaybeAwaitable[None]:
        """
        Remove an index and all its files. It has vanished at once; its files are gone when this returns.

        Raises:
            NotFound: There is none of that name.
            Conflict: Another index inherits from it, or it is the one without a name, too.
            Unavailable: The folder cannot be removed.
        """
