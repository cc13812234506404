"""
The index as a Twisted resource, and the life of what it serves.

All URLs are relative to where the resource is mounted; any Twisted site will do.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.concurrency.thread_pool import SynchronousRunner
from twisted_index.concurrency.token_bucket import TokenBuckets
from twisted_index.config.settings import UploadSettings
from twisted_index.errors import SimpleIndexError
from twisted_index.indexes.scope import PLAIN
from twisted_index.indexes.served_index import ServedIndex
from twisted_index.interfaces import ILifecycle
from twisted_index.metrics.counters import Counters
from twisted_index.search.directories import Directories
from twisted_index.web.dispatcher import Environment
from twisted_index.web.dispatchers import Dispatchers
from twisted_index.web.requests.client_info import ClientInfoReader
from twisted_index.web.requests.cors import CORS_HEADERS
from twisted_index.web.requests.routes import is_upload_path
from twisted_index.web.responses.error_pages import message_response
from twisted_index.web.responses.send import close_response, header, send_response
from twisted_index.web.responses.shared_caches import SharedCaches
from twisted_index.web.uploads.slots import PARALLEL_UPLOADS, UploadSlots
from twisted_index.web.views.descriptions import Descriptions
from twisted_index.web.views.why import BURST, PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client.registry import Collector
    from twisted.internet.interfaces import IReactorTime
    from twisted.web.server import Request

    from twisted_index.access.trusted_proxies import TrustedProxies
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.events.refusals import Refusals
    from twisted_index.events.webhooks import FileUploaded
    from twisted_index.files.reload_status import ReloadedFile
    from twisted_index.indexes.scope import Scope
    from twisted_index.indexes.served_index import IIndexes
    from twisted_index.interfaces import IAccessControl, IAuditLog, IReplication, ISource, IStore
    from twisted_index.metrics.disk_use import DiskUse
    from twisted_index.replication.change_gate import ChangeGate
    from twisted_index.replication.state_file import StateFile
    from twisted_index.statistics.downloads import Downloads
    from twisted_index.web.dispatcher import Caches, Dispatcher
    from twisted_index.web.relay import ChangeRelay
    from twisted_index.web.responses.response import Headers, Response
    from twisted_index.web.uploads.receiver import TakesBodies

_log = Logger()


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
        refusals: Records refused logins, requests and uploads there; None records none.
        upload_settings: What may be uploaded; nothing by default.
        proxies: The proxies whose forwarded headers are trusted.
        collectors: Collectors of prometheus_client whose metrics `/-/metrics` shows too; a
            `MeasuredCollector` takes its values first.
        on_uploaded: Called with each new file.
        on_rejected: Called with project, file name and reason of each rejected upload.
        instance: The pseudonym of this server in the Via field of its upstream requests. A request that
            carries it has come back in a loop and gets an error.
        reactor: Bounds the time of a scrape of the metrics; None for no bound.
        directories: What people search; by default kept in memory.
        descriptions: Renders the descriptions of releases; by default in the threads of `worker`.
        indexes: The indexes of this server, below `/+NAME/`, and what `source`, `store` and `upload_settings`
            say of the one without a name. Without it there is only that one.
        title: Of the index, for people, where there is only that one.
        downloads: Counts downloads, on a site that can do so, and sums them up; None counts none.
        disk_use: Measures folders for operators; None measures none.
        gate: Decides whether changes are made here; without it they are.
        replication_state: What this server is among its replicas; without it, a primary in its first epoch.
        replication: The part that this server has in a replication; None for none.
        relay: Sends changes on while this server is a replica; without it they are refused then.

    Attributes:
        poll: Called before each request and each upload; may call `serve`. None if nothing ever changes.
        counters: The numbers behind `/-/metrics`; a site adds to them.
        downloads: As given.
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
        refusals: Refusals | None = None,
        upload_settings: UploadSettings | None = None,
        proxies: TrustedProxies | None = None,
        collectors: Sequence[Collector] = (),
        on_uploaded: Callable[[FileUploaded], None] | None = None,
        on_rejected: Callable[[str, str, str], None] | None = None,
        instance: str | None = None,
        reactor: IReactorTime | None = None,
        directories: Directories | None = None,
        descriptions: Descriptions | None = None,
        indexes: IIndexes | None = None,
        title: str = "",
        downloads: Downloads | None = None,
        disk_use: DiskUse | None = None,
        gate: ChangeGate | None = None,
        replication_state: StateFile | None = None,
        replication: IReplication | None = None,
        relay: ChangeRelay | None = None,
    ) -> None:
        Resource.__init__(self)
        self.common_headers: Headers = (*headers, *(CORS_HEADERS if cors else ()))
        self.counters = Counters()
        self.downloads = downloads
        self.client_info = ClientInfoReader(proxies)
        self.poll: Callable[[], None] | None = None
        self._connections: Callable[[], int] = lambda: 0
        self._files: Callable[[], Sequence[ReloadedFile]] = tuple
        self._started = False
        self._lifecycles = [part for part in (ILifecycle(source, None), ILifecycle(indexes, None)) if part]
        self._store = store
        self._relay = relay
        self._indexes = indexes
        self._page_cache = page_cache
        self._title = title
        self._environment = Environment(
            public_url=public_url.rstrip("/") if public_url else None,
            cors=cors,
            common_headers=self.common_headers,
            worker=worker,
            audit_log=audit_log,
            refusals=refusals,
            collectors=collectors,
            client_info=self.client_info,
            counters=self.counters,
            connections=lambda: self._connections(),
            files=lambda: self._files(),
            reactor=reactor,
            slots=UploadSlots(PARALLEL_UPLOADS),
            questions=TokenBuckets(BURST, PER_SECOND, monotonic if reactor is None else reactor.seconds),
            on_uploaded=on_uploaded,
            on_rejected=on_rejected,
            instance=instance.encode("ascii") if instance is not None else None,
            directories=directories or _directories(worker, reactor),
            descriptions=descriptions or Descriptions(worker or SynchronousRunner(), reactor),
            indexes=indexes,
            downloads=downloads,
            disk_use=disk_use,
            gate=gate,
            replication_state=replication_state,
            replication=replication,
        )
        self._dispatchers = self._make_dispatchers(source, access, upload_settings or UploadSettings())

    def serve(self, source: ISource, access: IAccessControl | None, upload_settings: UploadSettings) -> None:
        """
        Serve this from the next request on. Running requests end with what they began with.

        Args:
            source: The projects; made of the same parts, which the resource has started, as the one before.
            access: Who may do what.
            upload_settings: What may be uploaded.
        """
        previous, self._dispatchers = (
            self._dispatchers,
            self._make_dispatchers(source, access, upload_settings),
        )
        # Clients that wait ask again, and get what holds now.
        previous.stop_waiting()

    def _make_dispatchers(
        self, source: ISource, access: IAccessControl | None, uploads: UploadSettings
    ) -> Dispatchers:
        plain = ServedIndex(
            scope=PLAIN, line=("",), source=source, store=self._store, uploads=uploads, title=self._title
        )
        caches = SharedCaches.of_size(self._page_cache, self.common_headers)
        return Dispatchers(self._environment, plain, access, self._indexes, caches)

    def stop_waiting(self) -> None:
        """Respond to the clients that wait for changes, so that they do not hold up a stop."""
        self._dispatchers.stop_waiting()

    def start(self) -> None:
        """Start the source, once; without a service the first request does it."""
        if not self._started:
            self._started = True
            for part in self._lifecycles:
                part.start()

    async def close(self) -> None:
        """Stop the source; the service calls this, or an embedder that has no service."""
        await self._environment.directories.close()
        for part in self._lifecycles:
            await result_of(part.stop)
        self._started = False

    def _enter(
        self, request: Request, segments: Sequence[bytes], fault: SimpleIndexError | None = None
    ) -> tuple[Dispatcher, list[bytes]]:
        """
        Return what serves a request, and the rest of its path.

        The segments that name the scope become a part of the path where the resource is mounted: so all
        relative URLs of the index are right below it.
        """
        if self.poll is not None:
            self.poll()
        scope, taken = self._dispatchers.split(segments)
        if taken:
            request.prepath = [*(request.prepath or ()), *segments[:taken]]
        return self._dispatchers.at(scope, fault), list(segments[taken:])

    def caches(self, scope: Scope = PLAIN) -> Caches | None:
        """Return the cached responses that are current now, for a fast path; None if that is not known."""
        if self.poll is not None:
            self.poll()
        caches = self._dispatchers.caches(scope)
        replication = self._environment.replication
        if caches is not None and replication is not None and replication.is_restricted:
            # A look at the rights first, which may let everyone read what the primary does not.
            return None if caches.authorizer.public_read else caches
        return caches

    def report_connections(self, connections: Callable[[], int]) -> None:
        """Let the metrics show the number of a site's connections."""
        self._connections = connections

    def report_files(self, files: Callable[[], Sequence[ReloadedFile]]) -> None:
        """Let `/-/health`, `/-/problems` and the metrics show whether these files could be used."""
        self._files = files

    @property
    def slots(self) -> UploadSlots:
        """Bounds the number of uploads that are received at the same time."""
        return self._environment.slots

    def upload_at(
        self, request: Request, segments: Sequence[bytes], *, is_root: bool
    ) -> tuple[TakesBodies, SimpleIndexError | None] | None:
        """
        Return what receives a form that begins to arrive now, on a site that can do so.

        Args:
            request: Its header has arrived, and no resource has been found for it.
            segments: Its path.
            is_root: Whether the resource is the root of its site. Elsewhere its path is not known yet: then
                the end of the path decides.

        Returns:
            The view, and the error that it is to respond with because the URL takes no uploads; None for
            what is no upload, or may be for another resource. In a replica, what sends it on.
        """
        if is_root and self._relay is not None and self._relay.takes(request, b"POST", segments):
            request.postpath = list(segments)
            return self._relay, None
        if not is_root:
            starts = (at for at in range(len(segments)) if self._dispatchers.split(segments[at:])[1])
            dispatcher, rest = self._enter(request, segments[next(starts, 0) :])
            return (dispatcher.uploads, None) if is_upload_path(rest, mounted=False) else None
        dispatcher, rest = self._enter(request, segments)
        misplaced = dispatcher.misplaced_upload_error(request, rest)
        return (dispatcher.uploads, misplaced) if misplaced is not None or is_upload_path(rest) else None

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

    async def _respond(self, request: Request) -> Response:
        segments, fault = request.postpath or [], None
        if self._relay is not None and self._relay.takes(request, request.method, segments):
            return await self._relay.respond(request)
        looking = self._dispatchers.look(self._dispatchers.split(segments)[0])
        if looking is not None:
            try:
                await looking
            except SimpleIndexError as error:
                fault = error
        dispatcher, request.postpath = self._enter(request, segments, fault)
        return await dispatcher.respond(request)

    def _send(self, response: Response, request: Request, gone: list[object]) -> None:
        if not gone:
            send_response(request, response, self.common_headers)
        else:
            close_response(response)

    def _send_failure(self, failure: Any, request: Request, gone: list[object]) -> None:
        if failure.check(ConnectionDone) and getattr(request, "channel", None) is None:
            return
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


def _directories(worker: IThreadRunner | None, reactor: IReactorTime | None) -> Directories:
    threads = SynchronousRunner() if worker is None else worker
    return Directories(None, thread=threads, reader=threads, clock=reactor)
