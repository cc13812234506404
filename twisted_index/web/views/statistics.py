"""The views of the statistics: how often what was downloaded."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

from twisted_index.concurrency.thread_pool import SynchronousRunner
from twisted_index.errors import BadRequest, NotFound
from twisted_index.interfaces import Action
from twisted_index.metrics.disk_use import CacheCounters
from twisted_index.simple.legacy_json import NOT_FOUND
from twisted_index.simple.names import is_valid_name, normalize
from twisted_index.statistics.day_files import KEPT_DAYS
from twisted_index.statistics.pypistats import TABLES, pypistats_document
from twisted_index.statistics.rows import UNNAMED
from twisted_index.web.pages.server_numbers import ServerNumbers
from twisted_index.web.pages.statistics import write_project_statistics, write_statistics_page
from twisted_index.web.requests.context import JSON, negotiate_document
from twisted_index.web.responses.response import Response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.metrics.disk_use import DiskUse
    from twisted_index.statistics.downloads import Downloads
    from twisted_index.statistics.report import ProjectCounts, Report
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.context import RequestContext

#: Projects of the page for people, and the days of its second column.
_MOST_SHOWN, _RECENT_DAYS = 100, 30


class StatisticsViews:
    """
    Shows the downloads from one index.

    Args:
        downloads: What was counted; None if nothing is.
        authorizer: Checks which names a client may read.
        index: The name of the index.
        worker: Threads that sum up and write; without it the reactor thread does.
        collectors: Those of the metrics, with the counters of caches among them.
        disk_use: Measures the folders; None measures none.
    """

    def __init__(
        self,
        downloads: Downloads | None,
        *,
        authorizer: Authorizer,
        index: str,
        worker: IThreadRunner | None,
        collectors: Sequence[object] = (),
        disk_use: DiskUse | None = None,
    ) -> None:
        self._downloads = downloads
        self._authorizer = authorizer
        self._index = index
        self._worker = SynchronousRunner() if worker is None else worker
        self._collectors = collectors
        self._disk_use = disk_use

    async def show(self, context: RequestContext) -> Response:
        """Respond with the downloads from the index, or of the project that the query names."""
        if self._downloads is None:
            raise NotFound("No downloads are counted here.")
        named = (context.request.args or {}).get(b"project")
        if named:
            return await self._show_project(context, self._downloads, named[0].decode("utf-8", "replace"))
        report = await self._downloads.report(self._index)
        names = report.names()
        if context.private:
            # Before anything is summed up. What is not told apart may be of any project.
            permits = self._authorizer.permits
            named_only = (name for name in names if name != UNNAMED)
            names = [name for name in named_only if permits(context.identity, Action.READ, name)]
        downloads, server = self._downloads, self._server(context)
        return await self._worker.run(_respond, context, downloads, report, names, server)

    def _server(self, context: RequestContext) -> ServerNumbers | None:
        """Return the numbers of the server as a whole; None for those who do not operate it."""
        guard = self._authorizer
        if not (guard.is_open or guard.permits(context.identity, Action.OPERATE, index="")):
            return None
        measured = None if self._disk_use is None else self._disk_use.look()
        caches = (each for each in self._collectors if isinstance(each, CacheCounters))
        return ServerNumbers.of(caches, measured)

    async def _show_project(self, context: RequestContext, downloads: Downloads, name: str) -> Response:
        if not is_valid_name(name):
            raise BadRequest("This is no name of a project.")
        project = normalize(name)
        if context.private and not self._authorizer.permits(context.identity, Action.READ, project):
            self._authorizer.refuse(context.identity, Action.READ, project)
        report = await downloads.report(self._index)
        is_counted = report.downloads_of(project) > 0
        files = await downloads.of_project(self._index, project) if is_counted else {}
        return await self._worker.run(_respond_of, context, downloads, report, project, files)

    async def show_table(self, context: RequestContext) -> Response:
        """
        Respond in the shape of pypistats.org, whose clients need another address only.

        It is 404 for what was never downloaded, and for what the client may not read.
        """
        project, table, downloads = context.route.project, context.route.table, self._downloads
        may = not context.private or self._authorizer.permits(context.identity, Action.READ, project)
        if downloads is None or not may or not (await downloads.report(self._index)).downloads_of(project):
            return Response(status=404, headers=JSON, body=NOT_FOUND)
        clients = await downloads.clients_of(self._index, project)
        chosen = (context.request.args or {}).get(TABLES[table].encode(), [b""])[0].decode("latin-1")
        today = downloads.today()
        document = await self._worker.run(
            pypistats_document, table, project, clients, today=today, chosen=chosen
        )
        return Response(headers=JSON, body=_as_json(document))


def _respond(
    context: RequestContext,
    downloads: Downloads,
    report: Report,
    names: list[str],
    server: ServerNumbers | None,
) -> Response:
    counts = report.summary(names)
    projects = report.projects(name for name in names if name != UNNAMED)
    of_server = {} if server is None else {"cache": asdict(server.cache), "disk": server.disk}
    since = min(counts.days, default="")
    document = {"projects": projects, **_sums(counts), "since": since, **of_server}

    def write_page() -> bytes:
        today = downloads.today()
        recent = (today - timedelta(days=_RECENT_DAYS - 1)).isoformat()
        shown = list(projects.items())[:_MOST_SHOWN]
        return write_statistics_page(
            [(name, total, report.downloads_since(name, recent)) for name, total in shown],
            counts,
            number=len(projects),
            today=today,
            notes=_notes(downloads, since),
            server=server,
            frame=context.frame,
        )

    return negotiate_document(context, lambda: _as_json(document), write_page)


def _respond_of(
    context: RequestContext,
    downloads: Downloads,
    report: Report,
    project: str,
    files: Mapping[str, Mapping[str, int]],
) -> Response:
    counts = report.summary([project])
    since = min(counts.days, default="")
    document = {"project": project, **_sums(counts), "since": since, "files": files}

    def write_page() -> bytes:
        return write_project_statistics(
            project,
            files,
            counts,
            today=downloads.today(),
            notes=_notes(downloads, since),
            frame=context.frame,
        )

    return negotiate_document(context, lambda: _as_json(document), write_page)


def _notes(downloads: Downloads, since: str) -> list[str]:
    """Say of when the first of these downloads is, and what becomes of the numbers."""
    notes = [f"Downloads since {since}, in UTC." if since else "Nothing has been downloaded yet."]
    if not downloads.is_kept:
        notes.append("The server has no state folder: the numbers are in memory, and go when it stops.")
    elif downloads.fault is not None:
        notes.append("The numbers cannot be kept right now, and go when the server stops; its log says why.")
    elif since:
        notes.append(f"Days are summed up as months when they are older than {KEPT_DAYS} days.")
    return notes


def _sums(counts: ProjectCounts) -> dict[str, object]:
    return {
        "downloads": counts.total,
        "days": counts.days,
        "installers": counts.installers,
        "pythons": counts.pythons,
        "systems": counts.systems,
        "ci": counts.ci,
    }


def _as_json(document: dict[str, object]) -> bytes:
    return json.dumps(document).encode("ascii") + b"\n"
