"""The reactor, for the subcommands that talk to other servers."""

from __future__ import annotations

import contextlib
import signal
import sys
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
                _interrupted()
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


def _interrupted() -> None:
    """Let a second Ctrl-C end the process at once, and say so: what is in place is whole at each moment."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # timeout(1) sends it twice.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stderr.write("twisted-index: interrupted; what is done stays. Ctrl-C again ends it at once.\n")
