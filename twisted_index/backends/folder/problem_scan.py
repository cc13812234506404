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
    Holds the problems of each project, and checks all projects on demand.

    Args:
        roots: The roots.
        reader: Threads that scan folders.
        inspect_project: Lists and inspects one project, and sets its problems here.
    """

    def __init__(
        self, roots: RootSet, reader: IThreadRunner, inspect_project: Callable[[str], Awaitable[object]]
    ) -> None:
        self._roots = roots
        self._reader = reader
        self._inspect_project = inspect_project
        self._by_project: dict[str, Sequence[Problem]] = {}
        self._unreadable: set[str] = set()
        self._unfinished: set[str] = set()
        self._misplaced: Sequence[Problem] = ()
        self._scan: SharedResult[None] | None = None
        self._running: Deferred[None] | None = None

    def set_problems(self, project: str, problems: Sequence[Problem]) -> None:
        """Replace the problems of a project."""
        if problems:
            self._by_project[project] = problems
        else:
            self._by_project.pop(project, None)

    def set_unreadable(self, project: str, error: UnreadableFolder) -> None:
        """Record that a project's folder cannot be read; logged once until it is readable again."""
        problems = [unreadable_problem(error)]
        if self._by_project.get(project) != problems:
            _log.error("{project} is left out: {sentence}", project=project, sentence=error.message)
        self.set_problems(project, problems)
        self._unreadable.add(project)

    def set_all_unreadable(self, faults: Mapping[str, UnreadableFolder]) -> None:
        """Replace the set of projects whose folders cannot be read."""
        for project in self._unreadable - faults.keys():
            self.set_problems(project, ())
        self._unreadable.clear()
        for project, error in faults.items():
            self.set_unreadable(project, error)

    @property
    def known_count(self) -> int:
        """The number of problems known without a scan."""
        by_project = sum(map(len, self._by_project.values()))
        return len(self._roots.problems) + len(self._misplaced) + by_project

    def report(self, reactor: IReactorTime, seconds: float) -> Deferred[ProblemReport]:
        """
        Scan all projects and report their problems.

        Args:
            reactor: Provides the timer.
            seconds: Time-out, after which the report is incomplete and the scan continues.
        """
        if self._scan is None:
            self._running = running = Deferred.fromCoroutine(self._scan_all())
            self._scan = scan = SharedResult(running)
            running.addBoth(self._finished)
        else:
            scan = self._scan
        waiter: Deferred[ProblemReport] = Deferred()
        timer = reactor.callLater(seconds, lambda: waiter.callback(self._report_now(complete=False)))

        def finished(result: Failure | None) -> None:
            if timer.active():
                timer.cancel()
                report = self._report_now(complete=not self._unfinished)
                waiter.errback(result) if isinstance(result, Failure) else waiter.callback(report)

        scan.wait().addBoth(finished)
        return waiter

    def stop(self) -> None:
        """Cancel a running scan."""
        if self._running is not None:
            self._running.cancel()

    def _finished(self, _result: object) -> None:
        self._scan = self._running = None

    def _report_now(self, *, complete: bool) -> ProblemReport:
        problems = [problem for problems in self._by_project.values() for problem in problems]
        problems.extend((*self._misplaced, *self._roots.problems))
        return ProblemReport(
            problems=tuple(sorted(problems, key=lambda problem: (problem.path, problem.reason))),
            complete=complete and self._roots.complete,
        )

    async def _scan_all(self) -> None:
        try:
            await self._roots.refresh()
        except UnreadableFolder:
            # The unreadable roots are the only problems to report.
            return
        readings = self._roots.readings
        projects = sorted({project for reading in readings for project in reading.projects})
        for removed in self._by_project.keys() - set(projects):
            del self._by_project[removed]
        self._unfinished.clear()
        self._misplaced = await self._reader.run(find_misplaced, readings)
        for project in projects:
            try:
                await self._inspect_project(project)
            except NotReady:
                # Still being inspected; its problems are set at the end of that.
                self._unfinished.add(project)
            except UnreadableFolder:
                # Already reported, or in an unreadable root, which has one problem for all projects.
                pass
            except SimpleIndexError as error:
                self.set_problems(project, [_uninspected(project, error.message)])
            except CancelledError:
                raise
            except Exception:
                # A bug; it must not hide the problems of all other projects.
                _log.failure("The project {project} could not be inspected", project=project)
                self.set_problems(
                    project,
                    [_uninspected(project, "It could not be inspected, because of a bug in this server.")],
                )


def unreadable_problem(error: UnreadableFolder) -> Problem:
    """Make the problem of a project's folder, or of a file of it, that cannot be read."""
    what = "folder" if error.display_path.endswith("/") else "file"
    reason = f"This {what} cannot be read: {error.reason}; requests for its project get status 503."
    return Problem(path=error.display_path, reason=reason, advice=error.advice)


def _uninspected(project: str, reason: str) -> Problem:
    return Problem(path=f"{project}/", reason=reason, advice="See the server's log.")
