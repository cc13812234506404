"""Files that a replica has removed since its primary lacks them: in its state, until a person empties it."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twisted_index.files.anonymous_file import sync_folder
from twisted_index.files.verified_copy import copy_file

if TYPE_CHECKING:
    from collections.abc import Callable


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
        day = datetime.fromtimestamp(self._now() / 1e9, UTC).strftime("%Y-%m-%d")
        target = os.path.join(self._folder, day.encode(), os.fsencode(path))
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
