"""Answers of the legacy JSON API, for tools that know PyPI by it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted_index.web.asked import JSON
from twisted_index.web.legacyjson import legacy_document
from twisted_index.web.prepared import strong_etag
from twisted_index.web.response import Response
from twisted_index.web.routes import Kind

if TYPE_CHECKING:
    from twisted_index.web.asked import Answer, Asked
    from twisted_index.web.origin import Origins
    from twisted_index.worker import Works

_ABSENT = json.dumps({"message": "Not Found"}).encode("ascii") + b"\n"


class Releases:
    """
    Answers with documents of projects and releases.

    Args:
        source: Where the projects come from.
        origins: Says by which URL a client came: links in these documents are whole URLs.
        public_url: The URL of the index that people are shown; None for the one they came by.
        worker: Threads that write large documents.
    """

    def __init__(
        self, source: Any, *, origins: Origins, public_url: str | None, worker: Works | None
    ) -> None:
        self._source = source
        self._origins = origins
        self._public_url = public_url
        self._worker = worker
        self.answers: dict[Kind, Answer] = {
            Kind.LEGACY_PROJECT: self._answer,
            Kind.LEGACY_RELEASE: self._answer,
        }

    async def _answer(self, asked: Asked) -> Response:
        document = await legacy_document(
            self._source,
            asked.route.project,
            asked.route.version or None,
            base_url=self._public_url or self._origins.url(asked.request),
            worker=self._worker,
        )
        if document is None:
            return Response(status=404, headers=JSON, body=_ABSENT)
        return Response(headers=JSON, body=document, etag=strong_etag(document))
