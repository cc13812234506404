"""
Background verification of files that were listed by their age, one file at a time.

Files that were there before the server started are listed after digest, directory and METADATA, so that
the first client does not wait for more. Their members are verified soon after the first request.
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

#: Seconds of rest after what could not be proven for want of time or means.
_REST = 5.0


class BackgroundVerification:
    """
    The projects with files yet to be proven, in the order in which they were asked for.

    A name is all that waits, so that a hundred thousand of them take little memory.

    Args:
        reactor: Tells when a rest is over. Nothing is scheduled otherwise.
        verify: Proves the files of one project.
    """

    def __init__(self, reactor: IReactorTime, verify: Callable[[str], Awaitable[None]]) -> None:
        self._reactor = reactor
        self._prove = verify
        self._waiting: dict[str, None] = {}
        self._is_under_way = False
        self._rest: IDelayedCall | None = None

    def request(self, project: str) -> None:
        """Have the files of a project proven when its turn comes."""
        self._waiting[project] = None
        if not self._is_under_way and self._rest is None:
            self._go_on()

    def stop(self) -> None:
        """Give up what waits; it is wanted again with the next question for it."""
        self._waiting.clear()
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _go_on(self) -> None:
        self._rest = None
        self._is_under_way = True
        Deferred.fromCoroutine(self._run()).addBoth(self._end)

    def _end(self, result: Failure | None) -> None:
        self._is_under_way = False
        if isinstance(result, Failure):
            _log.failure("The proof of files broke off", failure=result)

    async def _run(self) -> None:
        while self._waiting:
            project = next(iter(self._waiting))
            del self._waiting[project]
            try:
                await self._prove(project)
            except CancelledError:
                return
            except (NotReady, OutOfResources):
                self._waiting[project] = None
                self._rest = self._reactor.callLater(_REST, self._go_on)
                return
            except SimpleIndexError:
                # Its folder is unreadable, so its page is not served; the next request for it asks again.
                continue
