"""A connection in memory; bytes move only in `step()`."""

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

#: Where server and client seem to be.
SERVER = IPv4Address("TCP", "127.0.0.1", 8080)
CLIENT = IPv4Address("TCP", "127.0.0.1", 50000)


class _Wishes:
    """Stands in for a reactor, of which a transport wants no more than to be told when to go on."""

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

    How it buffers, pauses producers and closes is Twisted's own code for sockets, so that back
    pressure is as on the wire; only the socket is missing.

    Args:
        protocol: The server's, not connected yet.

    Attributes:
        incoming: Pieces that the client has sent and the server has not read.
        ended: Whether the client has said that nothing more will come.
        is_reading: Whether the client takes what is sent to it.
        received: All that the client has taken.
    """

    def __init__(self, protocol: IProtocol) -> None:
        self._wishes = _Wishes()
        wishes: Any = self._wishes
        super().__init__(reactor=wishes)
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
        """Say where the server is."""
        return SERVER

    def getPeer(self) -> IPv4Address:
        """Say where the client is."""
        return CLIENT

    def writeSomeData(self, data: bytes) -> int:
        """Hand over to the client what it takes; called by Twisted's buffer."""
        if not self.is_reading:
            return 0
        self.received += data
        return len(data)

    def abortConnection(self) -> None:
        """End the connection soon, and drop what has not been sent."""
        self._aborting = True
        FileDescriptor.stopReading(self)
        FileDescriptor.stopWriting(self)

    def connectionLost(self, reason: Failure) -> None:
        """Close the connection, and notify Twisted's buffer and the protocol."""
        FileDescriptor.connectionLost(self, reason)
        self._protocol.connectionLost(reason)

    def disconnect(self) -> None:
        """Let the client be gone, as if its machine had been switched off."""
        if self.connected:
            self.connectionLost(Failure(ConnectionLost("The client is gone.")))

    def step(self) -> bool:
        """
        Do the next thing that a reactor would.

        Returns:
            Whether there was anything to do.
        """
        if not self.connected:
            return False
        if self._aborting:
            self.connectionLost(Failure(ConnectionAborted()))
        elif self._wishes.writing and (self.is_reading or not self._waiting):
            outcome = FileDescriptor.doWrite(self)
            if outcome is not None:
                self.connectionLost(Failure(outcome))
        elif self._wishes.reading and self.incoming:
            self._protocol.dataReceived(self.incoming.popleft())
        elif self._wishes.reading and self.ended:
            self._end_of_input()
        else:
            return False
        return True

    @property
    def _waiting(self) -> int:
        """Bytes that the client has not taken."""
        return pending_bytes(self)

    def _end_of_input(self) -> None:
        """Tell the protocol as a reactor does: one that does not know half-closed connections is closed."""
        FileDescriptor.stopReading(self)
        half_closeable = IHalfCloseableProtocol(self._protocol, None)
        if half_closeable is None:
            self.connectionLost(Failure(ConnectionDone()))
        else:
            half_closeable.readConnectionLost()
