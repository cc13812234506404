"""One connection, whether it speaks HTTP/1.1 or HTTP/2, as the site counts it and as Twisted sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from zope.interface import implementer

from twisted_index._twisted.server import HTTPProtocolSwitch
from twisted_index.web.server.channel import SPARE_AFTER, ChannelSite, IndexChannel

if TYPE_CHECKING:
    from twisted.python.failure import Failure

#: Seconds from a wish to close an HTTP/2 connection to the next attempt, or to its abort.
_HTTP2_GRACE = 0.1


class ConnectionSite(ChannelSite, Protocol):
    """The site of a connection, as far as the connection uses it; see `IndexSite`."""

    connections: set[IndexProtocol]

    def opened(self, connection: IndexProtocol) -> None:
        """Count a connection."""

    def closed(self, connection: IndexProtocol) -> None:
        """Uncount a connection."""


@implementer(IHalfCloseableProtocol)
class IndexProtocol(HTTPProtocolSwitch):
    """
    A connection, in which the channel is replaced when TLS negotiates HTTP/2.

    So the site counts protocols and not channels, and Twisted looks for `IHalfCloseableProtocol` here.
    """

    factory: ConnectionSite

    _last_progress = 0.0
    _newest_stream = 0

    def dataReceived(self, data: bytes) -> None:
        """Pass data to the channel; through Twisted's switch until the connection is known as HTTP/1.1."""
        super().dataReceived(data)
        if isinstance(self.channel, IndexChannel):
            # One call fewer for each request.
            self.dataReceived = self.channel.dataReceived  # type: ignore[method-assign]
        else:
            self._close_if_client_idles()

    def _close_if_client_idles(self) -> None:
        """Close an HTTP/2 connection without progress by its client, which PINGs would keep open."""
        channel, now, limits = self.channel, self.factory.reactor.seconds(), self.factory.limits
        newest = channel.conn.highest_inbound_stream_id
        sending = any(channel.remainingOutboundWindow(stream) > 0 for stream in channel.streams)
        if sending or newest != self._newest_stream:
            self._newest_stream, self._last_progress = newest, now
        limit = limits.stall_timeout if channel.streams else limits.idle_timeout
        if now - self._last_progress > limit and not getattr(channel.transport, "disconnecting", False):
            channel.timeoutConnection()
            # Twisted itself would wait 15 s for a client that does not close its side.
            self.factory.reactor.callLater(_HTTP2_GRACE, self.abort)

    def makeConnection(self, transport: Any) -> None:
        """Begin, and let the site count the connection."""
        self.channel.makeConnection(transport)
        self._last_progress = self.factory.reactor.seconds()
        self.factory.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End, and let the site uncount the connection."""
        self.channel.connectionLost(reason)
        self.factory.closed(self)

    def close_if_rejected(self) -> bool:
        """See `IndexChannel`; an HTTP/2 connection carries more than the refused request."""
        return isinstance(self.channel, IndexChannel) and self.channel.close_if_rejected()

    def close_if_idle(self) -> None:
        """Close if nothing has arrived for a while, or over HTTP/2 if there is no request."""
        if isinstance(self.channel, IndexChannel):
            self.channel.close_if_idle()
        elif not self.channel.streams and self.factory.reactor.seconds() - self._last_progress >= SPARE_AFTER:
            self.close_when_idle()

    def close_when_idle(self) -> None:
        """Close now if there is no request, else after its response."""
        channel = self.channel
        if isinstance(channel, IndexChannel):
            channel.close_when_idle()
        elif channel.streams:
            self.factory.reactor.callLater(_HTTP2_GRACE, self.close_when_idle)
        else:
            channel.transport.loseConnection()
            # Under TLS, closing waits for the client to close too; no response is lost by an abort.
            self.factory.reactor.callLater(_HTTP2_GRACE, self.abort)

    def abort(self) -> None:
        """Abort the connection, if it is still open."""
        if self in self.factory.connections:
            self.channel.transport.abortConnection()

    def readConnectionLost(self) -> None:
        """Notify the channel; HTTP/2 has no half-closed connections, so the connection is closed."""
        if isinstance(self.channel, IndexChannel):
            self.channel.readConnectionLost()
        else:
            self.channel.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Do nothing: this side never closes its half alone."""
