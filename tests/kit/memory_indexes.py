"""The indexes of a server, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_index.config.settings import UploadSettings
from twisted_index.errors import NotFound, SimpleIndexError
from twisted_index.indexes.scope import PLAIN, Scope
from twisted_index.indexes.served_index import IIndexes, IndexAbout, ServedIndex


@implementer(IIndexes)
class MemoryIndexes:
    """
    Indexes that can be changed at any time.

    Attributes:
        found: The scopes that were looked at, in order.
        rescans: Whether the next request has to look again.
        looking: What a look waits for; None if nothing has to be waited for.
    """

    def __init__(self) -> None:
        self._served: dict[Scope, ServedIndex | SimpleIndexError] = {}
        self.found: list[Scope] = []
        self.rescans = False
        self.looking: Deferred[None] | None = None

    def set(
        self,
        source: Any,
        scope: Scope | str = PLAIN,
        *,
        store: Any = None,
        bases: Sequence[str] = (),
        title: str = "",
        uploads: bool = True,
        promote_to: tuple[str, ...] | None = None,
    ) -> None:
        """Serve a source in a scope from now on."""
        scope = Scope(index=scope) if isinstance(scope, str) else scope
        self._served[scope] = ServedIndex(
            scope=scope,
            line=(scope.index, *bases),
            source=source,
            store=store,
            uploads=UploadSettings(upload=uploads and store is not None),
            title=title,
            promote_to=promote_to,
        )

    def make_default(self, name: str) -> None:
        """Let the index without a name be one that has a name."""
        self._served[PLAIN] = self._served[Scope(index=name)]

    def fail(self, name: str, error: SimpleIndexError) -> None:
        """Let an index be one whose settings cannot be used."""
        self._served[Scope(index=name)] = error

    def remove(self, name: str) -> None:
        """Remove an index."""
        del self._served[Scope(index=name)]

    def look(self, scope: Scope) -> Deferred[None] | None:
        return self.looking

    def find(self, scope: Scope) -> ServedIndex:
        self.found.append(scope)
        served = self._served.get(scope)
        if served is None:
            raise NotFound(f"There is no index {scope.index} here.")
        if isinstance(served, SimpleIndexError):
            raise served
        return served

    def recent(self, scope: Scope) -> ServedIndex | None:
        served = self._served.get(scope)
        return None if self.rescans or not isinstance(served, ServedIndex) else served

    def names(self) -> list[str]:
        return sorted({scope.index for scope in self._served if scope.index})

    def overview(self) -> list[IndexAbout]:
        return [self._about(name) for name in self.names()]

    def _about(self, name: str) -> IndexAbout:
        served = self._served[Scope(index=name)]
        if isinstance(served, SimpleIndexError):
            return IndexAbout(name=name, problem=served.message)
        return IndexAbout(name=name, title=served.title, bases=served.line[1:])
