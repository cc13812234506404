"""The base class of sources that combine other sources."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import SimpleIndexError, Unavailable
from twisted_index.interfaces import (
    Explanation,
    IChangeSource,
    IExplains,
    ILifecycle,
    ILocalSource,
    IProblemSource,
    ProblemReport,
    Snapshot,
)
from twisted_index.simple.explanation import SourceAnswer, SourceKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from twisted_index.interfaces import FileBody, ISource, MaybeAwaitable, Problem

T = TypeVar("T")
_log = Logger()


class LocalPart(NamedTuple):
    """
    A source in which projects lie, and which of them.

    Attributes:
        source: The source.
        owns: Whether it answers for a normalized name.
    """

    source: ISource
    owns: Callable[[str], bool]


class ChangePart(NamedTuple):
    """
    A source whose changes count, and for which projects.

    Attributes:
        source: The source.
        owns: Whether it answers for a normalized name.
    """

    source: IChangeSource
    owns: Callable[[str], bool]


@implementer(ILifecycle, IProblemSource)
class CompositeSource:
    """
    A source that combines others, and starts and stops with them.

    A source may occur in several places of the tree: it is started, stopped and queried once.

    Args:
        members: The combined sources, in the order of starting.
    """

    def __init__(self, *members: ISource) -> None:
        self.members: tuple[ISource, ...] = members

    def start(self) -> None:
        """Start every source, in order."""
        for source in lifecycles(self.members):
            source.start()

    async def stop(self) -> None:
        """Stop every source, in reverse order; a failure is logged and does not affect the others."""
        for source in reversed(lifecycles(self.members)):
            try:
                await result_of(source.stop)
            except Exception:
                _log.failure("A source cannot be stopped.")

    async def problems(self) -> ProblemReport:
        """Collect the problems of all sources; if one is unavailable, the report is incomplete."""
        sources = [IProblemSource(source, None) for source in _innermost(self.members)]
        reports = [await _report_of(source) for source in sources if source is not None]
        problems = [problem for report in reports for problem in report.problems]
        for source in _all((self,)):
            if isinstance(source, CompositeSource):
                problems += source.held_back()
        return ProblemReport(
            problems=tuple(sorted(problems, key=_by_path)),
            complete=all(report.complete for report in reports),
        )

    def known_problems(self) -> int:
        """Add up what the sources know."""
        sources = (IProblemSource(source, None) for source in _innermost(self.members))
        return sum(source.known_problems() for source in sources if source is not None)

    def local_parts(self) -> list[LocalPart]:
        """Return the sources in which its projects lie: none, for what others answer."""
        return []

    def held_back(self) -> Iterable[Problem]:
        """Return problems for the files that this source itself hides for now."""
        return ()

    def unasked(self, why: str) -> tuple[SourceAnswer, ...]:
        """See `IExplains.unasked`."""
        return tuple(answer for member in self.members for answer in unasked(member, why))


def local_parts(source: ISource) -> list[LocalPart]:
    """Return the sources in which the projects of a source lie; none of them asks another index."""
    if isinstance(source, CompositeSource):
        return source.local_parts()
    return [LocalPart(source, lambda _name: True)] if ILocalSource.providedBy(source) else []


def change_parts(source: ISource) -> list[ChangePart]:
    """Return the sources whose changes are those of a source."""
    return counted_parts(local_parts(source))


def counted_parts(parts: Iterable[LocalPart]) -> list[ChangePart]:
    """Return those that count their changes."""
    counted = ((IChangeSource(part.source, None), part.owns) for part in parts)
    return [ChangePart(source, owns) for source, owns in counted if source is not None]


async def explain(source: ISource, project: str) -> Explanation:
    """Explain a page of any source; one that cannot explain itself says whether it has the page."""
    explaining = IExplains(source, None)
    if explaining is not None:
        return await result_of(explaining.explain, project)
    try:
        snapshot = await result_of(source.project_page, project)
    except SimpleIndexError as error:
        return Explanation(error=error, sources=(_answer(f"did not answer: {error.message}"),))
    has_page = snapshot.value is not None
    says = "has a page of it" if has_page else "has no such project"
    return Explanation(snapshot=snapshot, sources=(_answer(says, claims=has_page),))


def unasked(source: ISource, why: str) -> tuple[SourceAnswer, ...]:
    """List the sources in any source as ones that were not asked; see `IExplains.unasked`."""
    explaining = IExplains(source, None)
    return (_answer(why, asked=False),) if explaining is None else explaining.unasked(why)


def _answer(says: str, *, asked: bool = True, claims: bool = False) -> SourceAnswer:
    return SourceAnswer(kind=SourceKind.OTHER, name="a source", says=says, asked=asked, claims=claims)


def lifecycles(members: Iterable[ISource]) -> list[ILifecycle]:
    """Return the innermost sources that have a life cycle."""
    found = (ILifecycle(source, None) for source in _innermost(members))
    return [source for source in found if source is not None]


async def snapshot_of(pending: MaybeAwaitable[Snapshot[T]]) -> Snapshot[T]:
    """Wait for a snapshot, unless it is here already."""
    return pending if isinstance(pending, Snapshot) else await pending


def only_while(body: FileBody, condition: Callable[[], bool]) -> FileBody:
    """Add a condition to reopening a file."""
    reopen = body.reopen
    if reopen is None:
        return body

    def again() -> FileBody | None:
        reopened = reopen() if condition() else None
        return None if reopened is None else only_while(reopened, condition)

    return replace(body, reopen=again)


def close_body(body: FileBody) -> None:
    """Close a file that is not sent."""
    if not isinstance(body.content, bytes):
        body.content.close()


def _innermost(members: Iterable[object]) -> Iterator[object]:
    """Yield the sources that are not composite, each once."""
    return (source for source in _all(members) if not isinstance(source, CompositeSource))


def _all(members: Iterable[object]) -> Iterator[object]:
    """Yield all sources of a tree, each once, composites before their members."""
    seen: set[int] = set()
    pending: list[object] = list(members)
    while pending:
        source = pending.pop(0)
        if id(source) in seen:
            continue
        seen.add(id(source))
        yield source
        if isinstance(source, CompositeSource):
            pending[:0] = source.members


async def _report_of(source: IProblemSource) -> ProblemReport:
    try:
        return await result_of(source.problems)
    except Unavailable as error:
        _log.warn("A source cannot report which files it leaves out: {sentence}", sentence=error.message)
        return ProblemReport(complete=False)


def _by_path(problem: Problem) -> str:
    return problem.path
