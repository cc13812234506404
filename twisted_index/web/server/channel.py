"""
HTTP/1.1 channel with the time-outs, size limits and half-close handling that `HTTPChannel` lacks.

- A request header has a deadline, so that a client which drips bytes does not hold a connection.
- A response is aborted when its reader stalls, and only then: bytes taken count, not time.
- A client that closes its half after the request gets its response.
- Too long a URL or header gets 414 or 431 instead of a closed connection.
"""

from __future__ import annotations

import math
import struct
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

from twisted.internet.protocol import connectionDone

from twisted_index._twisted.server import (
    TwistedHTTPChannel,
    has_pending_bytes,
    pending_bytes,
    waits_for_transport,
)
from twisted_index.files.portability import optional_module
from twisted_index.web.responses.error_pages import reason_phrase
from twisted_index.web.responses.producers import DIRECT_TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure
    from twisted.web.http import Request

    from twisted_index.config.settings import Limits
    from twisted_index.metrics.counters import Kind
    from twisted_index.web.responses.response import Headers
    from twisted_index.web.server.fast_path import FastPath

_fcntl, _termios = optional_module("fcntl"), optional_module("termios")
#: Seconds without a byte after which a kept-alive connection may be closed for a new one.
SPARE_AFTER = 2.0


class ChannelSite(Protocol):
    """The site of a channel, as far as the channel uses it; see `IndexSite`."""

    limits: Limits
    reactor: Any
    common_headers: Headers
    fast_path: FastPath | None
    under_pressure: bool
    stopping: bool
    count: Callable[[bytes, int, int, Kind | Literal[""]], None]

    def note_stalled(self, channel: IndexChannel) -> None:
        """Log that a client read nothing of its response."""


class IndexChannel(TwistedHTTPChannel):
    """A connection of an `IndexSite`."""

    factory: ChannelSite
    transport: Any
    timeOut: Any
    #: Called when the client sends no more, although it waits for a response: it may have left.
    on_half_close: Callable[[], object] | None = None
    half_closed = False
    _deadline: IDelayedCall | None = None
    #: Whether the last bytes took the fast path, and nothing has happened since.
    _takes_fast_path = False
    _closing = False
    _lingering = False
    _linger_until = 0.0
    _last_received = 0.0
    _written = 0
    _acknowledged = -1

    # -- Receiving

    def connectionMade(self) -> None:
        """Adopt the limits of the site."""
        limits = self.factory.limits
        self.totalHeadersSize = limits.max_header
        self.abortTimeout = min(15, math.ceil(limits.stall_timeout))
        # Longer than any limit, so that too long a line is parsed and gets a response.
        self.MAX_LENGTH = max(limits.max_header, limits.max_uri + 64)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Take the fast path, or parse; start the deadline of a header that is incomplete."""
        way = self.factory.fast_path
        if (
            way is not None
            and (self._takes_fast_path or self._may_take_fast_path())
            and not self.factory.under_pressure
            and way.try_answer(self, data)
        ):
            # That changed nothing: the next bytes begin a request, too.
            self._takes_fast_path = not waits_for_transport(self)
            return
        self._takes_fast_path = False
        if self._lingering:
            return
        super().dataReceived(data)
        if self._deadline is None and self._in_header():
            limit = self.factory.limits.header_timeout
            self._deadline = self.callLater(limit, self._header_timed_out)

    def _may_take_fast_path(self) -> bool:
        return self.awaits_request and not self.half_closed and not self._lingering

    def _in_header(self) -> bool:
        """Whether a part of a request header has arrived, but not its end."""
        begun = self.has_unparsed_bytes or bool(self.requests)
        return begun and not self.handles_request and bool(self.line_mode) and not self._is_closing()

    def _is_closing(self) -> bool:
        return bool(getattr(self.transport, "disconnecting", False))

    def _header_timed_out(self) -> None:
        self._deadline = None
        self._refuse(408, "The request did not arrive in time.")

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
        if self.header_size + len(line) > self.totalHeadersSize:
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
        """Stop the deadline of the header, and start that of a body."""
        self._cancel_deadline()
        super().allHeadersReceived()
        # An upload may take its time while bytes keep arriving; its request watches that.
        if self.length != 0 and not self._uploading:
            self._deadline = self.callLater(self.factory.limits.header_timeout, self._header_timed_out)

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Close after this response when connections are scarce."""
        persistent: bool = super().checkPersistence(request, version)
        if persistent and self.factory.under_pressure:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return persistent

    @property
    def _uploading(self) -> bool:
        return bool(self.requests) and self.requests[-1].is_uploading

    def refuse_stalled(self) -> None:
        """Give up an upload that has stopped arriving."""
        self._refuse(408, "The upload stalled.")

    def _refuse(self, status: int, message: str) -> None:
        body = message.encode("ascii") + b"\n"
        always = b"".join(b"%s: %s\r\n" % pair for pair in self.factory.common_headers)
        self.transport.write(
            b"HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
            b"%sConnection: close\r\n\r\n%s"
            % (status, reason_phrase(status).encode("ascii"), len(body), always, body)
        )
        self.factory.count(b"other", status, len(body), "")
        self._cancel_deadline()
        self.loseConnection()

    # -- Sending

    def send_now(self, data: bytes, now: float) -> None:
        """
        Send what the socket takes now and queue the rest, without waiting for a reactor turn.

        Args:
            data: A whole response.
            now: Seconds, as the reactor counts them.
        """
        # Cheaper than resetting the timer; `timeoutConnection` takes it into account.
        self._last_received = now
        size = len(data)
        self._written += size
        transport = self.transport
        sent = 0
        if type(transport) in DIRECT_TRANSPORTS and not has_pending_bytes(transport):
            try:
                sent = transport.socket.send(data)
            except OSError:
                # Full, or gone: the transport finds out which, as with any write.
                sent = 0
        if sent < size:
            transport.write(data[sent:])

    def write(self, data: bytes) -> None:
        """Write, and count."""
        self._written += len(data)
        super().write(data)

    def count_sent(self, request: Request, sent: int) -> None:
        """Count bytes that went to the socket by `sendfile`."""
        self._written += sent
        request.sentLength += sent

    def allContentReceived(self) -> None:
        """Watch the progress of the response, for which Twisted has no time-out."""
        self._cancel_deadline()
        super().allContentReceived()
        if self.handles_request:
            self._acknowledged = -1
            self.setTimeout(self.factory.limits.stall_timeout)

    def timeoutConnection(self) -> None:
        """Decide whether a connection on which nothing has arrived is idle, busy or stalled."""
        if self._uploading:
            self.setTimeout(self.factory.limits.idle_timeout)
            return
        left = self._last_received + self.factory.limits.idle_timeout - self.factory.reactor.seconds()
        if left > 0 and not self.handles_request and not self._closing:
            self.setTimeout(left)
            return
        unacknowledged = unacknowledged_bytes(self.transport)
        acknowledged = self._written - unacknowledged
        if unacknowledged and acknowledged == self._acknowledged:
            self.factory.note_stalled(self)
            self.transport.abortConnection()
        elif self._closing and not unacknowledged:
            # Under TLS, closing waits for the client to close too.
            self.transport.abortConnection()
        elif unacknowledged or self.handles_request:
            self._acknowledged = acknowledged
            self.setTimeout(self.factory.limits.stall_timeout)
        else:
            self.loseConnection()

    # -- Closing

    def loseConnection(self) -> None:
        """Close, within the time-out."""
        super().loseConnection()
        if not self._closing:
            self._closing = True
            self._acknowledged = -1
            self.setTimeout(self.abortTimeout)

    def resetTimeout(self) -> None:
        """Let received bytes postpone the idle time-out, and no other."""
        if not self.handles_request and not self._closing:
            # setTimeout also sets what the next reset uses.
            self.timeOut = self.factory.limits.idle_timeout
            super().resetTimeout()

    @cached_property
    def peer(self) -> Any:
        """The address of the client; not before a request: wrappers of transports learn it from the bytes."""
        return self.transport.getPeer()

    @property
    def idle(self) -> bool:
        """Whether there is no request, not even a part of one."""
        return not self.requests and not self.handles_request and not self.has_unparsed_bytes

    def requestDone(self, request: Request) -> None:
        """Go on with the next request, or close."""
        if self.reads_body:
            self._linger(request)
            return
        super().requestDone(request)
        self.close_when_idle()

    def linger_until(self, time: float) -> None:
        """Set the deadline for dropping the rest of a body after its response."""
        self._linger_until = time

    def _linger(self, request: Request) -> None:
        """
        Drop the rest of a body after its response, so that the client can read the response.

        Closing at once would reset the connection and lose the response (RFC 9112 section 9.6).
        """
        self.requests.remove(request)
        self._lingering = True
        self._cancel_deadline()
        left = self._linger_until - self.factory.reactor.seconds()
        self._deadline = self.callLater(max(0.0, left), self._end_linger)
        self.network_producer.resumeProducing()

    def _end_linger(self) -> None:
        self._deadline = None
        self.loseConnection()

    def readConnectionLost(self) -> None:
        """Note that the client sends no more requests; those it has sent still get their responses."""
        self.half_closed = True
        if self.on_half_close is not None:
            self.on_half_close()
        self.close_when_idle()

    def close_when_idle(self) -> None:
        """Close after the last response, if no further request will be served."""
        # A client that has closed its half will not send the rest of a body.
        closing = self.half_closed or (self.factory.stopping and not self._uploading)
        if closing and not self.handles_request:
            self.loseConnection()

    def close_if_rejected(self) -> bool:
        """Close if what arrives is only dropped; return whether this call did so."""
        if self._closing:
            return False
        if self._lingering:
            self.loseConnection()
            return True
        ended = bool(self.requests) and self.requests[-1].finish_rejected()
        if ended:
            self._linger_until = 0.0
        return ended

    def close_if_idle(self) -> None:
        """
        Close if nothing has arrived for a while; a new connection is about to send its request.

        An incomplete request counts as nothing: most arrive in one piece.
        """
        limit = self.factory.limits.header_timeout
        now = self.factory.reactor.seconds()
        timer = self.idle_timer
        if self._closing:
            # Under TLS, closing waits for the client to close too.
            waited = timer is not None and timer.getTime() - now <= self.abortTimeout - SPARE_AFTER
            if waited and not unacknowledged_bytes(self.transport):
                self.transport.abortConnection()
        elif self._deadline is not None:
            if self._deadline.getTime() - now <= limit - SPARE_AFTER:
                self._deadline.cancel()
                self._header_timed_out()
        else:
            # Each byte that does not take the fast path resets the idle timer.
            reset_at = timer.getTime() - (self.timeOut or 0) if timer is not None else 0.0
            if self.idle and now - max(reset_at, self._last_received) >= SPARE_AFTER:
                self.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop the deadline."""
        self._cancel_deadline()
        super().connectionLost(reason)


def unacknowledged_bytes(transport: Any) -> int:
    """
    Count the bytes written that the client has not acknowledged; 0 if the transport does not report them.

    In the transport's buffer, and on Linux in the kernel's as well (tcp(7), SIOCOUTQ): a slow reader
    drains the latter for minutes while the former does not change.
    """
    return pending_bytes(transport) + _in_kernel(transport)


def _in_kernel(transport: Any) -> int:
    socket = getattr(transport, "socket", None)
    if _fcntl is None or socket is None or not sys.platform.startswith("linux"):
        return 0
    try:
        queued = _fcntl.ioctl(socket.fileno(), _termios.TIOCOUTQ, b"\0" * 4)
    except (OSError, ValueError):
        return 0
    return int(struct.unpack("i", queued)[0])
