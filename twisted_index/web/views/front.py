"""The front page, and the configuration files of installers that it links to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twisted_index.concurrency.identity_memo import IdentityMemo
from twisted_index.errors import NotFound
from twisted_index.http_semantics.content_coding import gzip_smaller
from twisted_index.http_semantics.negotiation import Format, accepts_gzip, simple_format
from twisted_index.interfaces import ANONYMOUS, Action, IProblemSource
from twisted_index.search.walk import SMALL_INDEX
from twisted_index.simple.formatting import counted
from twisted_index.web.pages.front import FrontContent, front_commands, write_front_page
from twisted_index.web.pages.install_commands import pip_conf, uv_toml
from twisted_index.web.requests.context import HTML, TEXT
from twisted_index.web.responses.response import NO_CACHE, UNSHARED, Response
from twisted_index.web.responses.response_cache import strong_etag
from twisted_index.web.responses.send import header

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.indexes.served_index import ServedIndex
    from twisted_index.search.directory import ProjectDirectory
    from twisted_index.search.row import ProjectRow
    from twisted_index.simple.model import ProjectList
    from twisted_index.web.pages.layout import PageAround
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.context import RequestContext
    from twisted_index.web.requests.index_urls import IndexUrls
    from twisted_index.web.responses.response import Headers
    from twisted_index.web.views.simple_api import SimpleApiViews

#: Releases that are shown.
_NEWEST = 10
#: Front pages that are kept with the URL of their visitors, who may vary the Host field.
_FINISHED = 16
#: Pages for one client with more names than this are written in a thread.
_MANY = 50


class FrontViews:
    """
    Shows people what an index is, and how to install from it.

    Args:
        served: The index.
        index: Its name in URLs; empty for the one without a name.
        api: Lists the projects.
        directory: Returns the directory of the projects.
        authorizer: Checks what a visitor may see.
        urls: Derives the URL of the index.
        worker: Threads that write the pages of single clients; without it the reactor thread writes them.
        has_indexes: Returns whether the server has indexes with names.
    """

    def __init__(
        self,
        served: ServedIndex,
        index: str,
        api: SimpleApiViews,
        directory: Callable[[], ProjectDirectory],
        *,
        authorizer: Authorizer,
        urls: IndexUrls,
        worker: IThreadRunner | None,
        has_indexes: Callable[[], bool],
    ) -> None:
        self._served = served
        self._index = index
        self._api = api
        self._directory = directory
        self._authorizer = authorizer
        self._urls = urls
        self._worker = worker
        self._has_indexes = has_indexes
        self._written: IdentityMemo[PageAround] = IdentityMemo(1)
        self._finished: IdentityMemo[Response] = IdentityMemo(_FINISHED)

    async def front(self, context: RequestContext) -> Response:
        """Respond with the front page; to installers with the project list."""
        if simple_format(context.accept) is not Format.HTML:
            return await self._api.project_list(context)
        projects = await self._api.readable(context)
        newest = await self._newest(context)
        content = self._content(context, newest, self._files(context, projects))
        compressed = accepts_gzip(header(context.request, b"Accept-Encoding"))

        url = self._urls.shown(context.request)

        def write() -> PageAround:
            return write_front_page(content, projects, context.frame)

        def finish(page: PageAround) -> Response:
            return self._finish(page.around(front_commands(content, url)), compressed)

        if context.private:
            return await self._written_for_one(projects, lambda: finish(write()))
        page = self._written.get(None, (projects,), write, also=content)
        return self._finished.get((url, compressed), (page,), lambda: finish(page))

    async def _written_for_one(self, projects: ProjectList, write: Callable[[], Response]) -> Response:
        if self._worker is None or len(projects.names) <= _MANY:
            return write()
        return await self._worker.run(write)

    async def _newest(self, context: RequestContext) -> Sequence[ProjectRow]:
        return await self._directory().newest(_NEWEST, partial(self._authorizer.reads, context.identity))

    def _files(self, context: RequestContext, projects: ProjectList) -> str:
        """Say how many files the projects of a visitor have; empty if that is not known."""
        names = projects.names
        number = self._directory().count_files(names, public=not context.private)
        if number is None:
            return ""
        # A large index is not looked at for each visit.
        return f"{'about ' if len(names) > SMALL_INDEX else ''}{counted(number, 'file')}"

    def _content(self, context: RequestContext, newest: Sequence[ProjectRow], files: str) -> FrontContent:
        served, guard = self._served, self._authorizer
        uploads = served.store is not None and served.uploads.upload
        return FrontContent(
            index=self._index,
            upstreams=served.upstreams,
            uploads=uploads,
            anonymous=served.uploads.anonymous_upload,
            logs_in=context.identity.is_authenticated or not guard.permits(ANONYMOUS, Action.READ),
            left_out=self._left_out(context),
            files=files,
            newest=tuple(newest),
            indexes=self._urls.relative_links(0).root + "+/" if self._has_indexes() else "",
            has_files=not context.scope.draft,
        )

    def _left_out(self, context: RequestContext) -> int | None:
        """Return how many files are known to be left out; None if the client may not see which."""
        guard = self._authorizer
        if not (guard.is_open or guard.operates_line(context.identity)):
            return None
        source = IProblemSource(self._served.source, None)
        return 0 if source is None else source.known_problems()

    def _finish(self, body: bytes, compressed: bool) -> Response:
        headers = (*self._caching_of(HTML), (b"Vary", b"Accept, Accept-Encoding"))
        packed = gzip_smaller(body) if compressed else None
        if packed is not None:
            body, headers = packed, (*headers, (b"Content-Encoding", b"gzip"))
        return Response(headers=headers, body=body, etag=strong_etag(body))

    # -- Configuration files

    async def pip_conf(self, context: RequestContext) -> Response:
        """Respond with a configuration file of pip."""
        return self._file(context, pip_conf)

    async def uv_toml(self, context: RequestContext) -> Response:
        """Respond with a configuration file of uv."""
        return self._file(context, uv_toml)

    def _file(self, context: RequestContext, write: Callable[[str], str]) -> Response:
        if context.scope.draft:
            raise NotFound("A draft has no such file: its URL is secret, and no answer has it.")
        body = write(self._urls.own(context.request)).encode("ascii")
        return Response(headers=self._caching_of(TEXT), body=body, etag=strong_etag(body))

    def _caching_of(self, headers: Headers) -> Headers:
        """Keep the URL of a client out of shared caches, as it may come from fields that none considers."""
        if self._urls.public is not None:
            return headers
        return (*(pair for pair in headers if pair not in NO_CACHE), *UNSHARED)
