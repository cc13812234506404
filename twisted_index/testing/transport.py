"""A connection in memory; bytes are transferred only by `step()`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure

from twisted_index._twisted.server import pending_bytes

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocol

#: The addresses of server and client.
SERVER = IPv4Address("TCP", "127.0.0.1", 8080)
CLIENT = IPv4Address("TCP", "127.0.0.1", 50000)


class _FakeReactor:
    """A stand-in for a reactor, which records whether the transport waits to read or to write."""

    def __init__(self) -> None:
        self.reading = False
        self.writing = False

    def addReader(self, _transport: object) -> None:
        self.reading = True

    def removeReader(self, _transport: object) -> None:
        self.reading = False

    def addWriter(self, _transport: object) -> None:
        self.writing = True

    def removeWriter(self, _transport: object) -> None:
        self.writing = False


class MemoryTransport(FileDescriptor):
    """
    The server's end of a connection.

    Buffers, pauses producers and closes by Twisted's own code for sockets, so back pressure is as with
    sockets; only the socket is missing.

    Args:
        protocol: The server's protocol, not connected yet.

    Attributes:
        incoming: Pieces that the client has sent and the server has not read.
        ended: Whether the client has closed its sending half.
        is_reading: Whether the client reads.
        received: All bytes that the client has read.
    """

    def __init__(self, protocol: IProtocol) -> None:
        self._fake_reactor = _FakeReactor()
        fake_reactor: Any = self._fake_reactor
        super().__init__(reactor=fake_reactor)
        self.incoming: deque[bytes] = deque()
        self.ended = False
        self.is_reading = True
        self.received = b""
        self._protocol = protocol
        self._aborting = False
        self.connected = 1
        FileDescriptor.startReading(self)
        protocol.makeConnection(self)

    def getHost(self) -> IPv4Address:
        """Return the address of the server."""
        return SERVER

    def getPeer(self) -> IPv4Address:
        """Return the address of the client."""
        return CLIENT

    def writeSomeData(self, data: bytes) -> int:
        """Pass data to the client if it reads; called by Twisted's buffer."""
        if not self.is_reading:
            return 0
        self.received += data
        return len(data)

    def abortConnection(self) -> None:
        """Close the connection in the next step, and drop unsent data."""
        self._aborting = True
        FileDescriptor.stopReading(self)
        FileDescriptor.stopWriting(self)

    def connectionLost(self, reason: Failure) -> None:
        """Close the connection, and notify Twisted's buffer and the protocol."""
        FileDescriptor.connectionLost(self, reason)
        self._protocol.connectionLost(reason)

    def disconnect(self) -> None:
        """Lose the connection, as if the client's machine had been switched off."""
        if self.connected:
            self.connectionLost(Failure(ConnectionLost("The client is gone.")))

    def step(self) -> bool:
        """
        Handle the next event, like a reactor.

        Returns:
            Whether there was an event.
        """
        if not self.connected:
            return False
        if self._aborting:
            self.connectionLost(Failure(ConnectionAborted()))
        elif self._fake_reactor.writing and (self.is_reading or not self._waiting):
            outcome = FileDescriptor.doWrite(self)
            if outcome is not None:
                self.connectionLost(Failure(outcome))
        elif self._fake_reactor.reading and self.incoming:
            self._protocol.dataReceived(self.incoming.popleft())
        elif self._fake_reactor.reading and self.ended:
            self._end_of_input()
        else:
            return False
        return True

    @property
    def _waiting(self) -> int:
        """Bytes that the client has not read."""
        return pending_bytes(self)

    def _end_of_input(self) -> None:
        """Notify the protocol like a reactor; close the connection if it does not support half-close."""
        FileDescriptor.stopReading(self)
        half_closeable = IHalfCloseableProtocol(self._protocol, None)
        if half_closeable is None:
            self.connectionLost(Failure(ConnectionDone()))
        else:
            half_closeable.readConnectionLost()
