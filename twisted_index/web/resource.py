"""
The index as a Twisted resource: routes a request, authorizes it, and sends the response of its view.

All URLs are relative to where the resource is mounted; any Twisted site will do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from twisted.internet.defer import Deferred, FirstError
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.config.settings import UploadSettings
from twisted_index.errors import (
    Forbidden,
    LoopDetected,
    MethodNotAllowed,
    SimpleIndexError,
    TooManyRequests,
    Unauthorized,
)
from twisted_index.http_semantics.via import remember_via
from twisted_index.interfaces import ANONYMOUS, Action, ILifecycle
from twisted_index.metrics.counters import Counters
from twisted_index.web.endpoints import ENDPOINTS, EndpointRule, Subject, bind_views
from twisted_index.web.requests import cors as cross_origin
from twisted_index.web.requests.authorization import Authorizer
from twisted_index.web.requests.client_info import ClientInfoReader
from twisted_index.web.requests.context import RequestContext, last_segment, redirect
from twisted_index.web.requests.method_advice import SENDING, method_advice
from twisted_index.web.requests.routes import (
    Endpoint,
    Route,
    collapse_slashes,
    has_empty_segments,
    is_upload_path,
    match_route,
)
from twisted_index.web.responses.error_pages import error_response, message_response
from twisted_index.web.responses.response import Headers, Response
from twisted_index.web.responses.send import close_response, header, send_response
from twisted_index.web.uploads.responses import rejected
from twisted_index.web.uploads.view import UploadView
from twisted_index.web.views.legacy_json import LegacyJsonViews
from twisted_index.web.views.manage import ManageViews
from twisted_index.web.views.operations import OperationsViews
from twisted_index.web.views.simple_api import SimpleApiViews

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client.registry import Collector
    from twisted.web.server import Request

    from twisted_index.access.trusted_proxies import TrustedProxies
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.events.webhooks import FileUploaded
    from twisted_index.interfaces import IAccessControl, IAuditLog, ISource, IStore
    from twisted_index.web.responses.response_cache import ResponseCache
    from twisted_index.web.responses.small_file_cache import SmallFileCache

_log = Logger()

#: Errors that depend on the client's rights.
_ABOUT_RIGHTS = (Unauthorized, Forbidden, TooManyRequests)


class IndexResource(Resource):
    """
    A package index, to be mounted anywhere in a tree of resources.

    Args:
        source: The projects.
        public_url: The URL of this resource that pages show; None for the one that the client used.
        cors: Let web pages of other sites read the index. JSON pages then have absolute URLs: with a
            `public_url` such a page is cached, without one it is rendered for each request.
        headers: Fields added to every response.
        worker: Threads that render large pages; without it they are rendered in the reactor's.
        page_cache: Bytes of rendered pages that are cached.
        access: Who may do what; without it everyone may read, and nothing can be changed.
        store: Publishes and changes files; without it the index is read-only.
        audit_log: The audit log that `/-/history` shows.
        upload_settings: What may be uploaded; nothing by default.
        proxies: The proxies whose forwarded headers are trusted.
        collectors: Collectors of prometheus_client whose metrics `/-/metrics` shows too.
        on_uploaded: Called with each new file.
        on_rejected: Called with project, file name and reason of each rejected upload.
        instance: The pseudonym of this server in the Via field of its upstream requests. A request that
            carries it has come back in a loop and gets an error.

    Attributes:
        uploads: Receives the bodies of uploads as they arrive, on a site that can do so.
        counters: The numbers behind `/-/metrics`; a site adds to them.
        client_info: Reads the address of a client and the URL that it used.
        common_headers: Header fields of every response.
    """

    isLeaf = True

    def __init__(
        self,
        source: ISource,
        *,
        public_url: str | None = None,
        cors: bool = False,
        headers: Headers = (),
        worker: IThreadRunner | None = None,
        page_cache: int = 64 << 20,
        access: IAccessControl | None = None,
        store: IStore | None = None,
        audit_log: IAuditLog | None = None,
        upload_settings: UploadSettings | None = None,
        proxies: TrustedProxies | None = None,
        collectors: Sequence[Collector] = (),
        on_uploaded: Callable[[FileUploaded], None] | None = None,
        on_rejected: Callable[[str, str, str], None] | None = None,
        instance: str | None = None,
    ) -> None:
        Resource.__init__(self)
        self.common_headers: Headers = (*headers, *(cross_origin.CORS_HEADERS if cors else ()))
        self._cors = cors
        self._started = False
        self._lifecycle = ILifecycle(source, None)
        public_url = self._public_url = public_url.rstrip("/") if public_url else None
        self._instance = instance.encode("ascii") if instance is not None else None
        self.counters = Counters()
        origins = self.client_info = ClientInfoReader(proxies)
        guard = self._authorizer = Authorizer(access, origins)
        self._simple_api = SimpleApiViews(
            source,
            authorizer=guard,
            client_info=origins,
            public_url=public_url,
            absolute_urls=cors,
            common_headers=self.common_headers,
            worker=worker,
            page_cache=page_cache,
            accepts_uploads=lambda: store is not None and self.uploads.settings.upload,
        )
        self._operations = OperationsViews(
            source, audit_log=audit_log, counters=self.counters, collectors=collectors
        )
        self._read_only = store is None
        self.uploads = UploadView(
            store,
            guard,
            origins,
            settings=upload_settings or UploadSettings(),
            common_headers=self.common_headers,
            counters=self.counters,
            on_uploaded=on_uploaded,
            on_rejected=on_rejected,
        )
        self._views = bind_views(
            self._simple_api,
            self._operations,
            self.uploads,
            LegacyJsonViews(source, client_info=origins, public_url=public_url, worker=worker),
            *(() if store is None else (ManageViews(store, guard),)),
        )

    def start(self) -> None:
        """Start the source, once; without a service the first request does it."""
        if not self._started:
            self._started = True
            if self._lifecycle is not None:
                self._lifecycle.start()

    async def close(self) -> None:
        """Stop the source; the service calls this, or an embedder that has no service."""
        if self._lifecycle is not None:
            await result_of(self._lifecycle.stop)
        self._started = False

    @property
    def caches(self) -> tuple[ResponseCache, ResponseCache, SmallFileCache]:
        """The cached pages, responses for absent projects, and small files, for a fast path."""
        views = self._simple_api
        return views.pages, views.absent, views.files

    def report_connections(self, connections: Callable[[], int]) -> None:
        """Let the metrics show the number of a site's connections."""
        self._operations.connections = connections

    def misplaced_upload_error(self, request: Request, segments: Sequence[bytes]) -> SimpleIndexError | None:
        """
        Give the error for a posted form at a URL that takes none, on a site with this resource as its root.

        Args:
            request: Its header has arrived.
            segments: Its path.

        Returns:
            None if the URL takes forms.
        """
        if b"POST" in ENDPOINTS[match_route(segments).endpoint].methods or is_upload_path(segments):
            return None
        return self._not_allowed(request, b"POST", segments)

    # -- From a request to a response

    def render(self, request: Request) -> int:
        """Respond to a request with any method."""
        self.start()
        responding = Deferred.fromCoroutine(self._respond(request))
        # A client that has left gets no response, but the response's open file is closed.
        gone: list[object] = []
        request.notifyFinish().addBoth(gone.append)
        responding.addCallback(self._send, request, gone)
        responding.addErrback(self._send_failure, request, gone)
        return NOT_DONE_YET

    def _send(self, response: Response, request: Request, gone: list[object]) -> None:
        if not gone:
            send_response(request, response, self.common_headers)
        else:
            close_response(response)

    def _send_failure(self, failure: Any, request: Request, gone: list[object]) -> None:
        _log.failure("A request failed", failure=failure)
        if gone:
            return
        if request.startedWriting:
            request.loseConnection()
        elif getattr(request.site, "displayTracebacks", False):
            request.processingFailed(failure)
        else:
            message = "The server failed to respond; see its log for the reason."
            send_response(
                request, message_response(500, message, header(request, b"Accept")), self.common_headers
            )

    async def _respond(self, request: Request) -> Response:
        try:
            return await self._dispatch(request)
        except (SimpleIndexError, FirstError) as error:
            return _error_response(error, header(request, b"Accept"))

    async def _dispatch(self, request: Request) -> Response:
        self._refuse_loop(header(request, b"Via") or b"")
        segments = request.postpath or []
        method = b"GET" if request.method == b"HEAD" else request.method
        if method == b"GET" and not segments:
            return redirect(request, f"{last_segment(request)}/", permanent=True)
        if method == b"GET" and has_empty_segments(segments):
            return redirect(request, collapse_slashes([*self._path_of(request), *segments]), permanent=True)
        route = match_route(segments)
        if method == b"POST" and is_upload_path(segments):
            # Also where uploads are turned off: the message says how to turn them on.
            route = Route(Endpoint.UPLOAD)
        elif method == b"OPTIONS":
            preflight = cross_origin.preflight(has_users=self._authorizer.has_users) if self._cors else ()
            allow = b", ".join(self._allowed(segments))
            return Response(status=204, headers=((b"Allow", allow), *preflight))
        elif request.method not in self._allowed(segments):
            error = self._not_allowed(request, request.method, segments)
            if method in SENDING:
                # Perhaps an upload client, and twine shows only the reason phrase.
                return rejected(error, header(request, b"Accept"))
            raise error
        return await self._call_view(request, route, method)

    def _refuse_loop(self, via: bytes) -> None:
        if self._instance is not None and self._instance in via:
            raise LoopDetected("This server is its own upstream: the request looped back to it.")
        if via:
            remember_via(via)

    def _path_of(self, request: Request) -> list[bytes]:
        """
        Give the path of the index as clients see it, in segments.

        Only redirects away from empty segments need it: Python's urljoin skips such segments, so that
        it resolves relative locations differently from browsers.
        """
        return [unquote_to_bytes(segment) for segment in urlsplit(self._url(request)).path.split("/")]

    def _url(self, request: Request) -> str:
        return self._public_url or self.client_info.url(request)

    # -- What the table of endpoints says

    def _rule(self, endpoint: Endpoint) -> EndpointRule:
        """Give the rule of an endpoint. In a read-only index those that only change things are absent."""
        rule = ENDPOINTS[endpoint]
        if self._read_only and rule.of is not Subject.UPLOAD and b"GET" not in rule.methods:
            return ENDPOINTS[Endpoint.NO_ROUTE]
        return rule

    def _allowed(self, segments: Sequence[bytes]) -> tuple[bytes, ...]:
        if self._read_only:
            return ENDPOINTS[Endpoint.NO_ROUTE].allowed
        allowed = ENDPOINTS[match_route(segments).endpoint].allowed
        return (*allowed, b"POST") if is_upload_path(segments) and b"POST" not in allowed else allowed

    def _not_allowed(self, request: Request, method: bytes, segments: Sequence[bytes]) -> MethodNotAllowed:
        advice = method_advice(
            method,
            segments,
            header(request, b"Content-Type"),
            read_only=self._read_only,
            uploads=self.uploads.settings.upload,
            url=lambda: self._url(request),
        )
        return MethodNotAllowed(advice, self._allowed(segments))

    async def _call_view(self, request: Request, route: Route, method: bytes) -> Response:
        rule = self._rule(route.endpoint)
        action, view = rule.methods[method]
        if rule.of is Subject.UPLOAD:
            return await self._views[view](RequestContext(request=request, route=route))
        if method != b"GET":
            self.client_info.refuse_cross_site(request)
        context = await self._authorize(request, route, rule.of, action)
        if not context.private:
            return await self._views[view](context)
        try:
            return _private(await self._views[view](context))
        except (SimpleIndexError, FirstError) as error:
            return _private(_error_response(error, context.accept))

    async def _authorize(
        self, request: Request, route: Route, subject: Subject, action: Action
    ) -> RequestContext:
        """Check the right that a rule asks for, and tell the view what it needs to know of the client."""
        guard = self._authorizer
        unchanged = guard.permission_validity()
        identity, private = ANONYMOUS, False
        if subject is Subject.BODY:
            private = True
        elif subject is Subject.SERVER:
            # Its pages name projects and files: not for everyone where some projects are not.
            private = guard.has_users or not guard.public_read
            if private:
                identity = await guard.require(request, action)
        elif subject is Subject.PROJECT and action is not Action.READ:
            private = True
            identity = await guard.require(request, action, route.project)
        elif guard.public_read:
            pass
        elif subject is Subject.PROJECTS:
            private = True
            # Where nothing is public, an empty list would not make a client log in.
            public = guard.permits(ANONYMOUS, action)
            identity = await (guard.authenticate(request) if public else guard.require(request, action))
        elif subject is Subject.PROJECT:
            identity = await guard.require(request, action, route.project)
            private = identity.is_authenticated
        return RequestContext(
            request=request, route=route, identity=identity, private=private, rights_are_current=unchanged
        )


def _error_response(error: SimpleIndexError | FirstError, accept: bytes | None) -> Response:
    """Turn an error into its response; gatherResults wraps it in a FirstError."""
    reason = error.subFailure.value if isinstance(error, FirstError) else error
    if not isinstance(reason, SimpleIndexError):
        raise error
    response = error_response(reason, accept)
    return _private(response) if isinstance(reason, _ABOUT_RIGHTS) else response


def _private(response: Response) -> Response:
    """Keep a response for one client out of shared caches (RFC 9111 section 5.2.2.7)."""
    vary = b", ".join([*(value for name, value in response.headers if name == b"Vary"), b"Authorization"])
    stored = any(name == b"Cache-Control" and value != b"no-store" for name, value in response.headers)
    others = tuple(pair for pair in response.headers if pair[0] not in (b"Vary", b"Cache-Control"))
    caching = b"private, no-cache" if stored else b"private, no-store"
    return replace(response, headers=(*others, (b"Cache-Control", caching), (b"Vary", vary)))
