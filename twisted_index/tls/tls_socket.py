"""
A socket that speaks TLS, by OpenSSL over buffers in memory.

Every call does a bounded amount of work. OpenSSL on the socket itself would go on for as long as bytes
arrive that hold no data: a client that sends new keys without end (RFC 8446 section 4.6.3) would freeze the
server.
"""

from __future__ import annotations

import contextlib
import errno
import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

#: Bytes of the longest record (RFC 8446 section 5.1). What is sent counts by records: larger pieces would
#: hide how much it was, by which stalled readers are told from slow ones.
_RECORD = 1 << 14
#: Bytes to receive at once, and bytes without data after which a client is not one; a record that is not
#: complete yet has less.
_RECEIVED = _MAX_SILENT = 1 << 15

_USE_HTTPS = (
    b"HTTP/1.1 400 Use https here\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 46\r\n"
    b"Connection: close\r\n\r\nThis port speaks HTTPS: use a URL with https.\n"
)


class TLSSocket:
    """
    The server's end of a connection.

    Args:
        plain: A connected socket that does not block. Nothing but this object sends on it.
        context: Returns the context; called when the client has sent something, as what is silent should
            take no memory for TLS.

    Attributes:
        is_shaken: Whether the handshake is done.
        has_ended: Whether the client has said that it sends nothing more.
    """

    def __init__(self, plain: socket.socket, context: Callable[[], ssl.SSLContext]) -> None:
        self._plain = plain
        self._context = context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: Any = None
        self._unsent = b""
        self._held = self._silent = 0
        self.is_shaken = self.has_ended = False
        self.fileno = plain.fileno
        self.setsockopt, self.getsockopt = plain.setsockopt, plain.getsockopt
        self.getsockname, self.getpeername = plain.getsockname, plain.getpeername
        self.shutdown, self.close = plain.shutdown, plain.close

    @property
    def has_unsent(self) -> bool:
        """Whether there are encrypted bytes that the socket has not taken."""
        return bool(self._unsent)

    @property
    def protocol(self) -> str | None:
        """The protocol chosen by ALPN (RFC 7301); None without one, and before the handshake."""
        name: str | None = self._tls.selected_alpn_protocol() if self.is_shaken else None
        return name

    def receive(self) -> bytes:
        """Return encrypted bytes, to be passed to `decrypt`; raises as `recv` of a plain socket does."""
        return self._plain.recv(_RECEIVED)

    def decrypt(self, received: bytes) -> bytes:
        """
        Decrypt, and respond to a handshake.

        Returns:
            The data of the client; often none.

        Raises:
            OSError: The client does not keep to TLS, or is gone.
        """
        if self._tls is None:
            self._tls = self._context().wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._incoming.write(received)
        try:
            data = self._read()
        finally:
            self._push()
        self._silent = 0 if data else self._silent + len(received)
        if self._silent > _MAX_SILENT:
            raise ConnectionAbortedError("the client sends no data")
        return data

    def _read(self) -> bytes:
        pieces: list[bytes] = []
        with contextlib.suppress(ssl.SSLWantReadError):
            if not self.is_shaken:
                self._shake_hands()
            while self._incoming.pending or self._tls.pending():
                piece: bytes = self._tls.read(_RECORD)
                if not piece:
                    self.has_ended = True
                    break
                pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":
                # In the clear, to a client that speaks plain HTTP.
                self._plain.send(_USE_HTTPS)
            raise
        self.is_shaken = True

    def send(self, data: Any) -> int:
        """
        Encrypt and send what the socket takes now.

        What was not sent has to be sent next: a record of it may be on its way already.

        Returns:
            The number of bytes of `data` that were sent.

        Raises:
            BlockingIOError: The socket takes nothing now.
            OSError: The connection is lost.
        """
        view = memoryview(data)
        if not view:
            # A transport without data of its own; what is held belongs to a producer, which sends it again.
            return 0
        sent = 0
        if self.flush():
            # What was encrypted last time has left.
            sent, self._held = self._held, 0
            while sent < len(view):
                record = view[sent : sent + _RECORD]
                self._tls.write(record)
                if not self._push():
                    self._held = len(record)
                    break
                sent += len(record)
        if not sent:
            raise BlockingIOError(errno.EWOULDBLOCK, "the socket takes nothing now")
        return sent

    def flush(self) -> bool:
        """Send what is encrypted; return whether all of it has left."""
        if self._unsent:
            with contextlib.suppress(BlockingIOError):
                self._unsent = self._unsent[self._plain.send(self._unsent) :]
        return not self._unsent

    def _push(self) -> bool:
        if self._outgoing.pending:
            self._unsent += self._outgoing.read()
        return self.flush()

    def end(self) -> None:
        """Tell the client that nothing follows (RFC 8446 section 6.1); its own end is not waited for."""
        if self.is_shaken and not self._unsent:
            with contextlib.suppress(OSError, ValueError):
                try:
                    self._tls.unwrap()
                finally:
                    self._push()
