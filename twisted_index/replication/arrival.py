"""
Arrival: fetches what the primary has of one project, and places it in the folder here.

Small projects take one request and one turn in a thread. Of large ones, files are received four at a time and
named in batches. Out of scope: when a project is fetched, and what becomes of it (see `rounds`), and files
that are gone at the primary (see `removals`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import Deferred

from twisted_index.concurrency.parallel import at_once
from twisted_index.errors import SimpleIndexError
from twisted_index.replication.compare import is_mark
from twisted_index.replication.primary import MAX_SKEW
from twisted_index.simple.entry_listing import MAX_INLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from twisted.internet.defer import DeferredSemaphore

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.events.serials import Change
    from twisted_index.replication.compare import ReplicaPlan
    from twisted_index.replication.primary import IPrimary
    from twisted_index.replication.receipt import Receipt
    from twisted_index.replication.replica_folder import ReplicaFolder
    from twisted_index.replication.replica_guard import ReplicaGuard
    from twisted_index.simple.entry_listing import Entry, EntryListing

#: Files of a project that are received at once by requests of their own.
_FILES = 4
#: Files, and bytes, of a project that get their names together.
_BATCH, _BATCH_BYTES = 32, 64 << 20


class TooEarly(Exception):
    """
    A file of the project is of the near future, so that nothing was placed.

    Attributes:
        seconds: Until it no longer is.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Arrived(NamedTuple):
    """
    A project that is here as the primary lists it, but for what is gone.

    Attributes:
        serial: The serial of the primary that this is the state of.
        imprint: That of the project here.
        plan: What was done, and what is gone.
        latest: The time of the latest file that came or should get another time, in nanoseconds; 0 without
            any. If it is in the future, the file does not show it yet.
    """

    serial: int
    imprint: str
    plan: ReplicaPlan
    latest: int


class Arrivals:
    """
    Brings projects from the primary, several at once.

    Args:
        primary: The server that is followed.
        folder: The folder here.
        guard: Allows changes of it.
        runner: Threads.
        now: Returns nanoseconds since the epoch.
    """

    def __init__(
        self,
        primary: IPrimary,
        folder: ReplicaFolder,
        guard: ReplicaGuard,
        *,
        runner: IThreadRunner,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._primary = primary
        self._folder = folder
        self._guard = guard
        self._runner = runner
        self._now = now
        self._to_come: dict[str, int] = {}

    @property
    def bytes_to_come(self) -> int:
        """Bytes of the files that are being received, of all projects."""
        return sum(self._to_come.values())

    async def bring(
        self, project: str, *, told: int, known: Change | None, waits: bool, large: DeferredSemaphore
    ) -> Arrived:
        """
        Fetch and place all of a project but what is gone.

        Args:
            project: A normalized name.
            told: The last serial of it that the primary has told: the one that holds if it has nothing of it.
            known: What was adopted last; None without any.
            waits: Whether files of the next minute are waited for, which needs clocks that agree.
            large: Is held while files are received by requests of their own.

        Raises:
            TooEarly: Nothing was placed, because a file is of the near future.
            OSError: The folder cannot be read or written.
            SimpleIndexError: See `IPrimary`, `ReplicaFolder.survey` and `ReplicaGuard.change`.
        """
        answer = await self._primary.entries(project, inline=MAX_INLINE)
        listing, contents = answer or (None, {})
        serial = told if listing is None else listing.serial
        adopted = known.imprint if known is not None and known.serial >= serial else None
        plan, imprint = await self._runner.run(
            self._bring_small, project, listing, contents, adopted=adopted, waits=waits
        )
        if imprint is None:
            self._to_come[project] = sum(entry.size for entry in plan.wanted)
            try:
                await large.run(lambda: Deferred.fromCoroutine(self._place_large(plan, contents)))
            finally:
                del self._to_come[project]
            imprint = await self._runner.run(self._folder.imprint, project)
        latest = max((entry.time for entry in (*plan.wanted, *plan.retime)), default=0)
        return Arrived(serial, imprint, plan, latest)

    def _bring_small(
        self,
        project: str,
        listing: EntryListing | None,
        contents: Mapping[str, bytes],
        *,
        adopted: str | None,
        waits: bool,
    ) -> tuple[ReplicaPlan, str | None]:
        """
        Compare a project, and place what is wanted if all its bytes came with the listing; in a thread.

        Args:
            project: A normalized name.
            listing: Its entries.
            contents: The bytes that came with it, by path.
            adopted: What its imprint was when it was as the primary lists it; None if that has changed since.
            waits: See `bring`.

        Returns:
            The plan, and the imprint after it was carried out; None if it was not.
        """
        plan = self._folder.survey(project, listing)
        if plan.is_empty and (adopted is None or adopted != self._folder.imprint(project)):
            # The change, there or by hand here, shows in neither size nor time.
            plan = self._folder.survey(project, listing, deep=True)
        if waits and (seconds := self._seconds_until(plan)):
            raise TooEarly(seconds)
        if any(entry.path not in contents for entry in plan.wanted):
            return plan, None
        receipts: list[Receipt] = []
        try:
            for entry in plan.wanted:
                receipts.append(self._folder.receive_whole(entry, contents[entry.path]))
            if self._folder.comes_as_one(plan):
                self._guard.change(self._folder.make, plan, receipts)
            elif not plan.is_empty:
                marks = [receipt for receipt in receipts if is_mark(receipt.entry.path)]
                files = [receipt for receipt in receipts if not is_mark(receipt.entry.path)]
                self._guard.change(self._folder.begin, plan, () if plan.is_new else marks)
                self._guard.change(self._folder.place, plan, files)
                self._guard.change(self._folder.finish, plan, marks if plan.is_new else ())
        finally:
            _close(receipts)
        return plan, self._folder.imprint(project)

    async def _place_large(self, plan: ReplicaPlan, contents: Mapping[str, bytes]) -> None:
        """Receive what did not come with the listing, and place all that is wanted."""
        if self._folder.comes_as_one(plan):
            await self._place_batch(plan, plan.wanted, contents, self._folder.make)
            return
        marks, error = await self._receive_all(plan.project, plan.hide, contents)
        try:
            if error is not None:
                raise error
            await self._runner.run(self._guard.change, self._folder.begin, plan, () if plan.is_new else marks)
            for batch in _batches(plan.place):
                # Hidden behind a list, what has come is kept, and is not fetched again.
                await self._place_batch(
                    plan, batch, contents, self._folder.place, keeps_some=bool(plan.together)
                )
            await self._runner.run(
                self._guard.change, self._folder.finish, plan, marks if plan.is_new else ()
            )
        finally:
            await self._runner.run(_close, marks)

    async def _place_batch(
        self,
        plan: ReplicaPlan,
        batch: Sequence[Entry],
        contents: Mapping[str, bytes],
        place: Callable[[ReplicaPlan, Sequence[Receipt]], None],
        *,
        keeps_some: bool = False,
    ) -> None:
        """Receive entries and place them: all, or those that can be had."""
        receipts, error = await self._receive_all(plan.project, batch, contents)
        try:
            if error is None or keeps_some:
                await self._runner.run(self._guard.change, place, plan, receipts)
            if error is not None:
                raise error
        finally:
            await self._runner.run(_close, receipts)

    async def _receive_all(
        self, project: str, entries: Sequence[Entry], contents: Mapping[str, bytes]
    ) -> tuple[Sequence[Receipt], OSError | SimpleIndexError | None]:
        """Receive entries, all that can be had; return the first error too."""
        receipts: list[Receipt] = []
        errors: list[OSError | SimpleIndexError] = []

        async def receive(entry: Entry) -> None:
            try:
                receipts.append(await self._receive(project, entry, contents.get(entry.path)))
            except (OSError, SimpleIndexError) as error:
                errors.append(error)

        await at_once(_FILES, receive, entries)
        return receipts, next(iter(errors), None)

    async def _receive(self, project: str, entry: Entry, content: bytes | None) -> Receipt:
        if content is not None:
            return await self._runner.run(self._folder.receive_whole, entry, content)
        receipt = await self._runner.run(self._folder.receive, entry)
        try:
            await self._primary.read(project, entry, receipt.write)
            await self._runner.run(receipt.check)
        except BaseException:
            # Another thread may be writing it still.
            await self._runner.run(receipt.close)
            raise
        return receipt

    def _seconds_until(self, plan: ReplicaPlan) -> float:
        """Return the seconds until no wanted file is of the future; 0 if that is too long to wait for."""
        latest = max((entry.time for entry in plan.wanted), default=0)
        seconds = (latest - self._now()) / 1e9
        return seconds if 0 < seconds <= MAX_SKEW else 0.0


def _batches(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Divide entries into what gets its names together."""
    batch: list[Entry] = []
    for entry in entries:
        if batch and (len(batch) >= _BATCH or sum(each.size for each in batch) + entry.size > _BATCH_BYTES):
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch


def _close(receipts: Iterable[Receipt]) -> None:
    for receipt in receipts:
        receipt.close()
