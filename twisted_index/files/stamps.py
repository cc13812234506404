"""
Stamps: notices changes of a folder by one `stat`, or by another reading where times are too coarse.

File systems tick: two changes within a tick leave the same time. So a time younger than the coarsest tick
is *racy*, and what was read under it is read again (as git's index does), unless the file system provably
gives another time to each change after a `stat` (`filesystems.has_multigrain_times`).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from twisted_index.files.filesystems import has_multigrain_times

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds. FAT ticks in 2 s steps, the coarsest in use; ext3 and HFS+ in 1 s, others far below.
RACY_SECONDS = 2.0
#: Seconds by which the clock that file times are taken from may lag: the longest tick of a Linux kernel.
_CLOCK_LAG = 0.01

#: (st_dev, st_ino, st_mtime_ns, st_ctime_ns) of the followed path; None when nothing is there.
#: The modification time alone can be set, and a swapped link may change only the inode.
Stamp: TypeAlias = tuple[int, int, int, int] | None


@dataclass(frozen=True, slots=True)
class StampedStat:
    """
    A stamp, and how far it can be trusted.

    Attributes:
        stamp: What `stat` said before the reading began.
        since: Monotonic seconds at which just this stamp was first seen.
        settled: Whether a later change is sure to give another stamp.
    """

    stamp: Stamp
    since: float
    settled: bool


class StatValidator:
    """
    Takes and compares stamps.

    Args:
        stat: `os.stat`, or a stand-in with coarser times.
        monotonic: Seconds that never go back.
        wall: Seconds since the epoch, as file times count them.
        trusts_times: False for file systems whose folder times tell nothing (FAT): no stamp is
            ever clean there, so all is read each time.
        is_multigrain: Whether a change to a folder after its `stat` is sure to give it other times; what
            a stand-in for `stat` says must fit.
    """

    def __init__(
        self,
        *,
        stat: Callable[[bytes], os.stat_result] = os.stat,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        trusts_times: bool = True,
        is_multigrain: Callable[[bytes, os.stat_result], bool] = has_multigrain_times,
    ) -> None:
        self.stat = stat
        self._is_multigrain = is_multigrain
        self.monotonic = monotonic
        self._wall = wall
        self._trusts_times = trusts_times
        self._began = wall()

    def stamp(self, path: bytes, before: StampedStat | None = None, *, prove: bool = True) -> StampedStat:
        """
        Take the stamp of a path, to be followed by reading what is there.

        Args:
            path: A folder; links are followed.
            before: What was seen here last, so that the age of an equal stamp is known.
            prove: Whether to settle a young stamp by its file system. That reads the table of mounts,
                about 0.1 ms, so not for thousands of folders.

        Raises:
            OSError: Other than that nothing is there.
        """
        try:
            status = self.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            # Absence cannot be racy: whatever comes has a stamp, and that differs.
            return StampedStat(None, self.monotonic(), True)
        stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        now = self.monotonic()
        known = before if before is not None and before.stamp == stamp else StampedStat(stamp, now, False)
        settled = self._trusts_times and (
            known.settled
            or now - known.since >= RACY_SECONDS
            or self.is_settled(status.st_ctime_ns)
            or (prove and self._is_multigrain(path, status))
        )
        return StampedStat(stamp, known.since, settled)

    def is_current(self, path: bytes, seen: StampedStat) -> bool:
        """Return whether a path is still as it was seen: one `stat`, on the way of every request."""
        if not seen.settled:
            return False
        try:
            status = self.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return seen.stamp is None
        except OSError:
            return False
        return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns) == seen.stamp

    def is_settled(self, ctime_ns: int) -> bool:
        """
        Return whether a change time is old enough that any later change must differ from it.

        For a regular file this is the only proof: see `filesystems.has_multigrain_times`.
        """
        return self._wall() - ctime_ns / 1e9 >= RACY_SECONDS + _CLOCK_LAG

    def predates(self, ctime_ns: int) -> bool:
        """Return whether a change time is older than this process could have seen the change."""
        return self._began - ctime_ns / 1e9 >= RACY_SECONDS
