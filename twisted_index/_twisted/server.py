"""Names of ours for what Twisted keeps private in HTTP channels, transports, endpoints and reactors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.web.http import HTTPChannel, _GenericHTTPChannelProtocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.interfaces import IDelayedCall, IPushProducer


class TwistedHTTPChannel(HTTPChannel):
    """An `HTTPChannel` whose private state has names for subclasses and for requests."""

    _HTTPChannel__first_line: int
    _TimeoutMixin__timeoutCall: IDelayedCall | None

    @property
    def awaits_request(self) -> bool:
        """Whether nothing is read, answered or queued, and the next bytes begin a request."""
        return (
            not self.requests
            and not self._buffer
            and self.line_mode == 1
            and self.persistent == 1
            and self._HTTPChannel__first_line == 1
            and not self._waitingForTransport
        )

    @property
    def handles_request(self) -> bool:
        """Whether a whole request has been received and its response is not finished."""
        return bool(self._handlingRequest)

    @property
    def has_unparsed_bytes(self) -> bool:
        """Whether a part of a line has been received, or more than the request that is handled."""
        return bool(self._buffer)

    @property
    def reads_body(self) -> bool:
        """Whether the end of a request's body has not been received."""
        return self._transferDecoder is not None

    @property
    def header_size(self) -> int:
        """Bytes of the header lines received so far."""
        size: int = self._receivedHeaderSize
        return size

    @property
    def network_producer(self) -> IPushProducer:
        """What reads from the network: the transport, or a stand-in if that cannot be paused."""
        return self._networkProducer

    @property
    def request_line(self) -> tuple[bytes, bytes, bytes]:
        """Method, target and version of the request whose header or body is being received."""
        return self._command, self._path, self._version

    @property
    def idle_timer(self) -> IDelayedCall | None:
        """The timer behind `setTimeout`."""
        return self._TimeoutMixin__timeoutCall

    def send_continue(self) -> None:
        """Send 100 (Continue)."""
        self._send100Continue()  # type: ignore[no-untyped-call]


class HTTPProtocolSwitch(_GenericHTTPChannelProtocol):
    """Twisted's switch between HTTP/1.1 and HTTP/2."""

    @property
    def channel(self) -> Any:
        """The channel in use: an `HTTPChannel`, or an `H2Connection` once TLS has negotiated HTTP/2."""
        return self._channel


def waits_for_transport(channel: object) -> bool:
    """Return whether an HTTP/1.1 channel is paused until its transport has sent its buffer."""
    return getattr(channel, "_waitingForTransport", False)


def has_pending_bytes(transport: Any) -> bool:
    """Return whether a transport of Twisted's own has bytes that the socket has not taken."""
    return bool(transport.dataBuffer or transport._tempDataBuffer)


def pending_bytes(transport: object) -> int:
    """Count the bytes that the socket has not taken; 0 for transports that do not tell."""
    buffered = len(getattr(transport, "dataBuffer", b"")) - getattr(transport, "offset", 0)
    return buffered + getattr(transport, "_tempDataLen", 0)


def raise_default_backlog(endpoint: Any, backlog: int) -> None:
    """Give a server endpoint a longer backlog, unless its description chose one."""
    if getattr(endpoint, "_backlog", None) == 50:  # Twisted's default
        endpoint._backlog = backlog


def internal_readers(reactor: object) -> Iterable[Any]:
    """Return the descriptors by which a reactor wakes itself."""
    return getattr(reactor, "_internalReaders", ())


def poller(reactor: object) -> Any:
    """Return what an epoll reactor polls by; None for other reactors."""
    return getattr(reactor, "_poller", None)
