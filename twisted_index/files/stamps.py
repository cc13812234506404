"""
Stamps: notices changes of a folder by one `stat`, or by another reading where times are too coarse.

File systems tick: two changes within a tick leave the same time. So a time younger than a tick is *racy*, and
what was read under it is read again (as git's index does). A tick is 2 s, unless the file system is known to
tick as its kernel's clock does.

The stamp is taken before the folder is read: a change in between is in the reading, a later one has a time of
a later tick. A regular file is settled only after 2 s on every file system: `write` sets its times first, and
copies the bytes afterwards.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from twisted_index.files.filesystems import file_clock, has_fine_times

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds. FAT ticks in 2 s steps, the coarsest in use; ext3 and HFS+ in 1 s, others far below.
RACY_SECONDS = 2.0
#: Seconds. Linux ticks in steps of 1 to 10 ms.
_FINE_RACY_SECONDS = 0.01

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
        wall: Seconds since the epoch, of the clock that file times come from.
        trusts_times: False for file systems whose folder times tell nothing (FAT): no stamp is
            ever settled there, so all is read each time.
        has_fine_times: Whether a folder ticks as finely as that clock; a stand-in for `stat` needs its own.
    """

    def __init__(
        self,
        *,
        stat: Callable[[bytes], os.stat_result] = os.stat,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = file_clock,
        trusts_times: bool = True,
        has_fine_times: Callable[[bytes, os.stat_result], bool] = has_fine_times,
    ) -> None:
        self.stat = stat
        self._has_fine_times = has_fine_times
        self.monotonic = monotonic
        self._wall = wall
        self._trusts_times = trusts_times
        self._began = wall()

    def stamp(self, path: bytes, before: StampedStat | None = None, *, fine: bool = True) -> StampedStat:
        """
        Take the stamp of a path, to be followed by reading what is there.

        Args:
            path: A folder; links are followed.
            before: What was seen here last, so that the age of an equal stamp is known.
            fine: Whether to find out if a young stamp ticks finely. That reads the table of mounts, about
                0.1 ms, so not for thousands of folders.

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
        if before is not None and before.stamp == stamp:
            if before.settled:
                return before
            since = before.since
        else:
            since = now
        settled = self._trusts_times and (
            now - since >= RACY_SECONDS
            or self.is_settled(status.st_ctime_ns)
            or (
                fine
                and self._is_older(status.st_ctime_ns, _FINE_RACY_SECONDS)
                and self._has_fine_times(path, status)
            )
        )
        return StampedStat(stamp, since, settled)

    def is_current(self, path: bytes, seen: StampedStat) -> bool:
        """Return whether a path is still as it was seen: one `stat`, for every request."""
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
        """Return whether a change time is old enough that any later change must differ from it."""
        return self._is_older(ctime_ns, RACY_SECONDS)

    def predates(self, ctime_ns: int) -> bool:
        """Return whether a change time is older than this process could have seen the change."""
        return self._began - ctime_ns / 1e9 >= RACY_SECONDS

    def _is_older(self, ctime_ns: int, seconds: float) -> bool:
        return self._wall() - ctime_ns / 1e9 >= seconds
