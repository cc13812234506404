"""What a round may change, only while this server is a replica."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

from twisted_index.replication.folder_changes import NoReplica
from twisted_index.replication.state_file import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.replication.folder_changes import FolderChanges
    from twisted_index.replication.state_file import ReplicationState, StateFile

P = ParamSpec("P")
T = TypeVar("T")


class ReplicaGuard:
    """
    Refuses changes by rounds once they are stopped, or this server is no replica any more.

    Args:
        state: The state file; its role decides.
        runner: Threads.
        changes: Lets changes begin.

    Attributes:
        is_stopped: Whether the rounds are to begin nothing more, and adopt nothing.
    """

    def __init__(self, state: StateFile, runner: IThreadRunner, changes: FolderChanges) -> None:
        self._state = state
        self._runner = runner
        self._changes = changes
        self.is_stopped = False

    async def state(self) -> ReplicationState:
        """
        Read the state file.

        Raises:
            Unavailable: It cannot be read.
        """
        return await self._runner.run(self._state.read)

    async def keep(self, change: Callable[[ReplicationState], ReplicationState]) -> None:
        """
        Change the state file, unless this server is no replica any more.

        Raises:
            Unavailable: It cannot be read or written.
        """
        await self._runner.run(
            self._state.update, lambda kept: change(kept) if kept.role is Role.REPLICA else kept
        )

    def change(self, change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Change the folder; in a thread.

        Raises:
            Unavailable: This server is no replica any more, or its role cannot be read.
        """
        try:
            return self._changes.make(change, *args, **kwargs)
        except NoReplica:
            self.is_stopped = True
            raise
