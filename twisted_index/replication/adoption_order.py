"""
The order in which a replica adopts its primary's serials: ascending, whichever project finishes first. Pure.

Servers that follow the replica ask for changes after a serial, and would miss a lower one that appears later.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class AdoptionOrder:
    """Serials that are not adopted yet, by project and in ascending order."""

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
        """Return the serial that a project is to adopt; 0 without one."""
        return self._told.get(project, 0)

    def first(self, is_ready: Callable[[str], bool]) -> tuple[str, int] | None:
        """Remove and return the project with the lowest serial, if it is ready; None otherwise."""
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
        """Return the lowest serial of an open project; serials of projects that are not are dropped."""
        while self._to_reach:
            serial, project = self._to_reach[0]
            if self._told.get(project) == serial and is_open(project):
                return serial
            heappop(self._to_reach)
        return None
