"""The end of a request whose body stalls, however long it may take while it moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from twisted_index.http_client.retry import TemporaryFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T")

#: Seconds in which the server may read nothing of a body, or send no response after its end: servers compute
#: the digest of an upload before they respond.
STALL = 180.0


class Stalled(TemporaryFailure):
    """The server read nothing more of the body, or did not respond after its end."""


class StallGuard:
    """
    Cancels a request when its body stalls. The body starts and stops the time.

    Args:
        clock: Schedules the end.
        seconds: The time without progress.
    """

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._timer: IDelayedCall | None = None
        self._cancel: Callable[[], None] = lambda: None
        self._has_stalled = False

    async def wait(self, sending: Coroutine[Deferred[Any], Any, T]) -> T:
        """
        Send a request, and wait for its response.

        Raises:
            Stalled: The body stalled, and the request was cancelled.
        """
        response = Deferred.fromCoroutine(sending)
        self._cancel = response.cancel
        try:
            return await response
        except CancelledError:
            if self._has_stalled:
                raise Stalled("The upload stalled.") from None
            raise

    def restart(self) -> None:
        """Begin the time, again if it runs."""
        self.stop()
        self._timer = self._clock.callLater(self._seconds, self._stall)

    def stop(self) -> None:
        """Stop the time. Harmless when repeated."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _stall(self) -> None:
        self._has_stalled = True
        self._cancel()
