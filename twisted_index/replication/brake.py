"""
The brake: how much a replica removes because its primary has it no more, before a person has to agree. Pure.

It is for `rm -r`, for a disk that was not mounted and for a primary that was emptied. What was deleted there
by name counts too: an attacker who controls the primary can do that to everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

#: Files that may go.
_MAX_FILES = 100
#: The part of the projects that may lose their last file.
_PERCENT = 10
#: Seconds that count together.
WINDOW = 600.0


class _Done(NamedTuple):
    time: float
    files: int
    emptied: int


class Brake:
    """
    Counts what was removed lately.

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
        Return whether nothing may be removed.

        Args:
            files: Files to be removed now.
            emptied: Projects that lose their last file by that.
            total: Projects that have files now.
            untold: Those of the emptied ones of which nothing says that their files were deleted: an index of
                one project may lose it by a deletion, and not by a disk that is not mounted. All by default.
            accepted: Files that a person agreed to.
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
        """Note what was removed."""
        self._done.append(_Done(self._seconds(), files, emptied))
