"""
Connections to a server: bounded response headers, and a close that does not wait for the peer.

After a failure the connection is not reused, and other addresses are preferred.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure

from twisted_index._twisted.client import TwistedClientFactory, TwistedClientProtocol, TwistedConnectionPool
from twisted_index.http_client.retry import BUSY_STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall

    class _Addressed(Protocol):
        host: str

    A = TypeVar("A", bound=_Addressed)

#: Limit in bytes of a response head with all informational responses before it, as in curl. Twisted
#: bounds each line (16 KB), but not their number.
MAX_HEAD = 300 * 1024
#: Seconds for an orderly close, which over TLS waits for the peer.
_CLOSE_TIMEOUT = 2.0
#: Seconds for which a failed address is tried after the others, and how many are remembered.
_SHUN_SECONDS, _MAX_SHUNNED = 60.0, 64

#: Twisted logs each informational response: a flood of them logs megabytes.
_SILENT = Logger(namespace=__name__, observer=LogPublisher())


class HeaderTooLarge(Exception):
    """A response head exceeds MAX_HEAD."""


class ShunnedAddresses:
    """
    Addresses that failed recently: one CDN edge may be down while others work.

    Args:
        clock: Provides `seconds()`.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._failed: dict[str, float] = {}

    def add(self, address: str) -> None:
        """Record that an address failed."""
        self._failed.pop(address, None)
        self._failed[address] = self._clock.seconds()
        if len(self._failed) > _MAX_SHUNNED:
            del self._failed[next(iter(self._failed))]

    def has_failed_since(self, address: str, moment: float) -> bool:
        """Return whether an address failed at or after a time of the clock."""
        return self._failed.get(address, -math.inf) >= moment

    def move_last(self, addresses: Iterable[A]) -> list[A]:
        """Sort addresses that failed recently behind the others."""
        recent = self._clock.seconds() - _SHUN_SECONDS
        return sorted(addresses, key=lambda address: self.has_failed_since(address.host, recent))


class BoundedProtocol(TwistedClientProtocol):
    """
    A connection to an upstream.

    Args:
        quiescent: See `HTTP11ClientProtocol`.
        clock: Schedules the close time-out.
        shunned: Records the address if it fails.
    """

    _head_left = MAX_HEAD
    _aborting: IDelayedCall | None = None

    def __init__(self, quiescent: Callable[[Any], None], clock: Any, shunned: ShunnedAddresses) -> None:
        super().__init__(quiescent)
        self._clock = clock
        self._made_at = clock.seconds()
        self._shunned = shunned

    @property
    def address(self) -> str:
        """The peer's address; empty without one."""
        transport: Any = self.transport
        return str(getattr(transport.getPeer(), "host", ""))

    @property
    def is_shunned(self) -> bool:
        """Whether its address has failed since the connection was made."""
        return self._shunned.has_failed_since(self.address, self._made_at)

    def request(self, request: Any) -> Any:
        """Send a request, and start counting the response head."""
        self._head_left = MAX_HEAD
        requesting = super().request(request)
        parser = self.parser
        if parser is not None:
            self.log_parser_to(_SILENT)
            super_all_headers_received = parser.allHeadersReceived

            def all_headers_received() -> None:
                self._normalize_head(parser, request)
                if parser.response.code >= 200:
                    self.end_request_early()
                super_all_headers_received()

            parser.allHeadersReceived = all_headers_received
        return requesting.addErrback(self._failed)

    def _normalize_head(self, parser: Any, request: Any) -> None:
        """Normalize the response's connection fields to the forms that Twisted supports."""
        response, fields = parser.response, parser.connHeaders
        options = _tokens(fields, b"Connection") | _tokens(fields, b"Proxy-Connection")
        if response.code in BUSY_STATUSES:
            self._shunned.add(self.address)
        if b"close" in options or response.version[1:] < (1, 1) or response.code in BUSY_STATUSES:
            request.persistent = False
        # Intermediaries may repeat a field, although it applies once.
        for field in (b"Transfer-Encoding", b"Content-Length"):
            values = _tokens(fields, field) - {b"identity"}
            if len(values) == 1:
                fields.setRawHeaders(field, list(values))
            elif not values:
                fields.removeHeader(field)

    def _failed(self, failure: Failure) -> Failure:
        if self.transport is not None:
            self._shunned.add(self.address)
        return failure

    def dataReceived(self, data: bytes) -> None:
        """Parse data, and enforce MAX_HEAD; head bytes in the same segment as the body are not counted."""
        super().dataReceived(data)
        if self.reads_head:
            self._head_left -= len(data)
            if self._head_left < 0:
                transport: Any = self.transport
                self._giveUp(Failure(HeaderTooLarge()))
                # `_giveUp` waits for the peer over TLS, and the peer goes on sending.
                transport.abortConnection()

    # -- Closing

    def _giveUp(self, reason: Any) -> None:
        super()._giveUp(reason)
        self.close_soon()

    def abort(self) -> Deferred[None]:
        """See `HTTP11ClientProtocol.abort`."""
        closing: Deferred[None] = super().abort()
        self.close_soon()
        return closing

    def close_soon(self) -> None:
        """Abort a closing connection if the peer does not complete the close within the time-out."""
        transport: Any = self.transport
        if self._aborting is None and not self.is_lost:
            self._aborting = self._clock.callLater(_CLOSE_TIMEOUT, transport.abortConnection)

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        """Cancel the close time-out."""
        if self._aborting is not None and self._aborting.active():
            self._aborting.cancel()
        super().connectionLost(reason)


def _tokens(fields: Any, name: bytes) -> set[bytes]:
    """Return the list members of all lines of a field, in lower case (RFC 9110 section 5.6.1)."""
    return {part.strip().lower() for line in fields.getRawHeaders(name, ()) for part in line.split(b",")} - {
        b""
    }


class BoundedPool(TwistedConnectionPool):
    """
    A pool of `BoundedProtocol` connections.

    Args:
        reactor: Twisted's reactor.
        persistent: Whether connections are reused.
        shunned: Failed addresses; connections made before the failure are not reused.
    """

    def __init__(self, reactor: Any, persistent: bool, shunned: ShunnedAddresses) -> None:
        super().__init__(reactor, persistent)
        self._shunned = shunned
        self._clock = reactor
        self.set_factory(self._make_factory)

    def _make_factory(self, quiescent: Callable[[Any], None], metadata: str) -> _BoundedFactory:
        return _BoundedFactory(quiescent, metadata, self._clock, self._shunned)

    def getConnection(self, key: Any, endpoint: Any) -> Any:
        """See `HTTPConnectionPool.getConnection`; drops shunned connections first."""
        for connection in self.idle_connections(key):
            if connection.is_shunned:
                self.drop_idle(key, connection)
        return super().getConnection(key, endpoint)

    def _putConnection(self, key: Any, connection: Any) -> None:
        idle = self.idle_connections(key)
        if len(idle) >= self.maxPersistentPerHost:
            self.drop_idle(key, idle[0])
        super()._putConnection(key, connection)

    def _removeConnection(self, key: Any, connection: Any) -> None:
        super()._removeConnection(key, connection)
        connection.close_soon()


class _BoundedFactory(TwistedClientFactory):
    #: Suppress a log line per connection.
    noisy = False

    def __init__(
        self, quiescent: Callable[[Any], None], metadata: str, clock: Any, shunned: ShunnedAddresses
    ) -> None:
        super().__init__(quiescent, metadata)
        self._quiescent = quiescent
        self._clock = clock
        self._shunned = shunned

    def buildProtocol(self, addr: object) -> BoundedProtocol:
        return BoundedProtocol(self._quiescent, self._clock, self._shunned)
