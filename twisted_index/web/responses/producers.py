"""
Sends bodies too large for one write: shared bytes in slices, open files by `sendfile` or in pieces.

Twisted's `static.File` would label sdists as gzip-coded, and respond to some ranges with 500.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, BinaryIO

from twisted.internet import tcp
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from twisted_index._twisted.server import has_pending_bytes, waits_for_transport
from twisted_index.files.portability import read_at
from twisted_index.interfaces import SMALL_CONTENT
from twisted_index.tls.transport import TLSServer

try:
    from twisted.internet import unix
except ImportError:  # not on Windows
    unix = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from twisted.web.http import Request

_log = Logger()

#: Bytes of a piece: what the transport buffers before it pauses the producer.
CHUNK_SIZE = SMALL_CONTENT
#: Bytes per call of `sendfile`, so that one fast reader does not delay the others.
_SENDFILE_CHUNK = 1 << 20
#: Windows has none.
_sendfile: Any = getattr(os, "sendfile", None)
#: Bytes per `pread`.
_READ_CHUNK = 1 << 17
#: Calls of `sendfile` per reader and reactor turn. A reader as fast as this process drains the socket
#: meanwhile, so that the next call is cheaper than a turn; other readers wait a millisecond.
_CHUNKS_PER_TURN = 8
#: Errors that mean that `sendfile` does not support the file, not that the client is gone.
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

#: Transports whose socket sends the bytes unchanged.
_PLAIN_TRANSPORTS: tuple[type, ...] = (tcp.Server,) if unix is None else (tcp.Server, unix.Server)
#: Transports that add nothing to what their socket sends; that of TLSServer encrypts. By exact type:
#: wrappers have a `socket` too, and bytes sent on it would bypass them.
DIRECT_TRANSPORTS: tuple[type, ...] = (*_PLAIN_TRANSPORTS, TLSServer)


@implementer(IPushProducer)
class Producer:
    """
    Writes a body as fast as the connection accepts it, then finishes the request.

    Args:
        request: With its status and header fields set, including Content-Length.
        length: Bytes to send.
    """

    def __init__(self, request: Request, length: int) -> None:
        self._request = request
        self._left = length
        self._paused = True
        self._done = False

    def start(self) -> None:
        """Start sending."""
        # The errback fires when the connection is lost; after the last byte this class finishes.
        self._request.notifyFinish().addErrback(lambda _gone: self.stopProducing())
        self._request.registerProducer(self, True)
        # Else the connection resumes this producer when it has written what is queued already.
        if not waits_for_transport(self._request.channel):
            self.resumeProducing()

    def resumeProducing(self) -> None:
        """Write until the connection pauses this producer."""
        self._paused = False
        while self._left and not self._paused and not self._done:
            piece = self._next_piece()
            if not piece:
                self._abort_changed()
                return
            self._left -= len(piece)
            self._request.write(piece)
        if not self._left:
            self._finish()

    def pauseProducing(self) -> None:
        """Stop writing for now."""
        self._paused = True

    def stopProducing(self) -> None:
        """Stop writing for good: the connection is lost."""
        self._paused = True
        if not self._done:
            self._done = True
            self._release()

    def _finish(self) -> None:
        if not self._done:
            self.stopProducing()
            self._request.unregisterProducer()
            self._request.finish()

    def _abort_changed(self) -> None:
        """Abort since the file has changed: only a closed connection shows that the body is invalid."""
        if not self._done:
            _log.warn("A file was rewritten while being sent; the connection was aborted.")
            self._cut_off()

    def _cut_off(self) -> None:
        """Close the connection, so that the client notices the incomplete body."""
        self.stopProducing()
        self._request.unregisterProducer()
        self._request.loseConnection()

    def _next_piece(self) -> bytes:
        raise NotImplementedError

    def _release(self) -> None:
        """Release the file or buffer; called once, whichever side ends first."""


class BytesProducer(Producer):
    """
    Sends a buffer that many clients share, in slices.

    Args:
        request: As for `Producer`.
        body: The whole body.
    """

    def __init__(self, request: Request, body: memoryview) -> None:
        super().__init__(request, len(body))
        self._body = body

    def _next_piece(self) -> bytes:
        start = len(self._body) - self._left
        return bytes(self._body[start : start + CHUNK_SIZE])


class FileProducer(Producer):
    """
    Sends a part of an open file by reading it.

    Args:
        request: As for `Producer`.
        file: Closed at the end, exactly once.
        first: The offset of the first byte.
        length: Bytes to send.
    """

    def __init__(self, request: Request, file: BinaryIO, first: int, length: int) -> None:
        super().__init__(request, length)
        self._file = file
        self._initial_stat = size_and_mtime(file)
        file.seek(first)

    def _next_piece(self) -> bytes:
        if self._left <= CHUNK_SIZE and size_and_mtime(self._file) != self._initial_stat:
            return b""
        return self._file.read(min(CHUNK_SIZE, self._left))

    def _release(self) -> None:
        self._file.close()


class _SocketProducer(Producer):
    """
    Sends on the socket itself; Twisted would copy the bytes into its buffer first.

    Args:
        request: On a channel whose transport is one of DIRECT_TRANSPORTS.
        length: Bytes to send.
    """

    def __init__(self, request: Request, length: int) -> None:
        super().__init__(request, length)
        self._channel: Any = request.channel
        self._transport: Any = self._channel.transport

    def start(self) -> None:
        """Let Twisted write the head; the body follows when the head has been sent."""
        self._request.notifyFinish().addErrback(lambda _gone: self.stopProducing())
        self._request.registerProducer(self, True)
        # An empty write makes the Request write its head.
        self._request.write(b"")
        self._resume_when_writable()

    def resumeProducing(self) -> None:
        """Send what the socket accepts. Called by the transport when its own buffer is empty."""
        self._paused = False
        if self._done:
            return
        transport = self._transport
        if has_pending_bytes(transport):
            # The head has not been sent yet; the transport calls again after its last byte.
            self._resume_when_writable()
            return
        for _ in range(_CHUNKS_PER_TURN):
            if not self._send_chunk():
                return
        self._resume_when_writable()

    def _send_chunk(self) -> bool:
        """Send once; return whether the socket may accept more immediately."""
        if self._left <= _SENDFILE_CHUNK and not self._unchanged():
            self._abort_changed()
            return False
        try:
            sent = self._send(min(self._left, _SENDFILE_CHUNK))
        except (BlockingIOError, InterruptedError):
            self._resume_when_writable()
            return False
        except OSError as error:
            self._handle_error(error)
            return False
        return self._count(sent)

    def _count(self, sent: int) -> bool:
        if not sent:
            self._abort_changed()
            return False
        self._left -= sent
        self._channel.count_sent(self._request, sent)
        if not self._left:
            self._finish()
        return self._left > 0

    def _resume_when_writable(self) -> None:
        """Have `FileDescriptor.doWrite` resume this producer when the socket is writable."""
        self._transport.producerPaused = True
        self._transport.startWriting()

    def _send(self, size: int) -> int:
        """Send at most `size` bytes from the current position; raise the OSError of the socket."""
        raise NotImplementedError

    def _unchanged(self) -> bool:
        """Whether the bytes still are those of the response's ETag."""
        return True

    def _handle_error(self, error: OSError) -> None:
        """Handle an OSError of the socket: the client is gone."""
        self._cut_off()


class SocketBytesProducer(_SocketProducer):
    """
    Sends a buffer that many clients share, without copying it for each.

    Args:
        request: As for `_SocketProducer`.
        body: The whole body.
    """

    def __init__(self, request: Request, body: memoryview) -> None:
        super().__init__(request, len(body))
        self._body = body

    def _send(self, size: int) -> int:
        start = len(self._body) - self._left
        sent: int = self._transport.socket.send(self._body[start : start + size])
        return sent

    def _release(self) -> None:
        self._body.release()


class SocketFileProducer(_SocketProducer):
    """
    Sends a part of an open file by reading it; for sockets that encrypt.

    Args:
        request: As for `_SocketProducer`.
        file: Closed at the end, exactly once.
        first: The offset of the first byte.
        length: Bytes to send.
    """

    def __init__(self, request: Request, file: BinaryIO, first: int, length: int) -> None:
        super().__init__(request, length)
        self._file = file
        self._initial_stat = size_and_mtime(file)
        self._at = first

    def _send(self, size: int) -> int:
        # Read again after a partial send: bytes that waited would take memory for each slow reader.
        sent: int = self._transport.socket.send(
            read_at(self._file.fileno(), min(size, _READ_CHUNK), self._at)
        )
        self._at += sent
        return sent

    def _unchanged(self) -> bool:
        return size_and_mtime(self._file) == self._initial_stat

    def _release(self) -> None:
        self._file.close()


class SendfileProducer(SocketFileProducer):
    """Sends a part of an open file by `sendfile`, which copies nothing through this process."""

    def _send(self, size: int) -> int:
        sent: int = _sendfile(self._transport.socket.fileno(), self._file.fileno(), self._at, size)
        self._at += sent
        return sent

    def _handle_error(self, error: OSError) -> None:
        """Read the file instead if its file system does not support `sendfile`; else the client is gone."""
        if error.errno not in _UNSUPPORTED:
            super()._handle_error(error)
            return
        self._done = True
        self._request.unregisterProducer()
        FileProducer(self._request, self._file, self._at, self._left).start()


def size_and_mtime(file: BinaryIO) -> tuple[int, int]:
    """
    Return size and modification time of an open file: bytes and nanoseconds.

    Compared again before the last piece is sent: a file that was rewritten in place does not match its
    ETag, so the response must not complete. (The change time would not do: removing or renaming a file
    changes it, and such a file is sent to its end.)
    """
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def send_file(request: Request, file: BinaryIO, first: int, length: int) -> None:
    """
    Send a part of an open file, and close it.

    Args:
        request: With its status and header fields set, and nothing written.
        file: Open for reading.
        first: The offset of the first byte.
        length: Bytes to send; at least one.
    """
    transport = _direct_transport(request)
    kind: type[FileProducer | SocketFileProducer] = FileProducer
    if transport in _PLAIN_TRANSPORTS and _sendfile is not None:
        kind = SendfileProducer
    elif transport is not None:
        kind = SocketFileProducer
    kind(request, file, first, length).start()


def send_bytes(request: Request, body: memoryview) -> None:
    """
    Send a large body without copying it for each slow reader.

    Args:
        request: With its status and header fields set, and nothing written.
        body: The whole body; not empty.
    """
    kind = BytesProducer if _direct_transport(request) is None else SocketBytesProducer
    kind(request, body).start()


def _direct_transport(request: Request) -> type | None:
    """Return the type of a request's transport if it is one of DIRECT_TRANSPORTS, and a channel counts."""
    channel = request.channel
    transport = type(getattr(channel, "transport", None))
    return transport if transport in DIRECT_TRANSPORTS and hasattr(channel, "count_sent") else None
