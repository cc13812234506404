"""
A join: merges the packages of another server into the folder of this one, after both have taken changes.

It is run on both servers, one after the other. Then the folders are equal, and one server may follow the
other.
"""

from __future__ import annotations

import contextlib
import hashlib
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from twisted_index.backends.layout.copies import MAX_COPIES
from twisted_index.backends.layout.tombstones import MAX_TOMBSTONES
from twisted_index.concurrency.parallel import at_once
from twisted_index.errors import BadGateway, Conflict, SimpleIndexError, Unavailable
from twisted_index.events.serials import REMOVED
from twisted_index.files.os_errors import error_text
from twisted_index.replication.compare import check_paths
from twisted_index.replication.epoch import NO_EPOCH
from twisted_index.replication.join_plan import (
    COPY_LINES,
    TOMBSTONE_LINES,
    Bury,
    FetchAside,
    Holdings,
    Keep,
    Replace,
    SetAside,
    Take,
)
from twisted_index.replication.state_file import ReplicationState, Role
from twisted_index.simple.entry_listing import MAX_INLINE
from twisted_index.simple.manifest import InvalidLine, ManifestLine, parse_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.replication.epoch import Epoch
    from twisted_index.replication.join_folder import JoinFolder
    from twisted_index.replication.join_plan import JoinStep
    from twisted_index.replication.peers import PeerAnswer
    from twisted_index.replication.primary import IPrimary
    from twisted_index.replication.receipt import Receipt
    from twisted_index.replication.state_file import StateFile
    from twisted_index.simple.entry_listing import Entry

#: Number of parallel projects, and of files of one that are received before they are placed.
_PROJECTS, _FILES = 8, 32
#: Number of plans for one project, after which the join gives up on it as it keeps changing.
_MOST_PLANS = 10_000
_MANIFEST_BYTES = {TOMBSTONE_LINES: MAX_TOMBSTONES, COPY_LINES: MAX_COPIES}


@dataclass(slots=True, kw_only=True)
class JoinReport:
    """
    The outcome of a join.

    Attributes:
        taken: Paths of what came from the other server.
        removed: Paths of files that were removed since the other server has deleted them.
        failures: Why a project was not joined, by its name.
        only_here: Paths and deletions that the other server lacks.
        conflicts: Number of unsettled conflicts, including earlier ones.
    """

    taken: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    only_here: list[str] = field(default_factory=list)
    conflicts: int = 0

    def add(self, other: JoinReport, prefix: str) -> None:
        """Add what was done in one of several folders, with a prefix that says in which."""
        self.taken += [prefix + path for path in other.taken]
        self.removed += [prefix + path for path in other.removed]
        self.failures |= {prefix + project: reason for project, reason in other.failures.items()}
        self.only_here += [prefix + path for path in other.only_here]
        self.conflicts += other.conflicts


def do_they_win(ours: ReplicationState, own: Epoch | None, theirs: PeerAnswer) -> bool:
    """
    Return whether the other server's file wins where a name has two contents.

    Args:
        ours: The state of this server.
        own: The first epoch of its own serials, which counts if `ours` has none; None if it has no serials.
        theirs: The state of the other server.

    Raises:
        Conflict: Neither of them has the higher epoch, or the join has to be run on the primary of this
            server.
    """
    epoch, told = ours.epoch or own or NO_EPOCH, theirs.epoch or NO_EPOCH
    if ours.role is Role.REPLICA:
        if told.number < epoch.number:
            raise Conflict(
                f"This server is a replica in epoch {epoch.number}, and that one is in epoch {told.number}:"
                " join the two on the primary, which this one follows."
            )
        return True
    here, there = _rank(epoch, ours.role), _rank(told, theirs.role)
    if here == there:
        raise Conflict("Neither server is the primary: run twisted-index takeover on one of them first.")
    return there > here


def _rank(epoch: Epoch, role: Role) -> tuple[int, str, str]:
    """
    Return a key that is greater for the server whose files win.

    Within an epoch, its primary wins. The order of first epochs means nothing, as no take-over began them: a
    server that has never heard of its primary has one, too.
    """
    primary = "primary" if role is Role.PRIMARY else ""
    if epoch.number > 1:
        return epoch.number, epoch.instance, primary
    return epoch.number, primary, epoch.instance if primary else ""


def call_replica(state: StateFile) -> None:
    """
    Let a replica that runs compare at once what it waited with.

    Raises:
        Unavailable: The state cannot be read or written.
    """
    if state.read().role is Role.REPLICA:
        state.update(lambda now: replace(now, calls=now.calls + 1))


def stand_back(state: StateFile, theirs: PeerAnswer, url: str) -> None:
    """
    Stop this server from taking changes, as the other one has the higher epoch. It may follow that one then.

    Args:
        state: The state file of this server.
        theirs: The state of the other server.
        url: The URL of the other server, without credentials.

    Raises:
        Unavailable: The state cannot be read or written.
    """

    def change(current: ReplicationState) -> ReplicationState:
        return replace(
            current,
            role=Role.REPLICA if current.role is Role.REPLICA else Role.RETIRED,
            epoch=theirs.epoch,
            primary=url if theirs.role is Role.PRIMARY else "",
        )

    state.update(change)


class Join:
    """
    A join.

    Args:
        folder: The folder of this server.
        other: The other server.
        worker: Threads.
        say: Called with a line for each change.

    Attributes:
        report: The outcome so far.
    """

    def __init__(
        self, folder: JoinFolder, other: IPrimary, worker: IThreadRunner, say: Callable[[str], object]
    ) -> None:
        self._folder = folder
        self._other = other
        self._worker = worker
        self._say = say
        self.report = JoinReport()

    async def run(self) -> None:
        """
        Merge all projects. A project that fails stops no other.

        Raises:
            SimpleIndexError: The other server cannot be asked, or the folder cannot be read.
        """
        feed = await self._other.changes()
        there = {project for project, change in feed.changes.items() if change.imprint != REMOVED}
        await at_once(_PROJECTS, self._try, sorted(there))
        for project in await self._worker.run(self._folder.projects):
            if project not in there:
                await self._note_only_here(project, Holdings())
        try:
            self.report.conflicts = await self._worker.run(self._folder.conflicts)
        except OSError as error:
            raise Unavailable(f"The list of conflicts cannot be read: {error_text(error)}.") from None

    async def _try(self, project: str) -> None:
        try:
            await self._join(project)
        except SimpleIndexError as error:
            self.report.failures[project] = error.message
        except OSError as error:
            self.report.failures[project] = f"The system says: {error_text(error)}."

    async def _note_only_here(self, project: str, theirs: Holdings) -> None:
        try:
            self.report.only_here += await self._worker.run(self._folder.only_here, project, theirs)
        except (SimpleIndexError, OSError) as error:
            self.report.failures[project] = f"It cannot be read here: {error}"

    async def _join(self, project: str) -> None:
        asked = await self._other.entries(project, inline=MAX_INLINE)
        if asked is None:
            return
        listing, contents = asked
        check_paths(project, listing.entries)
        theirs = await self._holdings(project, listing.entries, contents)
        before: Sequence[JoinStep] = ()
        for _ in range(_MOST_PLANS):
            actions = await self._worker.run(self._folder.plan, project, theirs)
            if not actions:
                break
            if actions == before:
                raise Unavailable("It is being changed all the time: try again.")
            with ExitStack() as stack:
                arrivals = await self._receive(project, actions, contents, stack)
                await self._worker.run(self._folder.carry_out, project, actions, arrivals)
            self._note(actions, arrivals)
            before = actions
        await self._note_only_here(project, theirs)

    def _note(self, actions: Sequence[JoinStep], arrivals: Mapping[Entry, object]) -> None:
        for action in actions:
            if isinstance(action, Take) and action.entry in arrivals:
                self.report.taken.append(action.entry.path)
                self._say(f"+ {action.entry.path}")
            elif isinstance(action, Bury) and action.entry is not None:
                self.report.removed.append(action.entry.path)
                self._say(f"- {action.entry.path}: it was deleted there")
            elif isinstance(action, SetAside):
                self._say(f"! {action.entry.path}: what is here is set aside")
            elif isinstance(action, FetchAside) and action.entry in arrivals:
                self._say(f"! {action.path}: what is there is set aside here")
            elif isinstance(action, Keep):
                self._say(f"! {action.entry.path}: it stays, and another one was deleted there")

    # -- What comes from there

    async def _holdings(
        self, project: str, entries: Iterable[Entry], contents: Mapping[str, bytes]
    ) -> Holdings:
        lines: dict[str, dict[str, ManifestLine]] = {name: {} for name in _MANIFEST_BYTES}
        rest = []
        for entry in entries:
            name = entry.name
            if name not in _MANIFEST_BYTES:
                rest.append(entry)
                continue
            text = await self._read_manifest(project, entry, contents)
            lines[name].update({line.name: line for line in await self._worker.run(_parse, text)})
        return Holdings(entries=tuple(rest), deleted=lines[TOMBSTONE_LINES], copies=lines[COPY_LINES])

    async def _read_manifest(self, project: str, entry: Entry, contents: Mapping[str, bytes]) -> bytes:
        if entry.size > _MANIFEST_BYTES[entry.name]:
            raise BadGateway(f"The other server's {entry.path} has too many bytes.")
        pieces: list[bytes] = []
        if entry.path in contents:
            pieces.append(contents[entry.path])
        else:
            await self._other.read(project, entry, pieces.append)
        text = b"".join(pieces)
        if hashlib.sha256(text).hexdigest() != entry.sha256:
            raise _other_bytes(entry)
        return text

    async def _receive(
        self, project: str, actions: Iterable[JoinStep], contents: Mapping[str, bytes], stack: ExitStack
    ) -> dict[Entry, Receipt]:
        """Receive the first files of a plan; `stack` closes them."""
        arrivals: dict[Entry, Receipt] = {}
        for action in actions:
            wanted: tuple[Entry, ...] = ()
            if isinstance(action, FetchAside):
                wanted = (*action.beside, action.entry)
            elif isinstance(action, Take | Replace):
                wanted = (action.entry,)
            for entry in wanted:
                if entry not in arrivals:
                    arrivals[entry] = await self._receive_one(project, entry, contents, stack)
            if len(arrivals) >= _FILES:
                break
        return arrivals

    async def _receive_one(
        self, project: str, entry: Entry, contents: Mapping[str, bytes], stack: ExitStack
    ) -> Receipt:
        file = await self._worker.run(self._folder.receive, entry)
        stack.callback(file.close)
        if entry.path in contents:
            await self._worker.run(file.write, contents[entry.path])
        else:
            await self._other.read(project, entry, file.write)
        await self._worker.run(_finish, file)
        return file


def _finish(file: Receipt) -> None:
    file.check()
    file.sync()


def _parse(text: bytes) -> list[ManifestLine]:
    lines = []
    for line in text.splitlines():
        with contextlib.suppress(InvalidLine):
            lines.append(parse_line(line))
    return lines


def _other_bytes(entry: Entry) -> BadGateway:
    return BadGateway(f"The other server sent other bytes than its listing says for {entry.path}.")
