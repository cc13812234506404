"""Views of the simple API, of files, and of the pages that link to them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from time import monotonic, time
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults

from twisted_index.concurrency.identity_memo import IdentityMemo
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.errors import NotFound, NotReady, OutOfResources, ReplacedMeanwhile, Unavailable
from twisted_index.http_semantics.negotiation import Format, accepts_gzip, document_format
from twisted_index.indexes.change_feed import add_serials
from twisted_index.interfaces import Action
from twisted_index.metrics.wanted import Askers
from twisted_index.simple.html_writer import write_file_list
from twisted_index.simple.interpreters import offers_of
from twisted_index.simple.model import ProjectPage
from twisted_index.web.requests.context import redirect
from twisted_index.web.requests.index_urls import levels_of
from twisted_index.web.requests.user_agent import interpreter_of
from twisted_index.web.responses.error_pages import absence_response
from twisted_index.web.responses.file_links import has_other_owners, with_provenance_at_owners
from twisted_index.web.responses.in_progress import cache_status_field
from twisted_index.web.responses.response import (
    BINARY,
    UNSHARED,
    Response,
    with_serial,
)
from twisted_index.web.responses.response_cache import (
    LEVELS,
    list_key,
    page_key,
    render_html,
    render_list,
    render_project_page,
)
from twisted_index.web.responses.send import header, prepare_file

if TYPE_CHECKING:
    from collections.abc import Callable, Set

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.indexes.change_feed import ChangeFeed
    from twisted_index.interfaces import ISource, Snapshot
    from twisted_index.metrics.wanted import WantedProjects
    from twisted_index.simple.interpreters import Offers
    from twisted_index.simple.model import ProjectList
    from twisted_index.web.pages.layout import Frame
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.context import RequestContext
    from twisted_index.web.requests.index_urls import IndexUrls
    from twisted_index.web.responses.response_cache import Representation
    from twisted_index.web.responses.shared_caches import SharedCaches

T = TypeVar("T")

#: Pages with more files than this are rendered in a thread, to keep the reactor free.
_MANY = 500
NOT_FOUND_MESSAGE = "There is nothing at this URL. The index is at simple/."


class SimpleApiViews:
    """
    Serves the projects and files of a source.

    Args:
        source: Provides the projects.
        authorizer: Checks which names a client may read.
        urls: Derives the URL of the index.
        absolute_urls: Whether file URLs in JSON pages are absolute, for clients in browsers.
        worker: Threads that write large pages; without it the reactor thread writes them.
        caches: Keep what was rendered.
        wanted: Remembers what installers could not get.
        clock: Measures how long a client has waited; the site's by default.
        feed: The serials of the projects; None if the source has none.
        index: The name of the index, for people.
        own: Of a draft: names that its token is enough to see.
    """

    def __init__(
        self,
        source: ISource,
        *,
        authorizer: Authorizer,
        urls: IndexUrls,
        absolute_urls: bool = False,
        worker: IThreadRunner | None,
        caches: SharedCaches,
        wanted: WantedProjects,
        clock: IReactorTime | None = None,
        feed: ChangeFeed | None = None,
        index: str = "",
        own: Set[str] = frozenset(),
    ) -> None:
        self._source = source
        self._own = own
        self._feed = feed
        self._index = index
        self._lists: IdentityMemo[ProjectList] = IdentityMemo()
        self._clock = clock
        self._wanted = wanted
        self._authorizer = authorizer
        self._urls = urls
        self._absolute_urls = absolute_urls
        self._worker = worker
        self._pages, self._absent, self._files = caches
        self._renderings: SingleFlight[tuple[str, Representation, int], tuple[Response, Offers | None]] = (
            SingleFlight(monotonic)
        )

    async def readable(self, context: RequestContext) -> ProjectList:
        """Return the projects that the client may see."""
        return (await self._read_names(context, self._own)).value

    async def _read_names(
        self, context: RequestContext, own: Set[str] = frozenset()
    ) -> Snapshot[ProjectList]:
        """Get the list of projects that the client may read, and of what it may see besides."""
        snapshot = await result_of(self._source.project_list)
        if not context.private:
            return snapshot
        names, may = snapshot.value.names, self._authorizer.permits
        readable = tuple(name for name in names if name in own or may(context.identity, Action.READ, name))
        return replace(snapshot, value=replace(snapshot.value, names=readable))

    async def _read_page(self, context: RequestContext) -> Snapshot[ProjectPage | None]:
        return await result_of(self._source.project_page, context.route.project)

    # -- The simple API

    async def project_list(self, context: RequestContext) -> Response:
        """Respond with the list of all projects."""
        form = context.representation
        key = list_key(form.format)
        if not context.private and (ready := self._pages.get(key, form)) is not None:
            return ready.response
        snapshot = await self._read_names(context, self._own)
        if form.format is Format.JSON and self._feed is not None:
            snapshot = await self._with_serials(snapshot, self._feed, private=context.private)
        size = len(snapshot.value.names)
        if context.private:
            # Of the names that this client may read: nothing to be shared.
            response = await self._render(lambda: render_list(snapshot.value, form), size)
            return _with_cache_status(with_serial(response, snapshot.serial), snapshot.cache_status)
        return await self._prepare(form, key, snapshot, render_list, size)

    async def _with_serials(
        self, names: Snapshot[ProjectList], feed: ChangeFeed, *, private: bool
    ) -> Snapshot[ProjectList]:
        """Add the serials of its projects to a list."""
        changes = await feed.changes(names.value.names)

        def add() -> ProjectList:
            return add_serials(names.value, changes.value, private=private)

        # That of one client is of no use to others.
        value = add() if private else self._lists.get("", (names.value, changes.value), add)
        return replace(
            names,
            value=value,
            is_current=lambda: names.is_current() and changes.is_current(),
            serial=value.last_serial,
        )

    async def project_page(self, context: RequestContext) -> Response:
        """Respond with the page of one project."""
        form, levels = context.representation, levels_of(context.request)
        key = page_key(context.route.project, levels)
        if (ready := self._pages.get(key, form)) is not None:
            self._notice(context, ready.askers)
            return ready.response
        snapshot = await self._read_page(context)
        if snapshot.value is None:
            key = page_key(context.route.project)
            self._pages.drop(key)
            return self._prepare_absence(context, key, snapshot)
        size = len(snapshot.value.files)
        self._absent.drop(page_key(context.route.project))
        if levels != LEVELS and form.format is Format.JSON and not has_other_owners(snapshot.value):
            # Then its links are the same in every layout; HTML has one that leads up.
            key = page_key(context.route.project)
        if self._absolute_urls and self._urls.public is None and form.format is Format.JSON:
            write = self._write_for(context, snapshot.value)
            self._notice(context, Askers(offers_of(snapshot.value)))
            response = with_serial(await self._render(write, size), snapshot.serial)
            return _with_cache_status(response, snapshot.cache_status)
        response = await self._prepare(form, key, snapshot, partial(self._write_page, levels), size)
        self._notice(context, self._pages.askers(key))
        return response

    def _notice(self, context: RequestContext, askers: Askers | None) -> None:
        """Count what an installer may not be able to use; the fast path does so for its responses."""
        interpreter = interpreter_of(header(context.request, b"User-Agent"))
        if interpreter is not None and askers is not None:
            self._wanted.notice(context.route.project, interpreter, askers, time())

    def _prepare_absence(self, context: RequestContext, key: str, snapshot: Snapshot[Any]) -> Response:
        response = self._absence(context, snapshot, context.frame)
        # The fast path sends it for `/simple/NAME/` only.
        below_simple = self._absence(context, snapshot, replace(context.frame, root="../../"))
        cached = _with_cache_status(below_simple, "hit" if snapshot.cache_status else "")
        self._absent.put(key, snapshot, document_format(context.accept).name, cached)
        self._notice(context, self._absent.askers(key))
        return _with_cache_status(response, snapshot.cache_status)

    def _absence(self, context: RequestContext, snapshot: Snapshot[Any], frame: Frame) -> Response:
        return absence_response(context.route.project, self._index, snapshot.absence, context.accept, frame)

    def _write_page(self, levels: int, page: ProjectPage, form: Representation) -> Response:
        urls, name = self._urls, page.name
        file_url = urls.relative_links(levels).of(name, beside=True)
        if urls.public_links is not None:
            page = with_provenance_at_owners(page, urls.public_links)
            # Links in HTML are always relative: all clients resolve them.
            if self._absolute_urls and form.format is Format.JSON:
                file_url = urls.public_links.of(name)
        about = f"{'../' * levels}project/{name}/"
        return render_project_page(page, form, urls.public, file_url=file_url, about=about)

    def _write_for(self, context: RequestContext, page: ProjectPage) -> Callable[[], Response]:
        """
        Return a function that writes a page with absolute URLs, based on the URL that the client used.

        The page is not cached: clients that vary the Host field would fill the memory with pages.
        """
        form, file_url = context.representation, self._urls.links(context.request).of(page.name)
        return lambda: render_project_page(page, form, None, file_url=file_url, caching=UNSHARED)

    async def bare_project(self, context: RequestContext) -> Response:
        """Redirect from a project's bare name, if the project exists."""
        if (await self._read_page(context)).value is None:
            raise NotFound(NOT_FOUND_MESSAGE)
        return redirect(context.request, f"{context.route.project}/", permanent=True)

    async def _prepare(
        self,
        form: Representation,
        key: str,
        snapshot: Snapshot[T],
        write: Callable[[Any, Representation], Response],
        size: int,
    ) -> Response:
        response = self._pages.revalidate(key, snapshot, form)
        if response is None:
            # One rendering for all requests that wait for it. While it runs, no other page has this id.
            page: Any = snapshot.value
            offers = offers_of if isinstance(page, ProjectPage) else _no_offers
            response, offered = await self._renderings.run(
                (key, form, id(page)),
                lambda: self._render(lambda: (write(page, form), offers(page)), size),
            )
            response = with_serial(response, snapshot.serial)
            # Whatever the Cache-Status of this response, the next one is a hit.
            cached = _with_cache_status(response, "hit" if snapshot.cache_status else "")
            self._pages.put(key, snapshot, form, cached, offered)
            response = _with_cache_status(response, snapshot.cache_status)
        return response

    async def _render(self, write: Callable[[], T], size: int) -> T:
        """Write a page, in a thread if it is large."""
        return await self._worker.run(write) if self._worker is not None and size > _MANY else write()

    async def file(self, context: RequestContext) -> Response:
        """Send a file or one of its sidecars. One that was replaced meanwhile is looked for once more."""
        try:
            response = await self._open_file(context)
        except ReplacedMeanwhile:
            response = await self._open_file(context)
        self._files.put(context.request.path, response)
        return response

    async def _open_file(self, context: RequestContext) -> Response:
        route = context.route
        body = await result_of(self._source.open_file, route.project, route.filename, route.sidecar)
        if body is None:
            raise NotFound("There is no such file here.")
        response = Response(
            headers=BINARY,
            body=body,
            etag=None if body.sha256 is None else b'"%s"' % body.sha256.encode("ascii"),
            modified=body.modified,
        )
        response = _with_cache_status(response, body.cache_status)
        return await prepare_file(context.request, response, self._clock)

    # -- All files on one page

    async def all_files(self, context: RequestContext) -> Response:
        """Respond with all files of all projects on one page."""
        names = (await self._read_names(context)).value.names
        # Read concurrently: the client waits as long as for the slowest one.
        pending = [Deferred.fromCoroutine(self._page_or_none(name)) for name in names]
        snapshots = dict(zip(names, await gatherResults(pending, consumeErrors=True), strict=True))
        pages = [page.value for page in snapshots.values() if page is not None and page.value is not None]
        left_out = [name for name, page in snapshots.items() if page is None]
        compressed = accepts_gzip(header(context.request, b"Accept-Encoding"))
        links = self._urls.relative_links(levels_of(context.request))

        def write() -> Response:
            return render_html(write_file_list(pages, left_out, file_urls=links.of), compressed)

        return await self._render(write, sum(len(page.files) for page in pages))

    async def _page_or_none(self, project: str) -> Snapshot[ProjectPage | None] | None:
        """Read a page; None if only this project is unavailable right now."""
        try:
            return await result_of(self._source.project_page, project)
        except (NotReady, OutOfResources):
            raise
        except Unavailable:
            return None

    async def find_file(self, context: RequestContext) -> Response:
        """Redirect to the file below its project: 302, since files come and go."""
        route = context.route
        page = (await self._read_page(context)).value
        files = () if page is None else page.files
        file = next((file for file in files if file.filename == route.filename), None)
        if file is None:
            raise NotFound("There is no such file here.")
        url_of = self._urls.relative_links(levels_of(context.request)).of(route.project)
        suffix = route.sidecar.value if route.sidecar is not None else ""
        return redirect(context.request, url_of(file) + suffix, permanent=False)

    # -- What the URL alone decides

    async def redirect(self, context: RequestContext) -> Response:
        """Redirect to the location of the route."""
        return redirect(context.request, context.route.location, permanent=context.route.permanent)

    async def nothing(self, _context: RequestContext) -> Response:
        """Raise the 404 for a URL that names nothing."""
        raise NotFound(NOT_FOUND_MESSAGE)


def _no_offers(_page: object) -> None:
    """Stand for the offers of a project list."""


def _with_cache_status(response: Response, status: str) -> Response:
    if not status:
        return response
    return replace(response, headers=(*response.headers, *cache_status_field(status)))
