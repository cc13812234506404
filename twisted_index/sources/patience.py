"""Waiting for work only as long as a client would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index.errors import NotReady, SimpleIndexError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_log = Logger()


def wait_at_most(reactor: Any, seconds: float, work: Deferred[T], progress: Callable[[], str]) -> Deferred[T]:
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
        answer.errback(NotReady(f"This is not ready yet. {progress()} Ask again in a moment."))

    timer = reactor.callLater(seconds, give_up)

    def deliver(result: T | Failure) -> None:
        if timer.active():
            timer.cancel()
            answer.errback(result) if isinstance(result, Failure) else answer.callback(result)
        elif isinstance(result, Failure) and result.check(SimpleIndexError) is None:
            _log.failure("Work that nobody waited for any more failed", failure=result)

    work.addBoth(deliver)
    return answer
