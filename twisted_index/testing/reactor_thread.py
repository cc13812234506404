"""A separate reactor in a thread, besides a reactor of the tests, which releases everything at its end."""

from __future__ import annotations

import select
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from twisted_index._twisted.server import internal_readers, poller

if TYPE_CHECKING:
    from collections.abc import Callable


class BackgroundReactor:
    """
    Runs a reactor without installing it, so that `twisted.internet.reactor` is not affected.

    Attributes:
        reactor: Other threads may only call its `callFromThread`.
    """

    def __init__(self) -> None:
        self.reactor = _make_reactor()
        # Daemonic: a test run that ends in an error does not wait for the thread.
        self._thread = Thread(target=self._run, name="index-under-test", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], object], seconds: float) -> None:
        """
        Call a function in the reactor's thread, and wait until it is done.

        Args:
            function: May return a Deferred or a coroutine; its exception is raised here.
            seconds: The timeout.

        Raises:
            TimeoutError: The function took longer. It is not cancelled.
        """
        done: Future[None] = Future()

        def begin() -> None:
            maybeDeferred(function).addCallbacks(
                lambda _result: done.set_result(None), lambda failure: done.set_exception(failure.value)
            )

        self.reactor.callFromThread(begin)
        done.result(seconds)

    def stop(self, seconds: float) -> None:
        """
        Stop the reactor, and wait until its thread has ended.

        Args:
            seconds: The timeout.

        Raises:
            TimeoutError: The thread did not end; it keeps running.
        """
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise TimeoutError("The reactor of an index under test did not stop.")
        # Not in its thread, which may end while callFromThread has yet to wake it up.
        _dispose(self.reactor)

    def _run(self) -> None:
        # Signals are handled by the main thread.
        self.reactor.run(installSignalHandlers=False)


def _make_reactor() -> Any:
    # Any reactor would do, but select() supports no descriptor above 1023.
    if hasattr(select, "epoll"):
        from twisted.internet.epollreactor import EPollReactor

        return EPollReactor()
    from twisted.internet.selectreactor import SelectReactor

    return SelectReactor()


def _dispose(reactor: Any) -> None:
    """
    Close the descriptors of a stopped reactor, as Twisted's own tests of reactors do.

    An installed reactor lives as long as its process, so Twisted never closes its waker pipe.
    """
    for waker in list(internal_readers(reactor)):
        reactor.removeReader(waker)
        waker.connectionLost(Failure(ConnectionDone()))
    reactor.disconnectAll()
    epoll = poller(reactor)
    if epoll is not None:
        epoll.close()
