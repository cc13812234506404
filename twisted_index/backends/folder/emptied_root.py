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


class RootWatch:
    """
    Tells a root that was emptied from one that is empty.

    What was deleted through this server leaves a tombstone, and so a folder; only what was removed by other
    means leaves nothing.

    Args:
        serials: Those of the projects of just this root.

    Attributes:
        expects_some: Whether another server knows of projects, so that without serials the root has lost them
            together with the state.
    """

    def __init__(self, serials: Serials) -> None:
        self._serials = serials
        self._is_lost = False
        self.expects_some = False

    def check(self, reading: RootScan) -> None:
        """
        Take a root as it was read.

        Raises:
            EmptiedRoot: It is not to be served.
        """
        if (not reading.taken or self._is_lost) and not self._serials.follows:
            self._is_lost = self._lacks(reading)
            if self._is_lost:
                raise EmptiedRoot(reading.path)

    def _lacks(self, reading: RootScan) -> bool:
        if (MEANT, False) in reading.names:
            return False
        changes = self._serials.read().changes
        if not changes:
            return self.expects_some and not reading.taken
        known = {project for project, change in changes.items() if change.imprint != REMOVED}
        missing = len(known - reading.taken.keys())
        # While they come back one by one, those that are still to come are no 404s.
        return missing > (len(known) * _PERCENT // 100 if reading.taken else 0)
