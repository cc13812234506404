"""The HTTP server around the index: its connections, the requests on them, and their log."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.server import Site

from twisted_index.config.settings import Limits
from twisted_index.metrics.counters import Counters
from twisted_index.web.requests.context import MAX_SMALL_BODY
from twisted_index.web.requests.download_client import client_of
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.channel import IndexChannel
from twisted_index.web.server.fast_path import FastPath
from twisted_index.web.server.protocol import IndexProtocol
from twisted_index.web.server.request import IndexRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall
    from twisted.web.resource import IResource

    from twisted_index.errors import SimpleIndexError
    from twisted_index.metrics.counters import Kind
    from twisted_index.web.server.access_log import AccessLog
    from twisted_index.web.uploads.receiver import TakesBodies
    from twisted_index.web.uploads.slots import UploadSlots

_log = Logger()

#: Connections that a port accepts in one reactor turn while there is room for them; Twisted's number.
_ACCEPTS = 100
#: Seconds between attempts to close spare connections while all are in use.
_RETRY_EVICTION = 2.0
#: The share of all connections beyond which each is closed after its response.
_PRESSURE = 0.75


class SmallBody(io.BytesIO):
    """Keeps a body that is not an upload up to its limit, and one byte more to show that it is larger."""

    def write(self, data: object) -> int:
        """Write up to the limit; drop the rest."""
        assert isinstance(data, bytes)
        return super().write(data[: max(0, MAX_SMALL_BODY + 1 - self.tell())])


class UploadTarget(Protocol):
    """Receives the bodies of uploads as they arrive; see `IndexResource`."""

    @property
    def slots(self) -> UploadSlots:
        """Bounds the number of concurrent uploads."""

    def upload_at(
        self, request: Any, segments: Sequence[bytes], *, is_root: bool
    ) -> tuple[TakesBodies, SimpleIndexError | None] | None:
        """Return what receives a form that begins to arrive now, and the error that it gets there."""


class IndexSite(Site):
    """
    A Site with limits.

    Args:
        resource: The root resource.
        reactor: The clock.
        limits: Time-outs and sizes; without `max_connections` the number of connections has no bound.
        access_log: Records requests; None records none.
        fast_path: Whether the fast path may be taken.
        uploads: The index that receives the bodies of uploads as they arrive; by default the resource, if it
            can.
    """

    #: Makes a connection with an HTTP/1.1 channel, for `buildProtocol`.
    protocol = staticmethod(lambda: IndexProtocol(IndexChannel()))

    def __init__(
        self,
        resource: IResource,
        *,
        reactor: Any,
        limits: Limits | None = None,
        access_log: AccessLog | None = None,
        fast_path: bool = True,
        uploads: UploadTarget | None = None,
    ) -> None:
        self.limits = limits or Limits()
        super().__init__(
            resource, requestFactory=IndexRequest, timeout=self.limits.idle_timeout, reactor=reactor
        )
        self._access_log = access_log
        self.connections: set[IndexProtocol] = set()
        self._ports: list[Any] = []
        self._paused = False
        self._eviction: IDelayedCall | None = None
        self._emptied: Deferred[None] | None = None
        most = self.limits.max_connections
        self._bounding = False
        self._pressure_above = float("inf") if most is None else most * _PRESSURE
        self.stopping = False
        #: Whether connections are scarce, or the server stops: then each is closed after its response.
        self.under_pressure = False
        index = self._index = resource if isinstance(resource, IndexResource) else None
        target: Any = resource if hasattr(resource, "upload_at") else None
        self._uploads: UploadTarget | None = uploads or target
        self._uploads_at_root = self._uploads is resource
        if self._uploads is not None and most is not None:
            self._uploads.slots.set_limit(most // 2)
        counters = Counters() if index is None else index.counters
        self._downloads = None if index is None else index.downloads
        self._measure = counters.measure
        #: Counts a response by method, status, bytes sent and kind.
        self.count: Callable[[bytes, int, int, Kind | Literal[""]], None] = counters.count
        #: Fields of every response, also of those sent before there is a request.
        self.common_headers = () if index is None else index.common_headers
        self._client_info = None if index is None else index.client_info
        self.fast_path: FastPath | None = None
        if index is not None:
            index.report_connections(lambda: len(self.connections))
            if fast_path:
                self.fast_path = FastPath(
                    index.caches,
                    reactor=reactor,
                    limits=self.limits,
                    access_log=access_log,
                    counters=counters,
                    client_info=index.client_info,
                    downloads=index.downloads,
                )

    # -- Connections

    def _update_pressure(self) -> None:
        self.under_pressure = self.stopping or len(self.connections) > self._pressure_above

    def opened(self, connection: IndexProtocol) -> None:
        """Count a connection; at the limit, further ones wait in the kernel's backlog."""
        self.connections.add(connection)
        self._update_pressure()
        most = self.limits.max_connections
        if most is None:
            return
        if most - len(self.connections) <= _ACCEPTS and not self._bounding:
            self._bounding = True
            self.reactor.callLater(0, self._bound_accepts)
        if len(self.connections) >= most:
            self._evict()
            self._pause(True)

    def _evict(self) -> None:
        """
        Close refused uploads, or else idle connections.

        Repeated while clients wait: a connection that is busy now may be idle in a moment.
        """
        self._stop_evicting()
        if not sum([connection.close_if_rejected() for connection in list(self.connections)]):
            for connection in list(self.connections):
                connection.close_if_idle()
        self._eviction = self.reactor.callLater(_RETRY_EVICTION, self._evict)

    def _stop_evicting(self) -> None:
        if self._eviction is not None and self._eviction.active():
            self._eviction.cancel()
        self._eviction = None

    def closed(self, connection: IndexProtocol) -> None:
        """Uncount a connection."""
        self.connections.discard(connection)
        self._update_pressure()
        most = self.limits.max_connections
        if self._paused and (most is None or len(self.connections) < most):
            self._stop_evicting()
            self._pause(False)
        if not self.connections and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def _bound_accepts(self) -> None:
        """
        Keep ports from accepting more connections than there is room for.

        A port of Twisted accepts in a loop that pausing does not end, and computes the length of its
        next loop after each; this runs before that one.
        """
        self._bounding = False
        most = self.limits.max_connections
        if most is not None and self._ports:
            room = max(1, (most - len(self.connections)) // len(self._ports))
            for port in self._ports:
                port.numberAccepts = min(_ACCEPTS, room)

    def listens_on(self, port: Any) -> None:
        """Add a listening port, to be paused when connections run out."""
        self._ports.append(port)
        self._bound_accepts()

    def _pause(self, paused: bool) -> None:
        if paused is self._paused or self.stopping:
            return
        self._paused = paused
        for port in self._ports:
            # Every listening port of a reactor that polls descriptors has both.
            switch = getattr(port, "stopReading" if paused else "startReading", None)
            if switch is not None:
                switch()
        if paused:
            _log.warn("All {most} connections are in use; others wait.", most=self.limits.max_connections)

    def note_stalled(self, channel: IndexChannel) -> None:
        """Log that a client read nothing of its response."""
        _log.info("Dropped {peer}, which stopped reading its response.", peer=channel.transport.getPeer())

    def drain(self, seconds: float) -> Deferred[None]:
        """
        Close idle connections, and wait for the responses on the others.

        Args:
            seconds: Seconds after which the connections are aborted.
        """
        self.stopping = True
        self._update_pressure()
        self._stop_evicting()
        self._ports.clear()
        done: Deferred[None] = Deferred()
        if not self.connections:
            done.callback(None)
            return done
        self._emptied = done
        _log.info(
            "Closing connections ({number}); running requests have {seconds} s to finish.",
            number=len(self.connections),
            seconds=seconds,
        )
        deadline = self.reactor.callLater(seconds, self._abort_all)

        def stop_waiting(result: None) -> None:
            if deadline.active():
                deadline.cancel()

        done.addCallback(stop_waiting)
        for connection in list(self.connections):
            connection.close_when_idle()
        return done

    def _abort_all(self) -> None:
        for connection in list(self.connections):
            connection.abort()

    # -- Requests

    def getContentFile(self, length: int | None) -> SmallBody:
        """Return where Twisted's Request writes its body."""
        return SmallBody()

    def upload_at(
        self, request: Any, segments: Sequence[bytes]
    ) -> tuple[TakesBodies, SimpleIndexError | None] | None:
        """See `IndexResource`; None without an index."""
        index = self._uploads
        return None if index is None else index.upload_at(request, segments, is_root=self._uploads_at_root)

    def log(self, request: Any, *, aborted: bool = False) -> None:
        """Count a request, and write it to the access log."""
        kind = _kind_of(request)
        self.count(request.method, request.code, request.sentLength or 0, kind)
        now = self.reactor.seconds()
        self._measure(kind, now - request.arrived)
        if request.download is not None and not aborted:
            self._count_download(request, now)
        if self._access_log is not None:
            client = None
            if self._client_info is not None:
                fields = request.requestHeaders.getRawHeaders
                client = self._client_info.client_behind(request.getClientAddress(), fields)
            self._access_log.write(request, aborted=aborted, client=client)

    def _count_download(self, request: Any, now: float) -> None:
        if self._downloads is not None and _is_whole(request):
            index, project, filename = request.download
            client = client_of(request.getHeader(b"user-agent"))
            self._downloads.count(index, project, filename, client, now)

    # Twisted's factory would update a formatted time each second, and open a log of its own.

    def startFactory(self) -> None:
        """Start nothing."""

    def stopFactory(self) -> None:
        """Stop nothing."""


def _is_whole(request: Any) -> bool:
    """
    Return whether a finished response is a download: a whole file, or the way to one that is elsewhere.

    A range counts if it is the whole file. HEAD and 304 do not count.
    """
    if request.method != b"GET":
        return False
    if request.code == 206:
        part = request.responseHeaders.getRawHeaders(b"Content-Range", [b""])[0]
        first, _, size = part.removeprefix(b"bytes 0-").partition(b"/")
        return part.startswith(b"bytes 0-") and int(first) + 1 == int(size)
    return request.code in (200, 302)


def _kind_of(request: Any) -> Kind:
    """Return what a request is counted as: its route, unless an upstream was requested for it."""
    status = request.responseHeaders.getRawHeaders(b"Cache-Status") or ()
    waited = any(b"; fwd=" in value for value in status)
    kind: Kind = request.kind
    return "upstream" if waited and kind in ("page", "file") else kind
