"""Collects the problems of all projects of a bucket, on request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_index.backends.object_store.project_listing import CLAIM
from twisted_index.concurrency.single_flight import SharedResult
from twisted_index.errors import NotReady, SimpleIndexError
from twisted_index.interfaces import Problem, ProblemReport
from twisted_index.simple.formatting import printable
from twisted_index.simple.names import InvalidFilename, looks_like_distribution, parse_filename

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.backends.object_store.bucket import StoredObject
    from twisted_index.backends.object_store.listings import Listings
    from twisted_index.backends.object_store.project_listing import RootListing

#: Nanoseconds that an upload may take.
_DAY_NS = 86_400 * 10**9


class ObjectProblems:
    """
    Holds the problems of each project, and checks all projects on demand.

    Args:
        listings: Those of the bucket.
        inspect_project: Lists and inspects one project, and sets its problems here.
        look_at_promotions: Returns the problems of promotions that were cut off.
    """

    def __init__(
        self,
        listings: Listings,
        inspect_project: Callable[[str], Awaitable[object]],
        look_at_promotions: Callable[[], Awaitable[Sequence[Problem]]],
    ) -> None:
        self._listings = listings
        self._inspect_project = inspect_project
        self._look_at_promotions = look_at_promotions
        self._by_project: dict[str, Sequence[Problem]] = {}
        self._claims: dict[str, Sequence[StoredObject]] = {}
        self._of_root: Sequence[Problem] = ()
        self._scan: SharedResult[bool] | None = None
        self._running: Deferred[bool] | None = None

    @property
    def known_count(self) -> int:
        """The number of problems known without a scan."""
        return len(self._known())

    def set_problems(
        self, project: str, problems: Sequence[Problem], claims: Sequence[StoredObject] = ()
    ) -> None:
        """Replace the problems of a project, and the claims whose files are not there yet."""
        self._by_project.pop(project, None)
        self._claims.pop(project, None)
        if problems:
            self._by_project[project] = problems
        if claims:
            self._claims[project] = claims

    def report(self, reactor: IReactorTime, seconds: float) -> Deferred[ProblemReport]:
        """
        Scan all projects and report their problems; after so many seconds, what is known by then.

        Raises:
            Unavailable: The bucket cannot be listed.
        """
        if self._scan is None:
            self._running = Deferred.fromCoroutine(self._scan_all())
            self._scan = SharedResult(self._running)
            scan, self._scan = self._scan, None if self._running.called else self._scan
        else:
            scan = self._scan
        waiter: Deferred[ProblemReport] = Deferred()
        timer = reactor.callLater(seconds, lambda: waiter.callback(self._report(complete=False)))

        def finished(result: bool | Failure) -> None:
            self._scan = self._running = None
            if timer.active():
                timer.cancel()
                if isinstance(result, Failure):
                    waiter.errback(result)
                else:
                    waiter.callback(self._report(complete=result))

        scan.wait().addBoth(finished)
        return waiter

    def stop(self) -> None:
        """Cancel a running scan."""
        if self._running is not None:
            self._running.cancel()

    def _known(self) -> list[Problem]:
        problems = [problem for problems in self._by_project.values() for problem in problems]
        for claims in self._claims.values():
            problems.extend(_abandoned(claims))
        return [*problems, *self._of_root]

    def _report(self, *, complete: bool) -> ProblemReport:
        ordered = sorted(self._known(), key=lambda problem: (problem.path, problem.reason))
        return ProblemReport(problems=tuple(ordered), complete=complete)

    async def _scan_all(self) -> bool:
        """Inspect all projects; return whether that came to an end for each."""
        root = await self._listings.root()
        self._of_root = [*_root_problems(root), *await self._look_at_promotions()]
        for project in (self._by_project.keys() | self._claims.keys()) - root.projects.keys():
            self.set_problems(project, ())
        complete = True
        for project in sorted(root.projects):
            try:
                await self._inspect_project(project)
            except NotReady:
                complete = False
            except SimpleIndexError as error:
                problem = Problem(path=f"{project}/", reason=error.message, advice="See the server's log.")
                self.set_problems(project, [problem])
        return complete


def _abandoned(claims: Iterable[StoredObject]) -> Iterator[Problem]:
    """Yield the claims whose files did not come."""
    for claim in claims:
        if time.time_ns() - claim.modified_ns > _DAY_NS:
            yield Problem(
                path=printable(claim.key.removesuffix(CLAIM)),
                reason="Its upload began more than a day ago and did not end; its name is taken.",
                advice="Upload the same file again, or delete it.",
            )


def _root_problems(root: RootListing) -> Iterator[Problem]:
    for key in root.unusable:
        yield unusable_key(key)
    for name in root.unassigned:
        if looks_like_distribution(name):
            try:
                parse_filename(name)
            except InvalidFilename as error:
                yield Problem(path=printable(name), reason=error.reason, advice=error.advice)


def unusable_key(key: str) -> Problem:
    """Make the problem of a key that no folder could have."""
    return Problem(
        path=printable(key),
        reason="No file of a folder could have this key, so that it is passed over.",
        advice="Give the object another key, or remove it.",
    )


def too_deep(project: str, keys: Iterable[str]) -> Iterator[Problem]:
    """Yield the problems of distribution files below the folders of a project, which are not served."""
    for key in keys:
        name = key.rpartition("/")[2]
        if key.count("/") > 1 and looks_like_distribution(name):
            yield Problem(
                path=printable(key),
                reason="It is in a folder that is not served.",
                advice=f"Move it to the folder {project}/ or to the root.",
            )
