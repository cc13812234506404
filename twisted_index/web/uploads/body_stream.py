"""
The body of an upload as a stream: paced by its reader, and limited in how slowly it may arrive.

A timer that any byte resets limits nothing: one byte a minute would hold an upload for ever. So bytes buy
time, and few of them little; a slow but steady line is kept.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds that an upload may be behind `_FLOOR`: as long as uv waits for all of one.
_CREDIT = 900.0
#: Bytes that buy a second; what Apache's mod_reqtimeout asks for by default.
_FLOOR = 500


class BodyStream:
    """
    Pieces of a body, put in by a connection and taken out by one reader.

    Args:
        reactor: Tells the time.
        stall: Seconds without a byte after which `on_stalled` is called, as it is when bytes come much
            too slowly; time in which the connection is held does not count.
        pause: Keeps the connection from reading on.
        resume: Lets it.
        on_stalled: Ends the request.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        *,
        stall: float,
        pause: Callable[[], None],
        resume: Callable[[], None],
        on_stalled: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._stall = stall
        self._hold = pause
        self._release = resume
        self._stalled = on_stalled
        self._pieces: deque[bytes] = deque()
        self._reader: Deferred[bytes] | None = None
        self._held = False
        self._over = False
        self._lost = False
        self._discarded = -1
        self._enough: Callable[[], None] | None = None
        self._most = 0.0
        self._credit = _CREDIT
        self._seen = reactor.seconds()
        self._watch: IDelayedCall | None = reactor.callLater(stall, self._give_up)

    # -- The connection's end

    def data_received(self, data: bytes) -> None:
        """Put in a piece; not empty."""
        if self._discarded >= 0:
            self._discard(len(data))
            return
        self._buy_time(len(data))
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.callback(data)
        else:
            self._pieces.append(data)
            self._pause()

    def finished(self) -> None:
        """Hear that there is no more."""
        self._over = True
        self._stop_watching()
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.callback(b"")

    def connection_lost(self) -> None:
        """Hear that no more will come, though it was no end."""
        self._lost = True
        self._pieces.clear()
        self._stop_watching()
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.errback(ConnectionDone())

    @property
    def is_finished(self) -> bool:
        """Whether no more will come, for whatever reason."""
        return self._over or self._lost

    # -- The reader's end

    def next(self) -> Deferred[bytes]:
        """
        Wait for the next piece; one call at a time.

        Returns:
            An empty one at the end. Fails with ConnectionDone if there will be no end.
        """
        waiting: Deferred[bytes] = Deferred()
        if self._lost:
            waiting.errback(ConnectionDone())
        elif self._pieces:
            waiting.callback(self._pieces.popleft())
        elif self._over:
            waiting = succeed(b"")
        else:
            self._reader = waiting
            self._resume()
        return waiting

    def discard(self, most: float, seconds: float, enough: Callable[[], None]) -> None:
        """
        Take nothing any more, and drop what comes.

        Args:
            most: Bytes after which `enough` is called, once; negative for now.
            seconds: After which it is called, however much has come.
            enough: Is not called if the body ends before.
        """
        self._most, self._enough = most, enough
        self._discarded = 0
        waiting = sum(map(len, self._pieces))
        self._pieces.clear()
        self._stop_watching()
        self._watch = self._reactor.callLater(seconds, self._have_enough)
        self._discard(waiting)
        self._resume()

    def _discard(self, number: int) -> None:
        self._discarded += number
        if self._discarded > self._most:
            self._have_enough()

    def _have_enough(self) -> None:
        if self._enough is not None and not self.is_finished:
            self._stop_watching()
            enough, self._enough = self._enough, None
            enough()

    def end_discarding(self) -> bool:
        """Drop no more, if anything is dropped; say whether that was so."""
        dropping = self._enough is not None and not self.is_finished
        self._have_enough()
        return dropping

    # -- Holding and watching

    def _pause(self) -> None:
        # Even if it is held: HTTP/1.1 reads on by itself when an answer has left.
        self._held = True
        self._stop_watching()
        if not self.is_finished:
            self._hold()

    def _resume(self) -> None:
        if self._held and not self.is_finished:
            self._held = False
            if self._discarded < 0:
                self._seen = self._reactor.seconds()
                self._watch = self._reactor.callLater(min(self._stall, self._credit), self._give_up)
            # What HTTP/2 has kept back comes from within this call.
            self._release()

    def _buy_time(self, number: int) -> None:
        self._credit = min(_CREDIT, self._credit + number / _FLOOR)
        if self._watch is not None:
            now = self._reactor.seconds()
            self._credit -= now - self._seen
            self._seen = now
            self._watch.reset(max(0.0, min(self._stall, self._credit)))

    def _stop_watching(self) -> None:
        if self._watch is not None and self._watch.active():
            self._watch.cancel()
        self._watch = None

    def _give_up(self) -> None:
        self._watch = None
        self._stalled()
