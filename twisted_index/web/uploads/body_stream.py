"""
The body of an upload as a stream: paced by its reader, and with a minimum rate of arrival.

A timer that any byte resets limits nothing: one byte a minute would hold an upload for ever. So each byte
extends the deadline by a fixed amount of time; a slow but steady connection is kept.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds that an upload may be behind `_FLOOR`: the timeout of uv for a whole upload.
_CREDIT = 900.0
#: Bytes per second; the default minimum rate of Apache's mod_reqtimeout.
_FLOOR = 500


class BodyStream:
    """
    A queue of pieces of a body, from a connection to one reader.

    Args:
        reactor: Provides the time.
        stall: Seconds without a byte after which `on_stalled` is called; it is also called when bytes
            arrive far below the minimum rate. Time in which the connection is paused does not count.
        pause: Pauses reading from the connection.
        resume: Resumes it.
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
        self._pause_connection = pause
        self._resume_connection = resume
        self._on_stalled = on_stalled
        self._pieces: deque[bytes] = deque()
        self._reader: Deferred[bytes] | None = None
        self._paused = False
        self._finished = False
        self._lost = False
        self._discarded = -1
        self._on_enough: Callable[[], None] | None = None
        self._discard_limit = 0.0
        self._credit = _CREDIT
        self._last_update = reactor.seconds()
        self._timer: IDelayedCall | None = reactor.callLater(stall, self._time_out)

    # -- The connection's end

    def data_received(self, data: bytes) -> None:
        """Add a non-empty piece."""
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
        """Note that the body is complete."""
        self._finished = True
        self._stop_timer()
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.callback(b"")

    def connection_lost(self) -> None:
        """Fail the reader: the connection was lost before the end of the body."""
        self._lost = True
        self._pieces.clear()
        self._stop_timer()
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.errback(ConnectionDone())

    @property
    def is_finished(self) -> bool:
        """Whether the body is complete or the connection lost."""
        return self._finished or self._lost

    # -- The reader's end

    def next(self) -> Deferred[bytes]:
        """
        Wait for the next piece; one call at a time.

        Returns:
            Empty at the end of the body. Fails with ConnectionDone if the connection was lost.
        """
        waiting: Deferred[bytes] = Deferred()
        if self._lost:
            waiting.errback(ConnectionDone())
        elif self._pieces:
            waiting.callback(self._pieces.popleft())
        elif self._finished:
            waiting = succeed(b"")
        else:
            self._reader = waiting
            self._resume()
        return waiting

    def discard(self, most: float, seconds: float, enough: Callable[[], None]) -> None:
        """
        Drop the pieces that are queued, and all that arrive from now on.

        Args:
            most: Bytes after which `enough` is called, once; if negative, immediately.
            seconds: Seconds after which `enough` is called, however many bytes have arrived.
            enough: Not called if the body ends before.
        """
        self._discard_limit, self._on_enough = most, enough
        self._discarded = 0
        waiting = sum(map(len, self._pieces))
        self._pieces.clear()
        self._stop_timer()
        self._timer = self._reactor.callLater(seconds, self._have_enough)
        self._discard(waiting)
        self._resume()

    def _discard(self, number: int) -> None:
        self._discarded += number
        if self._discarded > self._discard_limit:
            self._have_enough()

    def _have_enough(self) -> None:
        if self._on_enough is not None and not self.is_finished:
            self._stop_timer()
            enough, self._on_enough = self._on_enough, None
            enough()

    def end_discarding(self) -> bool:
        """Stop discarding; return whether the body was being discarded."""
        discarding = self._on_enough is not None and not self.is_finished
        self._have_enough()
        return discarding

    # -- Pausing and timing

    def _pause(self) -> None:
        # Even if already paused: HTTP/1.1 resumes reading by itself after each response.
        self._paused = True
        self._stop_timer()
        if not self.is_finished:
            self._pause_connection()

    def _resume(self) -> None:
        if self._paused and not self.is_finished:
            self._paused = False
            if self._discarded < 0:
                self._last_update = self._reactor.seconds()
                self._timer = self._reactor.callLater(min(self._stall, self._credit), self._time_out)
            # HTTP/2 delivers the data that it has buffered from within this call.
            self._resume_connection()

    def _buy_time(self, number: int) -> None:
        self._credit = min(_CREDIT, self._credit + number / _FLOOR)
        if self._timer is not None:
            now = self._reactor.seconds()
            self._credit -= now - self._last_update
            self._last_update = now
            self._timer.reset(max(0.0, min(self._stall, self._credit)))

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _time_out(self) -> None:
        self._timer = None
        self._on_stalled()
