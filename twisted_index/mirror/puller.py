"""
Makes projects of a folder equal to selections of an index: verified, and resumable at any moment.

One project's failure never stops another; only a full disk stops all. Out of scope: what is selected (see
`plan` for what becomes of it).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore

from twisted_index.concurrency.parallel import all_of
from twisted_index.errors import SimpleIndexError, Unavailable
from twisted_index.files.os_errors import FULL_ERRNOS, error_text
from twisted_index.mirror.batch import Batch
from twisted_index.mirror.plan import Failure, plan_project
from twisted_index.mirror.progress import Silence
from twisted_index.mirror.transfer import Transfer
from twisted_index.simple.archives.limits import MAX_DOCUMENT
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from twisted_index.backends.upstream.remote import RemoteFile
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.mirror.folder import Arrival, TargetFolder
    from twisted_index.mirror.plan import Document, ProjectPlan, Selection
    from twisted_index.mirror.progress import IProgress
    from twisted_index.mirror.source_index import SourceIndex

#: Batches at once, and files in each: what may be open.
_BATCHES, _FILES = 8, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectResult:
    """
    What became of a project. All are names of files.

    Attributes:
        project: A normalized name.
        placed: Files that were fetched.
        adopted: Files that were there, and are now recorded.
        unchanged: Files that were there, adopted ones included.
        removable: Copies that the exact selection lacks; `Puller.remove` removes them.
        deleted: Files that are not placed, as they were deleted in the folder.
        size: Bytes received.
        refused: Why nothing was done, in a sentence; empty otherwise.
        failures: What could not be had.
        warnings: Documents beside files that could not be had.
    """

    project: str
    placed: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removable: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    size: int = 0
    refused: str = ""
    failures: tuple[Failure, ...] = ()
    warnings: tuple[Failure, ...] = ()


class Puller:
    """
    Fills a folder.

    Args:
        index: Where files come from.
        folder: The folder.
        worker: Threads.
        reactor: Twisted's reactor.
        jobs: How many files are fetched at once.
        exact: Whether copies that are not selected are removable.
        join: Whether copies may be added to projects that hold other files.
        progress: Sees files and bytes.
        now: Returns the current time, aware.

    Attributes:
        stopped: Why nothing more is placed, in a sentence: the disk is full. Empty otherwise.
    """

    def __init__(
        self,
        index: SourceIndex,
        folder: TargetFolder,
        *,
        worker: IThreadRunner,
        reactor: Any,
        jobs: int = 4,
        exact: bool = False,
        join: bool = False,
        progress: IProgress | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._index = index
        self._folder = folder
        self._worker = worker
        self._reactor = reactor
        self._exact = exact
        self._join = join
        self._progress: IProgress = progress or Silence()
        self._now = now
        self._jobs = DeferredSemaphore(jobs)
        self._batches = DeferredSemaphore(_BATCHES)
        self.stopped = ""

    def plan(self, selection: Selection) -> Deferred[ProjectPlan]:
        """Plan what to do about a project, and change nothing; `Unavailable` if the folder cannot be read."""
        return self._worker.run(self._plan, selection)

    def _plan(self, selection: Selection) -> ProjectPlan:
        try:
            held = self._folder.survey(selection)
        except OSError as error:
            path = os.path.relpath(error.filename or self._folder.root, self._folder.root)
            shown = printable(path.decode("utf-8", "backslashreplace"))
            raise Unavailable(f"{shown} in the folder cannot be read: {error_text(error)}.") from error
        return plan_project(selection, held, self._now().timestamp(), exact=self._exact, join=self._join)

    async def pull(self, selection: Selection) -> ProjectResult:
        """
        Make a project equal to a selection, except that nothing is removed.

        Marks that hide files are written first; then files come; then marks are removed.
        """
        project = selection.project
        if self.stopped:
            return ProjectResult(project=project, refused=self.stopped)
        try:
            plan = await self.plan(selection)
            if plan.refused:
                return ProjectResult(project=project, refused=plan.refused)
            return await self._carry_out(plan)
        except (OSError, SimpleIndexError) as error:
            failure = self._failure(project, error)
            self._progress.failed(failure.name, failure.reason)
            return ProjectResult(project=project, failures=(failure,))

    async def remove(self, project: str, names: Iterable[str]) -> tuple[Failure, ...]:
        """
        Remove copies, with what is recorded beside them.

        Args:
            project: A normalized name.
            names: Of files, from `ProjectResult.removable`.

        Returns:
            What could not be removed.
        """
        try:
            return tuple(await self._worker.run(self._folder.remove, project, tuple(names)))
        except (OSError, SimpleIndexError) as error:
            return (self._failure(project, error),)

    async def _carry_out(self, plan: ProjectPlan) -> ProjectResult:
        await self._worker.run(self._folder.begin, plan)
        work = _Work(plan)
        sizes = (remote.file.size or 0 for remote in plan.place)
        self._progress.expect(len(plan.place), sum(sizes))
        for failure in plan.failures:
            self._progress.failed(failure.name, failure.reason)
        parts = (plan.place[start : start + _FILES] for start in range(0, len(plan.place), _FILES))
        await all_of(self._batches.run(self._fetch_all, work, part) for part in parts)
        await all_of(Deferred.fromCoroutine(self._fetch_document(work, one)) for one in plan.documents)
        await self._worker.run(self._folder.finish, plan)
        return work.result()

    def _fetch_all(self, work: _Work, part: Sequence[RemoteFile]) -> Deferred[Sequence[None]]:
        names = (remote.file.filename for remote in part)
        batch = Batch(names, lambda arrived: self._give_names(work, arrived))
        return Deferred.fromCoroutine(
            all_of(Deferred.fromCoroutine(self._fetch(work, batch, remote)) for remote in part)
        )

    async def _fetch(self, work: _Work, batch: Batch, remote: RemoteFile) -> None:
        """Fetch and place a file."""
        name = remote.file.filename
        await self._jobs.acquire()
        slot = _Slot(self._jobs)
        try:
            reason = self.stopped or await self._transfer(work, batch, remote, slot)
        except (OSError, SimpleIndexError) as error:
            reason = self._failure(name, error).reason
        finally:
            slot.release()
            batch.end(name)
        if reason:
            work.failures.append(Failure(name=name, reason=reason))
            self._progress.failed(name, reason)
        else:
            work.placed.append(name)

    async def _transfer(self, work: _Work, batch: Batch, remote: RemoteFile, slot: _Slot) -> str:
        async def place(arrival: Arrival) -> str:
            # Others are received while this one waits for its name.
            slot.release()
            return await batch.place(arrival)

        transfer = Transfer(
            self._index,
            self._folder.root,
            work.plan.project,
            remote,
            place=place,
            worker=self._worker,
            reactor=self._reactor,
            progress=self._progress,
            now=self._now,
        )
        reason = await transfer.run()
        work.size += transfer.size
        if transfer.os_error is not None:
            return self._failure(remote.file.filename, transfer.os_error).reason
        if not reason:
            self._progress.done(remote.file.filename, transfer.size)
        return reason

    async def _give_names(self, work: _Work, arrived: Sequence[Arrival]) -> dict[str, str]:
        """
        Give files their names.

        Returns:
            Why files have none, by name.
        """
        synced = await all_of(Deferred.fromCoroutine(self._sync(arrival)) for arrival in arrived)
        reasons = {arrival.line.name: reason for arrival, reason in zip(arrived, synced, strict=True)}
        sound = [arrival for arrival in arrived if not reasons[arrival.line.name]]
        await work.placing.acquire()
        try:
            taken = await self._worker.run(self._folder.place, work.plan.project, sound)
        except (OSError, SimpleIndexError) as error:
            taken = [self._failure(arrival.line.name, error) for arrival in sound]
        finally:
            work.placing.release()
        return reasons | {failure.name: failure.reason for failure in taken}

    async def _sync(self, arrival: Arrival) -> str:
        """Wait until a file is on disk; return why it is not. Many threads wait hardly longer than one."""
        try:
            await self._worker.run(arrival.file.sync)
        except OSError as error:
            return self._failure(arrival.line.name, error).reason
        return ""

    async def _fetch_document(self, work: _Work, document: Document) -> None:
        """Fetch a sidecar of a file that is there; without it, the file is of use too."""
        if self.stopped or any(document.name.startswith(failure.name) for failure in work.failures):
            return
        project = work.plan.project
        try:
            content = await self._index.document(project, document.url, MAX_DOCUMENT)
            if content is None:
                reason = "The index does not have it."
            else:
                args = (project, document.name, content, document.url)
                await self._worker.run(self._folder.put_document, *args)
                return
        except (OSError, SimpleIndexError) as error:
            reason = self._failure(document.name, error).reason
        work.warnings.append(Failure(name=document.name, reason=reason))
        self._progress.say(f"{document.name}: {reason}")

    def _failure(self, name: str, error: OSError | SimpleIndexError) -> Failure:
        if isinstance(error, SimpleIndexError):
            return Failure(name=name, reason=error.message)
        if error.errno in FULL_ERRNOS:
            self._stop()
            return Failure(name=name, reason=self.stopped)
        return Failure(name=name, reason=f"It cannot be written: {error_text(error)}.")

    def _stop(self) -> None:
        if not self.stopped:
            root = printable(self._folder.root.decode("utf-8", "backslashreplace"))
            self.stopped = f"The disk of {root} is full, so nothing more is placed."
            self._progress.say(self.stopped)


class _Slot:
    """A place among the files that are received at once; released once."""

    def __init__(self, slots: DeferredSemaphore) -> None:
        self._slots: DeferredSemaphore | None = slots

    def release(self) -> None:
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.release()


@dataclass(slots=True)
class _Work:
    """The work on one project."""

    plan: ProjectPlan
    placed: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    warnings: list[Failure] = field(default_factory=list)
    size: int = 0
    placing: DeferredLock = field(default_factory=DeferredLock)

    def result(self) -> ProjectResult:
        plan = self.plan
        adopted = sorted(file.name for file, _remote in plan.adopt)
        return ProjectResult(
            project=plan.project,
            placed=tuple(sorted(self.placed)),
            adopted=tuple(adopted),
            unchanged=tuple(sorted([*plan.unchanged, *adopted])),
            removable=plan.removable,
            deleted=plan.deleted,
            size=self.size,
            failures=(*plan.failures, *self.failures),
            warnings=tuple(self.warnings),
        )
