"""
One HTTP/1.1 connection, with the limits and manners that Twisted's own channel lacks.

- A request header has a deadline, so that a client which drips bytes is not kept for ever.
- An answer is ended when its reader stalls, and only then: what counts is bytes taken, not time.
- A client that closes its half after asking gets its answer.
- What is too long is told so (414, 431) instead of being cut off.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.web.http import HTTPChannel, _GenericHTTPChannelProtocol
from zope.interface import implementer

from twisted_index.web.outstanding import outstanding_bytes
from twisted_index.web.sentences import reason_of

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure
    from twisted.web.http import Request

    from twisted_index.web.site import IndexSite


#: Seconds without a byte after which a kept-alive connection gives its place to a new one.
_LEFT_ALONE = 2.0

#: Seconds for which the rest of a body is dropped that was answered before its end; nginx takes as many.
_LINGER = 30.0

#: Seconds between looks whether the last stream of an HTTP/2 connection has ended, at a stop.
_HTTP2_LOOK = 0.1


class IndexChannel(HTTPChannel):
    """A connection of an `IndexSite`."""

    factory: IndexSite
    transport: Any
    timeOut: Any
    _HTTPChannel__first_line: int
    _TimeoutMixin__timeoutCall: IDelayedCall | None
    _deadline: IDelayedCall | None = None
    _half_closed = False
    _closing = False
    _lingering = False
    _heard_at = 0.0
    _written = 0
    _taken = -1

    # -- What comes in

    def connectionMade(self) -> None:
        """Take over the limits of the site."""
        limits = self.factory.limits
        self.totalHeadersSize = limits.max_header
        self.abortTimeout = min(15, math.ceil(limits.stall_timeout))
        # The longest line is read whole, so that one which is too long can be answered.
        self.MAX_LENGTH = max(limits.max_header, limits.max_uri + 64)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Read, and start the deadline if a request header is left unfinished."""
        if self._lingering:
            return
        if (
            # Nothing is read, answered or queued, and the next bytes begin a request.
            not self.requests
            and not self._buffer
            and self.line_mode == 1
            and self.persistent == 1
            and self._HTTPChannel__first_line == 1
            and self.factory.short_way is not None
            and not self._half_closed
            and not self._waitingForTransport
            and not self.factory.sheds_connections
            and self.factory.short_way.answer(self, data)
        ):
            return
        super().dataReceived(data)
        if self._deadline is None and self._in_header():
            limit = self.factory.limits.header_timeout
            self._deadline = self.callLater(limit, self._too_slow)

    def _in_header(self) -> bool:
        """Say whether a part of a request header has come, but not its end."""
        begun = bool(self._buffer) or bool(self.requests)
        return begun and not self._handlingRequest and bool(self.line_mode) and not self._is_closing()

    def _is_closing(self) -> bool:
        return bool(getattr(self.transport, "disconnecting", False))

    def _too_slow(self) -> None:
        self._deadline = None
        self._refuse(408, "The request did not come in time.")

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def lineReceived(self, line: bytes) -> None:
        """Refuse a request target that is too long, and a header that is too large."""
        if self._is_closing():
            return
        if not self.requests:
            target = line.partition(b" ")[2].rpartition(b" ")[0]
            if len(target) > self.factory.limits.max_uri:
                self._refuse(414, "The URL is too long.")
                return
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self._refuse(431, "The request header is too large.")
            return
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is longer than all limits."""
        if self.requests:
            self._refuse(431, "The request header is too large.")
        else:
            self._refuse(414, "The URL is too long.")

    def allHeadersReceived(self) -> None:
        """Stop the deadline of the header, and begin that of a body."""
        self._cancel_deadline()
        super().allHeadersReceived()
        # An upload may take its time, as long as it goes on; its request watches that.
        if self.length != 0 and not self._uploading:
            self._deadline = self.callLater(self.factory.limits.header_timeout, self._too_slow)

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Close after this answer when connections are short, so that others get their turn."""
        persistent: bool = super().checkPersistence(request, version)
        if persistent and self.factory.sheds_connections:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return persistent

    @property
    def _uploading(self) -> bool:
        return bool(self.requests) and self.requests[-1].uploading

    def refuse_stalled(self) -> None:
        """Give up an upload of which nothing comes any more."""
        self._refuse(408, "The upload came to a halt.")

    def _refuse(self, status: int, sentence: str) -> None:
        body = sentence.encode("ascii") + b"\n"
        always = b"".join(b"%s: %s\r\n" % pair for pair in self.factory.always)
        self.transport.write(
            b"HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
            b"%sConnection: close\r\n\r\n%s"
            % (status, reason_of(status).encode("ascii"), len(body), always, body)
        )
        self.factory.count(b"other", status, len(body))
        self._cancel_deadline()
        self.loseConnection()

    # -- What goes out

    def send_at_once(self, data: bytes) -> None:
        """
        Send what the socket takes now and queue the rest, instead of waiting for a turn of the reactor.

        Args:
            data: A whole answer, on one of the plain transports.
        """
        # Cheaper than to set the timer anew; `timeoutConnection` reckons with it.
        self._heard_at = self.factory.reactor.seconds()
        self._written += len(data)
        transport = self.transport
        sent = 0
        if not transport.dataBuffer and not transport._tempDataBuffer:
            try:
                sent = transport.socket.send(data)
            except OSError:
                # Full, or gone: the transport finds out which, as it does for any write.
                sent = 0
        if sent < len(data):
            transport.write(data[sent:])

    def write(self, data: bytes) -> None:
        """Write, and count."""
        self._written += len(data)
        super().write(data)

    def count_sent(self, request: Request, sent: int) -> None:
        """Count bytes that went to the socket without passing here."""
        self._written += sent
        request.sentLength += sent

    def allContentReceived(self) -> None:
        """Watch the answer, where Twisted would let it take for ever."""
        self._cancel_deadline()
        super().allContentReceived()
        if self._handlingRequest:
            self._taken = -1
            self.setTimeout(self.factory.limits.stall_timeout)

    def timeoutConnection(self) -> None:
        """Decide whether a connection on which nothing has come is idle, busy or stalled."""
        if self._uploading:
            self.setTimeout(self.factory.limits.idle_timeout)
            return
        left = self._heard_at + self.factory.limits.idle_timeout - self.factory.reactor.seconds()
        if left > 0 and not self._handlingRequest and not self._closing:
            self.setTimeout(left)
            return
        waiting = outstanding_bytes(self.transport)
        taken = self._written - waiting
        if waiting and taken == self._taken:
            self.factory.note_stalled(self)
            self.transport.abortConnection()
        elif self._closing and not waiting:
            # Under TLS a connection is closed only when the client says so too.
            self.transport.abortConnection()
        elif waiting or self._handlingRequest:
            self._taken = taken
            self.setTimeout(self.factory.limits.stall_timeout)
        else:
            self.loseConnection()

    # -- How it ends

    def loseConnection(self) -> None:
        """Close, and see to it that it comes to an end."""
        super().loseConnection()
        if not self._closing:
            self._closing = True
            self._taken = -1
            self.setTimeout(self.abortTimeout)

    def resetTimeout(self) -> None:
        """Let what comes put off the end of an idle connection, and of nothing else."""
        if not self._handlingRequest and not self._closing:
            # setTimeout also sets what the next reset takes.
            self.timeOut = self.factory.limits.idle_timeout
            super().resetTimeout()

    @property
    def idle(self) -> bool:
        """Whether no request is being read or answered."""
        return not self.requests and not self._handlingRequest and not self._buffer

    def requestDone(self, request: Request) -> None:
        """Go on with the next request, or end what is to be ended."""
        if self._transferDecoder is not None:
            self._linger(request)
            return
        super().requestDone(request)
        self._end_if_done()

    def _linger(self, request: Request) -> None:
        """
        Drop what still comes of a body after its answer, so that the client gets to read that.

        To close at once would reset the connection, and throw away the answer (RFC 9112 section 9.6).
        """
        self.requests.remove(request)
        self._lingering = True
        self._cancel_deadline()
        self._deadline = self.callLater(_LINGER, self._end_linger)
        self._networkProducer.resumeProducing()

    def _end_linger(self) -> None:
        self._deadline = None
        self.loseConnection()

    def readConnectionLost(self) -> None:
        """Note that the client asks no more; what it has asked is still answered."""
        self._half_closed = True
        self._end_if_done()

    def _end_if_done(self) -> None:
        # A client that has closed its half will not send the rest of a body.
        done = self._half_closed or (self.factory.stopping and not self._uploading)
        if done and not self._handlingRequest:
            self.loseConnection()

    def end_if_left_alone(self) -> None:
        """Close if nothing has come for a while; a connection just made is about to ask."""
        timer = self._TimeoutMixin__timeoutCall
        # Each byte that goes the ordinary way sets the idle timer anew.
        heard_at = timer.getTime() - (self.timeOut or 0) if timer is not None else 0.0
        if self.idle and self.factory.reactor.seconds() - max(heard_at, self._heard_at) >= _LEFT_ALONE:
            self.loseConnection()

    def end_when_idle(self) -> None:
        """Close now if nothing is going on, else after the answer."""
        self._end_if_done()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop all clocks."""
        self._cancel_deadline()
        super().connectionLost(reason)


@implementer(IHalfCloseableProtocol)
class IndexProtocol(_GenericHTTPChannelProtocol):
    """
    Twisted's switch between HTTP/1.1 and HTTP/2, kept so that TLS connections may speak either.

    It is the connection as the site counts it, since the channel inside changes with HTTP/2. And
    Twisted looks for `IHalfCloseableProtocol` here.
    """

    _factory: IndexSite
    _channel: Any

    _one = False

    def dataReceived(self, data: bytes) -> None:
        """Pass on what has come, and look only once which protocol it is."""
        if self._one:
            self._channel.dataReceived(data)
        else:
            super().dataReceived(data)
            self._one = isinstance(self._channel, IndexChannel)

    def makeConnection(self, transport: Any) -> None:
        """Take a place among the connections."""
        self._channel.makeConnection(transport)
        self._factory.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Give the place to another connection."""
        self._channel.connectionLost(reason)
        self._factory.closed(self)

    def end_if_left_alone(self) -> None:
        """Close if nothing has come for a while. HTTP/2 has one connection for all, so none too many."""
        if isinstance(self._channel, IndexChannel):
            self._channel.end_if_left_alone()

    def end_when_idle(self) -> None:
        """Close now if nothing is going on, else after the answers."""
        channel = self._channel
        if isinstance(channel, IndexChannel):
            channel.end_when_idle()
        elif channel.streams:
            self._factory.reactor.callLater(_HTTP2_LOOK, self.end_when_idle)
        else:
            channel.transport.loseConnection()
            # Under TLS that waits for the client to say goodbye, and this one has nothing to lose.
            self._factory.reactor.callLater(_HTTP2_LOOK, self.abort)

    def abort(self) -> None:
        """Cut the connection off."""
        if self in self._factory.connections:
            self._channel.transport.abortConnection()

    def readConnectionLost(self) -> None:
        """Tell the channel; HTTP/2, which has no half-closed connections, ends."""
        if isinstance(self._channel, IndexChannel):
            self._channel.readConnectionLost()
        else:
            self._channel.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Do nothing: this side never closes its half alone."""
