"""The number of concurrent uploads, limited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

#: Each takes a descriptor beside that of its connection, and up to 2 MiB of memory.
PARALLEL_UPLOADS = 64
#: Whole seconds. Most uploads are small and over sooner.
_RETRY_AFTER = 5


class UploadSlots:
    """
    Gives away a number of places.

    Args:
        limit: That number.
    """

    def __init__(self, limit: int = PARALLEL_UPLOADS) -> None:
        self._most = limit
        self.in_use = 0

    def set_limit(self, most: int) -> None:
        """
        Lower the number of slots where connections are few, so that uploads leave some to others.

        Args:
            most: The number of slots; one is left even if it is 0.
        """
        self._most = min(self._most, max(1, most))

    def acquire(self) -> Callable[[], None]:
        """
        Take a place.

        Returns:
            Gives it back; harmless when called again.

        Raises:
            Unavailable: All of them are taken.
        """
        if self.in_use >= self._most:
            raise Unavailable("Too many files are being uploaded right now; try again.", _RETRY_AFTER)
        self.in_use += 1
        return _Once(self._give_back)

    def _give_back(self) -> None:
        self.in_use -= 1


class _Once:
    """
    Something that is done once.

    Args:
        action: What.
    """

    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action

    def __call__(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()
