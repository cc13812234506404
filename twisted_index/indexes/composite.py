"""The base of sources that are made of other sources."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import Unavailable
from twisted_index.interfaces import ILifecycle, IProblemSource, ProblemReport, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from twisted_index.interfaces import FileBody, ISource, MaybeAwaitable, Problem

T = TypeVar("T")
_log = Logger()


@implementer(ILifecycle, IProblemSource)
class CompositeSource:
    """
    A source made of others, which run as long as it does.

    A source may be wrapped in several places of one whole: it is started, stopped and asked for
    its problems once.

    Args:
        members: The sources that it is made of, in the order in which they are started.
    """

    def __init__(self, *members: ISource) -> None:
        self.members: tuple[ISource, ...] = members

    def start(self) -> None:
        """Start every source, in order."""
        for running in _running(self.members):
            running.start()

    async def stop(self) -> None:
        """Stop every source, in the opposite order; one that fails keeps no other from it."""
        for running in reversed(_running(self.members)):
            try:
                await result_of(running.stop)
            except Exception:
                _log.failure("A source cannot be stopped.")

    async def problems(self) -> ProblemReport:
        """Put the problems of all sources together; one that cannot tell its own hides no other's."""
        sources = [IProblemSource(source, None) for source in _innermost(self.members)]
        reports = [await _report_of(source) for source in sources if source is not None]
        problems = [one for report in reports for one in report.problems]
        for source in _all((self,)):
            if isinstance(source, CompositeSource):
                problems += source.held_back()
        return ProblemReport(
            problems=tuple(sorted(problems, key=_by_path)),
            complete=all(report.complete for report in reports),
        )

    def held_back(self) -> Iterable[Problem]:
        """Say what this very source leaves out, as far as people have to know."""
        return ()


async def answer(found: MaybeAwaitable[Snapshot[T]]) -> Snapshot[T]:
    """Wait for what a source has already been asked for."""
    return found if isinstance(found, Snapshot) else await found


def only_while(body: FileBody, still_true: Callable[[], bool]) -> FileBody:
    """Let a file be opened again only as long as something is true besides."""
    reopen = body.reopen
    if reopen is None:
        return body

    def again() -> FileBody | None:
        found = reopen() if still_true() else None
        return None if found is None else only_while(found, still_true)

    return replace(body, reopen=again)


def close_body(body: FileBody) -> None:
    """Close a file that is not sent."""
    if not isinstance(body.content, bytes):
        body.content.close()


def _running(members: Iterable[ISource]) -> list[ILifecycle]:
    """Give those of the innermost sources that are started and stopped."""
    running = (ILifecycle(source, None) for source in _innermost(members))
    return [one for one in running if one is not None]


def _innermost(members: Iterable[object]) -> Iterator[object]:
    """Give the sources that others are made of, each once."""
    return (one for one in _all(members) if not isinstance(one, CompositeSource))


def _all(members: Iterable[object]) -> Iterator[object]:
    """Give all sources of a whole, each once, whatever is made of others before those."""
    seen: set[int] = set()
    waiting: list[object] = list(members)
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, CompositeSource):
            waiting[:0] = one.members


async def _report_of(source: IProblemSource) -> ProblemReport:
    try:
        return await result_of(source.problems)
    except Unavailable as error:
        _log.warn("A source cannot tell what it leaves out: {sentence}", sentence=error.message)
        return ProblemReport(complete=False)


def _by_path(problem: Problem) -> str:
    return problem.path
