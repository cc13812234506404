"""The feed of new releases, of an index and of one project."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import NotFound
from twisted_index.interfaces import Action
from twisted_index.search.row import MOST_RELEASES
from twisted_index.simple.legacy_json import latest_releases
from twisted_index.simple.names import is_valid_name, normalize
from twisted_index.web.pages.feed import FeedEntry, write_feed
from twisted_index.web.responses.response import NO_CACHE, NOSNIFF, UNSHARED, Response
from twisted_index.web.responses.response_cache import strong_etag

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.interfaces import ISource
    from twisted_index.search.directory import ProjectDirectory
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.context import RequestContext
    from twisted_index.web.requests.index_urls import IndexUrls

#: Releases in a feed.
MOST_ENTRIES = MOST_RELEASES


class FeedView:
    """
    Responds with feeds.

    Args:
        source: The projects.
        directory: Returns the directory of them.
        authorizer: Says which projects a client may read.
        urls: Derives the URL of the index: a feed has absolute URLs only.
    """

    def __init__(
        self,
        source: ISource,
        directory: Callable[[], ProjectDirectory],
        authorizer: Authorizer,
        urls: IndexUrls,
    ) -> None:
        self._source = source
        self._directory = directory
        self._authorizer = authorizer
        self._urls = urls

    async def feed(self, context: RequestContext) -> Response:
        """Respond with the latest releases of all projects, or of the one that `project` names."""
        url = self._urls.shown(context.request).rstrip("/")
        names = (context.request.args or {}).get(b"project", [])
        own = f"{url}/-/feed.atom"
        if not names:
            entries = await self._newest(context, url)
            return self._respond(write_feed(context.title, own, f"{url}/", entries, author=context.title))
        name = await self._readable(context, names[0])
        entries = await self._releases(name, url)
        title, page = f"{name} · {context.title}", _page_url(url, name)
        feed = write_feed(title, f"{own}?project={name}", page, entries, author=context.title)
        return self._respond(feed)

    async def _newest(self, context: RequestContext, url: str) -> list[FeedEntry]:
        rows = await self._directory().newest(MOST_ENTRIES, partial(self._authorizer.reads, context.identity))
        return [
            FeedEntry(
                title=f"{row.shown_name or row.name} {row.version}",
                url=_page_url(url, row.name, row.version),
                updated=row.uploaded,
                summary=row.summary,
            )
            for row in rows
            if row.uploaded is not None
        ]

    async def _readable(self, context: RequestContext, raw: bytes) -> str:
        """Return the name of a project that the client may read, as if it asked for its page."""
        text = raw.decode("utf-8", "replace")
        if not is_valid_name(text):
            raise NotFound("That is no name of a project.")
        await self._authorizer.require(context.request, Action.READ, normalize(text))
        return normalize(text)

    async def _releases(self, name: str, url: str) -> list[FeedEntry]:
        page = (await result_of(self._source.project_page, name)).value
        if page is None:
            raise NotFound(f"There is no project {name} here.")
        return [
            FeedEntry(title=f"{name} {version}", url=_page_url(url, name, version), updated=time)
            for version, time in latest_releases(page, MOST_ENTRIES)
        ]

    def _respond(self, body: bytes) -> Response:
        caching = UNSHARED if self._urls.public is None else NO_CACHE
        headers = ((b"Content-Type", b"application/atom+xml; charset=utf-8"), *caching, *NOSNIFF)
        return Response(headers=headers, body=body, etag=strong_etag(body))


def _page_url(url: str, name: str, version: str = "") -> str:
    return f"{url}/project/{name}/" + (f"{quote(version, safe='')}/" if version else "")
