"""The view of downloads in the shape of pypistats.org, whose clients need another address only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from twisted_index.concurrency.thread_pool import SynchronousRunner
from twisted_index.interfaces import Action
from twisted_index.simple.legacy_json import NOT_FOUND
from twisted_index.statistics.pypistats import TABLES, pypistats_document
from twisted_index.web.requests.context import JSON
from twisted_index.web.responses.response import Response

if TYPE_CHECKING:
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.statistics.downloads import Downloads
    from twisted_index.statistics.totals import ByClient
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.context import RequestContext


class PypistatsView:
    """
    Responds with the downloads of one project.

    Args:
        downloads: What was counted; None if nothing is.
        authorizer: Checks which names a client may read.
        index: The name of the index.
        worker: Threads that sum up; without it the reactor thread does.
    """

    def __init__(
        self,
        downloads: Downloads | None,
        *,
        authorizer: Authorizer,
        index: str,
        worker: IThreadRunner | None,
    ) -> None:
        self._downloads = downloads
        self._authorizer = authorizer
        self._index = index
        self._worker = SynchronousRunner() if worker is None else worker

    async def show(self, context: RequestContext) -> Response:
        """Respond with a table; 404 for what was never downloaded and for what the client may not read."""
        project, table = context.route.project, context.route.table
        may = not context.private or self._authorizer.permits(context.identity, Action.READ, project)
        clients = await self._clients(project) if may else {}
        if self._downloads is None or not clients:
            return Response(status=404, headers=JSON, body=NOT_FOUND)
        chosen = (context.request.args or {}).get(TABLES[table].encode(), [b""])[0].decode("latin-1")
        today = self._downloads.today()
        document = await self._worker.run(
            pypistats_document, table, project, clients, today=today, chosen=chosen
        )
        return Response(headers=JSON, body=json.dumps(document).encode("ascii") + b"\n")

    async def _clients(self, project: str) -> ByClient:
        if self._downloads is None or not (await self._downloads.report(self._index)).downloads_of(project):
            return {}
        return await self._downloads.clients_of(self._index, project)
