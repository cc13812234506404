"""Notifies observers of changed pages; an exception of one does not affect the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.interfaces import IIndexObserver
from twisted_index.simple.formatting import offered_files

if TYPE_CHECKING:
    from collections.abc import Collection

    from twisted_index.interfaces import Problem
    from twisted_index.simple.model import File, ProjectPage

_log = Logger()


@implementer(IIndexObserver)
class Observers:
    """
    Notifies each observer, in order.

    Args:
        observers: Notified in this order; exceptions are logged.
    """

    def __init__(self, *observers: IIndexObserver) -> None:
        self._observers = list(observers)

    def __bool__(self) -> bool:
        """Return whether there are observers, so that callers can skip comparing pages."""
        return bool(self._observers)

    def add(self, observer: IIndexObserver) -> None:
        """Add an observer."""
        self._observers.append(observer)

    def remove(self, observer: IIndexObserver) -> None:
        """
        Remove an observer.

        Raises:
            ValueError: The observer was not added.
        """
        self._observers.remove(observer)

    def added(self, project: str, file: File) -> None:
        """See `IIndexObserver`."""
        self._notify("added", project, file)

    def removed(self, project: str, filename: str) -> None:
        """See `IIndexObserver`."""
        self._notify("removed", project, filename)

    def rejected(self, project: str, filename: str, reason: str) -> None:
        """See `IIndexObserver`."""
        self._notify("rejected", project, filename, reason)

    def _notify(self, event: str, *args: Any) -> None:
        # Iterate over a copy, since an observer may remove itself.
        for observer in tuple(self._observers):
            try:
                getattr(observer, event)(*args)
            except Exception:
                _log.failure("{observer} failed when notified of a file", observer=observer)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageDiff:
    """
    The changes of a project's files.

    Attributes:
        added: Newly listed files; a file with changed bytes is removed and added.
        removed: Names of files that are no longer listed.
        rejected: New problems.
    """

    added: tuple[File, ...] = ()
    removed: tuple[str, ...] = ()
    rejected: tuple[Problem, ...] = ()

    def notify(self, project: str, observer: IIndexObserver) -> None:
        """
        Notify an observer.

        Args:
            project: The normalized project name.
            observer: The observer.
        """
        for filename in self.removed:
            observer.removed(project, filename)
        for file in self.added:
            observer.added(project, file)
        for problem in self.rejected:
            observer.rejected(project, problem.path.rpartition("/")[2], problem.reason)


def diff_pages(
    before: ProjectPage | None,
    after: ProjectPage | None,
    problems_before: Collection[Problem] = (),
    problems_after: Collection[Problem] = (),
) -> PageDiff:
    """
    Compare two pages of a project.

    Args:
        before: The previous page; None if there was no such project. (Do not call this if the previous
            page is *unknown*.)
        after: The current page; None if there is no such project.
        problems_before: The previous problems.
        problems_after: The current problems.
    """
    # The usual case, without a comparison: a source returns the same page if nothing has changed.
    if before is after and not problems_after:
        return PageDiff()
    known_problems = set(problems_before)
    old_files, new_files = _by_name(before), _by_name(after)
    return PageDiff(
        added=tuple(file for name, file in new_files.items() if _differs(old_files.get(name), file)),
        removed=tuple(name for name, file in old_files.items() if _differs(new_files.get(name), file)),
        rejected=tuple(problem for problem in problems_after if problem not in known_problems),
    )


def _by_name(page: ProjectPage | None) -> dict[str, File]:
    return {} if page is None else {file.filename: file for file in offered_files(page)}


def _differs(other: File | None, file: File) -> bool:
    """Return whether two files of one name differ in their bytes, or the first is missing."""
    return other is None or other.hashes.get("sha256") != file.hashes.get("sha256")
