"""Answers for those who look after the server: is it well, what is left out, what was done, how much."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from twisted_index.errors import SimpleIndexError
from twisted_index.exposition import CONTENT_TYPE
from twisted_index.http_rules.negotiate import DocumentFormat, document_format
from twisted_index.interfaces import IProblemSource, ProblemReport
from twisted_index.web.asked import HTML, JSON, eventually
from twisted_index.web.history import write_history_json, write_history_page
from twisted_index.web.metrics import build_metrics, index_metrics, process_metrics, write_all
from twisted_index.web.people import problems_json, problems_page
from twisted_index.web.response import NO_SCRIPTS, NOSNIFF, REVALIDATE, Response
from twisted_index.web.routes import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.exposition import HasMetrics
    from twisted_index.web.asked import Answer, Asked
    from twisted_index.web.metrics import Counters

#: Events that are shown; the file of the history has them all.
_EVENTS = 500


class Operations:
    """
    Answers questions about the server.

    Args:
        source: Where the projects come from.
        history: Provides `IHistory`; None if nothing is ever done here.
        counters: What the server counts.
        parts: Other parts that have numbers to tell.
    """

    def __init__(
        self,
        source: Any,
        *,
        history: Any = None,
        counters: Counters,
        parts: Sequence[HasMetrics] = (),
    ) -> None:
        self._source = source
        self._history = history
        self._parts = (counters, *parts)
        #: Tells how many connections there are; the site knows.
        self.connections: Callable[[], int] = lambda: 0
        self.answers: dict[Kind, Answer] = {
            Kind.HEALTH: self._answer_health,
            Kind.HISTORY: self._answer_history,
            Kind.METRICS: self._answer_metrics,
            Kind.PROBLEMS: self._answer_problems,
        }

    async def _answer_health(self, _asked: Asked) -> Response:
        # Asks the source, so that a folder which cannot be read is not called healthy.
        await eventually(self._source.project_list)
        return Response(headers=JSON, body=json.dumps({"status": "ok"}).encode() + b"\n")

    async def _answer_problems(self, asked: Asked) -> Response:
        report = ProblemReport()
        if IProblemSource.providedBy(self._source):
            report = await eventually(self._source.problems)
        return as_document(asked, problems_json(report), problems_page(report))

    async def _answer_history(self, asked: Asked) -> Response:
        events = () if self._history is None else await eventually(self._history.latest, _EVENTS)
        return as_document(asked, write_history_json(events), write_history_page(events))

    async def _answer_metrics(self, _asked: Asked) -> Response:
        projects: int | None = None
        # A scrape still tells all else when the folder cannot be read; that, too, is told by a gap.
        with contextlib.suppress(SimpleIndexError):
            projects = len((await eventually(self._source.project_list)).value.names)
        connections = self.connections()
        body = write_all(
            [
                build_metrics,
                lambda: index_metrics(connections=connections, projects=projects),
                *(part.metrics for part in self._parts),
                process_metrics,
            ]
        )
        return Response(headers=((b"Content-Type", CONTENT_TYPE), *REVALIDATE, *NOSNIFF), body=body)


def as_document(asked: Asked, as_json: bytes, as_html: bytes) -> Response:
    """Answer with JSON, or with a page for people, whichever was asked for."""
    if document_format(asked.accept) is DocumentFormat.HTML:
        return Response(headers=(*HTML, (b"Vary", b"Accept"), *NO_SCRIPTS), body=as_html)
    return Response(headers=(*JSON, (b"Vary", b"Accept")), body=as_json)
