"""What a replica asks of its primary, however its requests get there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted_index.events.serials import Change
    from twisted_index.replication.epoch import Epoch
    from twisted_index.simple.entry_listing import Entry, EntryListing

#: Seconds between the clocks of a replica and its primary beyond which one of them is wrong.
MAX_SKEW = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """
    The changes of an index, as its primary tells them.

    Attributes:
        instance: Names the count of serials; another one says that they have begun anew.
        highest: The highest serial of the changes, or the one after which they were asked for.
        changes: By project: all, or those after a serial.
        epoch: In which the primary is one; None if it does not say.
        restricted: Whether some of what is there is not for everyone.
        skew: Seconds that its clock is ahead of ours.
    """

    instance: str
    highest: int
    changes: Mapping[str, Change]
    epoch: Epoch | None = None
    restricted: bool = False
    skew: float = 0.0


class IPrimary(Protocol):
    """
    The server that a replica follows.

    All methods raise `SimpleIndexError` if it cannot be reached, refuses, or sends what makes no sense.
    """

    async def changes(
        self, *, since: int | None = None, instance: str | None = None, wait: float = 0.0
    ) -> Feed:
        """
        Return the last change of every project, or of those that have changed after a serial.

        Args:
            since: That serial; None for all projects.
            instance: Of it.
            wait: Seconds to wait for a change.

        Returns:
            Without changes, and with the serial that was asked for, if there was none in that time.

        Raises:
            Gone: That serial was not given by the primary, as it is now.
        """

    async def entries(
        self, project: str, *, inline: int = 0
    ) -> tuple[EntryListing, Mapping[str, bytes]] | None:
        """
        Return the entries of a project, and the contents of some of them by path.

        Args:
            project: A normalized name.
            inline: Bytes up to which a file's contents should come with them; the primary may send fewer.

        Returns:
            None if it has nothing of the project.
        """

    async def read(self, project: str, entry: Entry, write: Callable[[bytes], object]) -> None:
        """
        Pass on the bytes of an entry in order: as many as it has, which may be others all the same.

        Args:
            project: As for `entries`.
            entry: One of these.
            write: Called with one piece after the other, perhaps in a thread. Its errors end the reading.
        """
