"""Views of the legacy JSON API of PyPI."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twisted_index.errors import Found
from twisted_index.simple.legacy_json import LEGACY_CONTENT_TYPE, NOT_FOUND
from twisted_index.web.requests.context import JSON
from twisted_index.web.responses.response import NO_CACHE, NOSNIFF, UNSHARED, Response, with_serial
from twisted_index.web.responses.response_cache import strong_etag
from twisted_index.web.views.legacy_json_document import legacy_document

if TYPE_CHECKING:
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import ISource
    from twisted_index.web.requests.context import RequestContext
    from twisted_index.web.requests.index_urls import IndexUrls
    from twisted_index.web.responses.response import Headers

_VARY = (b"Vary", b"User-Agent")


class LegacyJsonViews:
    """
    Serves the documents of projects and releases.

    Args:
        source: Provides the projects.
        urls: Derives the URL of the index: links in these documents are absolute.
        worker: Threads that write large documents.
    """

    def __init__(
        self,
        source: ISource,
        *,
        urls: IndexUrls,
        worker: IThreadRunner | None,
    ) -> None:
        self._source = source
        self._urls = urls
        self._worker = worker
        caching = NO_CACHE if urls.public else UNSHARED
        self._headers: Headers = ((b"Content-Type", LEGACY_CONTENT_TYPE), _VARY, *caching, *NOSNIFF)

    async def document(self, context: RequestContext) -> Response:
        """Respond with the JSON document of a project or of one release."""
        folder = _folder_of_links(context.request.getHeader(b"User-Agent"))
        links = replace(self._urls.links(context.request), folder=folder)
        try:
            document = await legacy_document(
                self._source,
                context.route.project,
                context.route.version or None,
                base_url=self._urls.shown(context.request),
                file_url=links.of(context.route.project),
                worker=self._worker,
            )
        except Found:
            # It leads to a page of the simple API, which is no document of this kind.
            document = None
        if document is None:
            return Response(status=404, headers=JSON, body=NOT_FOUND)
        response = Response(headers=self._headers, body=document.body, etag=strong_etag(document.body))
        return with_serial(response, document.serial)


def _folder_of_links(user_agent: bytes | None) -> str:
    """
    Return the folder that the files of a document are linked in.

    bandersnatch refuses links that are not below `/packages/`, and redirects lead it to the file. pip-compile
    takes the digests of the links that the project's page has too.
    """
    return "packages" if (user_agent or b"").startswith(b"bandersnatch") else "simple"
