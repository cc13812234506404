"""
Dispatch: routes a request, authorizes it, and calls its view.

A `Dispatcher` never changes. When settings are reloaded, or what its scope serves has changed, another one
takes its place, with caches of its own: so no response is made of two states, and none outlives its settings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from twisted.internet.defer import FirstError

from twisted_index.access.own_tokens import ITokenOwners
from twisted_index.errors import (
    Forbidden,
    LoopDetected,
    MethodNotAllowed,
    NotFound,
    SimpleIndexError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from twisted_index.events.origin import remember_origin
from twisted_index.http_semantics.via import remember_via
from twisted_index.indexes.change_feed import ChangeFeed
from twisted_index.indexes.composite import change_parts
from twisted_index.indexes.scope import PLAIN
from twisted_index.interfaces import ANONYMOUS, NO_DRAFT, Action, IReloadsFiles
from twisted_index.replication.change_gate import EPOCH_FIELD
from twisted_index.web.endpoints import ENDPOINTS, EndpointRule, Subject, bind_views
from twisted_index.web.pages.layout import DEFAULT_TITLE, Frame
from twisted_index.web.requests import cors as cross_origin
from twisted_index.web.requests.authorization import Authorizer, DraftAuthorizer
from twisted_index.web.requests.context import RequestContext, last_segment, redirect, way_up
from twisted_index.web.requests.index_urls import IndexUrls
from twisted_index.web.requests.method_advice import CHANGING, SENDING, method_advice
from twisted_index.web.requests.refused import RefusalRecorder
from twisted_index.web.requests.routes import (
    Endpoint,
    Route,
    collapse_slashes,
    has_empty_segments,
    is_open_path,
    is_replication_path,
    is_upload_path,
    kind_of,
    match_route,
)
from twisted_index.web.responses.error_pages import error_response
from twisted_index.web.responses.response import Headers, Response, keep_private, keep_secret
from twisted_index.web.responses.send import header
from twisted_index.web.responses.shared_caches import SharedCaches
from twisted_index.web.responses.xml_rpc import is_xml_rpc, xml_rpc_fault
from twisted_index.web.uploads.responses import rejected
from twisted_index.web.uploads.view import UploadView
from twisted_index.web.views.audit_log import AuditLogView
from twisted_index.web.views.changes import ChangesViews
from twisted_index.web.views.drafts import DraftViews
from twisted_index.web.views.feed import FeedView
from twisted_index.web.views.front import FrontViews
from twisted_index.web.views.indexes import IndexesViews
from twisted_index.web.views.legacy_json import LegacyJsonViews
from twisted_index.web.views.manage import ManageViews
from twisted_index.web.views.operations import OperationsViews
from twisted_index.web.views.project import ProjectViews
from twisted_index.web.views.promote import PromoteView
from twisted_index.web.views.search import SearchViews
from twisted_index.web.views.simple_api import SimpleApiViews
from twisted_index.web.views.statistics import StatisticsViews
from twisted_index.web.views.tokens import TokenViews
from twisted_index.web.views.why import WhyView

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client.registry import Collector
    from twisted.internet.interfaces import IReactorTime
    from twisted.web.server import Request

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.concurrency.token_bucket import TokenBuckets
    from twisted_index.events.refusals import Refusals
    from twisted_index.events.webhooks import FileUploaded
    from twisted_index.files.reload_status import ReloadedFile
    from twisted_index.indexes.scope import Scope
    from twisted_index.indexes.served_index import IIndexes, ServedIndex
    from twisted_index.interfaces import IAccessControl, IAuditLog, IReplication, ISource
    from twisted_index.metrics.counters import Counters
    from twisted_index.metrics.disk_use import DiskUse
    from twisted_index.replication.change_gate import ChangeGate
    from twisted_index.replication.state_file import StateFile
    from twisted_index.search.directories import Directories
    from twisted_index.statistics.downloads import Downloads
    from twisted_index.web.requests.client_info import ClientInfoReader
    from twisted_index.web.responses.response_cache import ResponseCache
    from twisted_index.web.responses.small_file_cache import SmallFileCache
    from twisted_index.web.uploads.slots import UploadSlots
    from twisted_index.web.views.descriptions import Descriptions

#: Methods that change nothing (RFC 9110 section 9.2.1).
_SAFE = (b"GET", b"HEAD", b"OPTIONS")
#: Errors that depend on the client's rights.
_ABOUT_RIGHTS = (Unauthorized, Forbidden, TooManyRequests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """
    What a resource has for as long as it lives. See `IndexResource` for what is not said here.

    Attributes:
        connections: Returns the number of a site's connections.
        files: Returns the files that are read again, besides those of access control.
        slots: Bounds the number of concurrent uploads.
        questions: Bounds how often a network of clients may ask why.
        directories: What people search.
        descriptions: Renders descriptions.
        replication_state: What this server is among its replicas.
    """

    public_url: str | None
    cors: bool
    common_headers: Headers
    worker: IThreadRunner | None
    audit_log: IAuditLog | None
    refusals: Refusals | None
    collectors: Sequence[Collector]
    client_info: ClientInfoReader
    counters: Counters
    connections: Callable[[], int]
    files: Callable[[], Sequence[ReloadedFile]]
    reactor: IReactorTime | None
    slots: UploadSlots
    questions: TokenBuckets
    on_uploaded: Callable[[FileUploaded], None] | None
    on_rejected: Callable[[str, str, str], None] | None
    instance: bytes | None
    directories: Directories
    descriptions: Descriptions
    indexes: IIndexes | None = None
    downloads: Downloads | None = None
    disk_use: DiskUse | None = None
    gate: ChangeGate | None = None
    replication_state: StateFile | None = None
    replication: IReplication | None = None


@dataclass(frozen=True, slots=True)
class Caches:
    """
    The cached pages, responses for absent projects, and small files, for a fast path.

    They hold what the source returned, for all clients alike: the authorizer decides first.

    Attributes:
        authorizer: Decides for the indexes that the responses are of.
        index: The name of that of them which is requested.
    """

    pages: ResponseCache
    absent: ResponseCache
    files: SmallFileCache
    authorizer: Authorizer
    index: str = ""


class Dispatcher:
    """
    Responds to the requests of one scope, from one source under one set of rights.

    Args:
        environment: What stays when settings are reloaded.
        scope: What the URLs of the requests name.
        served: What answers there.
        access: Who may do what; without it everyone may read, and nothing can be changed.
        caches: Keep its responses.
        fault: Why nothing answers there: clients that have the right to what they request get this error, the
            others the same as where something does.
        authorizer: Checks rights; by default those of the line.

    Attributes:
        served: As given.
        uploads: Receives uploads.
        caches: Cached responses, for as long as this is the dispatcher of its scope.
    """

    def __init__(
        self,
        environment: Environment,
        scope: Scope,
        served: ServedIndex,
        access: IAccessControl | None,
        caches: SharedCaches,
        fault: SimpleIndexError | None = None,
        authorizer: Authorizer | None = None,
    ) -> None:
        self._environment = env = environment
        self._scope = scope
        self.served = served
        self._fault = fault
        self._read_only = served.store is None
        self._title = served.title or f"{DEFAULT_TITLE} {scope.index}".rstrip()
        source, store = served.source, served.store
        self._access = access
        self._alone: Dispatcher | None = None
        # What is in a draft is not counted. Where nothing answers, the links are those of the whole server.
        downloads = None if scope.draft and fault is None else env.downloads
        self._counted = downloads is not None
        guard = self._authorizer = authorizer or Authorizer(access, env.client_info, served.line)
        # What clients only guess is no index.
        index = served.scope.index if fault is None else ""
        self._recorder = RefusalRecorder(env.refusals, env.client_info, index=index)
        urls = self._urls = IndexUrls(scope, env.public_url, env.client_info)
        feed = self._feed = _feed_of(source, env)
        simple_api = SimpleApiViews(
            source,
            authorizer=guard,
            urls=urls,
            absolute_urls=env.cors,
            worker=env.worker,
            caches=caches,
            wanted=env.counters.wanted,
            index=scope.index,
            feed=feed,
            own=served.own,
        )
        directory = partial(env.directories.of, served.scope, source)
        front = FrontViews(
            served,
            scope.index,
            simple_api,
            directory,
            authorizer=guard,
            urls=urls,
            worker=env.worker,
            has_indexes=lambda: _has_indexes(env.indexes),
        )
        self.caches = Caches(*caches, guard, served.scope.index)
        self.uploads = UploadView(
            store,
            guard,
            env.client_info,
            settings=served.uploads,
            slots=env.slots,
            common_headers=env.common_headers,
            counters=env.counters,
            # What is in a draft is not published yet.
            on_uploaded=None if scope.draft else env.on_uploaded,
            on_rejected=env.on_rejected,
            recorder=self._recorder,
            scope=scope,
            index=served.scope.index,
            fault=fault,
            confirm=partial(_confirm, env.indexes, scope, served, env.gate),
        )
        owners = ITokenOwners(access, None)
        own_tokens = None if owners is None else owners.own_tokens
        absent = {"stats": downloads, "changes": feed, "tokens": own_tokens}
        operations = OperationsViews(
            source,
            authorizer=guard,
            counters=env.counters,
            collectors=env.collectors,
            connections=env.connections,
            files=lambda: (*env.files(), *_files_of(access)),
            reactor=env.reactor,
            of_server=not scope.index,
            downloads=env.downloads,
            absent={name for name, what in absent.items() if what is None},
            replication=env.replication if not scope.index else None,
            is_closed=self._is_closed,
        )
        # The index without a name may be one that has a name as well.
        names = frozenset() if env.indexes is None else frozenset({scope.index, index})
        audit_log = AuditLogView(env.audit_log, guard, env.client_info, indexes=names)
        indexes = IndexesViews(env.indexes, guard, urls, env.audit_log, env.worker)
        legacy_json = LegacyJsonViews(source, urls=urls, worker=env.worker)
        project = ProjectViews(
            source,
            authorizer=guard,
            urls=urls,
            directory=directory,
            descriptions=env.descriptions,
            index=scope.index,
            worker=env.worker,
        )
        promote = PromoteView(env.indexes, served, guard)
        manage = () if store is None else (ManageViews(store, guard), promote)
        tokens = TokenViews(own_tokens, env.audit_log, guard)
        process = (env.instance or b"").decode("ascii")
        changes = ChangesViews(
            feed, guard, env.worker, env.replication_state, env.gate, env.audit_log, process=process
        )
        why = WhyView(
            source,
            authorizer=guard,
            client_info=env.client_info,
            buckets=env.questions,
            index=served.scope.index,
            worker=env.worker,
        )
        drafts = DraftViews(served, env.indexes, guard, urls)
        statistics = StatisticsViews(
            downloads,
            authorizer=guard,
            index=served.scope.index,
            worker=env.worker,
            collectors=env.collectors,
            disk_use=env.disk_use,
        )
        views = (
            simple_api,
            front,
            operations,
            audit_log,
            self.uploads,
            legacy_json,
            project,
            tokens,
            changes,
            why,
            indexes,
            drafts,
            SearchViews(directory, guard),
            FeedView(source, directory, guard, urls),
            statistics,
        )
        self._views = bind_views(*views, *manage)

    def stop_waiting(self) -> None:
        """Respond to the clients that wait for changes."""
        if self._feed is not None:
            self._feed.stop()

    def misplaced_upload_error(self, request: Request, segments: Sequence[bytes]) -> SimpleIndexError | None:
        """See `IndexResource`."""
        if b"POST" in ENDPOINTS[match_route(segments).endpoint].methods or self._takes_uploads(segments):
            return None
        return self._not_allowed(request, b"POST", segments)

    async def respond(self, request: Request) -> Response:
        """Respond to a request; errors of the package become responses."""
        try:
            if self._scope.draft and isinstance(self._fault, NotFound):
                # Before anything is said of rights, or of an index with a name.
                raise NotFound(NO_DRAFT)
            if await self._has_token_only(request):
                return await self._of_draft_alone().respond(request)
            response = await (
                self._change(request) if request.method in CHANGING else self._dispatch(request)
            )
        except (SimpleIndexError, FirstError) as error:
            response = self._refuse(request, error)
        return keep_secret(response) if self._is_secret(request) else response

    def _is_secret(self, request: Request) -> bool:
        """Return whether a URL may have the token of a draft, perhaps where no draft can be."""
        return b"+draft" in (*(request.prepath or ()), *(request.postpath or ()))

    async def _has_token_only(self, request: Request) -> bool:
        """Return whether a client reads what only the token of a draft lets it read."""
        if self.served.alone is None or request.method not in _SAFE:
            return False
        project = match_route(request.postpath or []).project
        guard = self._authorizer
        if (project and project not in self.served.own) or guard.permits(ANONYMOUS, Action.READ, project):
            return False
        return not guard.permits(await guard.authenticate(request), Action.READ, project)

    def _of_draft_alone(self) -> Dispatcher:
        served, env = self.served, self._environment
        if self._alone is None:
            assert served.alone is not None
            self._alone = Dispatcher(
                env,
                self._scope,
                replace(served, source=served.alone, store=None, alone=None),
                self._access,
                SharedCaches.of_size(0, env.common_headers),
                authorizer=DraftAuthorizer(self._access, env.client_info, served.line, served.own),
            )
        return self._alone

    async def _change(self, request: Request) -> Response:
        """Dispatch what may change something, if changes are made here now."""
        gate = self._environment.gate
        if gate is None or is_replication_path(request.postpath or []):
            return await self._dispatch(request)
        try:
            end = await gate.begin(header(request, EPOCH_FIELD))
        except SimpleIndexError as error:
            # Perhaps an upload client, and twine shows only the reason phrase.
            return rejected(error, header(request, b"Accept"))
        try:
            return await self._dispatch(request)
        finally:
            end()

    async def _dispatch(self, request: Request) -> Response:
        self._refuse_loop(header(request, b"Via") or b"")
        segments = request.postpath or []
        replication = self._environment.replication
        if replication is not None and self._is_closed() and not is_open_path(segments):
            raise Unavailable(replication.refusal)
        method = b"GET" if request.method == b"HEAD" else request.method
        if method == b"GET" and not segments:
            # The last segment may be the token of a draft.
            shown = "this URL with a slash" if self._scope.draft else None
            return redirect(request, f"{last_segment(request)}/", permanent=True, shown=shown)
        if method == b"GET" and has_empty_segments(segments):
            return redirect(request, collapse_slashes([*self._path_of(request), *segments]), permanent=True)
        if method == b"POST" and segments[:1] != [b"-"] and is_xml_rpc(header(request, b"Content-Type")):
            return xml_rpc_fault(self._urls.shown(request))
        route = match_route(segments)
        if method not in _SAFE:
            remember_origin(self._recorder.origin(request))
        if method in ENDPOINTS[Endpoint.INDEX].methods and self._is_index(segments):
            route = Route(Endpoint.INDEX)
        elif method == b"POST" and self._takes_uploads(segments):
            # Also where uploads are turned off: the message says how to turn them on.
            route = Route(Endpoint.UPLOAD)
        elif method == b"OPTIONS":
            has_users = self._authorizer.has_users
            preflight = cross_origin.preflight(has_users=has_users) if self._environment.cors else ()
            allow = b", ".join(self._allowed(segments))
            return Response(status=204, headers=((b"Allow", allow), *preflight))
        elif request.method not in self._allowed(segments):
            error = self._not_allowed(request, request.method, segments)
            if method in SENDING:
                # Perhaps an upload client, and twine shows only the reason phrase.
                return rejected(error, header(request, b"Accept"))
            raise error
        return await self._call_view(request, route, method)

    def _is_closed(self) -> bool:
        """Return whether everyone may read here what the primary lets only some read."""
        replication = self._environment.replication
        return replication is not None and replication.is_restricted and self._authorizer.public_read

    def _refuse_loop(self, via: bytes) -> None:
        if self._environment.instance is not None and self._environment.instance in via:
            raise LoopDetected("This server is its own upstream: the request looped back to it.")
        if via:
            remember_via(via)

    def _path_of(self, request: Request) -> list[bytes]:
        """
        Return the path of the index as clients see it, in segments.

        Only redirects away from empty segments need it: Python's urljoin skips such segments, so that
        it resolves relative locations differently from browsers.
        """
        return [unquote_to_bytes(segment) for segment in urlsplit(self._urls.own(request)).path.split("/")]

    # -- What the table of endpoints says

    def _rule(self, endpoint: Endpoint, method: bytes) -> EndpointRule:
        """Return the rule of an endpoint; in a read-only index, URLs that only change things name nothing."""
        rule = ENDPOINTS[endpoint]
        return ENDPOINTS[Endpoint.NO_ROUTE] if self._read_only and method not in rule.methods else rule

    def _allowed(self, segments: Sequence[bytes]) -> tuple[bytes, ...]:
        managed = tuple(ENDPOINTS[Endpoint.INDEX].methods) if self._is_index(segments) else ()
        # Its part in a replication is the server's own, whether clients may change the index or not.
        if self._read_only and not (self._scope == PLAIN and is_replication_path(segments)):
            return (*ENDPOINTS[Endpoint.NO_ROUTE].allowed, *managed)
        allowed = (*ENDPOINTS[match_route(segments).endpoint].allowed, *managed)
        return (*allowed, b"POST") if is_upload_path(segments) and b"POST" not in allowed else allowed

    def _not_allowed(self, request: Request, method: bytes, segments: Sequence[bytes]) -> MethodNotAllowed:
        advice = method_advice(
            method,
            segments,
            header(request, b"Content-Type"),
            read_only=self._read_only,
            past=bool(self._scope.as_of),
            # The client's rights are known before an answer says anything of an index with a name.
            uploads=self.uploads.settings.upload or bool(self._scope.index),
            url=lambda: self._urls.shown(request),
        )
        return MethodNotAllowed(advice, self._allowed(segments))

    def _is_index(self, segments: Sequence[bytes]) -> bool:
        """Return whether a URL names an index with a name, and nothing in it."""
        scope = self._scope
        return bool(scope.index) and not scope.as_of and not scope.draft and segments in ([], [b""])

    def _takes_uploads(self, segments: Sequence[bytes]) -> bool:
        return not self._scope.as_of and is_upload_path(segments)

    async def _call_view(self, request: Request, route: Route, method: bytes) -> Response:
        request.kind = kind_of(route.endpoint, method)  # type: ignore[attr-defined]
        rule = self._rule(route.endpoint, method)
        action, view = rule.methods[method]
        if rule.subject is Subject.UPLOAD:
            return await self._views[view](RequestContext(request=request, route=route, title=self._title))
        if method != b"GET":
            self._environment.client_info.refuse_cross_site(request)
        context = await self._authorize(request, route, rule.subject, action)
        try:
            if self._fault is not None and route.endpoint not in (Endpoint.REDIRECT, Endpoint.INDEX):
                raise self._fault
            response = await self._views[view](context)
            self._note_download(request, route)
        except (SimpleIndexError, FirstError) as error:
            response = self._refuse(request, error)
        return keep_private(response) if context.private else response

    def _note_download(self, request: Request, route: Route) -> None:
        """Name the file that a response has, for a site to count when it has left."""
        if route.endpoint is Endpoint.FILE and route.sidecar is None and not self._scope.draft:
            index = self.served.scope.index
            request.download = (index, route.project, route.filename)  # type: ignore[attr-defined]

    def _refuse(self, request: Request, error: SimpleIndexError | FirstError) -> Response:
        """Turn an error into its response; gatherResults wraps it in a FirstError."""
        reason = error.subFailure.value if isinstance(error, FirstError) else error
        if not isinstance(reason, SimpleIndexError):
            raise error
        self._recorder.record(request, reason)
        if reason.from_upstream:
            request.kind = "upstream"  # type: ignore[attr-defined]
        # Where nothing answers, the front page is that of the whole server.
        back = way_up(request, self._scope.depth if self._fault else 0)
        about_rights = isinstance(reason, _ABOUT_RIGHTS)
        # The title of an index is for those who may read it.
        title = DEFAULT_TITLE if about_rights or self._fault else self._title
        frame = Frame(root=back, title=title, counted=self._counted)
        response = error_response(reason, header(request, b"Accept"), frame=frame)
        return keep_private(response) if about_rights else response

    async def _authorize(
        self, request: Request, route: Route, subject: Subject, action: Action
    ) -> RequestContext:
        """Check the right that a rule requires, and return the context of its view."""
        guard = self._authorizer
        identity, private = ANONYMOUS, False
        if subject is Subject.BODY:
            private = True
            if self._scope.index:
                # Before the body is read, what may be wrong with it tells whether there is such an index.
                await guard.require(request, action)
        elif subject in (Subject.PAGES, Subject.SERVER):
            # These pages name projects and files: not for everyone where some projects are not.
            private = not guard.is_open
            if private:
                # The right to see the whole server is that at the index without a name, in every scope.
                index = "" if subject is Subject.SERVER else None
                identity = await guard.require(request, action, index=index)
                # They name files of all folders of the line, and inheriting grants nothing.
                for name in self.served.line[1:] if route.endpoint is Endpoint.PROBLEMS else ():
                    await guard.require(request, action, index=name)
        elif subject is Subject.INDEX:
            private = True
            identity = await guard.require(request, action)
        elif subject is Subject.CLIENT:
            private = not guard.is_open
            if private:
                identity = await guard.authenticate(request)
                await self._require_any(request, route)
        elif subject is Subject.USER:
            private = True
            identity = await guard.require_user(request)
            await self._require_any(request, route)
        elif subject is Subject.PROJECT and action is not Action.READ:
            private = True
            identity = await guard.require(request, action, route.project)
        elif guard.public_read:
            pass
        elif subject is Subject.NOTHING:
            private = await self._require_any(request, route)
        elif subject is Subject.PROJECTS:
            private = True
            # Where nothing is public, an empty list would not make a client log in.
            public = guard.permits(ANONYMOUS, action)
            identity = await (guard.authenticate(request) if public else guard.require(request, action))
        elif subject is Subject.PROJECT:
            identity = await guard.require(request, action, route.project)
            private = identity.is_authenticated
        return RequestContext(
            request=request,
            route=route,
            identity=identity,
            private=private,
            scope=self._scope,
            # As on the pages of errors, it is for those who may read something.
            title=self._title if guard.permits(identity, Action.READ) else DEFAULT_TITLE,
            counted=self._counted,
        )

    async def _require_any(self, request: Request, route: Route) -> bool:
        """
        Require the right to read anything at all in an index with a name: which there are is not for others.

        Returns:
            Whether the response is for this client only.
        """
        if not self._scope.index or route.endpoint is Endpoint.REDIRECT:
            return False
        return (await self._authorizer.require(request, Action.READ)).is_authenticated


def _feed_of(source: ISource, environment: Environment) -> ChangeFeed | None:
    """Return the changes of a source; None if it counts none."""
    parts = change_parts(source)
    return ChangeFeed(parts, environment.worker) if parts else None


def _files_of(access: IAccessControl | None) -> Sequence[ReloadedFile]:
    files = IReloadsFiles(access, None)
    return () if files is None else files.reloaded_files()


def _has_indexes(indexes: IIndexes | None) -> bool:
    """Return whether there are indexes with a name, or may be."""
    try:
        return indexes is not None and bool(indexes.names())
    except Unavailable:
        return True


async def _confirm(
    indexes: IIndexes | None, scope: Scope, served: ServedIndex, gate: ChangeGate | None
) -> None:
    """
    Look whether an upload comes into the index that its URL names now, and whether changes are made here.

    Its body begins to arrive before there is time to look. The change begins when it is whole.

    Raises:
        NotFound, Unavailable: There is no such index, or it has changed; or this server is no primary.
    """
    if gate is not None:
        await gate.check()
    looking = None if indexes is None else indexes.look(scope)
    if indexes is None or looking is None:
        return
    await looking
    if indexes.find(scope) is not served:
        raise Unavailable("The settings of this index have just been read. Repeat the upload.", retry_after=1)
