"""Collects the problems of all projects of a folder source, on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index.backends.folder.misplaced import find_misplaced
from twisted_index.concurrency.single_flight import SharedResult
from twisted_index.errors import NotReady, SimpleIndexError, UnreadableFolder
from twisted_index.interfaces import Problem, ProblemReport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.backends.folder.root_set import RootSet
    from twisted_index.concurrency.thread_pool import IThreadRunner

_log = Logger()


class ProblemScan:
    """
    Knows the problems of each project, and walks through all of them on demand.

    Args:
        roots: The roots.
        reader: Threads.
        inspect_project: Looks at one project, and notes its problems here.
    """

    def __init__(
        self, roots: RootSet, reader: IThreadRunner, inspect_project: Callable[[str], Awaitable[object]]
    ) -> None:
        self._roots = roots
        self._reader = reader
        self._examine = inspect_project
        self._by_project: dict[str, Sequence[Problem]] = {}
        self._unreadable: set[str] = set()
        self._unfinished: set[str] = set()
        self._strays: Sequence[Problem] = ()
        self._walk: SharedResult[None] | None = None
        self._walking: Deferred[None] | None = None

    def set_problems(self, project: str, problems: Sequence[Problem]) -> None:
        """Keep what was found wrong in a project, in place of what was before."""
        if problems:
            self._by_project[project] = problems
        else:
            self._by_project.pop(project, None)

    def set_unreadable(self, project: str, fault: UnreadableFolder) -> None:
        """Keep that a project's folder cannot be read; logged once, until it can."""
        problems = [_problem_of(fault)]
        if self._by_project.get(project) != problems:
            _log.error("{project} is left out: {sentence}", project=project, sentence=fault.message)
        self.set_problems(project, problems)
        self._unreadable.add(project)

    def set_all_unreadable(self, faults: Mapping[str, UnreadableFolder]) -> None:
        """Keep which projects' folders cannot be read, and forget those that now can."""
        for project in self._unreadable - faults.keys():
            self.set_problems(project, ())
        self._unreadable.clear()
        for project, fault in faults.items():
            self.set_unreadable(project, fault)

    @property
    def known_count(self) -> int:
        """How many problems are known without a walk."""
        by_project = sum(map(len, self._by_project.values()))
        return len(self._roots.problems) + len(self._strays) + by_project

    def report(self, reactor: IReactorTime, seconds: float) -> Deferred[ProblemReport]:
        """
        Walk through all projects and report.

        Args:
            reactor: Tells when the time is up.
            seconds: What takes longer goes on, and the report says that it is not complete.
        """
        if self._walk is None:
            self._walking = walking = Deferred.fromCoroutine(self._walk_all())
            self._walk = walk = SharedResult(walking)
            walking.addBoth(self._walked)
        else:
            walk = self._walk
        answer: Deferred[ProblemReport] = Deferred()
        timer = reactor.callLater(seconds, lambda: answer.callback(self._so_far(complete=False)))

        def finished(result: Failure | None) -> None:
            if timer.active():
                timer.cancel()
                report = self._so_far(complete=not self._unfinished)
                answer.errback(result) if isinstance(result, Failure) else answer.callback(report)

        walk.wait().addBoth(finished)
        return answer

    def stop(self) -> None:
        """End the walk, if one is under way."""
        if self._walking is not None:
            self._walking.cancel()

    def _walked(self, _result: object) -> None:
        self._walk = self._walking = None

    def _so_far(self, *, complete: bool) -> ProblemReport:
        problems = [problem for some in self._by_project.values() for problem in some]
        problems.extend((*self._strays, *self._roots.problems))
        return ProblemReport(
            problems=tuple(sorted(problems, key=lambda problem: (problem.path, problem.reason))),
            complete=complete and self._roots.complete,
        )

    async def _walk_all(self) -> None:
        try:
            await self._roots.refresh()
        except UnreadableFolder:
            # Then there is nothing else to tell than this.
            return
        readings = self._roots.readings
        projects = sorted({project for reading in readings for project in reading.projects})
        for gone in self._by_project.keys() - set(projects):
            del self._by_project[gone]
        self._unfinished.clear()
        self._strays = await self._reader.run(find_misplaced, readings)
        for project in projects:
            try:
                await self._examine(project)
            except NotReady:
                # It is still being read, and says what is wrong with it when it has been.
                self._unfinished.add(project)
            except UnreadableFolder:
                # It has been reported, or is in an unreadable root, which has one report for all.
                pass
            except SimpleIndexError as error:
                self.set_problems(project, [_untold(project, error.message)])
            except CancelledError:
                raise
            except Exception:
                # A fault of ours, which must not keep all other projects' problems from being told.
                _log.failure("The project {project} cannot be looked at", project=project)
                self.set_problems(
                    project, [_untold(project, "It cannot be told, by a fault of this server.")]
                )


def _problem_of(fault: UnreadableFolder) -> Problem:
    """Tell of a project's folder that cannot be read."""
    reason = f"This folder cannot be read: {fault.reason}; its project is answered with 503."
    return Problem(path=fault.display_path, reason=reason, advice=fault.advice)


def _untold(project: str, reason: str) -> Problem:
    return Problem(path=f"{project}/", reason=reason, advice="Look into the server's log.")
