"""A primary that is asked in memory: the source of a real folder, with all that may go wrong on the way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from tests.kit.at_once import answer
from tests.kit.folder_source import AtOnce
from twisted_index.backends.folder.inspection_cache import InspectionCache
from twisted_index.backends.folder.source import FolderSource
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import Gone, SimpleIndexError, Unavailable
from twisted_index.events.serials import Serials
from twisted_index.files.filesystems import file_clock
from twisted_index.files.stamps import StatValidator
from twisted_index.files.steps import RunStep, run_step
from twisted_index.indexes.change_feed import ChangeFeed
from twisted_index.indexes.composite import change_parts
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.primary import Feed
from twisted_index.replication.replica_folder import ReplicaFolder
from twisted_index.replication.rounds import RoundResult, Rounds
from twisted_index.replication.state_file import Role, StateFile
from twisted_index.simple.entry_listing import Entry, EntryListing, parse_contents


def source_of(root: Path, serials: Serials, clock: Clock) -> FolderSource:
    """The source of a folder whose threads run at once."""
    at_once = AtOnce()
    return FolderSource(
        root,
        reactor=clock,
        reader=at_once,
        cache_thread=at_once,
        cache=InspectionCache(),
        validator=StatValidator(monotonic=clock.seconds, wall=lambda: file_clock() + clock.seconds()),
        serials=serials,
    )


class FollowedFolder:
    """
    `IPrimary` over a folder.

    Attributes:
        asked: The projects whose entries were asked for.
        is_down: Whether it cannot be reached.
        inlines: Whether contents come with a listing.
        spoil: Makes other bytes of those of a file; None as they are.
    """

    def __init__(self, root: Path, clock: Clock, serials: Serials | None = None) -> None:
        self.root = root
        self.clock = clock
        self.serials = serials or Serials()
        self.epoch: Epoch | None = None
        self.restricted = False
        self.skew = 0.0
        self.asked: list[str] = []
        self.is_down = False
        self.inlines = True
        self.spoil: Callable[[Entry, bytes], bytes] = lambda _entry, content: content
        self.start()

    def start(self) -> None:
        self.source = source_of(self.root, self.serials, self.clock)
        self._feed = ChangeFeed(change_parts(self.source), AtOnce())

    async def changes(
        self, *, since: int | None = None, instance: str | None = None, wait: float = 0.0
    ) -> Feed:
        self._require_up()
        self.clock.advance(5)
        listed = (await self._feed.changes()).value
        is_ours = (since or 0) <= listed.highest and self.serials.may_have_given(since or 0)
        if instance not in (None, listed.instance) or not is_ours:
            raise Gone("The serials have begun anew here.")
        changes = {name: change for name, change in listed.changes.items() if change.serial > (since or 0)}
        return Feed(
            instance=listed.instance,
            highest=max((change.serial for change in changes.values()), default=since or 0),
            changes=changes,
            before=listed.before,
            epoch=self.epoch,
            restricted=self.restricted,
            skew=self.skew,
        )

    async def entries(
        self, project: str, *, inline: int = 0
    ) -> tuple[EntryListing, Mapping[str, bytes]] | None:
        self._require_up()
        self.asked.append(project)
        limit = inline if self.inlines else 0
        text: bytes | None = await result_of(self.source.entries, project, limit)
        if text is None:
            return None
        listing, contents = parse_contents(text, limit)
        entries = {entry.path: entry for entry in listing.entries}
        return listing, {path: self.spoil(entries[path], content) for path, content in contents.items()}

    async def read(self, project: str, entry: Entry, write: Callable[[bytes], object]) -> None:
        self._require_up()
        body: Any = await result_of(self.source.open_entry, project, os.fsencode(entry.path))
        if body is None:
            raise Unavailable("The primary has it no more.")
        with body.content as file:
            content = self.spoil(entry, file.read())
        for start in range(0, len(content), 1000):
            write(content[start : start + 1000])

    def _require_up(self) -> None:
        if self.is_down:
            raise Unavailable("The primary cannot be reached.")


class ReplicaPair:
    """A primary, and a replica beside it; nothing happens on its own."""

    def __init__(self, top: Path, step: RunStep = run_step) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.there, self.here, self.state = top / "primary", top / "replica", top / "state"
        for folder in (self.there, self.here, self.state):
            folder.mkdir()
        self.primary = FollowedFolder(self.there, self.clock)
        self.step = step
        #: Nanoseconds that the clock of the replica is ahead.
        self.ahead = 0
        self._sources: list[FolderSource] = []
        self.start()

    def now(self) -> int:
        return time.time_ns() + self.ahead

    def start(self) -> None:
        """Start the replica, as for the first time or again."""
        self.serials = Serials(str(self.state / "keep" / "serials"))
        self.serials.follow()
        self.source = source_of(self.here, self.serials, self.clock)
        self._sources.append(self.source)
        self.folder = ReplicaFolder(
            os.fsencode(self.here), str(self.state / "removed"), now=self.now, step=self.step
        )
        self.kept = StateFile(str(self.state))
        self.kept.update(lambda kept: replace(kept, role=Role.REPLICA))
        self.rounds = Rounds(
            self.primary,
            self.folder,
            self.serials,
            self.kept,
            runner=AtOnce(),
            clock=self.clock,
            now=self.now,
            adopted=self.source.drop_outdated,
        )

    def stop(self) -> None:
        for source in (*self._sources, self.primary.source):
            answer(source.stop)

    def follow(self) -> RoundResult:
        """One round, as the loop makes it."""
        since = self.rounds.since
        instance = None if since is None else self.rounds.instance
        try:
            if since is None:
                answer(self.rounds.confirm)
            feed = answer(self.primary.changes, since=since, instance=instance)
        except Gone:
            self.rounds.ask_for_all()
            return RoundResult(fault="Its serials have begun anew.")
        except SimpleIndexError as error:
            self.rounds.ask_for_all()
            return RoundResult(fault=error.message)
        return make_round(self.rounds, feed, is_all=since is None)

    def settle(self, rounds: int = 10) -> RoundResult:
        """Follow until there is nothing to do."""
        for _round in range(rounds):
            result = self.follow()
            if not result.fault and result.retry_in is None:
                break
            self.clock.advance(61)
        return result

    def files(self, project: str = "demo") -> list[str]:
        """The files on the page of the replica."""
        page = answer(self.source.project_page, project).value
        return [] if page is None else [file.filename for file in page.files]


def make_round(rounds: Rounds, feed: Feed, *, is_all: bool = False) -> RoundResult:
    """Apply what a primary tells, as the loop does."""
    fault: str = answer(rounds.take, feed, is_all=is_all)
    result: RoundResult = RoundResult(fault=fault) if fault else answer(rounds.work)
    return result


def files_of(root: Path) -> dict[str, tuple[bytes, int]]:
    """The content and the time of publication of each file of a folder, by path."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.name != ".uploads":
            status = path.stat()
            found[str(path.relative_to(root))] = (
                path.read_bytes(),
                min(status.st_mtime_ns, status.st_ctime_ns),
            )
    return found
