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
        observers: An exception of one is logged, and the next is notified.
    """

    def __init__(self, *observers: IIndexObserver) -> None:
        self._observers = list(observers)

    def __bool__(self) -> bool:
        """Say whether there are observers, so that pages are not compared for nothing."""
        return bool(self._observers)

    def add(self, observer: IIndexObserver) -> None:
        """Tell one more from now on."""
        self._observers.append(observer)

    def remove(self, observer: IIndexObserver) -> None:
        """
        Tell one no more.

        Raises:
            ValueError: It is not among them.
        """
        self._observers.remove(observer)

    def added(self, project: str, file: File) -> None:
        """See `IIndexObserver`."""
        self._tell("added", project, file)

    def removed(self, project: str, filename: str) -> None:
        """See `IIndexObserver`."""
        self._tell("removed", project, filename)

    def rejected(self, project: str, filename: str, reason: str) -> None:
        """See `IIndexObserver`."""
        self._tell("rejected", project, filename, reason)

    def _tell(self, what: str, *about: Any) -> None:
        # Of a copy, as an observer may take itself off the list.
        for observer in tuple(self._observers):
            try:
                getattr(observer, what)(*about)
            except Exception:
                _log.failure("{observer} failed when it was notified of a file", observer=observer)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageDiff:
    """
    What is different about a project's files.

    Attributes:
        added: Files that are listed and were not; one whose bytes are others is removed and added.
        removed: Names of files that were listed and are not.
        rejected: Problems that were not there.
    """

    added: tuple[File, ...] = ()
    removed: tuple[str, ...] = ()
    rejected: tuple[Problem, ...] = ()

    def notify(self, project: str, observer: IIndexObserver) -> None:
        """
        Notify an observer.

        Args:
            project: A normalized name.
            observer: Whom to tell.
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
    Find out what has changed between two looks at a project.

    Args:
        before: The page as it was; None if there was no such project. (Where it is not *known* what
            was, nothing has changed: then this is not asked.)
        after: The page as it is; None if there is no such project.
        problems_before: What was left out.
        problems_after: What is left out.
    """
    # The usual answer, at no price: a source gives the same page if nothing is new.
    if before is after and not problems_after:
        return PageDiff()
    known = set(problems_before)
    were, are = _by_name(before), _by_name(after)
    return PageDiff(
        added=tuple(file for name, file in are.items() if _is_other(were.get(name), file)),
        removed=tuple(name for name, file in were.items() if _is_other(are.get(name), file)),
        rejected=tuple(problem for problem in problems_after if problem not in known),
    )


def _by_name(page: ProjectPage | None) -> dict[str, File]:
    return {} if page is None else {file.filename: file for file in offered_files(page)}


def _is_other(other: File | None, file: File) -> bool:
    """Say whether two files of one name, of which one may not be there, have other bytes."""
    return other is None or other.hashes.get("sha256") != file.hashes.get("sha256")
