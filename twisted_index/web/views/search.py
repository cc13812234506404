"""The search of `/-/search`: as a page, and as JSON for scripts and for results as one types."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from twisted_index.web.pages.search import write_search_json, write_search_page
from twisted_index.web.requests.context import negotiate_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.search.directory import ProjectDirectory
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.context import RequestContext
    from twisted_index.web.responses.response import Response

#: Results of one answer: by default, and at most.
DEFAULT_LIMIT, MAX_LIMIT = 50, 100


class SearchViews:
    """
    Searches the directory of an index.

    Args:
        directory: Returns the directory.
        authorizer: Says which projects a client may read.
    """

    def __init__(self, directory: Callable[[], ProjectDirectory], authorizer: Authorizer) -> None:
        self._directory = directory
        self._authorizer = authorizer

    async def search(self, context: RequestContext) -> Response:
        """Respond with what is found; no query is an error."""
        query = _argument(context, b"q").decode("utf-8", "replace").strip()
        reads = partial(self._authorizer.reads, context.identity)
        found = await self._directory().search(query, reads, _limit(_argument(context, b"limit")))
        return negotiate_document(
            context,
            partial(write_search_json, found),
            lambda: write_search_page(query, found, frame=replace(context.frame, query=query)),
        )


def _argument(context: RequestContext, name: bytes) -> bytes:
    values: list[bytes] = (context.request.args or {}).get(name, [])
    return values[0] if values else b""


def _limit(text: bytes) -> int:
    """Return a number of results; what is none means the default."""
    return min(int(text), MAX_LIMIT) if text.isdigit() and len(text) < 10 else DEFAULT_LIMIT
