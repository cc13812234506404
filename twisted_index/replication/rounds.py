"""
The rounds of a replica: what has changed at the primary is compared with the folder here, and made equal.

State is compared; the feed of changes only says where to look. One project's failure stops no other. The
serials of the primary are adopted in their order: those who follow this replica ask for what came after one,
and would miss a lower one that came later.
"""

from __future__ import annotations

import errno
import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from twisted_index.concurrency.parallel import at_once
from twisted_index.errors import BadGateway, Gone, SimpleIndexError, Unavailable
from twisted_index.events.serials import REMOVED, Change
from twisted_index.files.os_errors import FULL_ERRNOS, error_text
from twisted_index.replication.adoption_order import AdoptionOrder
from twisted_index.replication.brake import Brake
from twisted_index.replication.compare import is_beside, is_mark
from twisted_index.replication.primary import MAX_SKEW
from twisted_index.replication.state_file import Role
from twisted_index.simple.formatting import printable
from twisted_index.simple.names import is_valid_name, normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.events.serials import Serials
    from twisted_index.replication.compare import ReplicaPlan
    from twisted_index.replication.primary import Feed, IPrimary
    from twisted_index.replication.receipt import Receipt
    from twisted_index.replication.replica_folder import ReplicaFolder
    from twisted_index.replication.state_file import ReplicationState, StateFile
    from twisted_index.simple.entry_listing import Entry, EntryListing

T = TypeVar("T")
_log = Logger()

#: Projects that a round works on at once, and files of one that are received at once by their own requests.
_PROJECTS, _FILES = 8, 4
#: Bytes of a file up to which it should come with its listing.
INLINE = 64 << 10
#: Files, and bytes, of a project that get their names together.
_BATCH, _BATCH_BYTES = 32, 64 << 20
#: Seconds after which all changes are asked for again, of a primary that was restored unnoticed, and the
#: folder here is looked at for what was changed by hand.
_ALL_AGAIN = 3600.0
#: Seconds until a project that failed is tried again: the first time, and at most.
_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0
#: Seconds until a primary whose serials are not followed is compared again, if it has not changed.
_COMPARE_AGAIN = 600.0
#: How often a project is compared that changes meanwhile.
_ATTEMPTS = 5
_SKEW = (
    "The clocks of this server and of its primary differ by more than a minute: set them right. Until then,"
    " files may show other upload times here."
)
#: Greater serials fit into no JSON number.
_MAX_SERIAL = 1 << 52


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundProgress:
    """
    How far the rounds have come.

    Attributes:
        projects: Projects that are not as at the primary yet.
        files: Files to come, of those whose listings are here.
        bytes: Of these.
        files_done: Files that came since the start.
        bytes_done: Of these.
    """

    projects: int = 0
    files: int = 0
    bytes: int = 0
    files_done: int = 0
    bytes_done: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundResult:
    """
    What became of a round.

    Attributes:
        applied: Projects that are as at the primary now.
        fault: Why not all is, in a sentence; empty if it is.
        retry_in: Seconds after which the next round has something to do without a change; None if it has not.
    """

    applied: int = 0
    fault: str = ""
    retry_in: float | None = None


class Rounds:
    """
    The rounds.

    Args:
        primary: What is followed.
        folder: What is made equal.
        serials: Those of the folder; they follow those of the primary from now on.
        state: What the server keeps of the replication; what the feed says of epoch and rights goes there.
        runner: Threads.
        clock: Tells monotonic seconds.
        now: Returns nanoseconds since the epoch.
        adopted: Called when a project has another serial, which its page needs.

    Attributes:
        reached: Every change of the primary up to this serial is applied, except to projects that failed.
        failures: Why projects are not as at the primary, in sentences.
        removals: Files that wait for a person to agree that they are removed.
        listeners: Called when any of these, or the progress, has changed.
    """

    def __init__(
        self,
        primary: IPrimary,
        folder: ReplicaFolder,
        serials: Serials,
        state: StateFile,
        *,
        runner: IThreadRunner,
        clock: IReactorTime,
        now: Callable[[], int] = time.time_ns,
        adopted: Callable[[str], object] = lambda _project: None,
    ) -> None:
        self._primary = primary
        self._folder = folder
        self._serials = serials
        self._state = state
        self._runner = runner
        self._clock = clock
        self._now = now
        self._adopted = adopted
        self._brake = Brake(clock.seconds)
        self._taking, self._removing, self._committing = DeferredLock(), DeferredLock(), DeferredLock()
        self._all_at: float | None = None
        self._checked_at = -math.inf
        self._stopped = self._skewed = self._has_removed = self._is_doubted = False
        self._refused: _Refused | None = None
        self._files_done = self._bytes_done = 0
        self._to_come: dict[str, tuple[int, int]] = {}
        #: Times that files here get when the clock has passed them.
        self._later: dict[str, int] = {}
        self._work: dict[str, _Work] = {}
        self._forget()
        self.removals = 0
        self.listeners: set[Callable[[], None]] = set()

    def _forget(self) -> None:
        """Begin with what the serials here say."""
        self._order = AdoptionOrder()
        # What is being worked on stays, or another round would begin with it too.
        self._work = {project: work for project, work in self._work.items() if work.has_begun}
        for work in self._work.values():
            work.is_outdated = True
        self._ready: dict[str, Change] = {}
        self._gone: dict[str, _Gone] = {}
        self.failures: dict[str, str] = {}
        self._position: int | None = None
        self.reached = 0

    @property
    def since(self) -> int | None:
        """The serial after which changes are to be asked for; None for all of them."""
        is_due = self._all_at is None or self._clock.seconds() - self._all_at >= _ALL_AGAIN
        return None if is_due else self._position

    @property
    def instance(self) -> str:
        """The instance of that serial."""
        return self._serials.instance

    @property
    def progress(self) -> RoundProgress:
        """How far the rounds have come."""
        return RoundProgress(
            projects=len(self._work.keys() | self._gone.keys()),
            files=sum(files for files, _size in self._to_come.values()),
            bytes=sum(size for _files, size in self._to_come.values()),
            files_done=self._files_done,
            bytes_done=self._bytes_done,
        )

    def ask_for_all(self) -> None:
        """
        Ask for all changes next.

        The primary has not given the serial after which they were asked for; or it may have been restored.
        """
        self._all_at = None

    async def confirm(self) -> None:
        """
        Ask the primary whether it gave the serials of what is here, before all changes are asked for.

        One to which an older state came back did not, and goes on above them. Then all is compared as with
        another server, and nothing is removed.

        Raises:
            SimpleIndexError: See `IPrimary`.
        """
        known = await self._runner.run(self._serials.read)
        if known.highest:
            try:
                await self._primary.changes(since=known.highest, instance=known.instance)
            except Gone:
                self._is_doubted = True

    def stop(self) -> None:
        """Begin with nothing more, and adopt nothing."""
        self._stopped = True

    async def run(self, feed: Feed | None, *, is_all: bool = False) -> RoundResult:
        """
        Apply what has changed, and what failed before and is due.

        Args:
            feed: What has changed; None if nothing has.
            is_all: Whether it has all changes, being asked for without a serial.
        """
        if feed is not None and (fault := await self.take(feed, is_all=is_all)):
            return RoundResult(fault=fault, retry_in=_LAST_RETRY)
        return await self.work()

    async def take(self, feed: Feed, *, is_all: bool = False) -> str:
        """
        Note what has changed, so that the next changes may be asked for; see `run`.

        Returns:
            Why this primary is not followed, in a sentence; empty if it is.
        """
        await self._taking.acquire()
        try:
            return await self._take(feed, is_all=is_all)
        except (OSError, SimpleIndexError) as error:
            return _sentence(error)
        finally:
            self._taking.release()

    async def work(self) -> RoundResult:
        """
        Apply what was noted, or failed before and is due.

        It may be called again before it has returned: a large file then holds up nothing else.
        """
        applied, mine = 0, self._begin()
        try:
            applied = sum(await at_once(_PROJECTS, self._apply, mine))
            # Until then, what is lost with the power is found missing at the next start.
            await self._runner.run(self._folder.sync)
            await self._remove()
            await self._commit()
        except (OSError, SimpleIndexError) as error:
            retry_in = self._retry_in() or _FIRST_RETRY
            return RoundResult(applied=applied, fault=_sentence(error), retry_in=retry_in)
        except BaseException:
            # After a defect, what was not begun is for the next round.
            for project in mine:
                if project in self._work and not self._work[project].has_begun:
                    self._work[project].is_busy = False
            raise
        return RoundResult(applied=applied, fault=self._fault(), retry_in=self._retry_in())

    # -- What has changed

    async def _take(self, feed: Feed, *, is_all: bool) -> str:
        """Take in a feed; return why it is not followed, in a sentence, or nothing."""
        _check(feed)
        state = await self._runner.run(self._state.read)
        if feed.epoch is not None and state.epoch is not None and feed.epoch.number < state.epoch.number:
            return (
                f"The primary is that of epoch {feed.epoch.number}, and this replica knows of epoch"
                f" {state.epoch.number}: it is out of date, and nothing is taken from it."
            )
        if feed.epoch is not None and feed.epoch.is_beyond(state.epoch):
            return f"The primary tells of epoch {feed.epoch.number}, which no take-overs have led to."
        self._note_skew(feed.skew)
        if feed.restricted != state.restricted:
            await self._keep(lambda kept: replace(kept, restricted=feed.restricted))
        known = await self._runner.run(self._serials.read)
        if self._position is None:
            self._position = self.reached = known.highest
        present = await self._runner.run(self._folder.refresh)
        equal: Mapping[str, Change] = {}
        has_fallen = is_all and feed.highest < known.highest
        if feed.instance != known.instance or has_fallen or self._is_doubted:
            if not is_all:
                self.ask_for_all()
                return ""
            if present or known.changes:
                refusal, equal = await self._compare_all(feed, present, state)
                if refusal:
                    return refusal
                _log.warn("The primary counts its changes anew; all that is here is as it is there.")
            await self._runner.run(partial(self._serials.follow, feed.instance, anew=True))
            self._is_doubted = False
            self._forget()
            self._position = 0
            known = await self._runner.run(self._serials.read)
        if feed.epoch is not None and feed.epoch != state.epoch:
            await self._keep(lambda kept: replace(kept, epoch=feed.epoch))
        self._ready |= equal
        unlike: frozenset[str] = frozenset()
        if is_all and self._clock.seconds() - self._checked_at >= _ALL_AGAIN:
            unlike = await self._runner.run(self._unlike, known.changes)
            self._checked_at = self._clock.seconds()
        for project, change in sorted(feed.changes.items(), key=lambda item: item[1].serial):
            self._tell(project, change, is_here=project in present, is_unlike=project in unlike)
        if is_all:
            for project in (present | known.changes.keys()) - feed.changes.keys():
                if project in present:
                    # The primary never heard of it.
                    self._tell(project, Change(0, REMOVED), is_here=True, is_unlike=True)
            self._all_at = self._clock.seconds()
        self._position = max(self._position or 0, feed.highest)
        now = self._now()
        for project in [project for project, moment in self._later.items() if moment <= now]:
            del self._later[project]
            self._order.add(project, self._order.serial_of(project) or self._serials.serial_of(project) or 0)
            self._look_at(project)
        await self._commit()
        return ""

    def _tell(self, project: str, change: Change, *, is_here: bool, is_unlike: bool) -> None:
        """Note a change of the primary, unless that is what is here."""
        if self._serials.serial_of(project) == change.serial and not is_unlike:
            return
        ready = self._ready.get(project)
        self._order.add(project, change.serial)
        if ready is not None and ready.serial >= change.serial and project not in self._work:
            return
        if change.imprint == REMOVED and not is_here and project not in self._work:
            self._ready[project] = change
            return
        self._look_at(project)

    def _look_at(self, project: str) -> None:
        """Let a project be compared as soon as may be."""
        self._ready.pop(project, None)
        self._work.setdefault(project, _Work()).due = 0.0

    def _unlike(self, changes: Mapping[str, Change]) -> frozenset[str]:
        """Return the projects that are not as they were when their serials were adopted; in a thread."""
        return frozenset(name for name, change in changes.items() if self._imprint(name) != change.imprint)

    def _imprint(self, project: str) -> str:
        try:
            return self._folder.imprint(project)
        except OSError:
            return ""

    async def _compare_all(
        self, feed: Feed, present: frozenset[str], state: ReplicationState
    ) -> tuple[str, Mapping[str, Change]]:
        """
        Compare all projects with a primary that counts anew, and change nothing.

        Returns:
            Why it is not followed, or nothing; and the projects that are equal, as they are here.
        """
        last = self._refused
        if last is not None and last.changes == feed.changes and self._clock.seconds() < last.until:
            return last.reason, {}
        removed = replaced = 0
        equal: dict[str, Change] = {}

        async def look(project: str) -> None:
            nonlocal removed, replaced
            answer = await self._primary.entries(project)
            listing = None if answer is None else answer[0]
            # What was never compared since this server keeps serials, may have other bytes.
            deep = self._serials.serial_of(project) is None
            plan = await self._runner.run(partial(self._folder.survey, project, listing, deep=deep))
            removed += len(plan.gone) + len(plan.show)
            replaced += plan.replaced
            if plan.is_empty and project in feed.changes:
                serial = feed.changes[project].serial if listing is None else listing.serial
                equal[project] = Change(serial, await self._runner.run(self._imprint, project))

        there = {project for project, change in feed.changes.items() if change.imprint != REMOVED}
        await at_once(_PROJECTS, look, sorted(there | present))
        if not removed and not replaced:
            self._refused = None
            return "", equal
        reason = (
            "The primary counts its changes anew: it is another server, or has lost its state, or was"
            f" restored. Of what is here {_files(removed)} would be removed and {replaced} replaced, so"
            " nothing is changed: run"
            f" `twisted-index join {state.primary or 'URL'}` on this server, or on that one."
        )
        _log.error("{reason}", reason=reason)
        self._refused = _Refused(feed.changes, self._clock.seconds() + _COMPARE_AGAIN, reason)
        return reason, {}

    def _note_skew(self, skew: float) -> None:
        was, self._skewed = self._skewed, abs(skew) > MAX_SKEW
        if self._skewed and not was:
            _log.error("{fault}", fault=_SKEW)

    async def _keep(self, change: Callable[[ReplicationState], ReplicationState]) -> None:
        """Change what is kept, unless this server has taken over since."""
        await self._runner.run(
            self._state.update, lambda kept: change(kept) if kept.role is Role.REPLICA else kept
        )

    # -- Projects

    def _begin(self) -> list[str]:
        """Return the projects that are due, in the order of their serials, as those that are worked on."""
        now = self._clock.seconds()
        due = [name for name, work in self._work.items() if not work.is_busy and work.due <= now]
        for project in due:
            self._work[project].is_busy = True
        return sorted(due, key=self._order.serial_of)

    async def _apply(self, project: str) -> int:
        """Make a project as it is at the primary; return 1 if it is."""
        work = self._work.get(project)
        if work is None or work.has_begun:
            return 0
        work.is_busy = work.has_begun = True
        try:
            for _attempt in range(_ATTEMPTS):
                if self._stopped:
                    return 0
                self._gone.pop(project, None)
                work.is_outdated = False
                change = await self._bring(project)
                if change.serial >= self._order.serial_of(project) and not work.is_outdated:
                    break
            else:
                raise Unavailable(f"The primary lists an older state of {project} than it tells of.")
        except _NotYet as error:
            work.due = self._clock.seconds() + error.seconds
            return 0
        except (OSError, SimpleIndexError) as error:
            self._fail(project, error)
            return 0
        finally:
            work.is_busy = work.has_begun = False
            self._to_come.pop(project, None)
            self._note()
        del self._work[project]
        if project not in self._gone:
            self._succeed(project, change)
        await self._commit()
        return 1

    async def _bring(self, project: str) -> Change:
        """Apply all but what is gone; return what the primary's serial of it is, and the imprint here."""
        # A change that the feed reports while this waits may be later than what the answer says.
        told = self._order.serial_of(project)
        answer = await self._primary.entries(project, inline=INLINE)
        listing, contents = answer or (None, {})
        serial = told if listing is None else listing.serial
        known = self._serials.serial_of(project)
        is_newer = known is None or serial > known
        plan, imprint = await self._runner.run(self._apply_small, project, listing, contents, is_newer)
        if imprint is None:
            if seconds := self._seconds_until(plan):
                raise _NotYet(seconds)
            size = sum(entry.size for entry in plan.wanted)
            self._to_come[project] = len(plan.wanted), size
            self._note()
            await self._apply_large(plan, contents)
            imprint = await self._runner.run(self._folder.imprint, project)
        else:
            self._count(plan.wanted)
        late = [entry.time for entry in (*plan.wanted, *plan.retime) if entry.time > self._now()]
        if late:
            self._later[project] = max(late)
        change = Change(serial, imprint)
        if plan.gone:
            files = sum(not is_beside(path) for path in plan.gone)
            self._gone[project] = _Gone(
                plan.gone,
                files,
                is_last=bool(files) and not plan.stays,
                is_told=plan.is_told,
                serial=serial,
            )
        return change

    def _apply_small(
        self, project: str, listing: EntryListing | None, contents: Mapping[str, bytes], is_newer: bool
    ) -> tuple[ReplicaPlan, str | None]:
        """
        Compare a project, and apply that if all bytes are here; in a thread.

        Args:
            project: A normalized name.
            listing: Its entries.
            contents: Those that came with it, by path.
            is_newer: Whether the primary tells of a change since it was compared last.

        Returns:
            The plan, and the imprint after it was carried out; None if it was not.
        """
        plan = self._folder.survey(project, listing)
        if plan.is_empty and is_newer:
            # A change that neither size nor time shows.
            plan = self._folder.survey(project, listing, deep=True)
        wanted = plan.wanted
        if any(entry.path not in contents for entry in wanted) or self._seconds_until(plan):
            return plan, None
        receipts: list[Receipt] = []
        try:
            for entry in wanted:
                receipts.append(self._folder.receive_whole(entry, contents[entry.path]))
            if self._folder.comes_as_one(plan):
                self._change(self._folder.make, plan, receipts)
            elif not plan.is_empty:
                marks = [receipt for receipt in receipts if is_mark(receipt.entry.path)]
                files = [receipt for receipt in receipts if not is_mark(receipt.entry.path)]
                self._change(self._folder.begin, plan, () if plan.is_new else marks)
                self._change(self._folder.place, plan, files)
                self._change(self._folder.finish, plan, marks if plan.is_new else ())
        finally:
            _close(receipts)
        return plan, self._folder.imprint(project)

    def _change(self, change: Callable[..., T], *args: object) -> T:
        """
        Change the folder, unless this server has taken over; in a thread.

        The loop learns of that a long poll later. Until then a client may have uploaded here, under a name
        that this project's file was to get.

        Raises:
            Unavailable: It has, or it is not known.
        """
        if self._state.read().role is not Role.REPLICA:
            self.stop()
            raise Unavailable("This server is a replica no more.")
        return change(*args)

    async def _apply_large(self, plan: ReplicaPlan, contents: Mapping[str, bytes]) -> None:
        if self._folder.comes_as_one(plan):
            await self._apply_batch(plan, plan.wanted, contents, self._folder.make)
            return
        marks, error = await self._receive_all(plan.project, plan.hide, contents)
        try:
            if error is not None:
                raise error
            await self._runner.run(self._change, self._folder.begin, plan, () if plan.is_new else marks)
            for batch in _batches(plan.place):
                # What is not seen yet need not come again.
                await self._apply_batch(
                    plan, batch, contents, self._folder.place, keeps_some=bool(plan.together)
                )
            await self._runner.run(self._change, self._folder.finish, plan, marks if plan.is_new else ())
        finally:
            _close(marks)

    async def _apply_batch(
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
                await self._runner.run(self._change, place, plan, receipts)
            if error is not None:
                raise error
        finally:
            _close(receipts)

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
            receipt = await self._runner.run(self._folder.receive_whole, entry, content)
        else:
            receipt = await self._runner.run(self._folder.receive, entry)
            try:
                await self._primary.read(project, entry, receipt.write)
                await self._runner.run(receipt.check)
            except BaseException:
                receipt.close()
                raise
        self._count([entry])
        return receipt

    def _seconds_until(self, plan: ReplicaPlan) -> float:
        """Return the time to wait until no file of a plan is of the future; 0 if that is not worth it."""
        latest = max((entry.time for entry in plan.wanted), default=0)
        seconds = (latest - self._now()) / 1e9
        return seconds if 0 < seconds <= MAX_SKEW and not self._skewed else 0.0

    def _count(self, entries: Sequence[Entry]) -> None:
        self._files_done += len(entries)
        self._bytes_done += sum(entry.size for entry in entries)

    # -- What is gone

    async def _remove(self) -> None:
        """Remove what is gone, if that is not too much; a person may agree to more."""
        await self._removing.acquire()
        try:
            await self._remove_within_limits()
        finally:
            self._removing.release()
        self._note()

    async def _remove_within_limits(self) -> None:
        gone = {project: gone for project, gone in self._gone.items() if project not in self._work}
        files = sum(each.files for each in gone.values())
        emptied = sum(each.is_last for each in gone.values())
        untold = sum(each.is_last and not each.is_told for each in gone.values())
        state = await self._runner.run(self._state.read)
        total = len(await self._runner.run(self._folder.refresh))
        if self._stopped:
            return
        if self._brake.forbids(files, emptied, total, untold=untold, accepted=state.accepted):
            if files != self.removals:
                self.removals = files
                _log.error("{fault}", fault=self._fault())
            await self._keep(lambda kept: replace(kept, awaiting=files))
            return
        # An index beside this one may wait too, in the same file.
        was_accepted = self.removals > 0 or self._brake.forbids(files, emptied, total)
        for project, each in gone.items():
            # While others went, another round may have found that it is there again, or be looking.
            if not self._stopped and self._gone.get(project) is each and project not in self._work:
                await self._remove_from(project, each)
        self.removals = 0
        if files:
            self._brake.note(files, emptied)
        if was_accepted:
            await self._keep(lambda kept: replace(kept, awaiting=0, accepted=0))
        elif state.awaiting and not self._has_removed:
            # That was before the start.
            await self._keep(lambda kept: replace(kept, awaiting=0))
        self._has_removed = True
        await self._commit()

    async def _remove_from(self, project: str, gone: _Gone) -> None:
        # Nothing else is done about the project meanwhile.
        work = self._work[project] = _Work(is_busy=True, has_begun=True)
        try:
            moved = await self._runner.run(self._change, self._folder.remove, project, gone.paths)
            imprint = await self._runner.run(self._folder.imprint, project)
        except (OSError, SimpleIndexError) as error:
            self._fail(project, error)
            return
        finally:
            work.is_busy = work.has_begun = False
        del self._work[project]
        self._gone.pop(project, None)
        for path in moved:
            _log.info(
                "{path} is gone at the primary, and was moved to the state folder.", path=printable(path)
            )
        if gone.serial >= self._order.serial_of(project) and not work.is_outdated:
            self._succeed(project, Change(gone.serial, imprint))
        else:
            self._work[project] = _Work()

    # -- Outcomes

    def _succeed(self, project: str, change: Change) -> None:
        self._ready[project] = change
        self.failures.pop(project, None)

    def _fail(self, project: str, error: OSError | SimpleIndexError) -> None:
        if self._stopped:
            return
        work, reason = self._work[project], _sentence(error)
        work.due = self._clock.seconds() + min(_LAST_RETRY, _FIRST_RETRY * 2**work.failures)
        work.failures = min(work.failures + 1, 10)
        if self.failures.get(project) != reason:
            _log.warn("{project} is not as at the primary: {reason}", project=project, reason=reason)
        self.failures[project] = reason

    def _fault(self) -> str:
        if self.removals:
            return (
                f"Gone at the primary: {_files(self.removals)}, which is more than goes without a question,"
                " so nothing is removed. If that is right, run `twisted-index follow --accept --state DIR`."
            )
        if self.failures:
            project, reason = next(iter(self.failures.items()))
            others = f" So are {len(self.failures) - 1} others." if len(self.failures) > 1 else ""
            return f"{project} is not as at the primary: {reason}{others}"
        return _SKEW if self._skewed else ""

    def _retry_in(self) -> float | None:
        now = self._clock.seconds()
        times = [work.due - now for work in self._work.values() if not work.is_busy]
        if self._gone:
            times.append(_LAST_RETRY)
        return max(0.0, min(times)) if times else None

    async def _commit(self) -> None:
        """Adopt the serials of the projects that are as at the primary, up to the first that is not."""
        await self._committing.acquire()
        try:
            while not self._stopped and (batch := self._next_batch()):
                await self._runner.run(self._adopt, batch)
                self._serials.announce()
                for project, _change in batch:
                    self._adopted(project)
        finally:
            self._committing.release()
        self._note()

    def _next_batch(self) -> list[tuple[str, Change]]:
        batch = []
        while (first := self._order.first(self._is_ready)) is not None:
            project, serial = first
            change = self._ready[project]
            if change.serial <= serial:
                del self._ready[project]
            if serial or self._serials.serial_of(project) is not None:
                # If that of the listing is higher, others that are not told of yet may have lower ones.
                batch.append((project, Change(serial, change.imprint)))
        return batch

    def _is_ready(self, project: str) -> bool:
        return project in self._ready and project not in self._work and project not in self._gone

    def _adopt(self, batch: Sequence[tuple[str, Change]]) -> None:
        for project, change in batch:
            self._serials.adopt(project, change, flush=False)
        self._serials.flush()

    def _note(self) -> None:
        """Tell those who listen."""
        lowest = self._order.lowest(self._is_open)
        reached = (self._position or 0) if lowest is None else lowest - 1
        self.reached = max(self.reached, reached)
        for listener in tuple(self.listeners):
            listener()

    def _is_open(self, project: str) -> bool:
        """Return whether a project is neither as at the primary nor one that failed."""
        return project not in self.failures and project not in self._gone and not self._is_ready(project)


class _NotYet(Exception):
    """A file is of the near future. The seconds until then are in `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(slots=True)
class _Work:
    """
    A project that is not as at the primary.

    Attributes:
        due: When it is tried, in monotonic seconds.
        failures: How often that has failed.
        is_busy: Whether a round is to see to it.
        has_begun: Whether it does so now.
        is_outdated: Whether the serials have begun anew since.
    """

    due: float = 0.0
    failures: int = 0
    is_busy: bool = False
    has_begun: bool = False
    is_outdated: bool = False


class _Gone(NamedTuple):
    """
    What is gone of a project, and the serial of that.

    Attributes:
        files: How many of it are files.
        is_last: Whether these are its last.
        is_told: Whether the primary says that files were deleted.
    """

    paths: tuple[str, ...]
    files: int
    is_last: bool
    is_told: bool
    serial: int


class _Refused(NamedTuple):
    """Changes of a primary that is not followed, until when that holds, and why it is not."""

    changes: Mapping[str, Change]
    until: float
    reason: str


def _check(feed: Feed) -> None:
    for project, change in feed.changes.items():
        if (
            not is_valid_name(project)
            or normalize(project) != project
            or not 0 < change.serial <= _MAX_SERIAL
        ):
            raise BadGateway(f"The primary tells of {printable(project)}, which is no change of a project.")


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


def _files(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"


def _close(receipts: Iterable[Receipt]) -> None:
    for receipt in receipts:
        receipt.close()


def _sentence(error: OSError | SimpleIndexError) -> str:
    if isinstance(error, SimpleIndexError):
        return error.message
    if error.errno in FULL_ERRNOS:
        return "The disk of the package folder is full."
    if error.errno == errno.ELOOP:
        return "Its folder is a link, through which nothing is written: put a folder in its place."
    return f"The package folder cannot be changed or read: {error_text(error)}."
