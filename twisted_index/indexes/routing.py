"""Routing by name: the first matching rule chooses the source."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_index.concurrency.identity_memo import IdentityMemo
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import Unavailable
from twisted_index.indexes.composite import CompositeSource, LocalPart, explain, local_parts, unasked
from twisted_index.interfaces import Explanation, IExplains, ISource, Snapshot
from twisted_index.simple.model import ProjectList
from twisted_index.simple.name_patterns import name_matcher

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from twisted_index.interfaces import FileBody, MaybeAwaitable
    from twisted_index.simple.model import ProjectPage, Sidecar


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRoute:
    """
    A routing rule.

    Attributes:
        pattern: Pattern of project names, in the syntax of `fnmatch`; normalized like names.
        source: The source of all matching projects; None if they do not exist in this index.
    """

    pattern: str
    source: ISource | None = None


@implementer(ISource, IExplains)
class RoutedSource(CompositeSource):
    """
    Several sources, each for its own names, without fallback to another one.

    Args:
        rules: The first matching rule applies.
        otherwise: The source of names without a matching rule.
    """

    def __init__(self, rules: Sequence[SourceRoute], otherwise: ISource) -> None:
        super().__init__(otherwise, *(rule.source for rule in rules if rule.source is not None))
        self._rules = [(name_matcher([rule.pattern]), rule.source) for rule in rules]
        self._patterns = [(rule.pattern, name_matcher([rule.pattern])) for rule in rules]
        self._otherwise = otherwise
        self._lists: IdentityMemo[ProjectList] = IdentityMemo()

    def over(self, change: Callable[[ISource], ISource]) -> RoutedSource:
        """Return the same rules over other sources; `change` is called once for each of these."""
        changed = {id(source): change(source) for source in self._sources()}
        other = copy.copy(self)
        other.members = tuple(changed[id(source)] for source in self.members)
        other._rules = [
            (matches, None if source is None else changed[id(source)]) for matches, source in self._rules
        ]
        other._otherwise = changed[id(self._otherwise)]
        other._lists = IdentityMemo(1)
        return other

    async def project_list(self) -> Snapshot[ProjectList]:
        """
        Merge the lists of all available sources, each without names that are routed to another one.

        Raises:
            Unavailable: No source is available.
        """
        sources = self._sources()
        listed: list[tuple[ISource, Snapshot[ProjectList]]] = []
        errors: list[Unavailable] = []
        for source in sources:
            try:
                listed.append((source, await result_of(source.project_list)))
            except Unavailable as error:
                errors.append(error)
        if not listed:
            raise errors[0]
        lists = tuple(snapshot.value for _source, snapshot in listed)
        available = [source for source, _snapshot in listed]
        complete = not errors and all(project_list.complete for project_list in lists)
        return Snapshot(
            value=self._lists.get("", lists, lambda: self._merge(available, lists, complete), also=complete),
            is_current=lambda: not errors and all(snapshot.is_current() for _source, snapshot in listed),
        )

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """Return the page from the source that the name is routed to."""
        source = self._source_of(project)
        if source is None:
            return Snapshot(value=None, is_current=_always)
        return source.project_page(project)

    def open_file(
        self, project: str, filename: str, sidecar: Sidecar | None = None
    ) -> MaybeAwaitable[FileBody | None]:
        """Open the file in the source that the name is routed to."""
        source = self._source_of(project)
        if source is None:
            return None
        return source.open_file(project, filename, sidecar)

    async def explain(self, project: str) -> Explanation:
        """See `IExplains`."""
        source, pattern = self._source_of(project), self._pattern_of(project)
        routed = "no route leads it there" if pattern is None else f"the route {pattern} leads elsewhere"
        others = tuple(
            answer
            for other in self._sources()
            if other is not source
            for answer in unasked(other, f"was not asked, as {routed}")
        )
        if source is None:
            return Explanation(snapshot=Snapshot(value=None, is_current=_always), sources=others)
        found = await explain(source, project)
        return replace(found, sources=(*found.sources, *others))

    def _pattern_of(self, project: str) -> str | None:
        return next((pattern for pattern, matches in self._patterns if matches(project)), None)

    def local_parts(self) -> list[LocalPart]:
        """Return those of each source for the names that are routed to it."""
        found: dict[int, tuple[ISource, list[Callable[[str], bool]]]] = {}
        for source in self._sources():
            for part in local_parts(source):
                found.setdefault(id(part.source), (part.source, []))[1].append(
                    self._routed(source, part.owns)
                )
        return [LocalPart(source, _any_of(owners)) for source, owners in found.values()]

    def _routed(self, source: ISource, owns: Callable[[str], bool]) -> Callable[[str], bool]:
        return lambda name: self._source_of(name) is source and owns(name)

    def _source_of(self, project: str) -> ISource | None:
        return next((source for matches, source in self._rules if matches(project)), self._otherwise)

    def _sources(self) -> Collection[ISource]:
        """Return all sources, each once."""
        return {id(source): source for source in (self._otherwise, *self._rule_sources())}.values()

    def _rule_sources(self) -> list[ISource]:
        return [source for _matches, source in self._rules if source is not None]

    def _merge(self, sources: list[ISource], lists: tuple[ProjectList, ...], complete: bool) -> ProjectList:
        names = {
            name
            for source, project_list in zip(sources, lists, strict=True)
            for name in project_list.names
            if self._source_of(name) is source
        }
        return ProjectList(names=tuple(sorted(names)), complete=complete)


def _any_of(owners: Sequence[Callable[[str], bool]]) -> Callable[[str], bool]:
    return lambda name: any(owns(name) for owns in owners)


def _always() -> bool:
    return True
