"""Views for operators: health, problems, what is wanted, metrics."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.defer import TimeoutError as TookTooLong

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.errors import SimpleIndexError, Unavailable
from twisted_index.interfaces import Action, IProblemSource, Problem, ProblemReport
from twisted_index.metrics.free_space import MeasuredCollector
from twisted_index.metrics.wanted import Lack
from twisted_index.web.pages.operations import (
    ALL_PAGES,
    write_operations_json,
    write_operations_page,
    write_operations_text,
)
from twisted_index.web.pages.problems import write_problems_json, write_problems_page
from twisted_index.web.pages.wanted import write_wanted_json, write_wanted_page, write_wanted_text
from twisted_index.web.requests.context import JSON, negotiate_document
from twisted_index.web.responses.response import NO_CACHE, NOSNIFF, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Set

    from prometheus_client.registry import Collector
    from twisted.internet.interfaces import IReactorTime

    from twisted_index.files.reload_status import ReloadedFile, ReloadStatus
    from twisted_index.interfaces import IReplication, ISource
    from twisted_index.metrics.counters import Counters
    from twisted_index.metrics.exposition import Exposition
    from twisted_index.metrics.wanted import WantedProject
    from twisted_index.statistics.downloads import Downloads
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.context import RequestContext

#: Seconds that a scrape waits for the list of projects; Prometheus waits 10 in all.
_LIST_TIMEOUT = 5.0


class OperationsViews:
    """
    Reports the state of the server.

    Args:
        source: Provides the projects.
        authorizer: Checks what a client may see.
        counters: The counters of the server.
        collectors: Collect metrics besides the counters; see `MeasuredCollector` too.
        connections: Returns the number of open connections.
        files: Returns the files that are read again when they change.
        reactor: Bounds the time of a scrape; None for no bound.
        of_server: Whether problems and health are those of the server, too, and not of one index.
        downloads: The statistics; None without them.
        absent: Pages of the list that are not there.
        replication: The part of the server in a replication; None for none.
        is_closed: Returns whether nobody is answered, as `IReplication.health` has it.
    """

    def __init__(
        self,
        source: ISource,
        *,
        authorizer: Authorizer,
        counters: Counters,
        collectors: Sequence[Collector] = (),
        connections: Callable[[], int],
        files: Callable[[], Sequence[ReloadedFile]] = tuple,
        reactor: IReactorTime | None = None,
        of_server: bool = True,
        downloads: Downloads | None = None,
        absent: Set[str] = frozenset(),
        replication: IReplication | None = None,
        is_closed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._source = source
        self._authorizer = authorizer
        self._counters = counters
        self._collectors = collectors
        self._connections = connections
        self._files = files
        self._reactor = reactor
        self._of_server = of_server
        self._downloads = downloads if of_server else None
        self._absent = absent
        self._replication = replication
        self._is_closed = is_closed
        seconds = time.monotonic if reactor is None else reactor.seconds
        self._listing = SingleFlight[None, tuple[str, ...]](seconds)

    async def health(self, _context: RequestContext) -> Response:
        """Respond with 200 while every package folder can be read and clients are answered, else with 503."""
        # An unreadable root is an outage; an unreadable project folder is a problem of one project.
        if not (await result_of(self._source.project_list)).value.complete:
            raise Unavailable(
                "One of the package folders cannot be read right now; see the list of problems."
            )
        health: dict[str, object] = {"status": "ok"}
        is_closed = False
        statuses = await self._read_files() if self._of_server else []
        warnings = [status.warning for status in statuses if status.warning is not None]
        if self._downloads is not None and self._downloads.fault is not None:
            warnings.append("Downloads are counted but cannot be kept; see the list of problems.")
        if self._replication is not None:
            is_closed = self._is_closed()
            # The names of indexes and projects are for those who may read them.
            is_public = self._authorizer.is_public and not is_closed
            report, doubts = self._replication.health(is_closed, is_public)
            health |= {} if report is None else {"replication": report}
            warnings.extend(doubts)
        if warnings:
            health["warnings"] = warnings
        if is_closed:
            # A balancer is to ask another server.
            health["status"] = "closed"
        body = json.dumps(health).encode() + b"\n"
        return Response(status=503 if is_closed else 200, headers=JSON, body=body)

    async def problems(self, context: RequestContext) -> Response:
        """Respond with the files that are not listed, after those of the server that cannot be used."""
        source = IProblemSource(self._source, None)
        report = ProblemReport() if source is None else await result_of(source.problems)
        statuses = await self._read_files() if self._of_server else []
        files = [_problem_of(status) for status in statuses if status.error]
        if self._downloads is not None and self._downloads.fault is not None:
            files.append(_problem_of_statistics(self._downloads.fault))
        if self._replication is not None:
            files.extend(self._replication.problems())
        report = replace(report, problems=(*files, *report.problems))
        return negotiate_document(
            context,
            lambda: write_problems_json(report),
            lambda: write_problems_page(report, context.frame),
        )

    async def wanted(self, context: RequestContext) -> Response:
        """Respond with what installers asked for and could not get, as far as the client may read it."""
        here = frozenset(await self._names() or ())
        projects = [
            project
            for project in self._counters.wanted.projects()
            # What has come since is not wanted any more.
            if not (project.lack is Lack.ABSENT and project.name in here) and self._may_read(context, project)
        ]
        return negotiate_document(
            context,
            lambda: write_wanted_json(projects),
            lambda: write_wanted_page(projects, context.frame, sees_problems=self._sees_problems(context)),
            lambda: write_wanted_text(projects),
        )

    def _may_read(self, context: RequestContext, project: WantedProject) -> bool:
        permits = self._authorizer.permits
        # Wherever in the server they were wanted.
        return not context.private or permits(context.identity, Action.READ, project.name, index="")

    def _sees_problems(self, context: RequestContext) -> bool:
        return self._authorizer.is_open or self._authorizer.operates_line(context.identity)

    async def operations(self, context: RequestContext) -> Response:
        """Respond with the list of these pages that the client may see."""
        guard, client = self._authorizer, context.identity
        of_server = guard.is_open or guard.permits(client, Action.OPERATE, index="")
        may = {
            "problems": self._sees_problems(context),
            "wanted": of_server,
            "history": guard.is_open or guard.permits(client, Action.OPERATE),
            "metrics": of_server,
            "changes": guard.permits(client, Action.FOLLOW),
            "tokens": client.user is not None,
        }
        pages = {
            name: what for name, what in ALL_PAGES.items() if name not in self._absent and may.get(name, True)
        }
        return negotiate_document(
            context,
            lambda: write_operations_json(pages),
            lambda: write_operations_page(pages, context.frame, may_log_in=not client.is_authenticated),
            lambda: write_operations_text(pages),
        )

    async def _read_files(self) -> list[ReloadStatus]:
        """Read the files that have changed, and return the status of each."""
        files = self._files()
        await gatherResults([Deferred.fromCoroutine(result_of(file.check)) for file in files])
        return [file.status for file in files]

    @cached_property
    def _exposition(self) -> Exposition:
        # Imported at the first scrape: importing prometheus_client takes tens of milliseconds.
        from twisted_index.metrics.exposition import Exposition

        return Exposition(self._counters, self._collectors)

    async def _names(self) -> tuple[str, ...] | None:
        """Return the names of the projects; None if they are not known now, or not in time."""
        listing = self._listing.run(None, self._list_projects)
        if self._reactor is not None:
            listing.addTimeout(_LIST_TIMEOUT, self._reactor)
        try:
            return await listing
        except (SimpleIndexError, TookTooLong):
            return None

    async def _list_projects(self) -> tuple[str, ...]:
        return (await result_of(self._source.project_list)).value.names

    async def metrics(self, context: RequestContext) -> Response:
        """Respond with the metrics, as Prometheus reads them."""
        names = await self._names()
        for collector in self._collectors:
            if isinstance(collector, MeasuredCollector):
                await result_of(collector.measure)
        media_type, body = self._exposition.write(
            (context.accept or b"").decode("latin-1"),
            connections=self._connections(),
            # A folder that is unreadable, or does not answer, leaves a gap in this metric only.
            projects=None if names is None else len(names),
            files=await self._read_files(),
        )
        fields = ((b"Content-Type", media_type), (b"Vary", b"Accept"))
        return Response(headers=(*fields, *NO_CACHE, *NOSNIFF), body=body)


def _problem_of_statistics(fault: str) -> Problem:
    """Make the problem of downloads that cannot be kept."""
    return Problem(
        path="downloads",
        reason=f"Downloads are counted but cannot be kept: {fault}.",
        advice="Make room, or the folder writable; the server tries again after the next download.",
    )


def _problem_of(status: ReloadStatus) -> Problem:
    """Make the problem of a file of the server that cannot be used."""
    error = (status.error or "").removeprefix(f"{status.path}: ")
    date = datetime.fromtimestamp(int(status.loaded_at), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Problem(
        path=status.name,
        reason=f"{error} {status.effect} The file was last without a mistake at {date}.",
        advice="Correct or restore it; the server reads it again by itself.",
    )
