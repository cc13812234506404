"""Deadlines: waits for work no longer than a client would."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index.errors import NotReady, SimpleIndexError

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

T = TypeVar("T")
_log = Logger()

#: Seconds that a client waits for the first byte of a file, or of what has to be read out of one: uv
#: gives up after 30. pip and others do after 15, and ask again by themselves, as often as at a 503.
FILE_DEADLINE = 25.0


def wait_at_most(
    reactor: IReactorTime, seconds: float, work: Deferred[T], progress: Callable[[], str]
) -> Deferred[T]:
    """
    Wait for work that goes on even when the wait is over, so that asking again is not in vain.

    Args:
        reactor: Tells when the time is up.
        seconds: How long to wait.
        work: What is waited for; it is not cancelled.
        progress: Says in a sentence how far the work has come.

    Returns:
        The result of the work, or a Failure of `NotReady` with the progress.
    """
    if work.called and not work.paused:
        return work
    answer: Deferred[T] = Deferred()

    def give_up() -> None:
        answer.errback(NotReady(f"The response is not ready yet. {progress()} Retry in a moment."))

    timer = reactor.callLater(seconds, give_up)

    def deliver(result: T | Failure) -> None:
        if timer.active():
            timer.cancel()
            answer.errback(result) if isinstance(result, Failure) else answer.callback(result)
        elif isinstance(result, Failure) and result.check(SimpleIndexError) is None:
            _log.failure("Work without waiting clients failed", failure=result)

    work.addBoth(deliver)
    return answer
