"""Answers for those who look after the server: is it well, what is left out, what was done, how much."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted_index.http_rules.negotiate import DocumentFormat, document_format
from twisted_index.interfaces import IProblemSource, ProblemReport
from twisted_index.web.asked import HTML, JSON, eventually
from twisted_index.web.people import problems_json, problems_page
from twisted_index.web.response import NO_SCRIPTS, Response
from twisted_index.web.routes import Kind

if TYPE_CHECKING:
    from twisted_index.web.asked import Answer, Asked


class Operations:
    """
    Answers questions about the server.

    Args:
        source: Where the projects come from.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self.answers: dict[Kind, Answer] = {
            Kind.HEALTH: self._answer_health,
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


def as_document(asked: Asked, as_json: bytes, as_html: bytes) -> Response:
    """Answer with JSON, or with a page for people, whichever was asked for."""
    if document_format(asked.accept) is DocumentFormat.HTML:
        return Response(headers=(*HTML, (b"Vary", b"Accept"), *NO_SCRIPTS), body=as_html)
    return Response(headers=(*JSON, (b"Vary", b"Accept")), body=as_json)
