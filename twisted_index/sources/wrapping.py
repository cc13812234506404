"""
What all sources that are made of other sources have in common.

Not for: what any of them changes in the answers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.interfaces import IProblemSource, IRunning, ProblemReport, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted_index.interfaces import FileBody

_log = Logger()


@implementer(IRunning, IProblemSource)
class Wrapping:
    """
    A source made of others, which run as long as it does.

    A source may be wrapped in several places of one whole: it is started, stopped and asked for
    its problems once.

    Args:
        members: The sources that it is made of, in the order in which they are started.
    """

    def __init__(self, *members: Any) -> None:
        self.members = members

    def start(self) -> None:
        """Start every source, in order."""
        for source in _innermost(self):
            if IRunning.providedBy(source):
                source.start()

    async def stop(self) -> None:
        """Stop every source, in the opposite order; one that fails keeps no other from it."""
        for source in reversed(list(_innermost(self))):
            if IRunning.providedBy(source):
                try:
                    await asked(source.stop)
                except Exception:
                    _log.failure("A source cannot be stopped.")

    async def problems(self) -> ProblemReport:
        """Put the problems of all sources together."""
        sources = [source for source in _innermost(self) if IProblemSource.providedBy(source)]
        reports = [await asked(source.problems) for source in sources]
        return ProblemReport(
            problems=tuple(sorted((one for report in reports for one in report.problems), key=_by_path)),
            complete=all(report.complete for report in reports),
        )


async def asked(question: Callable[..., Any], *args: Any) -> Any:
    """Ask a source, whose answer may be a value, a Deferred or a coroutine."""
    return await maybeDeferred(question, *args)


async def answer(found: Any) -> Any:
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


def close(body: FileBody) -> None:
    """Let go of a file that nobody gets."""
    if not isinstance(body.content, bytes):
        body.content.close()


def _innermost(source: Any) -> Iterator[Any]:
    """Give the sources that others are made of, each once."""
    seen: set[int] = set()
    waiting = [source]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, Wrapping):
            waiting[:0] = one.members
        elif id(one) not in seen:
            seen.add(id(one))
            yield one


def _by_path(problem: Any) -> Any:
    return problem.path
