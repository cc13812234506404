"""
Whether a change is made here: asked before each change that a client wants.

A server makes changes while it is the primary. What it is can change at any moment, by a command too, so
the file that says so is looked at each time. Out of scope: how a replica sends a change on, and how peers are
asked.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from twisted_index.errors import BadRequest, Unavailable
from twisted_index.replication.epoch import Epoch, parse_epoch
from twisted_index.replication.state_file import ReplicationState, Role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted_index.replication.state_file import StateFile

#: Names the epoch of the primary that a replica follows, in its requests and in the answers of its primary.
EPOCH_FIELD = b"X-Index-Epoch"


async def _no_peers(again: bool) -> None:
    """Return: there are no peers to ask."""


class ChangeGate:
    """
    Lets changes begin on a primary, and counts those that run.

    Args:
        state: The state file.
        own_instance: Returns the instance of this server's serials, which names its first epoch; may read a
            file.
        ask_peers: Asks peers for a higher epoch, and retires this server in `state` if one knows of any. Its
            argument says whether to ask peers again that have answered. Raises Unavailable if too few answer.

    Attributes:
        running: The number of changes that run.
    """

    def __init__(
        self,
        state: StateFile,
        own_instance: Callable[[], str],
        ask_peers: Callable[[bool], Awaitable[None]] = _no_peers,
    ) -> None:
        self.running = 0
        self._state = state
        self._own_instance = own_instance
        self._ask_peers = ask_peers
        self._waiting: list[Deferred[None]] = []

    @property
    def is_replica(self) -> bool:
        """
        Whether this server is a replica, whose primary makes the changes.

        Raises:
            Unavailable: The state cannot be read.
        """
        return self._state.read().role is Role.REPLICA

    @property
    def epoch(self) -> Epoch:
        """The highest known epoch."""
        return self._state.read().epoch or Epoch(1, self._own_instance())

    async def check(self, told: bytes | None = None) -> None:
        """
        Return if a change may begin here.

        Args:
            told: The epoch in which the client expects this server to be the primary; None for any.

        Raises:
            Unavailable: This server isn't the primary, or isn't sure to be, or not in that epoch.
            BadRequest: `told` is no epoch.
        """
        expected = None if told is None else parse_epoch(told.decode("latin-1"))
        if told is not None and expected is None:
            raise BadRequest(f"The field {EPOCH_FIELD.decode()} names no epoch.")
        state = self._state.read()
        if state.role is Role.RETIRED and not state.primary:
            # By now one of them may be the primary that clients should use.
            with suppress(Unavailable):
                await self._ask_peers(False)
            state = self._state.read()
        _require_primary(state)
        await self._ask_peers(expected is not None and expected > self.epoch)
        # The peers may have retired it. From here until the change begins, nothing is awaited.
        _require_primary(self._state.read())
        if expected is not None and expected != self.epoch:
            raise Unavailable(
                "The replica that sent this has not heard yet of the epoch of this primary: try again later,"
                " or send it to the primary itself."
            )

    async def ask_peers(self) -> None:
        """
        Ask the peers now, as there may be something new: see `Peers.check`.

        Raises:
            Unavailable: Too few of them answer, or what they say cannot be kept.
        """
        await self._ask_peers(True)

    async def begin(self, told: bytes | None = None) -> Callable[[], None]:
        """
        Begin a change, if it may begin here; see `check`.

        None begins after a hand-over, which retires the server first, and then waits for the changes that
        have begun, by `drained`.

        Returns:
            To be called once, when the change has ended.
        """
        await self.check(told)
        self.running += 1
        return self._end

    def _end(self) -> None:
        self.running -= 1
        if not self.running:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.callback(None)

    async def drained(self) -> None:
        """Wait until no change runs; to be called once none can begin."""
        if self.running:
            ended: Deferred[None] = Deferred()
            self._waiting.append(ended)
            await ended


def _require_primary(state: ReplicationState) -> None:
    if state.role is Role.PRIMARY:
        return
    if state.role is Role.REPLICA:
        raise Unavailable(
            f"This server is a replica{_of(state)}, and cannot send changes on: start it with --replica-of."
        )
    if state.primary:
        raise Unavailable(f"This server makes no changes any more. The primary is {state.primary} now.")
    raise Unavailable("This server makes no changes any more: another one takes its place.")


def _of(state: ReplicationState) -> str:
    return f" of {state.primary}" if state.primary else ""
