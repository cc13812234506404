"""The source of an index with what is wrong with the index itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_index.indexes.composite import CompositeSource, LocalPart, explain, local_parts
from twisted_index.interfaces import Explanation, IExplains, ISource, ProblemReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import FileBody, MaybeAwaitable, Problem, Snapshot
    from twisted_index.simple.model import ProjectList, ProjectPage


@implementer(ISource, IExplains)
class IndexSource(CompositeSource):
    """
    A source that reports problems of its index besides those of its files.

    Args:
        source: Answers.
        faults: Returns them; called for each report.
        worker: Calls it, if it may take its time.
    """

    def __init__(
        self,
        source: ISource,
        faults: Callable[[], Iterable[Problem]],
        worker: IThreadRunner | None = None,
    ) -> None:
        super().__init__(source)
        self._source = source
        self._faults = faults
        self._worker = worker
        self.project_list: Callable[[], MaybeAwaitable[Snapshot[ProjectList]]] = source.project_list
        self.project_page: Callable[[str], MaybeAwaitable[Snapshot[ProjectPage | None]]] = source.project_page
        self.open_file: Callable[..., MaybeAwaitable[FileBody | None]] = source.open_file

    def local_parts(self) -> list[LocalPart]:
        """Return those of the source."""
        return local_parts(self._source)

    async def explain(self, project: str) -> Explanation:
        """See `IExplains`."""
        return await explain(self._source, project)

    async def problems(self) -> ProblemReport:
        """Add the problems of the index to those of the source."""
        report = await super().problems()
        faults = self._faults() if self._worker is None else await self._worker.run(self._faults)
        return replace(report, problems=(*faults, *report.problems))
