"""
What rounds change in the folders of a replica, and the end of all that with a take-over. Blocking.

The loop that makes rounds hears of a take-over at the end of a long poll. Until then a client may have
uploaded a file here whose name a running round was about to use.
"""

from __future__ import annotations

from threading import Condition
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from twisted_index.errors import Unavailable
from twisted_index.replication.state_file import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.replication.state_file import StateFile

P = ParamSpec("P")
T = TypeVar("T")


class NoReplica(Unavailable):
    """Nothing is changed for a primary's sake any more."""


class FolderChanges:
    """
    Lets changes begin while this server is a replica, and waits for those that run. Safe in any thread.

    Args:
        state: What this server is.
    """

    def __init__(self, state: StateFile) -> None:
        self._state = state
        self._running = 0
        self._ended = Condition()

    def make(self, change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Make a change; it is called with what follows.

        Raises:
            NoReplica: This server is a replica no more.
            Unavailable: That is not known.
        """
        with self._ended:
            # Before it is looked: then one that is not waited for sees what this server has become.
            self._running += 1
        try:
            if self._state.read().role is not Role.REPLICA:
                raise NoReplica("This server is no replica any more.")
            return change(*args, **kwargs)
        finally:
            with self._ended:
                self._running -= 1
                self._ended.notify_all()

    def wait(self) -> None:
        """Wait until none runs; call it when none can begin any more."""
        with self._ended:
            self._ended.wait_for(lambda: not self._running)
