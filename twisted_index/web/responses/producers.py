"""
Sends bodies too large for one write: shared bytes in slices, open files by `sendfile` or in pieces.

Twisted's `static.File` would label sdists as gzip-coded, and answer some ranges with 500.
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
from twisted_index.interfaces import SMALL_CONTENT

try:
    from twisted.internet import unix
except ImportError:  # not on Windows
    unix = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from twisted.web.http import Request

_log = Logger()

#: Bytes of a piece: what the transport buffers before it asks for a pause.
CHUNK_SIZE = SMALL_CONTENT
#: Bytes that one call of `sendfile` may take, so that one fast reader does not hold up the others.
_SENDFILE_CHUNK = 1 << 20
#: How many of them one reader gets in one turn of the reactor. A reader as fast as this process drains the
#: socket meanwhile, so that the next call is cheaper than a turn; other readers wait a millisecond.
_STRETCHES = 8
#: What says that this file cannot be sent so, and not that the client is gone.
_UNFIT = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

#: Transports whose socket takes the bytes as they are. By exact type: below TLS and every wrapper
#: there is a `socket` too, and bytes sent on it would go around what wraps it.
PLAIN_TRANSPORTS: tuple[type, ...] = (tcp.Server,) if unix is None else (tcp.Server, unix.Server)


@implementer(IPushProducer)
class Producer:
    """
    Writes a body while the connection takes it, then finishes the request.

    Args:
        request: Its head has been set up and its length promised.
        length: How many bytes there are.
    """

    def __init__(self, request: Request, length: int) -> None:
        self._request = request
        self._left = length
        self._paused = True
        self._done = False

    def start(self) -> None:
        """Begin to send."""
        # Fires when the client is gone; with the last byte it is this class that finishes.
        self._request.notifyFinish().addErrback(lambda _gone: self.stopProducing())
        self._request.registerProducer(self, True)
        # Else the connection calls when the reader has taken what is queued already.
        if not waits_for_transport(self._request.channel):
            self.resumeProducing()

    def resumeProducing(self) -> None:
        """Write until the connection asks for a pause."""
        self._paused = False
        while self._left and not self._paused and not self._done:
            piece = self._next_piece()
            if not piece:
                self._give_up()
                return
            self._left -= len(piece)
            self._request.write(piece)
        if not self._left:
            self._finish()

    def pauseProducing(self) -> None:
        """Write no more for now."""
        self._paused = True

    def stopProducing(self) -> None:
        """Write no more at all: the connection is gone."""
        self._paused = True
        if not self._done:
            self._done = True
            self._release()

    def _finish(self) -> None:
        if not self._done:
            self.stopProducing()
            self._request.unregisterProducer()
            self._request.finish()

    def _give_up(self) -> None:
        """Cut the client off: the file is not what was promised any more, and only that tells."""
        if not self._done:
            _log.warn("A file was rewritten while being sent; the connection was aborted.")
            self._cut_off()

    def _cut_off(self) -> None:
        """Cut the connection, so that the client notices the incomplete body."""
        self.stopProducing()
        self._request.unregisterProducer()
        self._request.loseConnection()

    def _next_piece(self) -> bytes:
        raise NotImplementedError

    def _release(self) -> None:
        """Release the origin of the bytes; called once, whichever side ends first."""


class BytesProducer(Producer):
    """
    Sends bytes that many clients share, in slices.

    Args:
        request: See above.
        body: All of it.
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
        request: See above.
        file: Closed at the end, exactly once.
        first: The offset of the first byte.
        length: How many bytes to send.
    """

    def __init__(self, request: Request, file: BinaryIO, first: int, length: int) -> None:
        super().__init__(request, length)
        self._file = file
        self._written = size_and_mtime(file)
        file.seek(first)

    def _next_piece(self) -> bytes:
        if self._left <= CHUNK_SIZE and size_and_mtime(self._file) != self._written:
            return b""
        return self._file.read(min(CHUNK_SIZE, self._left))

    def _release(self) -> None:
        self._file.close()


class _SocketProducer(Producer):
    """
    Sends on the socket itself what Twisted would copy into its buffer first.

    Args:
        request: On a channel whose transport is one of PLAIN_TRANSPORTS.
        length: How many bytes there are.
    """

    def __init__(self, request: Request, length: int) -> None:
        super().__init__(request, length)
        self._channel: Any = request.channel
        self._transport: Any = self._channel.transport

    def start(self) -> None:
        """Begin with the head, which is written by Twisted; the body follows when it has left."""
        self._request.notifyFinish().addErrback(lambda _gone: self.stopProducing())
        self._request.registerProducer(self, True)
        # An empty write makes the Request write its head.
        self._request.write(b"")
        self._call_again()

    def resumeProducing(self) -> None:
        """Send what the socket takes. Called by the transport when its own buffer is empty."""
        self._paused = False
        if self._done:
            return
        transport = self._transport
        if has_pending_bytes(transport):
            # The head has not left yet; its last byte brings us back here.
            self._call_again()
            return
        for _ in range(_STRETCHES):
            if not self._send_stretch():
                return
        self._call_again()

    def _send_stretch(self) -> bool:
        """Send once; True if the socket may take more at once."""
        if self._left <= _SENDFILE_CHUNK and not self._unchanged():
            self._give_up()
            return False
        try:
            sent = self._send(min(self._left, _SENDFILE_CHUNK))
        except (BlockingIOError, InterruptedError):
            self._call_again()
            return False
        except OSError as error:
            self._fall_back(error)
            return False
        return self._count(sent)

    def _count(self, sent: int) -> bool:
        if not sent:
            self._give_up()
            return False
        self._left -= sent
        self._channel.count_sent(self._request, sent)
        if not self._left:
            self._finish()
        return self._left > 0

    def _call_again(self) -> None:
        """Ask to be resumed when the socket can be written to; see `FileDescriptor.doWrite`."""
        self._transport.producerPaused = True
        self._transport.startWriting()

    def _send(self, size: int) -> int:
        """Send at most so many bytes from where it stands; OSError as the socket raises it."""
        raise NotImplementedError

    def _unchanged(self) -> bool:
        """Say whether the bytes are still those that were promised."""
        return True

    def _fall_back(self, error: OSError) -> None:
        """Give up: the client is gone."""
        self._cut_off()


class SocketBytesProducer(_SocketProducer):
    """
    Sends bytes that many clients share, without a copy for each.

    Args:
        request: See above.
        body: All of it.
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


class SendfileProducer(_SocketProducer):
    """
    Sends a part of an open file by `sendfile`, which copies nothing through this process.

    Args:
        request: See above.
        file: Closed at the end, exactly once.
        first: The offset of the first byte.
        length: How many bytes to send.
    """

    def __init__(self, request: Request, file: BinaryIO, first: int, length: int) -> None:
        super().__init__(request, length)
        self._file = file
        self._written = size_and_mtime(file)
        self._at = first

    def _send(self, size: int) -> int:
        sent = os.sendfile(self._transport.socket.fileno(), self._file.fileno(), self._at, size)
        self._at += sent
        return sent

    def _unchanged(self) -> bool:
        return size_and_mtime(self._file) == self._written

    def _fall_back(self, error: OSError) -> None:
        """Read the file instead, where the file system does not know `sendfile`; else the client is gone."""
        if error.errno not in _UNFIT:
            super()._fall_back(error)
            return
        self._done = True
        self._request.unregisterProducer()
        FileProducer(self._request, self._file, self._at, self._left).start()

    def _release(self) -> None:
        self._file.close()


def size_and_mtime(file: BinaryIO) -> tuple[int, int]:
    """
    Give size and modification time of an open file: bytes and nanoseconds.

    Looked at again before the last piece leaves: a file that was rewritten in place meanwhile is
    not what its tag says, and is better cut off than complete. (The change time would not do, as
    removing or renaming a file changes it, and such a file is sent to its end.)
    """
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def send_file(request: Request, file: BinaryIO, first: int, length: int) -> None:
    """
    Send a part of an open file on a request whose head has been set up, and close it.

    Args:
        request: Not begun to be written.
        file: Open for reading.
        first: The offset of the first byte.
        length: How many bytes to send; more than none.
    """
    producer: Producer
    if _has_plain_socket(request) and hasattr(os, "sendfile"):
        producer = SendfileProducer(request, file, first, length)
    else:
        producer = FileProducer(request, file, first, length)
    producer.start()


def send_bytes(request: Request, body: memoryview) -> None:
    """
    Send a large body on a request whose head has been set up, so that slow readers share its bytes.

    Args:
        request: Not begun to be written.
        body: All of it; not empty.
    """
    producer: Producer
    if _has_plain_socket(request):
        producer = SocketBytesProducer(request, body)
    else:
        producer = BytesProducer(request, body)
    producer.start()


def _has_plain_socket(request: Request) -> bool:
    channel = request.channel
    return type(getattr(channel, "transport", None)) in PLAIN_TRANSPORTS and hasattr(channel, "count_sent")
