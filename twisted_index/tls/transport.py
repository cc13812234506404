"""
Server side of a TLS connection, in which OpenSSL reads and writes the socket itself.

Twisted's own TLS copies every byte through buffers in memory, by several calls for each record. Here the
socket encrypts, and Twisted's TCP transport is used for all else: buffers, producers, time-outs, closing.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
from typing import TYPE_CHECKING, Any

from twisted.internet import tcp
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import INegotiated, ISSLTransport
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from zope.interface import implementer

from twisted_index._twisted.server import has_pending_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

#: Bytes of the longest record (RFC 8446 section 5.1). Longer writes would hide how much was sent, by
#: which stalled readers are told from slow ones.
_RECORD = 1 << 14
#: Records that are read before other connections have their turn.
_RECORDS_PER_TURN = 4

_USE_HTTPS = (
    b"HTTP/1.1 400 Use https here\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 46\r\n"
    b"Connection: close\r\n\r\nThis port speaks HTTPS: use a URL with https.\n"
)


class TLSSocket(ssl.SSLSocket):
    """
    A non-blocking socket that speaks TLS, with the results and errors of a plain one.

    Nothing is ever sent in the clear: `read` and `write` of the base class fail without TLS, while its
    `recv` and `send` would then use the plain socket.
    """

    def send(self, data: Any, flags: int = 0) -> int:
        """
        Encrypt and send what the socket takes now.

        What was not sent has to be sent next: a part of it may be on its way already (SSL_write(3)).

        Returns:
            The number of bytes of `data` that were sent.

        Raises:
            BlockingIOError: The socket takes nothing now.
            OSError: The connection is lost.
        """
        view = memoryview(data)
        size, sent = len(view), 0
        try:
            while sent < size:
                sent += self.write(view[sent : sent + _RECORD])
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            if not sent:
                raise BlockingIOError(errno.EWOULDBLOCK, "the socket takes nothing now") from None
        return sent

    def refuse_plain_http(self) -> None:
        """Respond to a client that speaks plain HTTP, in the clear."""
        with contextlib.suppress(OSError):
            # What is left unread would reset the connection, and lose the response.
            socket.socket.recv(self, _RECORD)
            socket.socket.send(self, _USE_HTTPS)


@implementer(ISSLTransport, INegotiated)
class TLSServer(tcp.Server):
    """
    A TLS connection.

    Args:
        context: Returns the context; its `sslsocket_class` is `TLSSocket`.
        rest: As for `tcp.Server`.
    """

    #: The plain one until the client sends its first bytes: what is silent takes no memory for TLS.
    socket: Any
    _has_tls = False
    _is_shaken = False
    #: Whether OpenSSL has to write before it can read on: it responds to handshakes and to new keys.
    _reads_when_writable = False

    def __init__(self, context: Callable[[], ssl.SSLContext], *rest: Any) -> None:
        super().__init__(*rest)
        self._context = context

    def doRead(self) -> Any:
        """Shake hands, then decrypt what has arrived."""
        try:
            if not self._is_shaken:
                self._shake_hands()
            data = self._decrypt()
        except (ssl.SSLWantReadError, BlockingIOError):
            return None
        except ssl.SSLWantWriteError:
            self._reads_when_writable = True
            self.stopReading()  # type: ignore[no-untyped-call]
            self.startWriting()  # type: ignore[no-untyped-call]
            return None
        except (OSError, ValueError):
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None

    def _shake_hands(self) -> None:
        if not self._has_tls:
            self.socket = self._context().wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
            self.fileno = self.socket.fileno
            self._has_tls = True
        try:
            self.socket.do_handshake()
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":
                self.socket.refuse_plain_http()
            raise
        self._is_shaken = True
        if has_pending_bytes(self):
            self.startWriting()  # type: ignore[no-untyped-call]

    def _decrypt(self) -> bytes:
        """Read a record, and more only after a full one: trying costs a call of the system."""
        data: bytes = self.socket.read(_RECORD)
        if len(data) < _RECORD:
            return data
        pieces = [data]
        # An error shows again at the next reading.
        with contextlib.suppress(OSError):
            while len(pieces) < _RECORDS_PER_TURN and len(pieces[-1]) == _RECORD:
                pieces.append(self.socket.read(_RECORD))
        return b"".join(pieces)

    def doWrite(self) -> Any:
        """Go on reading if that waited for the socket to take bytes; then write."""
        if self._reads_when_writable:
            self._reads_when_writable = False
            self.startReading()  # type: ignore[no-untyped-call]
            lost = self.doRead()
            if lost is not None or self._reads_when_writable or not self.connected:
                return lost
        return super().doWrite()  # type: ignore[no-untyped-call]

    def writeSomeData(self, data: bytes) -> Any:
        """Encrypt and send; nothing before the end of the handshake, which starts writing again."""
        if self._is_shaken:
            return super().writeSomeData(data)
        self.stopWriting()  # type: ignore[no-untyped-call]
        return 0

    def connectionLost(self, reason: Failure) -> None:
        """Tell the client that nothing follows (RFC 8446 section 6.1), and close."""
        if self._is_shaken and hasattr(self, "socket") and reason.check(ConnectionDone):
            # That the client does the same is not waited for.
            with contextlib.suppress(OSError, ValueError):
                self.socket.unwrap()
        super().connectionLost(reason)

    def loseWriteConnection(self) -> None:
        """Close both halves: Python's socket goes on without TLS once it is shut down in part."""
        self.loseConnection()  # type: ignore[no-untyped-call]

    def getPeerCertificate(self) -> None:
        """Return None: clients need no certificates."""

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """The protocol chosen by ALPN (RFC 7301); None without one, and before the handshake."""
        name = self.socket.selected_alpn_protocol() if self._has_tls else None
        return None if name is None else name.encode("ascii")
