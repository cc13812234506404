"""
Files that a replica has removed since its primary lacks them, in its state.

They were not deleted by name, so an operator may want them back; a month is time enough to miss them.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twisted.logger import Logger

from twisted_index.files.anonymous_file import sync_folder
from twisted_index.files.verified_copy import copy_file
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Callable

_log = Logger()

#: Seconds for which they stay; longer, if deleted files are kept for longer.
_KEPT = 30 * 86400.0
_DAY = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}")
#: The folder of those of indexes with a name.
_INDEXES = b"indexes"


class RemovedFiles:
    """
    The folder of these files, by the day on which they were removed. Blocking.

    Args:
        folder: Its path; made when it is needed.
        now: Returns nanoseconds since the epoch.
    """

    def __init__(self, folder: str, now: Callable[[], int]) -> None:
        self._folder = os.fsencode(folder)
        self._now = now

    def take(self, place: bytes, path: str) -> None:
        """
        Move a file here, or a link: whole, or not at all.

        Args:
            place: Where it is.
            path: Its path below the root, which it keeps; with a number behind it if that is taken.

        Raises:
            OSError: It is where it was.
        """
        target = os.path.join(self._folder, self._day(), os.fsencode(path))
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        number = 0
        while os.path.lexists(free := target + (b".%d" % number if number else b"")):
            number += 1
        try:
            os.rename(place, free)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            if os.path.islink(place):
                os.symlink(os.readlink(place), free)
            else:
                copy_file(os.path.dirname(free), place, free)
            sync_folder(os.path.dirname(free))
            os.unlink(place)

    def forget(self, keep_deleted: float) -> None:
        """
        Remove for good what was removed on days that are long over, also of indexes in it.

        What cannot be removed stays, and the log says so: nothing else depends on it.

        Args:
            keep_deleted: Seconds for which deleted files are kept.
        """
        first = self._day(-max(_KEPT, keep_deleted))
        indexes = os.path.join(self._folder, _INDEXES)
        for folder in (self._folder, *(os.path.join(indexes, name) for name in _names_in(indexes))):
            for name in _names_in(folder):
                if _DAY.fullmatch(name) and name < first:
                    _remove(os.path.join(folder, name))

    def _day(self, seconds: float = 0.0) -> bytes:
        """Return the name of the folder of a day: that so many seconds after now, of UTC."""
        return datetime.fromtimestamp(self._now() / 1e9 + seconds, UTC).strftime("%Y-%m-%d").encode()


def _names_in(folder: bytes) -> list[bytes]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _remove(folder: bytes) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        # The replica of an index with a name removes it too.
        pass
    except OSError as error:
        _log.warn(
            "{path} is not removed, although it is old: {error}",
            path=printable(os.fsdecode(folder)),
            error=error.strerror,
        )
