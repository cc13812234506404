"""
Connections to a server: bounded response headers, and a close that does not wait for the peer.

After a failure neither the connection nor, if there are others, its address is used again.
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

#: Bytes of the head of an answer, with all informational ones before it: what curl takes at most.
#: Twisted bounds one line (16 KB), but not how many there are.
MAX_HEAD = 300 * 1024
#: Seconds for a connection to end in good order. Over TLS that waits for the other side to agree.
_GOODBYE = 2.0
#: Seconds for which an address that failed comes after the others, and how many are remembered.
_SHUNNED, _MOST_SHUNNED = 60.0, 64

#: Twisted had a line in the log for each informational answer: one flood of them had megabytes.
_SILENT = Logger(namespace=__name__, observer=LogPublisher())


class HeaderTooLarge(Exception):
    """The head of an answer is longer than any that is meant."""


class ShunnedAddresses:
    """
    Addresses that failed just now: one edge of many may be ill, and the next is not.

    Args:
        clock: Tells for how long.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._failed: dict[str, float] = {}

    def add(self, address: str) -> None:
        """Note that an address failed."""
        self._failed.pop(address, None)
        self._failed[address] = self._clock.seconds()
        if len(self._failed) > _MOST_SHUNNED:
            del self._failed[next(iter(self._failed))]

    def has_failed_since(self, address: str, moment: float) -> bool:
        """Say whether an address failed at a moment of the clock or after it."""
        return self._failed.get(address, -math.inf) >= moment

    def move_last(self, addresses: Iterable[A]) -> list[A]:
        """Put those that failed behind the others."""
        just_now = self._clock.seconds() - _SHUNNED
        return sorted(addresses, key=lambda address: self.has_failed_since(address.host, just_now))


class BoundedProtocol(TwistedClientProtocol):
    """
    A connection to an upstream.

    Args:
        quiescent: See Twisted's.
        clock: Counts the time that its end may take.
        shunned: Told its address if that fails.
    """

    _head_left = MAX_HEAD
    _aborting: IDelayedCall | None = None

    def __init__(self, quiescent: Callable[[Any], None], clock: Any, shunned: ShunnedAddresses) -> None:
        super().__init__(quiescent)
        self._clock = clock
        self._made = clock.seconds()
        self._shunned = shunned

    @property
    def address(self) -> str:
        """Where it leads."""
        transport: Any = self.transport
        return str(getattr(transport.getPeer(), "host", ""))

    @property
    def is_shunned(self) -> bool:
        """Whether its address has failed since it was made."""
        return self._shunned.has_failed_since(self.address, self._made)

    def request(self, request: Any) -> Any:
        """Ask, and begin to count anew."""
        self._head_left = MAX_HEAD
        asking = super().request(request)
        parser = self.parser
        if parser is not None:
            self.log_parser_to(_SILENT)
            read_on = parser.allHeadersReceived

            def all_headers_received() -> None:
                self._see_head(parser, request)
                read_on()

            parser.allHeadersReceived = all_headers_received
        return asking.addErrback(self._failed)

    def _see_head(self, parser: Any, request: Any) -> None:
        """Put what the head says of the connection into the words that Twisted knows."""
        response, fields = parser.response, parser.connHeaders
        said = _tokens(fields, b"Connection") | _tokens(fields, b"Proxy-Connection")
        if response.code in BUSY_STATUSES:
            self._shunned.add(self.address)
        if b"close" in said or response.version[1:] < (1, 1) or response.code in BUSY_STATUSES:
            request.persistent = False
        # Two on the way may both have said it; who unpacks does that once.
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
        """Read on, unless there has been too much. What comes with the begin of a body is not counted."""
        super().dataReceived(data)
        if self.reads_head:
            self._head_left -= len(data)
            if self._head_left < 0:
                transport: Any = self.transport
                self._giveUp(Failure(HeaderTooLarge()))
                # Over TLS, giving up waits for the peer, which goes on sending.
                transport.abortConnection()

    # -- The end

    def _giveUp(self, reason: Any) -> None:
        super()._giveUp(reason)
        self.close_soon()

    def abort(self) -> Deferred[None]:
        """See Twisted's."""
        ending: Deferred[None] = super().abort()
        self.close_soon()
        return ending

    def close_soon(self) -> None:
        """Let a connection that is being closed in good order not wait for the other side for long."""
        transport: Any = self.transport
        if self._aborting is None and not self.is_lost:
            self._aborting = self._clock.callLater(_GOODBYE, transport.abortConnection)

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        """Need no other end any more."""
        if self._aborting is not None and self._aborting.active():
            self._aborting.cancel()
        super().connectionLost(reason)


def _tokens(fields: Any, name: bytes) -> set[bytes]:
    """Give the members of a field in lower case, however many lines it has (RFC 9110 section 5.6.1)."""
    return {part.strip().lower() for line in fields.getRawHeaders(name, ()) for part in line.split(b",")} - {
        b""
    }


class BoundedPool(TwistedConnectionPool):
    """
    Keeps such connections.

    Args:
        reactor: Counts the time.
        persistent: Whether they are kept open.
        shunned: Addresses whose connections from before they failed are not used again.
    """

    def __init__(self, reactor: Any, persistent: bool, shunned: ShunnedAddresses) -> None:
        super().__init__(reactor, persistent)
        self._shunned = shunned
        self._clock = reactor
        self.set_factory(self._make_factory)

    def _make_factory(self, quiescent: Callable[[Any], None], metadata: str) -> _BoundedFactory:
        return _BoundedFactory(quiescent, metadata, self._clock, self._shunned)

    def getConnection(self, key: Any, endpoint: Any) -> Any:
        """See Twisted's."""
        for connection in self.idle_connections(key):
            if connection.is_shunned:
                self.drop_idle(key, connection)
        return super().getConnection(key, endpoint)

    def _putConnection(self, key: Any, connection: Any) -> None:
        kept = self.idle_connections(key)
        if len(kept) >= self.maxPersistentPerHost:
            self.drop_idle(key, kept[0])
        super()._putConnection(key, connection)

    def _removeConnection(self, key: Any, connection: Any) -> None:
        super()._removeConnection(key, connection)
        connection.close_soon()


class _BoundedFactory(TwistedClientFactory):
    #: A log line per connection is of no use.
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
