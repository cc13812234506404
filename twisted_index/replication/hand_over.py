"""
A hand-over: the primary stops taking changes, and returns the serial of the last one.

A replica that has reached this serial can take over without losing a change. A hand-over is idempotent: a
retired server stays retired and gives the same answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twisted_index.errors import Conflict
from twisted_index.replication.peers import PeerAnswer
from twisted_index.replication.state_file import ReplicationState, Role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.replication.epoch import Epoch
    from twisted_index.replication.state_file import StateFile


async def hand_over_role(
    state: StateFile,
    own: Callable[[], Epoch],
    drained: Callable[[], Awaitable[None]],
    last_serial: Callable[[], Awaitable[int]],
    runner: IThreadRunner,
) -> PeerAnswer:
    """
    Stop taking changes.

    Args:
        state: The state file; the role becomes retired.
        own: Returns the first epoch of this server's own serials, which counts if `state` has none.
        drained: Waits for the changes that run; none begins once the role is retired.
        last_serial: Scans all projects, and returns the highest serial.
        runner: Threads, in which `own` is called, too.

    Raises:
        Conflict: This server is a replica.
        Unavailable: The state cannot be read or written, or the folders cannot be read: it is retired then.
    """

    def change(current: ReplicationState) -> ReplicationState:
        if current.role is Role.REPLICA:
            raise Conflict("This server is a replica, and has nothing to hand over: ask its primary.")
        return replace(current, role=Role.RETIRED, epoch=current.epoch or own())

    kept = await runner.run(state.update, change)
    await drained()
    return PeerAnswer(kept.role, kept.epoch, await last_serial())
