"""The reactor, for the subcommands that talk to other servers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def run_in_reactor(work: Callable[[Any], Coroutine[Any, Any, int]]) -> int:
    """Run the reactor until some work is done; 1 if it was interrupted."""
    from twisted.internet.task import react

    outcome: list[Any] = []

    def main(reactor: Any) -> Deferred[None]:
        working = Deferred.fromCoroutine(work(reactor)).addBoth(outcome.append)

        def interrupt() -> Deferred[None]:
            """Cancel the work, so that it closes its resources before the reactor stops."""
            if not outcome:
                outcome.append(1)
                working.cancel()
            return working

        reactor.addSystemEventTrigger("before", "shutdown", interrupt)
        return working

    with contextlib.suppress(SystemExit):  # react exits the program; this one continues
        react(main)
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    code: int = outcome[0]
    return code
