"""
The index as a Twisted resource: from a route, past the guard, to an answer.

Everything is relative to where the resource is mounted, and nothing here needs our own Site.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, FirstError
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_index.errors import (
    Forbidden,
    LoopDetected,
    MethodNotAllowed,
    NotFound,
    SimpleIndexError,
    TooManyRequests,
    Unauthorized,
)
from twisted_index.interfaces import NOBODY, Action, IRunning
from twisted_index.settings import Publishing
from twisted_index.upstream.via import note_way
from twisted_index.web.asked import Asked, eventually, last_segment, redirect
from twisted_index.web.guard import Guard
from twisted_index.web.managing import Managing
from twisted_index.web.metrics import Counters
from twisted_index.web.operations import Operations
from twisted_index.web.origin import Origins
from twisted_index.web.reading import NOTHING_HERE, Reading
from twisted_index.web.releases import Releases
from twisted_index.web.respond import close, field, respond
from twisted_index.web.response import Headers, Response
from twisted_index.web.routes import Kind, Route, find_route, takes_uploads
from twisted_index.web.sentences import error_response
from twisted_index.web.shortway import ShortWay
from twisted_index.web.upload import Uploads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.web.server import Request

    from twisted_index.access.forwarded import TrustedProxies
    from twisted_index.exposition import HasMetrics
    from twisted_index.hooks import NewFile
    from twisted_index.settings import Limits
    from twisted_index.web.accesslog import AccessLog
    from twisted_index.web.asked import Answer
    from twisted_index.worker import Works

_log = Logger()

_READING = (b"GET", b"HEAD", b"OPTIONS")
_CHANGING = (b"POST", b"OPTIONS")
_READ_ONLY = (
    "This index can only be read; to publish, put the file into its folder, or start it with --upload."
)
_POST_HERE = "Files are published here by POST, as twine and uv do it."
_NO_SUCH_METHOD = "This cannot be done with what is at this URL."
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
#: What is answered by POST and not by GET.
_CHANGES = frozenset({Kind.UPLOAD, Kind.YANK, Kind.STATUS})
#: What shows all projects, and so only those that whoever asks may read.
_LISTS = frozenset({Kind.FRONT, Kind.PROJECT_LIST, Kind.ALL_FILES})
#: What is for those who look after the server, once there are users.
_OPERATING = frozenset({Kind.PROBLEMS, Kind.HISTORY, Kind.METRICS})
#: What depends on who asks, even if it refuses.
_ABOUT_RIGHTS = (Unauthorized, Forbidden, TooManyRequests)


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
        access: Provides `IAccess`: who may do what; without it everyone reads, and nobody changes anything.
        store: Provides `IStore`: where files are published and managed; without it nothing is.
        history: Provides `IHistory`: what was done, to be shown.
        publishing: What may be uploaded; nothing by default.
        proxies: Which proxies are believed.
        parts: Parts that have numbers to tell, besides the resource itself.
        told: Is called with each new file that was uploaded.
        refused: Is called with project, file name and reason of each upload that was not taken.
        instance: What the server calls itself in requests to upstreams; one of these is not answered.

    Attributes:
        uploads: Takes the bodies of uploads as they arrive, where the site can do so.
        counters: What is counted; a site adds to it.
        origins: Knows where requests come from.
        always: Fields that every answer has.
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
        access: Any = None,
        store: Any = None,
        history: Any = None,
        publishing: Publishing | None = None,
        proxies: TrustedProxies | None = None,
        parts: Sequence[HasMetrics] = (),
        told: Callable[[NewFile], None] | None = None,
        refused: Callable[[str, str, str], None] | None = None,
        instance: str | None = None,
    ) -> None:
        Resource.__init__(self)
        self._source = source
        self.always: Headers = (*headers, *(_CORS if cors else ()))
        self._started = False
        self._instance = instance.encode("ascii") if instance is not None else None
        self.counters = Counters()
        origins = self.origins = Origins(proxies)
        guard = self._guard = Guard(access, origins)
        public_url = public_url.rstrip("/") if public_url else None
        self._reading = Reading(
            source,
            guard=guard,
            origins=origins,
            public_url=public_url,
            always=self.always,
            worker=worker,
            page_cache=page_cache,
            takes_uploads=lambda: store is not None and self.uploads.publishing.upload,
        )
        self._operations = Operations(source, history=history, counters=self.counters, parts=parts)
        releases = Releases(source, origins=origins, public_url=public_url, worker=worker)
        self._managing = None if store is None else Managing(store, guard)
        self.uploads = Uploads(
            store,
            guard,
            origins,
            publishing=publishing or Publishing(),
            always=self.always,
            counters=self.counters,
            told=told,
            refused=refused,
        )
        self._answers: dict[Kind, Answer] = {
            **self._reading.answers,
            **self._operations.answers,
            **releases.answers,
            **({} if self._managing is None else self._managing.answers),
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
            await eventually(self._source.stop)
        self._started = False

    def short_way(self, limits: Limits, access_log: AccessLog | None) -> ShortWay:
        """Give the short way to this resource, for a site that has it as its root."""
        reading = self._reading
        return ShortWay(
            reading.pages,
            reading.absent,
            reading.files,
            limits=limits,
            access_log=access_log,
            counters=self.counters,
            origins=self.origins,
        )

    def serves(self, connections: Callable[[], int]) -> None:
        """Learn from a site how many connections there are, for the metrics."""
        self._operations.connections = connections

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
            respond(request, response, self.always)
        else:
            close(response)

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._route(request)
        except (SimpleIndexError, FirstError) as error:
            return _told(error, field(request, b"Accept"))

    async def _route(self, request: Request) -> Response:
        via = field(request, b"Via") or b""
        if self._instance is not None and self._instance in via:
            raise LoopDetected("This server is its own upstream: the request has come back to it.")
        if via:
            note_way(via)
        segments = request.postpath or []
        if not segments and request.method in (b"GET", b"HEAD"):
            return redirect(request, f"{last_segment(request)}/", permanent=True)
        route = find_route(segments)
        if request.method == b"POST" and takes_uploads(segments):
            # Also where uploads are turned off: it says how to turn them on, where clients show it.
            return await self.uploads.answer(request)
        allowed = self._methods(request, route)
        if request.method == b"OPTIONS":
            return Response(status=204, headers=((b"Allow", b", ".join(allowed)),))
        if request.method not in allowed:
            raise MethodNotAllowed(self._refusal(route), allowed)
        if route.kind is Kind.REDIRECT:
            return redirect(request, route.location, permanent=route.permanent)
        if request.method in (b"GET", b"HEAD"):
            return await self._read(request, route)
        return await self._change(request, route)

    def _methods(self, request: Request, route: Route) -> tuple[bytes, ...]:
        """Say which methods are known at a URL (RFC 9110 section 10.2.1)."""
        if self._managing is None:
            return _READING
        if route.kind in _CHANGES:
            return _CHANGING
        if takes_uploads(request.postpath or []):
            return (*_READING, b"POST")
        if route.kind is Kind.FILE:
            return (*_READING, b"DELETE")
        return _READING

    def _refusal(self, route: Route) -> str:
        if self._managing is None:
            return _READ_ONLY
        return _POST_HERE if route.kind is Kind.UPLOAD else _NO_SUCH_METHOD

    async def _read(self, request: Request, route: Route) -> Response:
        answer = self._answers.get(route.kind)
        if answer is None:
            raise NotFound(NOTHING_HERE)
        asked = await self._admit(request, route)
        if not asked.private:
            return await answer(asked)
        try:
            return _sealed(await answer(asked))
        except (SimpleIndexError, FirstError) as error:
            return _sealed(_told(error, asked.accept))

    async def _admit(self, request: Request, route: Route) -> Asked:
        """Let a question pass, or raise what it gets instead."""
        guard = self._guard
        unchanged = guard.lease()
        identity, private = NOBODY, False
        if route.kind in _OPERATING:
            # They name projects and files, and so are nobody's where some may not be read by all.
            private = guard.has_users or not guard.all_may_read
            if private:
                identity = await guard.require(request, Action.OPERATE)
        elif guard.all_may_read:
            pass
        elif route.kind in _LISTS:
            private = True
            if guard.may(NOBODY, Action.READ):
                identity = await guard.identify(request)
            else:
                # Where nothing is open, an empty list would not make anybody log in.
                identity = await guard.require(request, Action.READ)
        elif route.project:
            identity = await guard.require(request, Action.READ, route.project)
            private = identity.known
        return Asked(request=request, route=route, identity=identity, private=private, unchanged=unchanged)

    async def _change(self, request: Request, route: Route) -> Response:
        self.origins.refuse_foreign(request)
        if request.method == b"DELETE":
            assert self._managing is not None
            identity = await self._guard.require(request, Action.DELETE, route.project)
            asked = Asked(request=request, route=route, identity=identity, private=True)
            return _sealed(await self._managing.delete(asked))
        answer = self._answers.get(route.kind)
        if answer is None:
            raise NotFound(NOTHING_HERE)
        return _sealed(await answer(Asked(request=request, route=route, private=True)))


def _told(error: SimpleIndexError | FirstError, accept: bytes | None) -> Response:
    """Turn an error into its answer; FirstError is how one of several questions at once failed."""
    reason = error.subFailure.value if isinstance(error, FirstError) else error
    if not isinstance(reason, SimpleIndexError):
        raise error
    response = error_response(reason, accept)
    return _sealed(response) if isinstance(reason, _ABOUT_RIGHTS) else response


def _sealed(response: Response) -> Response:
    """Keep an answer that is not everyone's out of the hands of others (RFC 9111 section 5.2.2.7)."""
    vary = b", ".join([*(value for name, value in response.headers if name == b"Vary"), b"Authorization"])
    stored = any(name == b"Cache-Control" and value != b"no-store" for name, value in response.headers)
    others = tuple(pair for pair in response.headers if pair[0] not in (b"Vary", b"Cache-Control"))
    caching = b"private, no-cache" if stored else b"private, no-store"
    return replace(response, headers=(*others, (b"Cache-Control", caching), (b"Vary", vary)))


def _log_failure(failure: Any, request: Request, gone: list[object]) -> None:
    _log.failure("A request could not be answered", failure=failure)
    if not gone:
        if request.startedWriting:
            request.loseConnection()
        else:
            request.processingFailed(failure)
