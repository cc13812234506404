"""What a directory source leaves out, gathered over all projects when somebody asks for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_index.errors import NotReady, SimpleIndexError
from twisted_index.interfaces import Problem, ProblemReport
from twisted_index.simple.names import InvalidFilename, parse_filename
from twisted_index.sources.joint import Shared
from twisted_index.sources.listing import looks_like_distribution, printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from twisted_index.sources.roots import RootReading
    from twisted_index.sources.rootset import RootSet
    from twisted_index.worker import Works

#: Entries of a folder that is not served, among which distributions are looked for.
_MAX_STRAYS = 1000


class Survey:
    """
    Knows the problems of each project, and walks through all of them on demand.

    Args:
        roots: The roots.
        reader: Threads.
        examine: Looks at one project, and notes its problems here.
    """

    def __init__(self, roots: RootSet, reader: Works, examine: Callable[[str], Awaitable[object]]) -> None:
        self._roots = roots
        self._reader = reader
        self._examine = examine
        self._by_project: dict[str, Sequence[Problem]] = {}
        self._unfinished: set[str] = set()
        self._strays: Sequence[Problem] = ()
        self._walk: Shared[None] | None = None
        self._walking: Deferred[None] | None = None

    def note(self, project: str, problems: Sequence[Problem]) -> None:
        """Keep what was found wrong in a project, in place of what was before."""
        if problems:
            self._by_project[project] = problems
        else:
            self._by_project.pop(project, None)

    @property
    def known(self) -> int:
        """How many problems are known without a walk."""
        return len(self._strays) + sum(map(len, self._by_project.values()))

    def report(self, reactor: Any, seconds: float) -> Deferred[ProblemReport]:
        """
        Walk through all projects and report.

        Args:
            reactor: Tells when the time is up.
            seconds: What takes longer goes on, and the report says that it is not complete.
        """
        if self._walk is None:
            self._walking = walking = Deferred.fromCoroutine(self._walk_all())
            self._walk = walk = Shared(walking)
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
        problems.extend(self._strays)
        return ProblemReport(
            problems=tuple(sorted(problems, key=lambda problem: (problem.path, problem.reason))),
            complete=complete,
        )

    async def _walk_all(self) -> None:
        await self._roots.refresh()
        readings = self._roots.readings
        projects = sorted({project for reading in readings for project in reading.parts})
        for gone in self._by_project.keys() - set(projects):
            del self._by_project[gone]
        self._unfinished.clear()
        self._strays = await self._reader.run(_strays_of, readings)
        for project in projects:
            try:
                await self._examine(project)
            except NotReady:
                # It is still being read, and says what is wrong with it when it has been.
                self._unfinished.add(project)
            except SimpleIndexError as error:
                self.note(project, [_unreadable(project, error)])


def _unreadable(project: str, error: SimpleIndexError) -> Problem:
    return Problem(
        path=f"{project}/", reason=error.sentence, advice="Give the server the right to read this folder."
    )


def _strays_of(readings: Iterable[RootReading]) -> list[Problem]:
    """Find distributions that lie where nothing is served: blocking, in a thread."""
    found: list[Problem] = []
    for reading in readings:
        for name in reading.strays:
            path = os.path.join(reading.path, name)
            if os.path.isdir(path):
                found.extend(_hidden_in(path, name))
            elif looks_like_distribution(os.fsdecode(name)):
                found.append(_nameless(name))
        for part in reading.parts.values():
            for folder in part.folders:
                found.extend(_below(os.path.join(reading.path, folder), folder))
    return found


def _below(path: bytes, shown: bytes) -> list[Problem]:
    """Look into the folders inside a project's folder, which are not read."""
    try:
        with os.scandir(path) as entries:
            inner = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [
        problem
        for name in inner
        for problem in _hidden_in(os.path.join(path, name), os.path.join(shown, name))
    ]


def _hidden_in(path: bytes, shown: bytes) -> list[Problem]:
    try:
        names = os.listdir(path)[:_MAX_STRAYS]
    except OSError:
        return []
    found = []
    for name in names:
        try:
            distribution = parse_filename(os.fsdecode(name))
        except InvalidFilename:
            continue
        found.append(
            Problem(
                path=printable(os.path.join(shown, name)),
                reason="It lies in a folder that is not served.",
                advice=f"Move it to the root, or to the folder {distribution.project}/ in it.",
            )
        )
    return found


def _nameless(name: bytes) -> Problem:
    try:
        parse_filename(os.fsdecode(name))
    except InvalidFilename as error:
        return Problem(path=printable(name), reason=error.reason, advice=error.advice)
    return Problem(
        path=printable(name), reason="It names no project.", advice="Rename it as its build tool did."
    )
