"""
One round of a replica: note what has changed at the primary, bring it here, remove what is gone.

State is compared; the feed of changes only says where to look. A project that fails stops no other. Serials
are adopted in the primary's order: followers of this replica ask for what came after a serial, and would
miss a lower one that came later. This module owns these steps, and which primary is followed. Out of scope:
fetching and placing (see `arrival`), removing (see `removals`), retries (see `backlog`), and a primary that
counts anew (see `recount`).
"""

from __future__ import annotations

import errno
import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, DeferredLock, DeferredSemaphore
from twisted.logger import Logger

from twisted_index.concurrency.parallel import in_groups
from twisted_index.errors import BadGateway, Gone, SimpleIndexError, Unavailable
from twisted_index.events.serials import REMOVED, Change
from twisted_index.files.os_errors import FULL_ERRNOS, error_text
from twisted_index.replication.adoption_order import AdoptionOrder
from twisted_index.replication.arrival import Arrivals, TooEarly
from twisted_index.replication.backlog import FIRST_RETRY, LAST_RETRY, Backlog
from twisted_index.replication.folder_changes import FolderChanges
from twisted_index.replication.primary import MAX_SKEW
from twisted_index.replication.recount import Recount
from twisted_index.replication.removals import Removals
from twisted_index.replication.replica_guard import ReplicaGuard
from twisted_index.simple.entry_listing import MAX_BATCH
from twisted_index.simple.formatting import printable
from twisted_index.simple.names import is_valid_name, normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.events.serials import ChangeList, Serials
    from twisted_index.replication.primary import Feed, IPrimary
    from twisted_index.replication.removals import Removal
    from twisted_index.replication.replica_folder import ReplicaFolder
    from twisted_index.replication.state_file import ReplicationState, StateFile

_log = Logger()

#: Projects that a round works on at once: while one batch is placed, the next one is fetched.
_PROJECTS = 2 * MAX_BATCH
#: Those of them whose files are received by requests of their own at a time.
_LARGE = 16
#: Seconds after which all changes are asked for again, in case the primary was restored unnoticed, and the
#: folder here is compared with the serials, in case it was changed by hand.
_ALL_AGAIN = 3600.0
#: How often a project is compared that changes meanwhile.
_ATTEMPTS = 5
_SKEW = (
    "The clocks of this server and of its primary differ by more than a minute: set them right. Until then,"
    " files may show other upload times here."
)
#: Greater serials fit into no JSON number.
_MAX_SERIAL = 1 << 52


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundResult:
    """
    The outcome of a round.

    Attributes:
        fault: Why this replica is not as its primary, in a sentence; empty if it is.
        retry_in: Seconds after which the next round has something to do without a change; None if it has not.
        is_told: Whether the fault is of projects, of each of which the log has said it.
    """

    fault: str = ""
    retry_in: float | None = None
    is_told: bool = False


class Rounds:
    """
    Makes the rounds: `take` notes what has changed, `work` brings it here.

    Args:
        primary: The server that is followed.
        folder: The folder that is made equal.
        serials: Those of the folder; they follow those of the primary from now on.
        state: The state file; the primary's epoch, and whether it restricts reading, are kept in it.
        runner: Threads.
        clock: Tells monotonic seconds.
        now: Returns nanoseconds since the epoch.
        adopted: Called when a project has another serial, which its page needs.
        changes: Lets changes begin in the folders of this server; by default in this one alone.

    Attributes:
        reached: Every change of the primary up to this serial is applied, except to projects that failed.
        listeners: Called when `reached` may have changed.
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
        changes: FolderChanges | None = None,
    ) -> None:
        self._primary = primary
        self._folder = folder
        self._serials = serials
        self._runner = runner
        self._clock = clock
        self._now = now
        self._adopted = adopted
        self._guard = ReplicaGuard(state, runner, changes or FolderChanges(state))
        self._backlog = Backlog(clock.seconds)
        self._arrivals = Arrivals(primary, folder, self._guard, runner=runner, now=now)
        self._removals = Removals(folder, self._guard, runner=runner, seconds=clock.seconds)
        self._recount = Recount(primary, folder, serials, runner=runner, seconds=clock.seconds)
        self._taking, self._committing = DeferredLock(), DeferredLock()
        self._all_at: float | None = None
        self._checked_at = -math.inf
        self._is_skewed = self._is_doubted = False
        #: Times in the future, in nanoseconds, that files here are to get then, by project.
        self._later: dict[str, int] = {}
        self._restart()
        self.listeners: set[Callable[[], None]] = set()

    def _restart(self) -> None:
        """Begin with what the serials here say."""
        self._order = AdoptionOrder()
        self._backlog.restart()
        self._removals.clear()
        #: Projects that are as at the primary, and whose serials are to be adopted.
        self._ready: dict[str, Change] = {}
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
    def pending(self) -> int:
        """Projects that are not as at the primary."""
        return len({*self._backlog.names(), *self._removals.names()})

    @property
    def bytes_to_come(self) -> int:
        """Bytes of the files that are being received."""
        return self._arrivals.bytes_to_come

    @property
    def awaiting(self) -> int:
        """Files that wait for a person to accept that they are removed."""
        return self._removals.awaiting

    def ask_for_all(self) -> None:
        """
        Ask for all changes next.

        The primary has not given the serial after which they were asked for; or it may have been restored.
        """
        self._all_at = None

    def retry_now(self) -> None:
        """Let what failed be tried with the next round, and a primary that was refused be compared again."""
        self._backlog.retry_now()
        self._recount.retry_now()

    async def confirm(self) -> None:
        """
        Ask the primary whether it gave the serials of what is here, before all changes are asked for.

        A primary whose folder and state were restored did not, and goes on above them. Then all is compared
        as with another server, and nothing is removed.

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
        self._guard.is_stopped = True

    async def take(self, feed: Feed, *, is_all: bool = False) -> str:
        """
        Note what has changed, so that the next changes may be asked for.

        Args:
            feed: What has changed.
            is_all: Whether it has all changes, being asked for without a serial.

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
        Bring what was noted here, and what failed before and is due.

        It may be called again before it has returned: a large file then holds up nothing else.
        """
        mine = sorted(self._backlog.claim(), key=self._order.serial_of)
        try:
            # Of this round alone: what is large in another one holds up nothing here.
            apply = partial(self._apply, large=DeferredSemaphore(_LARGE))
            await in_groups(_PROJECTS, MAX_BATCH, apply, mine)
            # What a power failure takes before this is found missing at the next start.
            await self._runner.run(self._folder.sync)
            await self._removals.carry_out(self._backlog.__contains__, self._remove)
            await self._commit()
        except (OSError, SimpleIndexError) as error:
            return RoundResult(fault=_sentence(error), retry_in=self._retry_in() or FIRST_RETRY)
        except BaseException:
            # A defect; what was not begun is left to the next round.
            self._backlog.release(mine)
            raise
        is_told = bool(self._backlog.failures) and not self._removals.awaiting
        return RoundResult(fault=self._fault(), is_told=is_told, retry_in=self._retry_in())

    # -- What has changed

    async def _take(self, feed: Feed, *, is_all: bool) -> str:
        """See `take`; but errors are raised."""
        _check(feed)
        state = await self._guard.state()
        if refusal := _refuse_epoch(feed, state):
            return refusal
        self._note_skew(feed.skew)
        if feed.restricted != state.restricted:
            await self._guard.keep(lambda kept: replace(kept, restricted=feed.restricted))
        known = await self._runner.run(self._serials.read)
        if self._position is None:
            self._position = self.reached = known.highest
        present = await self._runner.run(self._folder.refresh)
        equal: Mapping[str, Change] = {}
        has_fallen = is_all and feed.highest < known.highest
        if is_all and await self._runner.run(self._goes_on, feed, known, present):
            await self._runner.run(self._guard.change, self._serials.follow_on, feed.instance)
            # That there was no serial of this name there is no wonder.
            self._is_doubted = False
            known = await self._runner.run(self._serials.read)
            _log.info("The primary is another one now, which had all that is here when it took over.")
        if feed.instance != known.instance or has_fallen or self._is_doubted:
            if not is_all:
                self.ask_for_all()
                return ""
            if present or known.changes:
                refusal, equal = await self._recount.compare(feed, present, state.primary)
                if refusal:
                    return refusal
                _log.warn("The primary counts its changes anew; all that is here is as it is there.")
            await self._runner.run(self._guard.change, self._serials.follow, feed.instance, anew=True)
            self._is_doubted = False
            self._restart()
            self._position = 0
            known = await self._runner.run(self._serials.read)
        if feed.epoch is not None and feed.epoch != state.epoch:
            await self._guard.keep(lambda kept: replace(kept, epoch=feed.epoch))
        self._ready |= equal
        unlike: frozenset[str] = frozenset()
        if is_all and self._clock.seconds() - self._checked_at >= _ALL_AGAIN:
            await self._runner.run(self._folder.forget_removed)
            unlike = await self._runner.run(self._unlike, known.changes)
            self._checked_at = self._clock.seconds()
        for project, change in sorted(feed.changes.items(), key=lambda item: item[1].serial):
            self._note_change(project, change, is_here=project in present, is_unlike=project in unlike)
        if is_all:
            # The primary never heard of these.
            for project in present - feed.changes.keys():
                self._note_change(project, Change(0, REMOVED), is_here=True, is_unlike=True)
            self._all_at = self._clock.seconds()
        self._position = max(self._position or 0, feed.highest)
        self._look_later()
        await self._commit()
        return ""

    def _note_change(self, project: str, change: Change, *, is_here: bool, is_unlike: bool) -> None:
        """Note a change of the primary, unless that is what is here."""
        if self._serials.serial_of(project) == change.serial and not is_unlike:
            return
        ready = self._ready.get(project)
        self._order.add(project, change.serial)
        is_waiting = project in self._backlog
        if ready is not None and ready.serial >= change.serial and not is_waiting:
            return
        if change.imprint == REMOVED and not is_here and not is_waiting:
            self._ready[project] = change
            return
        self._look_at(project)

    def _look_at(self, project: str) -> None:
        """Let a project be compared as soon as possible."""
        self._ready.pop(project, None)
        self._backlog.add(project)

    def _look_later(self) -> None:
        """Let the projects be compared whose files are not of the future any more: they get their times."""
        now = self._now()
        for project in [project for project, moment in self._later.items() if moment <= now]:
            del self._later[project]
            self._order.add(project, self._order.serial_of(project) or self._serials.serial_of(project) or 0)
            self._look_at(project)

    def _goes_on(self, feed: Feed, known: ChangeList, present: frozenset[str]) -> bool:
        """
        Return whether a primary had all that is here when it took over; in a thread.

        Then its serials tell what has changed since, and it may have deleted and un-yanked.
        """
        before = feed.before
        return (
            before is not None
            and before.instance == known.instance != feed.instance
            and known.highest <= before.highest
            # Or it may not have read all that was read here.
            and present <= known.changes.keys() <= feed.changes.keys()
            and all(change.serial <= feed.changes[name].serial for name, change in known.changes.items())
            # Only this server knows what was changed here by hand.
            and not self._unlike(known.changes)
        )

    def _unlike(self, changes: Mapping[str, Change]) -> frozenset[str]:
        """Return the projects that are not as they were when their serials were adopted; in a thread."""
        return frozenset(name for name, change in changes.items() if self._imprint(name) != change.imprint)

    def _imprint(self, project: str) -> str:
        try:
            return self._folder.imprint(project)
        except OSError:
            return ""

    def _note_skew(self, skew: float) -> None:
        was, self._is_skewed = self._is_skewed, abs(skew) > MAX_SKEW
        if self._is_skewed and not was:
            _log.error("{fault}", fault=_SKEW)

    # -- Projects

    async def _apply(self, project: str, large: DeferredSemaphore) -> None:
        """Make a project as it is at the primary, but for what is gone."""
        if not self._backlog.begin(project):
            return
        try:
            change = await self._bring(project, large)
        except TooEarly as error:
            self._backlog.wait(project, error.seconds)
            return
        except (OSError, SimpleIndexError) as error:
            self._fail(project, error)
            return
        except CancelledError:
            raise
        except Exception:
            # A defect that the files of one project bring to light is to stop no other one.
            _log.failure("{project} could not be brought here", project=project)
            self._fail(project, SimpleIndexError("Something failed that should not; the log has it."))
            return
        finally:
            self._backlog.end(project)
        if change is None:
            return
        self._backlog.remove(project)
        if project not in self._removals:
            self._ready[project] = change
        await self._commit()

    async def _bring(self, project: str, large: DeferredSemaphore) -> Change | None:
        """Bring a project, again while it changes; return what to adopt, or None once stopped."""
        for _attempt in range(_ATTEMPTS):
            if self._guard.is_stopped:
                return None
            self._removals.drop(project)
            self._backlog.renew(project)
            arrived = await self._arrivals.bring(
                project,
                # A change that the feed reports meanwhile may be later than what the primary answers.
                told=self._order.serial_of(project),
                known=self._serials.change_of(project),
                waits=not self._is_skewed,
                large=large,
            )
            if arrived.latest > self._now():
                self._later[project] = arrived.latest
            self._removals.note(arrived.plan, arrived.serial)
            if arrived.serial >= self._order.serial_of(project) and not self._backlog.is_outdated(project):
                return Change(arrived.serial, arrived.imprint)
        raise Unavailable(f"The primary lists an older state of {project} than it tells of.")

    async def _remove(self, project: str, gone: Removal) -> None:
        """Remove what is gone of a project."""
        # No other round begins with the project meanwhile.
        self._backlog.add(project)
        self._backlog.begin(project)
        try:
            moved = await self._runner.run(self._guard.change, self._folder.remove, project, gone.paths)
            imprint = await self._runner.run(self._folder.imprint, project)
        except (OSError, SimpleIndexError) as error:
            self._fail(project, error)
            return
        finally:
            self._backlog.end(project)
        for path in moved:
            _log.info(
                "{path} is gone at the primary, and was moved to the state folder.", path=printable(path)
            )
        is_current = gone.serial >= self._order.serial_of(project) and not self._backlog.is_outdated(project)
        self._backlog.remove(project)
        self._removals.drop(project)
        if is_current:
            self._ready[project] = Change(gone.serial, imprint)
        else:
            self._backlog.add(project)

    # -- Outcomes

    def _fail(self, project: str, error: OSError | SimpleIndexError) -> None:
        reason = _sentence(error)
        if not self._guard.is_stopped and self._backlog.fail(project, reason):
            _log.warn("{project} is not as at the primary: {reason}", project=project, reason=reason)
        self._note_reached()

    def _fault(self) -> str:
        if self._removals.awaiting:
            return self._removals.fault
        if failures := self._backlog.failures:
            project, reason = next(iter(failures.items()))
            rest = len(failures) - 1
            others = f" Nor {'is another one' if rest == 1 else f'are {rest} others'}." if rest else ""
            return f"{project} is not as at the primary: {reason}{others}"
        return ""

    def _retry_in(self) -> float | None:
        times = [self._backlog.next_due(), LAST_RETRY if self._removals.names() else None]
        return min((max(0.0, seconds) for seconds in times if seconds is not None), default=None)

    # -- Adoption

    async def _commit(self) -> None:
        """Adopt the serials of the projects that are as at the primary, up to the first that is not."""
        await self._committing.acquire()
        try:
            while not self._guard.is_stopped and (batch := self._next_batch()):
                await self._runner.run(self._adopt, batch)
                self._serials.announce()
                for project, _change in batch:
                    self._adopted(project)
        finally:
            self._committing.release()
        self._note_reached()

    def _note_reached(self) -> None:
        lowest = self._order.lowest(self._is_open)
        self.reached = max(self.reached, (self._position or 0) if lowest is None else lowest - 1)
        for listener in tuple(self.listeners):
            listener()

    def _next_batch(self) -> list[tuple[str, Change]]:
        batch = []
        while (first := self._order.first(self._is_ready)) is not None:
            project, serial = first
            change = self._ready[project]
            if change.serial <= serial:
                del self._ready[project]
            if serial or self._serials.serial_of(project) is not None:
                # The listing's serial may be higher: others that are not told of yet may have lower ones.
                batch.append((project, Change(serial, change.imprint)))
        return batch

    def _is_ready(self, project: str) -> bool:
        return project in self._ready and project not in self._backlog and project not in self._removals

    def _adopt(self, batch: Sequence[tuple[str, Change]]) -> None:
        for project, change in batch:
            self._serials.adopt(project, change, flush=False)
        self._serials.flush()

    def _is_open(self, project: str) -> bool:
        """Return whether a project is neither as at the primary nor one that failed."""
        has_failed = project in self._backlog.failures or project in self._removals
        return not has_failed and not self._is_ready(project)


def _check(feed: Feed) -> None:
    highest = max((feed.highest, *(change.serial for change in feed.changes.values())))
    if highest > _MAX_SERIAL:
        raise BadGateway(f"The primary tells of the serial {highest}, which is greater than any can be.")
    for project, change in feed.changes.items():
        if not is_valid_name(project) or normalize(project) != project or change.serial <= 0:
            raise BadGateway(f"The primary tells of {printable(project)}, which is no change of a project.")


def _refuse_epoch(feed: Feed, state: ReplicationState) -> str:
    """Return why a primary of this epoch is not followed, in a sentence; empty if it may be."""
    if feed.epoch is None:
        return ""
    if state.epoch is not None and feed.epoch.number < state.epoch.number:
        return (
            f"The primary is that of epoch {feed.epoch.number}, and this replica knows of epoch"
            f" {state.epoch.number}: it is out of date, and nothing is taken from it. Let replica-of name"
            " the server that has taken over; if that is this one, to which an older copy came back, run"
            " `twisted-index join` there, with the URL of this replica."
        )
    if feed.epoch.is_beyond(state.epoch):
        return f"The primary tells of epoch {feed.epoch.number}, which no take-overs have led to."
    return ""


def _sentence(error: OSError | SimpleIndexError) -> str:
    if isinstance(error, SimpleIndexError):
        return error.message
    if error.errno in FULL_ERRNOS:
        return "The disk of the package folder is full."
    if error.errno == errno.ELOOP:
        return "Its folder is a link, through which nothing is written: put a folder in its place."
    return f"The package folder cannot be changed or read: {error_text(error)}."
