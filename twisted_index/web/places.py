"""How many uploads are under way at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

#: Each takes a descriptor beside that of its connection, and up to 2 MiB of memory.
AT_ONCE = 64
#: Whole seconds. Most uploads are small and over sooner.
_RETRY_AFTER = 5


class Places:
    """
    Gives away a number of places.

    Args:
        most: That number.
    """

    def __init__(self, most: int = AT_ONCE) -> None:
        self._most = most
        self.taken = 0

    def take(self) -> Callable[[], None]:
        """
        Take a place.

        Returns:
            Gives it back; harmless when called again.

        Raises:
            Unavailable: All of them are taken.
        """
        if self.taken >= self._most:
            raise Unavailable("Too many files are being uploaded right now; try again.", _RETRY_AFTER)
        self.taken += 1
        return _Once(self._give_back)

    def _give_back(self) -> None:
        self.taken -= 1


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
