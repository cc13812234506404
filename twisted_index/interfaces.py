"""
The contracts that others may implement.

A source answers three questions: which projects, which files of this project, the bytes of this
file. It knows nothing of HTTP; the web part knows nothing of where things come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

from zope.interface import Interface

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.simple.model import Companion, ProjectList, ProjectPage

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(Generic[T]):
    """
    What a source saw, with a cheap question: is this still true?

    Attributes:
        value: What was seen. A source that looks again and finds nothing new gives the very same
            object, so that what was made from it can be kept.
        still_true: Synchronous and quick (a few calls of `stat`, or a look at a clock). It may say
            no out of caution; it never says yes to what is no longer so.
    """

    value: T
    still_true: Callable[[], bool]

    @classmethod
    def held(cls, value: T, seconds: float, clock: IReactorTime) -> Snapshot[T]:
        """
        Make the answer of a source that has no cheap truth test: it holds for so many seconds.

        Args:
            value: What was seen.
            seconds: For how long it may be repeated; 0 for never.
            clock: Tells the time by `seconds()`.
        """
        until = clock.seconds() + seconds
        return cls(value=value, still_true=lambda: clock.seconds() < until)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBody:
    """
    The bytes of a file or companion, as they were when it was opened.

    Attributes:
        content: The bytes themselves, or an open file positioned at its start, with a file
            descriptor. Whoever receives it closes it.
        size: In bytes.
        sha256: Lower-case hex digest of exactly these bytes; None if it is not known.
        modified: Seconds since the epoch.
        reopen: Opens the same once more, at once, if it is still what is listed, else gives None;
            None if the source cannot tell without being asked.
    """

    content: bytes | BinaryIO
    size: int
    sha256: str | None
    modified: float
    reopen: Callable[[], FileBody | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """
    Something in a source that is not served, and what to do about it.

    Attributes:
        path: Where it lies, relative to its root, printable.
        reason: One sentence: why it is left out.
        advice: One sentence: what to do.
    """

    path: str
    reason: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemReport:
    """
    What a source knows to be wrong.

    Attributes:
        problems: Ordered by path.
        complete: False while parts of the source have not been looked at yet.
    """

    problems: tuple[Problem, ...] = ()
    complete: bool = True


if TYPE_CHECKING:
    #: What a source's methods may return.
    Eventually: TypeAlias = T | Awaitable[T]


class ISource(Interface):
    """
    Where projects come from.

    Each method may return its value, a Deferred of it, or a coroutine. Each may raise
    `twisted_index.errors.Unavailable` when the truth cannot be told now; none ever answers with
    less than it knows to be there.
    """

    def project_list() -> Eventually[Snapshot[ProjectList]]:
        """Say which projects there are."""

    def project_page(project: str) -> Eventually[Snapshot[ProjectPage | None]]:
        """
        Say which files a project has.

        Args:
            project: A normalized name.

        Returns:
            None as the value if this source has no such project. A project that exists without
            any file is a page without files.
        """

    def open_file(
        project: str, filename: str, companion: Companion | None = None
    ) -> Eventually[FileBody | None]:
        """
        Open a file that the project's page lists, or a companion of it.

        Args:
            project: A normalized name.
            filename: Text from a URL: looked up among the listed ones, never made into a path.
            companion: Which companion is wanted; None for the file itself.

        Returns:
            None if nothing of that name is listed.
        """


class IProblemSource(Interface):
    """A source that can say what it leaves out."""

    def problems() -> Eventually[ProblemReport]:
        """Look through the whole source, within the time that a client waits, and report."""


class IRunning(Interface):
    """A source that holds something open: threads, a database, connections."""

    def start() -> None:
        """Begin; called in the running process, before the first question, and again only after `stop`."""

    def stop() -> Eventually[None]:
        """Finish what runs and close what is open. No question is asked from then until `start`."""
