"""
Server side of a TLS connection: Twisted's TCP transport over a socket that encrypts.

Twisted's own TLS stands between transport and protocol, and asks the reactor for a turn for each response.
Here buffers, producers, time-outs and closing are those of TCP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet import tcp
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import INegotiated, ISSLTransport
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from zope.interface import implementer

from twisted_index._twisted.server import has_pending_bytes
from twisted_index.tls.proxy_header import end_of_header
from twisted_index.tls.tls_socket import TLSSocket

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from twisted.python.failure import Failure


@implementer(ISSLTransport, INegotiated)
class TLSServer(tcp.Server):
    """
    A TLS connection.

    Args:
        context: Returns the context.
        proxied: Whether a header of the PROXY protocol comes first, in the clear. The protocol receives it.
        rest: As for `tcp.Server`.
    """

    socket: Any

    def __init__(self, context: Callable[[], ssl.SSLContext], proxied: bool, *rest: Any) -> None:
        super().__init__(*rest)
        self.socket = TLSSocket(self.socket, context)
        #: What has come of the header of the PROXY protocol; None if it is whole, or none is due.
        self._proxy_header = b"" if proxied else None

    def doRead(self) -> Any:
        """Decrypt what has arrived, and pass it on."""
        try:
            received = self.socket.receive()
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not received:
            return CONNECTION_DONE
        if self._proxy_header is not None:
            return self._read_proxy_header(self._proxy_header + received)
        return self._decrypt(received)

    def _read_proxy_header(self, received: bytes) -> Any:
        try:
            end = end_of_header(received)
        except ValueError:
            return CONNECTION_LOST
        if end is None:
            self._proxy_header = received
            return None
        self._proxy_header = None
        self.protocol.dataReceived(received[:end])
        return self._decrypt(received[end:]) if received[end:] and self.connected else None

    def _decrypt(self, received: bytes) -> Any:
        secured, was_shaken = self.socket, self.socket.is_shaken
        try:
            data = secured.decrypt(received)
        except OSError:
            return CONNECTION_LOST
        if secured.has_unsent or (not was_shaken and has_pending_bytes(self)):
            self.startWriting()  # type: ignore[no-untyped-call]
        if data:
            self.protocol.dataReceived(data)
        return CONNECTION_DONE if secured.has_ended and self.connected else None

    def doWrite(self) -> Any:
        """Send what is encrypted, then more."""
        try:
            if not self.socket.flush():
                return None
        except OSError:
            return CONNECTION_LOST
        return super().doWrite()  # type: ignore[no-untyped-call]

    def writeSomeData(self, data: bytes) -> Any:
        """Encrypt and send; nothing before the end of the handshake, which starts writing again."""
        if self.socket.is_shaken:
            return super().writeSomeData(data)
        self.stopWriting()  # type: ignore[no-untyped-call]
        return 0

    def connectionLost(self, reason: Failure) -> None:
        """Tell the client that nothing follows, and close."""
        if hasattr(self, "socket") and reason.check(ConnectionDone):
            self.socket.end()
        super().connectionLost(reason)

    def loseWriteConnection(self) -> None:
        """Close both halves: TLS before 1.3 has no half-closed connections (RFC 5246 section 7.2.1)."""
        self.loseConnection()  # type: ignore[no-untyped-call]

    def getPeerCertificate(self) -> None:
        """Return None: clients need no certificates."""

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """The protocol chosen by ALPN; None without one, and before the handshake."""
        name = self.socket.protocol
        return None if name is None else name.encode("ascii")
