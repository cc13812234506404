"""The HTTP server around the index: connections in all, the requests on them, and their log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.server import Site

from twisted_index.settings import Limits
from twisted_index.web.channel import IndexChannel, IndexProtocol
from twisted_index.web.metrics import Counters
from twisted_index.web.request import IndexRequest
from twisted_index.web.resources import IndexResource
from twisted_index.web.smallbody import SmallBody

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.web.resource import IResource

    from twisted_index.web.accesslog import AccessLog
    from twisted_index.web.shortway import ShortWay
    from twisted_index.web.upload import Uploads

_log = Logger()

#: Connections that a port accepts in one turn, where there is room for so many; Twisted's number.
_ACCEPTS = 100
#: The share of all connections beyond which each is closed after its answer.
_CROWDED = 0.75


class IndexSite(Site):
    """
    A Site with limits.

    Args:
        resource: What is served.
        reactor: Tells the time.
        limits: See `Limits`; without `max_connections` connections have no bound here.
        access_log: Where requests are written; None for nowhere.
        short_way: Whether plain requests may be answered on the short way.
        uploads: Takes bodies as they arrive; None for what the resource has as its `uploads`, where
            that is an index.
    """

    def __init__(
        self,
        resource: IResource,
        *,
        reactor: Any,
        limits: Limits | None = None,
        access_log: AccessLog | None = None,
        short_way: bool = True,
        uploads: Uploads | None = None,
    ) -> None:
        self.limits = limits or Limits()
        super().__init__(
            resource, requestFactory=IndexRequest, timeout=self.limits.idle_timeout, reactor=reactor
        )
        self._access_log = access_log
        self.connections: set[IndexProtocol] = set()
        self._ports: list[Any] = []
        self._paused = False
        self._emptied: Deferred[None] | None = None
        most = self.limits.max_connections
        self._bounding = False
        self._comfortable = float("inf") if most is None else most * _CROWDED
        self.stopping = False
        #: Whether connections are short, or the server stops, so that none is kept beyond its answer.
        self.sheds_connections = False
        self.uploads = uploads or getattr(resource, "uploads", None)
        index = resource if isinstance(resource, IndexResource) else None
        self.short_way: ShortWay | None = None
        if short_way and index is not None:
            self.short_way = index.short_way(self.limits, access_log)
        self.count = (Counters() if index is None else index.counters).count
        #: Fields that every answer has, also those that are given before there is a request.
        self.always = () if index is None else index.always
        self._origins = None if index is None else index.origins
        if index is not None:
            index.serves(lambda: len(self.connections))

    # -- Connections

    def buildProtocol(self, addr: IAddress | None) -> IndexProtocol:
        """Make the two layers of a connection."""
        protocol = IndexProtocol(IndexChannel())
        protocol.factory = self
        protocol.requestFactory = self._make_request
        protocol.site = self
        protocol.callLater = self.reactor.callLater
        protocol.timeOut = self.timeOut
        return protocol

    def _make_request(self, channel: Any, queued: bool = False) -> IndexRequest:
        request = IndexRequest(channel, queued)
        request.site = self
        return request

    def _note_crowding(self) -> None:
        self.sheds_connections = self.stopping or len(self.connections) > self._comfortable

    def opened(self, connection: IndexProtocol) -> None:
        """Count a connection; at the limit, further ones wait in the kernel's backlog."""
        self.connections.add(connection)
        self._note_crowding()
        most = self.limits.max_connections
        if most is None:
            return
        if most - len(self.connections) <= _ACCEPTS and not self._bounding:
            self._bounding = True
            self.reactor.callLater(0, self._bound_accepts)
        if len(self.connections) >= most:
            for other in list(self.connections):
                other.end_if_left_alone()
            self._pause(True)

    def closed(self, connection: IndexProtocol) -> None:
        """Uncount a connection."""
        self.connections.discard(connection)
        self._note_crowding()
        most = self.limits.max_connections
        if self._paused and (most is None or len(self.connections) < most):
            self._pause(False)
        if not self.connections and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def _bound_accepts(self) -> None:
        """
        Keep ports from accepting more connections than there is room for.

        A port of Twisted accepts in a loop that pausing it does not end, and works out after each
        how long the next may be; this runs before that one.
        """
        self._bounding = False
        most = self.limits.max_connections
        if most is not None and self._ports:
            room = max(1, (most - len(self.connections)) // len(self._ports))
            for port in self._ports:
                port.numberAccepts = min(_ACCEPTS, room)

    def listens_on(self, port: Any) -> None:
        """Note a listening port, so that it can be told to wait."""
        self._ports.append(port)
        self._bound_accepts()

    def _pause(self, paused: bool) -> None:
        if paused is self._paused or self.stopping:
            return
        self._paused = paused
        for port in self._ports:
            # Every listening port of a reactor that waits for descriptors has both.
            switch = getattr(port, "stopReading" if paused else "startReading", None)
            if switch is not None:
                switch()
        if paused:
            _log.warn("All {most} connections are in use; others wait.", most=self.limits.max_connections)

    def note_stalled(self, channel: IndexChannel) -> None:
        """Log that a client was dropped because it took nothing."""
        _log.info("Dropped {peer}, which took no bytes of its answer.", peer=channel.transport.getPeer())

    def drain(self, seconds: float) -> Deferred[None]:
        """
        Close idle connections, and wait for the answers on the others.

        Args:
            seconds: After which they are cut off.
        """
        self.stopping = True
        self._note_crowding()
        self._ports.clear()
        done: Deferred[None] = Deferred()
        if not self.connections:
            done.callback(None)
            return done
        self._emptied = done
        _log.info(
            "Closing {number} connections; running requests have {seconds} s to finish.",
            number=len(self.connections),
            seconds=seconds,
        )
        cut = self.reactor.callLater(seconds, self._cut_off)

        def stop_waiting(result: None) -> None:
            if cut.active():
                cut.cancel()

        done.addCallback(stop_waiting)
        for connection in list(self.connections):
            connection.end_when_idle()
        return done

    def _cut_off(self) -> None:
        for connection in list(self.connections):
            connection.abort()

    # -- Requests

    def getContentFile(self, length: int | None) -> Any:
        """Take the body of a request; called by Twisted's Request."""
        return SmallBody()

    def log(self, request: Any, *, aborted: bool = False) -> None:
        """Count a request, and write it to the access log."""
        self.count(request.method, request.code, request.sentLength or 0)
        if self._access_log is not None:
            client = None
            if self._origins is not None:
                fields = request.requestHeaders.getRawHeaders
                client = self._origins.client_behind(request.getClientAddress(), fields)
            self._access_log.write(request, aborted=aborted, client=client)

    # Twisted's factory updates a formatted time each second, and opens a log of its own.

    def startFactory(self) -> None:
        """Begin nothing."""

    def stopFactory(self) -> None:
        """End nothing."""
