"""The interface of a primary: what a replica requests from it, over any transport."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted_index.events.serials import Change, Count
    from twisted_index.replication.epoch import Epoch
    from twisted_index.simple.entry_listing import Entry, EntryListing

#: Difference between the clocks of a replica and its primary, in seconds, above which one of them is wrong.
MAX_SKEW = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """
    The changes of an index, as its primary lists them.

    Attributes:
        instance: Names the count of serials; another one means that the serials have begun anew.
        highest: The highest serial of the changes, or the requested `since` without any.
        changes: The last change of each project: of all projects, or of those changed after a serial.
        epoch: The epoch of the primary; None if the response has none.
        restricted: Whether the primary restricts reading.
        skew: Seconds that the primary's clock is ahead.
        before: The serials that these continue since the take-over: the primary had them all up to that one.
    """

    instance: str
    highest: int
    changes: Mapping[str, Change]
    before: Count | None = None
    epoch: Epoch | None = None
    restricted: bool = False
    skew: float = 0.0


class IPrimary(Protocol):
    """
    The server that a replica follows.

    All methods raise `SimpleIndexError` if it cannot be reached, refuses, or responds with something else.
    """

    async def changes(
        self, *, since: int | None = None, instance: str | None = None, wait: float = 0.0
    ) -> Feed:
        """
        Return the last change of every project, or of those that have changed after a serial.

        Args:
            since: The serial; None for all projects.
            instance: The instance that the serial is of.
            wait: Seconds to wait for a change.

        Returns:
            The feed. If nothing changed in that time, it has no changes, and `since` as its highest serial.

        Raises:
            Gone: The primary, as it is now, never gave this serial.
        """

    async def entries(
        self, project: str, *, inline: int = 0
    ) -> tuple[EntryListing, Mapping[str, bytes]] | None:
        """
        Return the entries of a project, and the contents of some of them by path.

        Args:
            project: A normalized name.
            inline: Size in bytes up to which contents of files are wanted; the primary may send fewer.

        Returns:
            The listing and the contents; None if the primary has nothing of the project.
        """

    async def read(self, project: str, entry: Entry, write: Callable[[bytes], object]) -> None:
        """
        Download an entry. As many bytes arrive as it has; the caller verifies their digest.

        Args:
            project: As for `entries`.
            entry: One of the listing.
            write: Called with one piece after the other, perhaps in a thread. Its errors end the download.
        """
