"""
The brake: limits what a replica removes because its primary lacks it, until a person accepts more. Pure.

It protects against `rm -r`, a disk that is not mounted, and a primary that was emptied. Files that were
deleted there by name count too: an attacker who controls the primary can delete everything by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

#: Files that may be removed.
_MAX_FILES = 100
#: Percentage of the projects that may lose their last file.
_PERCENT = 10
#: Length of the window, in seconds, within which removals are added up.
WINDOW = 600.0


class _Done(NamedTuple):
    time: float
    files: int
    emptied: int


class Brake:
    """
    Counts recent removals.

    Args:
        seconds: Returns monotonic seconds.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._done: list[_Done] = []

    def forbids(
        self, files: int, emptied: int, total: int, *, untold: int | None = None, accepted: int = 0
    ) -> bool:
        """
        Return whether the removals are forbidden, all of them.

        Args:
            files: Files to be removed now.
            emptied: Projects that lose their last file by that.
            total: Projects that have files now.
            untold: Emptied projects without tombstones, all by default. An index of one project may lose it
                by a deletion, but not to a disk that is not mounted.
            accepted: Files whose removal a person has accepted.
        """
        if files <= accepted:
            return False
        self._done = [done for done in self._done if self._seconds() - done.time < WINDOW]
        before = sum(done.emptied for done in self._done)
        untold = (emptied if untold is None else untold) + before
        emptied, total = emptied + before, total + before
        return (
            files + sum(done.files for done in self._done) > _MAX_FILES
            or emptied > max(1, total * _PERCENT // 100)
            or untold >= total > 0
        )

    def note(self, files: int, emptied: int) -> None:
        """Count removals."""
        self._done.append(_Done(self._seconds(), files, emptied))
