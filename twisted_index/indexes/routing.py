"""Routing by name: the first matching rule chooses the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_index.concurrency.identity_memo import IdentityMemo
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import Unavailable
from twisted_index.indexes.composite import CompositeSource
from twisted_index.interfaces import ISource, Snapshot
from twisted_index.simple.model import ProjectList
from twisted_index.simple.name_patterns import name_matcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.interfaces import FileBody, MaybeAwaitable
    from twisted_index.simple.model import ProjectPage, Sidecar


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRoute:
    """
    A rule.

    Attributes:
        pattern: Of names, as `fnmatch` reads it; normalized like names.
        source: Has all of these projects; None if there are no such projects.
    """

    pattern: str
    source: ISource | None = None


@implementer(ISource)
class RoutedSource(CompositeSource):
    """
    Several sources, each for names of its own: no other source is asked, whatever it answers.

    Args:
        rules: The first one that a name matches counts.
        otherwise: For names that match none.
    """

    def __init__(self, rules: Sequence[SourceRoute], otherwise: ISource) -> None:
        super().__init__(otherwise, *(rule.source for rule in rules if rule.source is not None))
        self._rules = [(name_matcher([rule.pattern]), rule.source) for rule in rules]
        self._otherwise = otherwise
        self._lists: IdentityMemo[ProjectList] = IdentityMemo()

    async def project_list(self) -> Snapshot[ProjectList]:
        """
        Join the lists of all sources that can tell theirs, each without the names that are another's.

        Raises:
            Unavailable: None of them can.
        """
        sources = {id(source): source for source in (self._otherwise, *self._ruled())}.values()
        seen: list[tuple[ISource, Snapshot[ProjectList]]] = []
        lost: list[Unavailable] = []
        for source in sources:
            try:
                seen.append((source, await result_of(source.project_list)))
            except Unavailable as error:
                lost.append(error)
        if not seen:
            raise lost[0]
        lists = tuple(one.value for _source, one in seen)
        told = [source for source, _one in seen]
        complete = not lost and all(one.complete for one in lists)
        return Snapshot(
            value=self._lists.get("", lists, lambda: self._joined(told, lists, complete), also=complete),
            is_current=lambda: not lost and all(one.is_current() for _source, one in seen),
        )

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """Ask the source that the name belongs to."""
        source = self._source_of(project)
        if source is None:
            return Snapshot(value=None, is_current=_always)
        return source.project_page(project)

    def open_file(
        self, project: str, filename: str, sidecar: Sidecar | None = None
    ) -> MaybeAwaitable[FileBody | None]:
        """Ask the source that the name belongs to."""
        source = self._source_of(project)
        if source is None:
            return None
        return source.open_file(project, filename, sidecar)

    def _source_of(self, project: str) -> ISource | None:
        return next((source for matches, source in self._rules if matches(project)), self._otherwise)

    def _ruled(self) -> list[ISource]:
        return [source for _matches, source in self._rules if source is not None]

    def _joined(self, sources: list[ISource], lists: tuple[ProjectList, ...], complete: bool) -> ProjectList:
        names = {
            name
            for source, one in zip(sources, lists, strict=True)
            for name in one.names
            if self._source_of(name) is source
        }
        return ProjectList(names=tuple(sorted(names)), complete=complete)


def _always() -> bool:
    return True
