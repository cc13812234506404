"""
The backlog of a replica: the projects that differ from the primary's, and when each of them is tried.

Pure, for one thread. Out of scope: what is done about a project (see `arrival` and `removals`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Seconds until a project that failed is tried again: the first time, and at most.
FIRST_RETRY, LAST_RETRY = 1.0, 60.0


@dataclass(slots=True)
class _Work:
    """
    A project of the backlog.

    Attributes:
        due: When it is tried, in monotonic seconds.
        failures: How often that has failed.
        is_claimed: Whether a round has it on its list.
        has_begun: Whether that round works on it now.
        is_outdated: Whether the serials have begun anew since it was compared.
    """

    due: float = 0.0
    failures: int = 0
    is_claimed: bool = False
    has_begun: bool = False
    is_outdated: bool = False


class Backlog:
    """
    The projects that differ from the primary's. Only one round at a time works on a project.

    Args:
        seconds: Returns monotonic seconds.

    Attributes:
        failures: Why projects failed, by name, in sentences.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._work: dict[str, _Work] = {}
        self.failures: dict[str, str] = {}

    def __contains__(self, project: str) -> bool:
        return project in self._work

    def names(self) -> Iterable[str]:
        """Return the names of the projects."""
        return self._work.keys()

    def add(self, project: str) -> None:
        """Add a project, due at once, also if it is there and waits for its next attempt."""
        self._work.setdefault(project, _Work()).due = 0.0

    def restart(self) -> None:
        """Drop all, as the serials begin anew; what is being worked on has to be compared again."""
        # It stays, or a second round would begin with it too.
        self._work = {project: work for project, work in self._work.items() if work.has_begun}
        for work in self._work.values():
            work.is_outdated = True
        self.failures = {}

    def claim(self) -> list[str]:
        """Return the projects that are due and that no round has claimed, and claim them."""
        now = self._seconds()
        due = [name for name, work in self._work.items() if not work.is_claimed and work.due <= now]
        for project in due:
            self._work[project].is_claimed = True
        return due

    def release(self, projects: Iterable[str]) -> None:
        """Leave claimed projects that were not begun to the next round."""
        for project in projects:
            work = self._work.get(project)
            if work is not None and not work.has_begun:
                work.is_claimed = False

    def begin(self, project: str) -> bool:
        """Begin to work on a project; return False if it is not in the backlog or has begun already."""
        work = self._work.get(project)
        if work is None or work.has_begun:
            return False
        work.is_claimed = work.has_begun = True
        return True

    def renew(self, project: str) -> None:
        """Note that a project is compared with what is known now."""
        self._work[project].is_outdated = False

    def is_outdated(self, project: str) -> bool:
        """Return whether the serials have begun anew since a project was added or renewed."""
        return self._work[project].is_outdated

    def end(self, project: str) -> None:
        """Stop working on a project, which stays in the backlog."""
        work = self._work[project]
        work.is_claimed = work.has_begun = False

    def remove(self, project: str) -> None:
        """Take a project away, with the reason of its last failure."""
        del self._work[project]
        self.failures.pop(project, None)

    def wait(self, project: str, seconds: float) -> None:
        """Try a project again after so many seconds."""
        self._work[project].due = self._seconds() + seconds

    def fail(self, project: str, reason: str) -> bool:
        """
        Try a project again later, ever more rarely.

        Args:
            project: Its name.
            reason: Why it failed, in a sentence.

        Returns:
            Whether that is another reason than the last time.
        """
        work = self._work[project]
        self.wait(project, min(LAST_RETRY, FIRST_RETRY * 2**work.failures))
        work.failures = min(work.failures + 1, 10)
        is_news = self.failures.get(project) != reason
        self.failures[project] = reason
        return is_news

    def retry_now(self) -> None:
        """Let all be due."""
        for work in self._work.values():
            work.due = 0.0

    def next_due(self) -> float | None:
        """Return the seconds until an unclaimed project is due; None without any."""
        now = self._seconds()
        return min((work.due - now for work in self._work.values() if not work.is_claimed), default=None)
