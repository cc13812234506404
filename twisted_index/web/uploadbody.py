"""The body of an upload on its way: it comes no faster than it is taken, and may not stall."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall


class UploadBody:
    """
    Pieces of a body, put in by a connection and taken out by one reader.

    Args:
        reactor: Tells the time.
        stall: Seconds without a byte after which `stalled` is called; time in which the connection
            is held does not count.
        hold: Keeps the connection from reading on.
        release: Lets it.
        stalled: Ends the request.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        stall: float,
        hold: Callable[[], None],
        release: Callable[[], None],
        stalled: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._stall = stall
        self._hold = hold
        self._release = release
        self._stalled = stalled
        self._pieces: deque[bytes] = deque()
        self._reader: Deferred[bytes] | None = None
        self._held = False
        self._over = False
        self._lost = False
        self._discarded = -1
        self._overrun: Callable[[], None] | None = None
        self._most = 0
        self._watch: IDelayedCall | None = reactor.callLater(stall, self._give_up)

    # -- The connection's end

    def arrived(self, data: bytes) -> None:
        """Put in a piece; not empty."""
        if self._watch is not None:
            self._watch.reset(self._stall)
        if self._discarded >= 0:
            self._discard(len(data))
        elif self._reader is not None:
            reader, self._reader = self._reader, None
            reader.callback(data)
        else:
            self._pieces.append(data)
            self._pause()

    def ended(self) -> None:
        """Hear that there is no more."""
        self._over = True
        self._stop_watching()
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.callback(b"")

    def lost(self) -> None:
        """Hear that no more will come, though it was no end."""
        self._lost = True
        self._pieces.clear()
        self._stop_watching()
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.errback(ConnectionDone())

    @property
    def over(self) -> bool:
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

    def discard(self, most: int, overrun: Callable[[], None]) -> None:
        """
        Take nothing any more, and drop what comes.

        Args:
            most: Bytes after which `overrun` is called, once; negative for now.
            overrun: Is not called if the body ends before.
        """
        self._most, self._overrun = most, overrun
        self._discarded = 0
        waiting = sum(map(len, self._pieces))
        self._pieces.clear()
        self._discard(waiting)
        self._resume()

    def _discard(self, number: int) -> None:
        self._discarded += number
        if self._discarded > self._most and self._overrun is not None and not self.over:
            overrun, self._overrun = self._overrun, None
            overrun()

    # -- Holding and watching

    def _pause(self) -> None:
        # Even if it is held: HTTP/1.1 reads on by itself when an answer has left.
        self._held = True
        self._stop_watching()
        if not self.over:
            self._hold()

    def _resume(self) -> None:
        if self._held and not self.over:
            self._held = False
            self._watch = self._reactor.callLater(self._stall, self._give_up)
            # What HTTP/2 has kept back comes from within this call.
            self._release()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _give_up(self) -> None:
        self._watch = None
        self._stalled()
