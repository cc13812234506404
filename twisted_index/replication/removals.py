"""
Removals: files that are gone at the primary, until they are removed here.

They come last in a round, all together, so that the brake sees how much would go. What it holds back waits
until a person accepts that number of files by `twisted-index follow --accept`; the state file has both
numbers. Out of scope: how files are removed (see `replica_folder`), and how much may go (see `brake`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import DeferredLock

from twisted_index.replication.brake import Brake
from twisted_index.replication.compare import is_beside
from twisted_index.simple.formatting import counted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.replication.compare import ReplicaPlan
    from twisted_index.replication.replica_folder import ReplicaFolder
    from twisted_index.replication.replica_guard import ReplicaGuard


class Removal(NamedTuple):
    """
    What is gone of a project.

    Attributes:
        paths: In the order in which they are removed.
        files: How many of them are files, and nothing that lies beside one.
        is_last: Whether these are the last files of the project.
        is_told: Whether the primary says that files were deleted.
        serial: The serial of the primary that this is the state of.
    """

    paths: tuple[str, ...]
    files: int
    is_last: bool
    is_told: bool
    serial: int


class Removals:
    """
    What is gone of all projects.

    Args:
        folder: The folder here.
        guard: Allows changes of it; has the state file.
        runner: Threads.
        seconds: Returns monotonic seconds.

    Attributes:
        awaiting: Files that wait for a person to accept that they are removed.
    """

    def __init__(
        self,
        folder: ReplicaFolder,
        guard: ReplicaGuard,
        *,
        runner: IThreadRunner,
        seconds: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._guard = guard
        self._runner = runner
        self._brake = Brake(seconds)
        self._lock = DeferredLock()
        self._gone: dict[str, Removal] = {}
        self._has_removed = False
        self.awaiting = 0

    def __contains__(self, project: str) -> bool:
        return project in self._gone

    def names(self) -> Iterable[str]:
        """Return the projects of which anything is gone."""
        return self._gone.keys()

    def note(self, plan: ReplicaPlan, serial: int) -> None:
        """Note what is gone by a plan."""
        if plan.gone:
            files = sum(not is_beside(path) for path in plan.gone)
            self._gone[plan.project] = Removal(
                plan.gone,
                files,
                is_last=bool(files) and not plan.stays,
                is_told=plan.is_told,
                serial=serial,
            )

    def drop(self, project: str) -> None:
        """Forget what is gone of a project."""
        self._gone.pop(project, None)

    def clear(self) -> None:
        """Forget what is gone of all projects."""
        self._gone = {}

    @property
    def fault(self) -> str:
        """Why files wait, in a sentence; empty if none do."""
        if not self.awaiting:
            return ""
        return (
            f"Gone at the primary: {counted(self.awaiting, 'file')}, which is more than goes without a"
            " question, so nothing is removed. If that is right, run"
            " `twisted-index follow --accept --state DIR`."
        )

    async def carry_out(
        self, is_busy: Callable[[str], bool], remove: Callable[[str, Removal], Awaitable[None]]
    ) -> None:
        """
        Remove what is gone, if that is not too much, or a person has accepted it.

        Args:
            is_busy: Returns whether a project is being compared: its files stay for now.
            remove: Removes what is gone of a project.

        Raises:
            OSError: The root cannot be read.
            Unavailable: The state file cannot be read or written.
        """
        await self._lock.acquire()
        try:
            await self._carry_out(is_busy, remove)
        finally:
            self._lock.release()

    async def _carry_out(
        self, is_busy: Callable[[str], bool], remove: Callable[[str, Removal], Awaitable[None]]
    ) -> None:
        gone = {project: gone for project, gone in self._gone.items() if not is_busy(project)}
        files = sum(each.files for each in gone.values())
        emptied = sum(each.is_last for each in gone.values())
        untold = sum(each.is_last and not each.is_told for each in gone.values())
        state = await self._guard.state()
        total = len(await self._runner.run(self._folder.refresh))
        if self._guard.is_stopped:
            return
        if self._brake.forbids(files, emptied, total, untold=untold, accepted=state.accepted):
            self.awaiting = files
            await self._guard.keep(lambda kept: replace(kept, awaiting=files))
            return
        # The state file is of all indexes: another one may be waiting for the same acceptance.
        was_accepted = self.awaiting > 0 or self._brake.forbids(files, emptied, total)
        for project, each in gone.items():
            # Meanwhile another round may have found files there again, or be comparing the project.
            if not self._guard.is_stopped and self._gone.get(project) is each and not is_busy(project):
                await remove(project, each)
        self.awaiting = 0
        if files:
            self._brake.note(files, emptied)
        if was_accepted:
            await self._guard.keep(lambda kept: replace(kept, awaiting=0, accepted=0))
        elif state.awaiting and not self._has_removed:
            # The number is of before the start of this server.
            await self._guard.keep(lambda kept: replace(kept, awaiting=0))
        self._has_removed = True
