"""
The body of a request that arrives from elsewhere while it is sent.

At most one piece of it is here at a time: while the server does not read, no other piece is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IConsumer
    from twisted.python.failure import Failure

    from twisted_index.http_client.stall_guard import StallGuard


@implementer(IBodyProducer)
class StreamedBody:
    """
    The body.

    Args:
        next_piece: Returns the next piece; empty at the end. Waits for where it comes from, however long.
        length: In bytes; None if it is not known.
        guard: Ends the request if the server reads nothing, or sends no response after the end of the body.
        on_started: Called when the connection has been made.

    Attributes:
        guard: As given.
        is_sent: Whether all of it has been given to the connection.
    """

    def __init__(
        self,
        next_piece: Callable[[], Deferred[bytes]],
        length: int | None,
        *,
        guard: StallGuard,
        on_started: Callable[[], object] = lambda: None,
    ) -> None:
        self.length: int | object = UNKNOWN_LENGTH if length is None else length
        self.is_sent = False
        self._next_piece = next_piece
        self.guard = guard
        self._on_started = on_started
        self._resumed: Deferred[None] | None = None
        self._stopped = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write piece after piece; fails as `next_piece` does."""
        produced: Deferred[None] = Deferred(lambda _: self.finish())
        self._on_started()
        Deferred.fromCoroutine(self._produce(consumer)).addCallbacks(
            self._end, self._fail, callbackArgs=(produced,), errbackArgs=(produced,)
        )
        return produced

    async def _produce(self, consumer: IConsumer) -> None:
        while not self._stopped and (piece := await self._next_piece()):
            if not self._stopped:
                consumer.write(piece)
            if self._resumed is not None:
                await self._resumed

    def _end(self, _result: None, produced: Deferred[None]) -> None:
        if not self._stopped:
            self.is_sent = True
            self.guard.restart()
            produced.callback(None)

    def _fail(self, failure: Failure, produced: Deferred[None]) -> None:
        # After the end nobody waits for it.
        if not self._stopped:
            self.finish()
            produced.errback(failure)

    # -- What the connection calls

    def pauseProducing(self) -> None:
        """Write nothing until `resumeProducing`: the server does not read."""
        if self._resumed is None and not self._stopped:
            self._resumed = Deferred()
            self.guard.restart()

    def resumeProducing(self) -> None:
        """Go on."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            self.guard.stop()
            resumed.callback(None)

    def stopProducing(self) -> None:
        """Write no more, also if the response came before the end of the body."""
        self._stopped = True
        self.resumeProducing()

    def finish(self) -> None:
        """Write no more, and wait no longer."""
        self.stopProducing()
        self.guard.stop()
