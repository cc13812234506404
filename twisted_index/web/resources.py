"""
The index as a Twisted resource: from a route to an answer.

Everything is relative to where the resource is mounted, and nothing here needs our own Site.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from twisted.internet.defer import Deferred, FirstError, gatherResults, maybeDeferred
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_index.errors import MethodNotAllowed, NotFound, SimpleIndexError
from twisted_index.http_rules.negotiate import (
    DocumentFormat,
    Format,
    accepts_gzip,
    document_format,
    format_parameter,
    simple_format,
)
from twisted_index.interfaces import IProblemSource, IRunning, ProblemReport
from twisted_index.simple.html_page import write_file_list
from twisted_index.simple.names import InvalidFilename, parse_filename
from twisted_index.web.people import front_page, is_plain_host, problems_json, problems_page
from twisted_index.web.prepared import (
    Form,
    PreparedAnswers,
    form_as,
    form_of,
    prepare_html,
    prepare_list,
    prepare_page,
)
from twisted_index.web.readyfiles import ReadyFiles
from twisted_index.web.respond import close, field, respond
from twisted_index.web.response import NO_SCRIPTS, NOSNIFF, REVALIDATE, Headers, Response
from twisted_index.web.routes import Kind, Route, find_route
from twisted_index.web.sentences import error_response, sentence_response
from twisted_index.web.shortway import ShortWay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted.web.server import Request

    from twisted_index.interfaces import Snapshot
    from twisted_index.settings import Limits
    from twisted_index.simple.model import ProjectList, ProjectPage
    from twisted_index.web.accesslog import AccessLog
    from twisted_index.worker import Works

T = TypeVar("T")
_log = Logger()

_READING = (b"GET", b"HEAD", b"OPTIONS")
_READ_ONLY = "This index can only be read; to publish, put the file into the server's folder."
#: What a web page of another site may do with --cors: read, and ask conditionally.
_CORS: Headers = (
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Access-Control-Allow-Methods", b"GET"),
    (
        b"Access-Control-Allow-Headers",
        b"Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Unmodified-Since",
    ),
    (b"Access-Control-Max-Age", b"86400"),
)
_BINARY = (b"Content-Type", b"application/octet-stream")
#: Bytes of sentences that are kept for projects which are not there.
_ABSENT_BYTES = 2 << 20
#: Pages of more files are written in a thread, so that nobody waits for them who asks for others.
_MANY = 500


class IndexResource(Resource):
    """
    A package index, to be put anywhere in a tree of resources.

    Args:
        source: Where the projects come from.
        public_url: The URL of this resource that people are shown; None for the one they came by.
        cors: Let web pages of other sites read the index.
        headers: Fields added to every answer.
        worker: Threads that write large pages; without it they are written at once.
        page_cache: Bytes of prepared pages that are kept.
    """

    isLeaf = True

    def __init__(
        self,
        source: Any,
        *,
        public_url: str | None = None,
        cors: bool = False,
        headers: Headers = (),
        worker: Works | None = None,
        page_cache: int = 64 << 20,
    ) -> None:
        Resource.__init__(self)
        self._source = source
        self._public_url = public_url.rstrip("/") if public_url else None
        self._always: Headers = (*headers, *(_CORS if cors else ()))
        self._worker = worker
        self._started = False
        self._pages = PreparedAnswers(page_cache, self._always)
        self._absent = PreparedAnswers(_ABSENT_BYTES, self._always)
        self._files = ReadyFiles(self._always)
        self._answers: dict[Kind, Callable[[Request, Route], Awaitable[Response]]] = {
            Kind.FRONT: self._answer_front,
            Kind.PROJECT_LIST: self._answer_list,
            Kind.PROJECT_PAGE: self._answer_page,
            Kind.BARE_PROJECT: self._answer_bare_project,
            Kind.FILE: self._answer_file,
            Kind.ALL_FILES: self._answer_all_files,
            Kind.FIND_FILE: self._answer_find_file,
            Kind.HEALTH: self._answer_health,
            Kind.PROBLEMS: self._answer_problems,
        }

    def start(self) -> None:
        """Start the source, once; the first request does it too, where there is no service to do so."""
        if not self._started:
            self._started = True
            if IRunning.providedBy(self._source):
                self._source.start()

    async def close(self) -> None:
        """Stop the source, if it has anything to stop; called by the service, or by whoever has none."""
        if IRunning.providedBy(self._source):
            await _eventually(self._source.stop)
        self._started = False

    def short_way(self, limits: Limits, access_log: AccessLog | None) -> ShortWay:
        """Give the short way to this resource, for a site that has it as its root."""
        return ShortWay(self._pages, self._absent, self._files, limits=limits, access_log=access_log)

    def render(self, request: Request) -> int:
        """Answer a request; every method comes here."""
        self.start()
        answering = Deferred.fromCoroutine(self._answer(request))
        # A client that is gone needs no answer; an open file is closed by whoever got it.
        gone: list[object] = []
        request.notifyFinish().addBoth(gone.append)
        answering.addCallback(self._finish, request, gone)
        answering.addErrback(_log_failure, request, gone)
        return NOT_DONE_YET

    def _finish(self, response: Response, request: Request, gone: list[object]) -> None:
        if not gone:
            respond(request, response, self._always)
        else:
            close(response)

    async def _answer(self, request: Request) -> Response:
        try:
            if request.method == b"OPTIONS":
                return Response(status=204, headers=((b"Allow", b", ".join(_READING)),))
            if request.method not in _READING:
                raise MethodNotAllowed(_READ_ONLY, _READING)
            if not request.postpath:
                return _redirect(request, f"{quote(_last_segment(request))}/", permanent=True)
            route = find_route(request.postpath)
            if route.kind is Kind.REDIRECT:
                return _redirect(request, route.location, permanent=route.permanent)
            if route.kind is Kind.NOTHING:
                raise NotFound("There is nothing at this URL. The index is at simple/.")
            return await self._answers[route.kind](request, route)
        except SimpleIndexError as error:
            return error_response(error, field(request, b"Accept"))
        except FirstError as error:
            if isinstance(error.subFailure.value, SimpleIndexError):
                return error_response(error.subFailure.value, field(request, b"Accept"))
            raise

    async def _ask_list(self) -> Snapshot[ProjectList]:
        snapshot: Snapshot[ProjectList] = await _eventually(self._source.project_list)
        return snapshot

    async def _ask_page(self, project: str) -> Snapshot[ProjectPage | None]:
        snapshot: Snapshot[ProjectPage | None] = await _eventually(self._source.project_page, project)
        return snapshot

    # -- The simple API

    async def _answer_list(self, request: Request, _route: Route) -> Response:
        form = _choose_form(request)
        if (ready := self._pages.ready("", form)) is not None:
            return ready.response
        snapshot = await self._ask_list()
        return await self._prepare("", snapshot, form, prepare_list, len(snapshot.value.names))

    async def _answer_page(self, request: Request, route: Route) -> Response:
        form = _choose_form(request)
        name = route.project
        if (ready := self._pages.ready(name, form)) is not None:
            return ready.response
        snapshot = await self._ask_page(name)
        if snapshot.value is None:
            self._pages.drop(name)
            return self._prepare_absence(name, snapshot, field(request, b"Accept"))
        self._absent.drop(name)
        return await self._prepare(name, snapshot, form, self._write_page, len(snapshot.value.files))

    def _prepare_absence(self, name: str, snapshot: Snapshot[Any], accept: bytes | None) -> Response:
        response = sentence_response(404, f"There is no project {name} here.", accept)
        self._absent.keep(name, snapshot, document_format(accept).name, response)
        return response

    def _write_page(self, page: ProjectPage, form: Form) -> Response:
        return prepare_page(page, form, self._public_url)

    async def _answer_bare_project(self, request: Request, route: Route) -> Response:
        if (await self._ask_page(route.project)).value is None:
            raise NotFound("There is nothing at this URL. The index is at simple/.")
        return _redirect(request, f"{route.project}/", permanent=True)

    async def _prepare(
        self,
        key: str,
        snapshot: Snapshot[T],
        form: Form,
        write: Callable[[Any, Form], Response],
        size: int,
    ) -> Response:
        response = self._pages.find(key, snapshot, form)
        if response is None:
            response = await self._elsewhere(lambda: write(snapshot.value, form), size)
            self._pages.keep(key, snapshot, form, response)
        return response

    async def _elsewhere(self, write: Callable[[], Response], size: int) -> Response:
        """Write a page, in a thread if it is large."""
        return await self._worker.run(write) if self._worker is not None and size > _MANY else write()

    async def _answer_file(self, request: Request, route: Route) -> Response:
        body = await _eventually(self._source.open_file, route.project, route.filename, route.companion)
        if body is None:
            raise NotFound("There is no such file here.")
        response = Response(
            headers=(_BINARY, (b"Accept-Ranges", b"bytes"), *REVALIDATE, *NOSNIFF),
            body=body,
            etag=None if body.sha256 is None else b'"%s"' % body.sha256.encode("ascii"),
            modified=body.modified,
        )
        self._files.keep(request.path, response)
        return response

    # -- All files on one page

    async def _answer_all_files(self, request: Request, _route: Route) -> Response:
        names = (await self._ask_list()).value.names
        # All at once, so that a client waits for them only as long as for one.
        asking = [maybeDeferred(self._source.project_page, name) for name in names]
        pages = [snapshot.value for snapshot in await gatherResults(asking, consumeErrors=True)]
        compressed = accepts_gzip(field(request, b"Accept-Encoding"))

        def write() -> Response:
            return prepare_html(write_file_list(page for page in pages if page is not None), compressed)

        return await self._elsewhere(write, sum(len(page.files) for page in pages if page is not None))

    async def _answer_find_file(self, request: Request, route: Route) -> Response:
        """Lead to the file at its project: 302, since the file may come and go."""
        try:
            project = parse_filename(route.filename).project
        except InvalidFilename as error:
            raise NotFound("There is no such file here.") from error
        page = (await self._ask_page(project)).value
        if page is None or not any(file.filename == route.filename for file in page.files):
            raise NotFound("There is no such file here.")
        return _redirect(request, f"../simple/{project}/{quote(route.filename)}", permanent=False)

    # -- For people and machines that look after the server

    async def _answer_front(self, request: Request, route: Route) -> Response:
        if simple_format(field(request, b"Accept")) is not Format.HTML:
            return await self._answer_list(request, route)
        project_list = (await self._ask_list()).value
        # It may repeat what the request said of our address, so it is never kept or shared.
        headers = ((b"Content-Type", b"text/html; charset=utf-8"), (b"Cache-Control", b"no-store"))
        return Response(
            headers=(*headers, (b"Vary", b"Accept"), *NOSNIFF, *NO_SCRIPTS),
            body=front_page(project_list, self._public_url or _url_of(request)),
        )

    async def _answer_health(self, _request: Request, _route: Route) -> Response:
        # Asks the source, so that a folder which cannot be read is not called healthy.
        await self._ask_list()
        return Response(headers=_json(), body=json.dumps({"status": "ok"}).encode() + b"\n")

    async def _answer_problems(self, request: Request, _route: Route) -> Response:
        report = ProblemReport()
        if IProblemSource.providedBy(self._source):
            report = await _eventually(self._source.problems)
        if document_format(field(request, b"Accept")) is DocumentFormat.HTML:
            return Response(headers=(*_html(), (b"Vary", b"Accept"), *NO_SCRIPTS), body=problems_page(report))
        return Response(headers=(*_json(), (b"Vary", b"Accept")), body=problems_json(report))


async def _eventually(question: Callable[..., Any], *args: Any) -> Any:
    """Ask a source, whose answer may be a value, a Deferred or a coroutine."""
    return await maybeDeferred(question, *args)


def _log_failure(failure: Any, request: Request, gone: list[object]) -> None:
    _log.failure("A request could not be answered", failure=failure)
    if not gone:
        if request.startedWriting:
            request.loseConnection()
        else:
            request.processingFailed(failure)


def _html() -> Headers:
    return ((b"Content-Type", b"text/html; charset=utf-8"), *REVALIDATE, *NOSNIFF)


def _json() -> Headers:
    return ((b"Content-Type", b"application/json"), *REVALIDATE, *NOSNIFF)


def _choose_form(request: Request) -> Form:
    """Choose format and coding; a `format` in the query wins over Accept (PEP 691)."""
    wanted = (request.args or {}).get(b"format")
    chosen = format_parameter(wanted[0].decode("latin-1")) if wanted else None
    encoding = field(request, b"Accept-Encoding")
    return form_of(field(request, b"Accept"), encoding) if chosen is None else form_as(chosen, encoding)


def _redirect(request: Request, location: str, *, permanent: bool) -> Response:
    """Lead elsewhere. Relative, so that it holds below any prefix and behind any proxy."""
    _path, mark, query = request.uri.partition(b"?")
    return sentence_response(
        301 if permanent else 302,
        f"This is at {location} instead.",
        field(request, b"Accept"),
        ((b"Location", location.encode("ascii") + mark + query),),
    )


def _last_segment(request: Request) -> str:
    """Give the name under which this resource is mounted."""
    segment: bytes = request.prepath[-1] if request.prepath else b""
    return segment.decode("utf-8", "replace")


def _url_of(request: Request) -> str:
    """Give the URL by which the client came to this resource."""
    scheme = "https" if request.isSecure() else "http"
    host = (field(request, b"Host") or b"").decode("latin-1")
    if not is_plain_host(host):
        host = _address_of(request)
    prefix = "".join(f"/{quote(segment)}" for segment in request.prepath or () if segment)
    return urlsplit(f"{scheme}://{host}{prefix}").geturl()


def _address_of(request: Request) -> str:
    address = request.getHost()
    host = getattr(address, "host", "localhost")
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{getattr(address, 'port', 80)}"
