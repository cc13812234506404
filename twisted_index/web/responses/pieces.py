"""
Sends a body that is made while it is sent: its length is unknown, and it is never in memory as a whole.

Without Content-Length, only a missing last chunk (RFC 9112 section 7.1) shows that the body is incomplete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.errors import SimpleIndexError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from twisted.python.failure import Failure
    from twisted.web.http import Request

_log = Logger()


@implementer(IPushProducer)
class PiecesProducer:
    """
    Writes pieces, each when the connection has accepted those before, then finishes the request.

    Args:
        request: With its status and header fields set.
        pieces: The body. The next piece is requested only when there is room for it.
    """

    def __init__(self, request: Request, pieces: AsyncIterator[bytes]) -> None:
        self._request = request
        self._pieces = pieces
        self._done = False
        #: Fires when the connection accepts more; None while it does.
        self._room: Deferred[None] | None = None
        self._sending: Deferred[None] | None = None

    def start(self) -> None:
        """Start sending."""
        self._request.notifyFinish().addErrback(lambda _gone: self.stopProducing())
        self._request.registerProducer(self, True)
        self._sending = Deferred.fromCoroutine(self._send())
        self._sending.addErrback(self._failed)

    def pauseProducing(self) -> None:
        """Request no more pieces for now."""
        if self._room is None:
            self._room = Deferred()

    def resumeProducing(self) -> None:
        """Request the next piece."""
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def stopProducing(self) -> None:
        """Stop for good, and cancel the piece that is being made: the connection is lost."""
        self._done = True
        self.resumeProducing()
        if self._sending is not None:
            self._sending.cancel()

    async def _send(self) -> None:
        async for piece in self._pieces:
            if self._room is not None:
                await self._room
            if self._done:
                return
            self._request.write(piece)
            if self._room is not None:
                await self._room
        if not self._done:
            self._done = True
            self._request.unregisterProducer()
            self._request.finish()

    def _failed(self, failure: Failure) -> None:
        """Close the connection, so that the client notices the incomplete body."""
        if failure.check(SimpleIndexError, CancelledError) is None:
            _log.failure("A response body failed", failure=failure)
        if not self._done:
            self._done = True
            self._request.unregisterProducer()
            self._request.loseConnection()
