"""
The order in which the serials of a primary are adopted: theirs, whichever project is finished first. Pure.

Those who follow the replica ask for what came after a serial, and would miss a lower one that came later.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class AdoptionOrder:
    """The serials of changes that are not adopted yet, by project and in order."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}
        self._to_adopt: list[tuple[int, str]] = []
        self._to_reach: list[tuple[int, str]] = []

    def add(self, project: str, serial: int) -> None:
        """Note the last change of a project."""
        if self._told.get(project) != serial:
            self._told[project] = serial
            heappush(self._to_adopt, (serial, project))
            heappush(self._to_reach, (serial, project))

    def serial_of(self, project: str) -> int:
        """Return the serial of a project; 0 if it has none to be adopted."""
        return self._told.get(project, 0)

    def first(self, is_ready: Callable[[str], bool]) -> tuple[str, int] | None:
        """Take the project with the lowest serial away, if it is ready."""
        while self._to_adopt:
            serial, project = self._to_adopt[0]
            is_current = self._told.get(project) == serial
            if is_current and not is_ready(project):
                return None
            heappop(self._to_adopt)
            if is_current:
                del self._told[project]
                return project, serial
        return None

    def lowest(self, is_open: Callable[[str], bool]) -> int | None:
        """Return the lowest serial of a project that is open; one that was not is not looked at again."""
        while self._to_reach:
            serial, project = self._to_reach[0]
            if self._told.get(project) == serial and is_open(project):
                return serial
            heappop(self._to_reach)
        return None
