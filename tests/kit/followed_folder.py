"""A primary that is asked in memory: the source of a real folder, with all that may go wrong on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from tests.kit.folder_source import AtOnce
from twisted_index.backends.folder.inspection_cache import InspectionCache
from twisted_index.backends.folder.source import FolderSource
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import Gone, Unavailable
from twisted_index.events.serials import Serials
from twisted_index.files.filesystems import file_clock
from twisted_index.files.stamps import StatValidator
from twisted_index.indexes.change_feed import ChangeFeed
from twisted_index.indexes.composite import change_parts
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.primary import Feed
from twisted_index.simple.entry_listing import Entry, EntryListing, parse_listing


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
        if instance not in (None, listed.instance) or (since or 0) > listed.highest:
            raise Gone("The serials have begun anew here.")
        changes = {name: change for name, change in listed.changes.items() if change.serial > (since or 0)}
        return Feed(
            instance=listed.instance,
            highest=max((change.serial for change in changes.values()), default=since or 0),
            changes=changes,
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
        head, _empty, rest = text.partition(b"\n\n")
        listing, contents = parse_listing(head.removesuffix(b"\n") + b"\n"), {}
        for entry in listing.entries if limit else ():
            if entry.size <= limit and len(rest) >= entry.size:
                contents[entry.path] = self.spoil(entry, rest[: entry.size])
                rest = rest[entry.size :]
        return listing, contents

    async def read(self, project: str, entry: Entry, write: Callable[[bytes], object]) -> None:
        self._require_up()
        body: Any = await result_of(self.source.open_entry, project, entry.path)
        if body is None:
            raise Unavailable("The primary has it no more.")
        with body.content as file:
            content = self.spoil(entry, file.read())
        for start in range(0, len(content), 1000):
            write(content[start : start + 1000])

    def _require_up(self) -> None:
        if self.is_down:
            raise Unavailable("The primary cannot be reached.")
