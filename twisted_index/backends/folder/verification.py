"""
Background verification of files that were listed unverified, one file at a time.

To keep the first client from waiting, wheels of more than a few KB that are older than the server process
are listed after a check of digest, directory and METADATA only. Their members are verified soon after the
first request.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index.errors import NotReady, OutOfResources, SimpleIndexError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

_log = Logger()

#: Seconds to pause after a verification that timed out or lacked resources.
_PAUSE = 5.0


class BackgroundVerification:
    """
    A queue of projects with unverified files, in the order of requests.

    It holds names only, so that a hundred thousand of them take little memory.

    Args:
        reactor: Schedules the end of a pause, and nothing else.
        verify: Verifies the files of one project.
    """

    def __init__(self, reactor: IReactorTime, verify: Callable[[str], Awaitable[None]]) -> None:
        self._reactor = reactor
        self._verify = verify
        self._queue: dict[str, None] = {}
        self._running = False
        self._pause: IDelayedCall | None = None

    def request(self, project: str) -> None:
        """Queue a project for verification."""
        self._queue[project] = None
        if not self._running and self._pause is None:
            self._start()

    def stop(self) -> None:
        """Clear the queue; the next request for a project queues it again."""
        self._queue.clear()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _start(self) -> None:
        self._pause = None
        self._running = True
        Deferred.fromCoroutine(self._run()).addBoth(self._end)

    def _end(self, result: Failure | None) -> None:
        self._running = False
        if isinstance(result, Failure):
            _log.failure("Verification stopped", failure=result)

    async def _run(self) -> None:
        while self._queue:
            project = next(iter(self._queue))
            del self._queue[project]
            try:
                await self._verify(project)
            except CancelledError:
                return
            except (NotReady, OutOfResources):
                self._queue[project] = None
                self._pause = self._reactor.callLater(_PAUSE, self._start)
                return
            except SimpleIndexError:
                # Its folder is unreadable, so its page is not served; the next request queues it again.
                continue
