"""
When tokens were last used: the times of empty files in `keep/token-uses/`, one for each token.

A use is noted once an hour in each process, so a token may have been used up to an hour later than is
noted. Several processes write the same file at most at the same moment, and a file that is lost costs
nothing else.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twisted_index.concurrency.lru import LRU
from twisted_index.files.private_files import make_private_folder, remove_private, touch_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Seconds for which another use is not noted.
USE_SECONDS = 3600.0
_MOST_NOTED = 16_384


class TokenUses:
    """
    The last uses of the tokens of a state folder.

    Args:
        state: Absolute folder. Nothing is made in it before the first use.
        now: Seconds since the epoch.
    """

    def __init__(self, state: str, now: Callable[[], float]) -> None:
        self._folder = os.path.join(state, "keep", "token-uses")
        self._now = now
        self._noted = LRU[str, float](_MOST_NOTED)

    def is_due(self, identifier: str) -> bool:
        """Return whether a use of a token is to be noted: True once an hour."""
        noted, now = self._noted.peek(identifier), self._now()
        if noted is not None and 0 <= now - noted < USE_SECONDS:
            return False
        self._noted.put(identifier, now)
        return True

    def note(self, identifier: str) -> None:
        """
        Note a use of a token. Blocks.

        Raises:
            OSError: It cannot be kept.
        """
        make_private_folder(self._folder)
        touch_private(self._path(identifier), self._now())

    def last(self, identifier: str) -> datetime | None:
        """Return when a token was last used; None for never, or if that cannot be read. Blocks."""
        try:
            used = os.lstat(self._path(identifier)).st_mtime
        except OSError:
            return None
        return datetime.fromtimestamp(int(used), UTC)

    def forget(self, identifiers: Iterable[str]) -> None:
        """Forget tokens that are no more. Blocks."""
        for identifier in identifiers:
            remove_private(self._path(identifier))

    def _path(self, identifier: str) -> str:
        return os.path.join(self._folder, identifier)
