"""
The thread pool: the only way to run blocking calls.

It is not the reactor's pool, which resolves host names and must not wait for large files.
"""

from __future__ import annotations

from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, execute, succeed
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorFromThreads

P = ParamSpec("P")
T = TypeVar("T")


class IThreadRunner(Protocol):
    """Runs blocking calls in threads."""

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Call a blocking function elsewhere."""

    def stop(self) -> Deferred[None]:
        """Drop what has not begun, wait for what has."""


class SynchronousRunner:
    """Runs calls at once instead of in a thread (`IThreadRunner`): for the console and for tests."""

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Call a function now."""
        return execute(function, *args, **kwargs)

    def stop(self) -> Deferred[None]:
        """Stop immediately."""
        return succeed(None)


class ThreadPool:
    """
    A bounded pool of threads. Threads are made when there is work, never before.

    Args:
        reactor: Where results are delivered.
        threads: How many at most; work beyond that waits in the order it came.
        name: Shown as the name of the threads.
    """

    def __init__(self, reactor: IReactorFromThreads, *, threads: int = 4, name: str = "index") -> None:
        self._reactor = reactor
        self._threads = threads
        self._name = name
        self._pool = self._new_pool()
        self._unfinished = 0
        self._stopped: list[Deferred[None]] | None = None

    def _new_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix=self._name)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """
        Call a blocking function in a thread.

        Returns:
            Its result, or a Failure of what it raised. `CancelledError` if the worker stopped
            before the call began.
        """
        result: Deferred[T] = Deferred()
        if self._stopped is not None:
            result.errback(CancelledError())
            return result
        self._unfinished += 1
        future = self._pool.submit(function, *args, **kwargs)
        future.add_done_callback(lambda done: self._reactor.callFromThread(self._deliver, done, result))
        return result

    def _deliver(self, done: Future[T], result: Deferred[T]) -> None:
        self._unfinished -= 1
        if not result.called:
            error = CancelledError() if done.cancelled() else done.exception()
            if error is None:
                result.callback(done.result())
            else:
                result.errback(Failure(error, type(error), error.__traceback__))
        self._finish()

    def stop(self) -> Deferred[None]:
        """
        Drop the work that has not begun, and wait for the rest without blocking the reactor.

        After that the worker can be used again, as a service can be started again.
        """
        waiting: Deferred[None] = Deferred()
        if self._stopped is None:
            self._stopped = []
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._stopped.append(waiting)
        self._finish()
        return waiting

    def _finish(self) -> None:
        if self._stopped is None or self._unfinished:
            return
        # Each has done its last work and is about to end, so this wait is short.
        self._pool.shutdown(wait=True)
        self._pool = self._new_pool()
        waiting, self._stopped = self._stopped, None
        for one in waiting:
            one.callback(None)
