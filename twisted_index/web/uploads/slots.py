"""Limits the number of concurrent uploads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

#: Each takes a descriptor besides that of its connection, and up to 2 MiB of memory.
PARALLEL_UPLOADS = 64
#: Whole seconds. Most uploads are small and take less.
_RETRY_AFTER = 5


class UploadSlots:
    """
    A limited number of slots.

    Args:
        limit: The number of slots.
    """

    def __init__(self, limit: int = PARALLEL_UPLOADS) -> None:
        self._limit = limit
        self.in_use = 0

    def set_limit(self, most: int) -> None:
        """
        Lower the number of slots, so that uploads leave connections for other requests.

        Args:
            most: The number of slots; at least one remains.
        """
        self._limit = min(self._limit, max(1, most))

    def acquire(self) -> Callable[[], None]:
        """
        Take a slot.

        Returns:
            Releases the slot; idempotent.

        Raises:
            Unavailable: All slots are taken.
        """
        if self.in_use >= self._limit:
            raise Unavailable("Too many files are being uploaded right now; try again.", _RETRY_AFTER)
        self.in_use += 1
        return _Once(self._release)

    def _release(self) -> None:
        self.in_use -= 1


class _Once:
    """
    A callable that acts on its first call only.

    Args:
        action: Called once.
    """

    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action

    def __call__(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()
