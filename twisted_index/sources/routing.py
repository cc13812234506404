"""Where projects of some names come from: the first rule that a name matches says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from twisted_index.interfaces import ISource, Snapshot
from twisted_index.simple.model import ProjectList
from twisted_index.simple.patterns import name_test
from twisted_index.sources.derived import Derived
from twisted_index.sources.wrapping import Wrapping, asked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.interfaces import Eventually, FileBody
    from twisted_index.simple.model import Companion, ProjectPage


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """
    A rule.

    Attributes:
        pattern: Of names, as `fnmatch` reads it; normalized like names.
        source: Has all of these projects; None if there are no such projects.
    """

    pattern: str
    source: Any = None


@implementer(ISource)
class RoutedSource(Wrapping):
    """
    Several sources, each for names of its own: nobody else is asked for them, whatever it answers.

    Args:
        rules: The first one that a name matches counts.
        otherwise: For names that match none.
    """

    def __init__(self, rules: Sequence[Route], otherwise: Any) -> None:
        super().__init__(otherwise, *(rule.source for rule in rules if rule.source is not None))
        self._rules = [(name_test([rule.pattern]), rule.source) for rule in rules]
        self._otherwise = otherwise
        self._lists: Derived[ProjectList] = Derived()

    async def project_list(self) -> Snapshot[ProjectList]:
        """Join the lists of all sources, each without the names that are another's."""
        sources = list({id(source): source for source in (self._otherwise, *self._ruled())}.values())
        seen: list[Snapshot[ProjectList]] = [await asked(source.project_list) for source in sources]
        lists = tuple(one.value for one in seen)
        return Snapshot(
            value=self._lists.of("", lists, lambda: self._joined(sources, lists)),
            still_true=lambda: all(one.still_true() for one in seen),
        )

    def project_page(self, project: str) -> Eventually[Snapshot[ProjectPage | None]]:
        """Ask the source that the name belongs to."""
        source = self._source_of(project)
        if source is None:
            return Snapshot(value=None, still_true=_always)
        page: Eventually[Snapshot[ProjectPage | None]] = source.project_page(project)
        return page

    def open_file(
        self, project: str, filename: str, companion: Companion | None = None
    ) -> Eventually[FileBody | None]:
        """Ask the source that the name belongs to."""
        source = self._source_of(project)
        if source is None:
            return None
        body: Eventually[FileBody | None] = source.open_file(project, filename, companion)
        return body

    def _source_of(self, project: str) -> Any:
        return next((source for matches, source in self._rules if matches(project)), self._otherwise)

    def _ruled(self) -> list[Any]:
        return [source for _matches, source in self._rules if source is not None]

    def _joined(self, sources: list[Any], lists: tuple[ProjectList, ...]) -> ProjectList:
        names = {
            name
            for source, one in zip(sources, lists, strict=True)
            for name in one.names
            if self._source_of(name) is source
        }
        return ProjectList(names=tuple(sorted(names)))


def _always() -> bool:
    return True
