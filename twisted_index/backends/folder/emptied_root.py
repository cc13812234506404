"""
A root that has lost all that it had: a disk that is not mounted, or a mistake, and no empty index.

Only for a server with replicas, which have the files still: a balancer turns to them for a 503, and not for a
404. Blocking; called in a thread.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from twisted_index.events.serials import REMOVED

if TYPE_CHECKING:
    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.events.serials import Serials

#: A file in a root that says that the root is meant to be empty. It is on the disk of the packages, and so
#: it is missing where that is not mounted.
MEANT = b".empty"
#: The part of the projects that may still be missing when the root counts again: as many as a replica removes
#: without asking (`replication.brake`).
_PERCENT = 10


class EmptiedRoot(OSError):
    """
    Nothing is left in a root, or not enough has come back yet.

    Attributes:
        reason: In a few words.
        advice: One sentence: what to do.
    """

    reason = "nothing is left of what was in it"
    advice = (
        "Mount its disk, or put the files back; if it is meant to be empty, make a file named"
        f" {MEANT.decode()} in it."
    )

    def __init__(self, path: bytes) -> None:
        super().__init__(errno.ENODATA, self.reason, path)


class DoubtedRoot(EmptiedRoot):
    """Nothing is in a root, and other servers, which may know of more, have not answered yet."""

    reason = "nothing is in it, and its peers have not said yet whether anything was"
    advice = "Wait some seconds for their answers."


class RootWatch:
    """
    Tells a root that was emptied from one that is empty.

    What was deleted through this server leaves a tombstone, and so a folder; only what was removed by other
    means leaves nothing.

    Args:
        serials: Those of the projects of just this root.
        expects_some: Whether another server knows of projects, so that without serials the root has lost them
            together with the state; None if that is not known yet.
    """

    def __init__(self, serials: Serials, *, expects_some: bool | None = False) -> None:
        self._serials = serials
        self._expects_some = expects_some
        self._is_lost = False

    def check(self, reading: RootScan) -> None:
        """
        Take a root as it was read.

        Raises:
            EmptiedRoot: It is not to be served.
        """
        if (not reading.taken or self._is_lost) and not self._serials.follows:
            error = self._find_loss(reading)
            self._is_lost = error is not None
            if error is not None:
                raise error(reading.path)

    def _find_loss(self, reading: RootScan) -> type[EmptiedRoot] | None:
        if (MEANT, False) in reading.names:
            return None
        changes = self._serials.read().changes
        if not changes:
            if reading.taken or self._expects_some is False:
                return None
            return EmptiedRoot if self._expects_some else DoubtedRoot
        known = {project for project, change in changes.items() if change.imprint != REMOVED}
        missing = len(known - reading.taken.keys())
        # While they come back one by one, those that are still to come are no 404s.
        is_lost = missing > (len(known) * _PERCENT // 100 if reading.taken else 0)
        return EmptiedRoot if is_lost else None
