"""Views of the simple API, of files, and of the pages that lead to them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from twisted.internet.defer import Deferred, gatherResults

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import NotFound, NotReady, OutOfResources, Unavailable
from twisted_index.http_semantics.negotiation import Format, accepts_gzip, document_format, simple_format
from twisted_index.interfaces import Action, StreamingContent
from twisted_index.simple.html_writer import write_file_list
from twisted_index.web.requests.authorization import bind_validity
from twisted_index.web.requests.context import redirect
from twisted_index.web.responses.error_pages import message_response
from twisted_index.web.responses.response import NO_CACHE, NO_SCRIPTS, NOSNIFF, UNSHARED, Response
from twisted_index.web.responses.response_cache import (
    ResponseCache,
    page_key,
    render_html,
    render_list,
    render_project_page,
)
from twisted_index.web.responses.send import header
from twisted_index.web.responses.small_file_cache import SmallFileCache
from twisted_index.web.responses.streaming import cache_status_field, until_sendable
from twisted_index.web.views.html_pages import front_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime
    from twisted.web.http import Request

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import ISource, Snapshot
    from twisted_index.simple.model import ProjectList, ProjectPage
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.client_info import ClientInfoReader
    from twisted_index.web.requests.context import RequestContext
    from twisted_index.web.responses.response import Headers
    from twisted_index.web.responses.response_cache import Representation

T = TypeVar("T")

_BINARY = (b"Content-Type", b"application/octet-stream")
#: Bytes of sentences that are kept for projects which are not there.
_ABSENT_BYTES = 2 << 20
#: Pages with more files than this are rendered in a thread, so they don't block the reactor.
_MANY = 500
NOT_FOUND_MESSAGE = "There is nothing at this URL. The index is at simple/."


class SimpleApiViews:
    """
    Answers questions from a source.

    Args:
        source: Where the projects come from.
        authorizer: Says whose answers are everyone's.
        client_info: Says by which URL people came.
        public_url: The URL of the index that people are shown; None for the one they came by.
        absolute_urls: Whether the URLs of files in JSON pages are whole ones, for clients in browsers.
        common_headers: Fields that every answer has.
        worker: Threads that write large pages; without it they are written at once.
        page_cache: Bytes of prepared pages that are kept.
        clock: Tells how long a client has waited; that of the site by default.
        accepts_uploads: Whether files can be published.
    """

    def __init__(
        self,
        source: ISource,
        *,
        authorizer: Authorizer,
        client_info: ClientInfoReader,
        public_url: str | None,
        absolute_urls: bool = False,
        common_headers: Headers,
        worker: IThreadRunner | None,
        page_cache: int,
        clock: IReactorTime | None = None,
        accepts_uploads: bool = False,
    ) -> None:
        self._source = source
        self._accepts_uploads = accepts_uploads
        self._clock = clock
        self._authorizer = authorizer
        self._client_info = client_info
        self._public_url = public_url
        self._whole_urls = absolute_urls
        self._worker = worker
        self.pages = ResponseCache(page_cache, common_headers)
        self.absent = ResponseCache(_ABSENT_BYTES, common_headers)
        self.files = SmallFileCache(common_headers)

    async def _ask_readable(self, asked: RequestContext) -> Snapshot[ProjectList]:
        """Get the list of projects that the client may read."""
        snapshot = bind_validity(await result_of(self._source.project_list), asked.rights_are_current)
        if not asked.private:
            return snapshot
        names, may = snapshot.value.names, self._authorizer.permits
        readable = tuple(name for name in names if may(asked.identity, Action.READ, name, index=asked.index))
        return replace(snapshot, value=replace(snapshot.value, names=readable))

    async def _ask_page(self, asked: RequestContext) -> Snapshot[ProjectPage | None]:
        snapshot = await result_of(self._source.project_page, asked.route.project)
        return bind_validity(snapshot, asked.rights_are_current)

    # -- The simple API

    async def project_list(self, asked: RequestContext) -> Response:
        """Respond with the list of all projects."""
        form, key = asked.representation, page_key("", asked.index)
        if not asked.private and (ready := self.pages.get(key, form)) is not None:
            return ready.response
        snapshot = await self._ask_readable(asked)
        return await self._prepare(asked, form, key, snapshot, render_list, len(snapshot.value.names))

    async def project_page(self, asked: RequestContext) -> Response:
        """Respond with the page of one project."""
        form, key = asked.representation, page_key(asked.route.project, asked.index)
        if not asked.private and (ready := self.pages.get(key, form)) is not None:
            return ready.response
        snapshot = await self._ask_page(asked)
        if snapshot.value is None:
            self.pages.drop(key)
            return self._prepare_absence(asked, key, snapshot)
        self.absent.drop(key)
        size = len(snapshot.value.files)
        if self._whole_urls and self._public_url is None and form.format is Format.JSON:
            write = self._write_for(asked, snapshot.value)
            return _with_cache_status(await self._elsewhere(write, size), snapshot.cache_status)
        return await self._prepare(asked, form, key, snapshot, self._write_page, size)

    def _prepare_absence(self, asked: RequestContext, key: str, snapshot: Snapshot[Any]) -> Response:
        response = message_response(404, f"There is no project {asked.route.project} here.", asked.accept)
        if not asked.private:
            again = _with_cache_status(response, "hit" if snapshot.cache_status else "")
            self.absent.put(key, snapshot, document_format(asked.accept).name, again)
        return _with_cache_status(response, snapshot.cache_status)

    def _write_page(self, page: ProjectPage, form: Representation) -> Response:
        base_url = self._public_url if self._whole_urls else None
        return render_project_page(page, form, self._public_url, base_url=base_url)

    def _write_for(self, asked: RequestContext, page: ProjectPage) -> Callable[[], Response]:
        """
        Give what writes a page with the address by which its client came.

        It is not cached: clients that vary the Host field would fill the memory with pages.
        """
        form, base_url = asked.representation, self._client_info.url(asked.request)
        return lambda: render_project_page(page, form, None, base_url=base_url, caching=UNSHARED)

    async def bare_project(self, asked: RequestContext) -> Response:
        """Redirect from a project's bare name, if there is such a project."""
        if (await self._ask_page(asked)).value is None:
            raise NotFound(NOT_FOUND_MESSAGE)
        return redirect(asked.request, f"{asked.route.project}/", permanent=True)

    async def _prepare(
        self,
        asked: RequestContext,
        form: Representation,
        key: str,
        snapshot: Snapshot[T],
        write: Callable[[Any, Representation], Response],
        size: int,
    ) -> Response:
        response = None if asked.private else self.pages.revalidate(key, snapshot, form)
        if response is None:
            response = await self._elsewhere(lambda: write(snapshot.value, form), size)
            if not asked.private:
                # However the cache came by it now, next time it is there.
                again = _with_cache_status(response, "hit" if snapshot.cache_status else "")
                self.pages.put(key, snapshot, form, again)
            response = _with_cache_status(response, snapshot.cache_status)
        return response

    async def _elsewhere(self, write: Callable[[], Response], size: int) -> Response:
        """Write a page, in a thread if it is large."""
        return await self._worker.run(write) if self._worker is not None and size > _MANY else write()

    async def file(self, asked: RequestContext) -> Response:
        """Send a file or one of its sidecars."""
        route = asked.route
        body = await result_of(self._source.open_file, route.project, route.filename, route.sidecar)
        if body is None:
            raise NotFound("There is no such file here.")
        if isinstance(body.content, StreamingContent) and _wants_bytes(asked.request):
            wants_range = header(asked.request, b"Range") is not None
            body = await until_sendable(
                body, wants_range, self._clock or asked.request.channel.factory.reactor
            )
        response = Response(
            headers=(_BINARY, (b"Accept-Ranges", b"bytes"), *NO_CACHE, *NOSNIFF),
            body=body,
            etag=None if body.sha256 is None else b'"%s"' % body.sha256.encode("ascii"),
            modified=body.modified,
        )
        response = _with_cache_status(response, body.cache_status)
        if not asked.private:
            self.files.put(asked.request.path, response, asked.rights_are_current)
        return response

    # -- All files on one page

    async def all_files(self, asked: RequestContext) -> Response:
        """Respond with all files of all projects on one page."""
        names = (await self._ask_readable(asked)).value.names
        # All at once, so that a client waits for them only as long as for one.
        asking = [Deferred.fromCoroutine(self._page_or_none(name)) for name in names]
        answers = dict(zip(names, await gatherResults(asking, consumeErrors=True), strict=True))
        pages = [one.value for one in answers.values() if one is not None and one.value is not None]
        left_out = [name for name, one in answers.items() if one is None]
        compressed = accepts_gzip(header(asked.request, b"Accept-Encoding"))

        def write() -> Response:
            return render_html(write_file_list(pages, left_out), compressed)

        return await self._elsewhere(write, sum(len(page.files) for page in pages))

    async def _page_or_none(self, project: str) -> Snapshot[ProjectPage | None] | None:
        """Ask for a page; None if this project, and nothing besides it, cannot be told right now."""
        try:
            return await result_of(self._source.project_page, project)
        except (NotReady, OutOfResources):
            raise
        except Unavailable:
            return None

    async def find_file(self, asked: RequestContext) -> Response:
        """Redirect to the file at its project: 302, since the file may come and go."""
        route = asked.route
        page = (await self._ask_page(asked)).value
        if page is None or not any(file.filename == route.filename for file in page.files):
            raise NotFound("There is no such file here.")
        suffix = route.sidecar.value if route.sidecar is not None else ""
        location = f"{route.location}{quote(route.filename)}{suffix}"
        return redirect(asked.request, location, permanent=False)

    # -- What the URL alone decides

    async def redirect(self, asked: RequestContext) -> Response:
        """Redirect as the route says."""
        return redirect(asked.request, asked.route.location, permanent=asked.route.permanent)

    async def nothing(self, _asked: RequestContext) -> Response:
        """Raise the 404 of a URL that names nothing."""
        raise NotFound(NOT_FOUND_MESSAGE)

    # -- For people

    async def front(self, asked: RequestContext) -> Response:
        """Respond with the front page; to installers with the project list."""
        if simple_format(asked.accept) is not Format.HTML:
            return await self.project_list(asked)
        project_list = (await self._ask_readable(asked)).value
        # It may repeat what the request said of our address, so it is never kept or shared.
        headers = ((b"Content-Type", b"text/html; charset=utf-8"), (b"Cache-Control", b"no-store"))
        return Response(
            headers=(*headers, (b"Vary", b"Accept"), *NOSNIFF, *NO_SCRIPTS),
            body=front_page(
                project_list,
                self._public_url or self._client_info.url(asked.request),
                uploads=self._accepts_uploads,
            ),
        )


def _wants_bytes(request: Request) -> bool:
    """Say whether a request is likely to be answered with a body: for others nothing is fetched."""
    conditional = header(request, b"If-None-Match") or header(request, b"If-Modified-Since")
    return request.method == b"GET" and conditional is None


def _with_cache_status(response: Response, status: str) -> Response:
    if not status:
        return response
    return replace(response, headers=(*response.headers, *cache_status_field(status)))
