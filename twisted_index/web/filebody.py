"""
Sends open files.

Twisted's `static.File` would label sdists as gzip-coded, and answer some ranges with 500.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.web.http import Request

_log = Logger()

#: Bytes that are read at once: what the transport buffers before it asks for a pause.
_PIECE = 1 << 16


@implementer(IPushProducer)
class FileProducer:
    """
    Writes a part of a file to a request, and finishes the request.

    The file is closed exactly once, whoever ends first: the file, the client or the server.

    Args:
        request: Its head has been set up and its length promised.
        file: Positioned at the first byte to send.
        length: How many bytes to send.
    """

    def __init__(self, request: Request, file: BinaryIO, length: int) -> None:
        self._request = request
        self._file = file
        self._left = length
        self._paused = True

    def start(self) -> None:
        """Begin to send."""
        # Fires when the client is gone; with the last byte it is this class that finishes.
        self._request.notifyFinish().addErrback(lambda _gone: self.stopProducing())
        self._request.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """Write until the connection asks for a pause."""
        self._paused = False
        while self._left and not self._paused:
            piece = self._file.read(min(_PIECE, self._left))
            if not piece:
                self._give_up()
                return
            self._left -= len(piece)
            self._request.write(piece)
        if not self._left and not self._file.closed:
            self._file.close()
            self._request.unregisterProducer()
            self._request.finish()

    def pauseProducing(self) -> None:
        """Write no more for now."""
        self._paused = True

    def stopProducing(self) -> None:
        """Write no more at all: the connection is gone."""
        self._paused = True
        self._file.close()

    def _give_up(self) -> None:
        """End the connection: the file has become shorter than was promised, and only that tells a client."""
        _log.warn("A file became shorter while it was sent; the client was cut off.")
        self.stopProducing()
        self._request.unregisterProducer()
        self._request.loseConnection()
