"""
The contracts that others may implement.

A source answers three questions: which projects, which files of this project, the bytes of this
file. A store takes files and changes what is there. Access says who may do what. They know
nothing of HTTP; the web part knows nothing of where things come from and go.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Generic, Protocol, TypeVar, runtime_checkable

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping
    from datetime import datetime
    from typing import TypeAlias

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from twisted_index.simple.model import Companion, File, ProjectList, ProjectPage, ProjectStatus

T = TypeVar("T")

#: Bytes of a file that is small: sent in one write, and perhaps kept in memory by whoever asks for it
#: again. It is what Twisted's transports buffer before they ask for a pause.
SMALL = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(Generic[T]):
    """
    What a source saw, with a cheap question: is this still true?

    Attributes:
        value: What was seen. A source that looks again and finds nothing new gives the very same
            object, so that what was made from it can be kept.
        still_true: Synchronous and quick (a few calls of `stat`, or a look at a clock). It may say
            no out of caution; it never says yes to what is no longer so.
        cache_status: How a cache came by it, as one member of a Cache-Status field (RFC 9211)
            without the name of the cache, such as `hit; ttl=540` or `fwd=stale; detail=slow`; empty where
            no cache has to do with it.
    """

    value: T
    still_true: Callable[[], bool]
    cache_status: str = ""

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


@runtime_checkable
class Arriving(Protocol):
    """
    The bytes of a file that are still coming from somewhere else.

    Nothing is fetched before the first `wait`. What may be read is less than what has come: the
    last bytes are withheld until the digest is known to be right.
    """

    def wait(self, position: int) -> Deferred[int]:
        """
        Wait until there is more to read than so many bytes.

        Returns:
            How many bytes from the start may be read now, more than `position`. Fails with
            `SimpleIndexError` if they will never come; then nothing more may be sent.
        """

    def read(self, position: int, size: int) -> bytes:
        """Read at most so many of the bytes that may be read, from a position; never blocks for long."""

    def whole(self) -> Deferred[None]:
        """Wait until every byte may be read; fails like `wait`."""

    def close(self) -> None:
        """Let go of it; called once by whoever received it. The file goes on coming for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBody:
    """
    The bytes of a file or companion, as they were when it was opened.

    Attributes:
        content: The bytes themselves, or an open file positioned at its start, with a file
            descriptor, or a file that is still arriving. Whoever receives it closes it.
        size: In bytes.
        sha256: Lower-case hex digest of exactly these bytes; None if it is not known.
        modified: Seconds since the epoch.
        reopen: Opens the same once more, at once, if it is still what is listed, else gives None;
            None if the source cannot tell without being asked.
        cache_status: See `Snapshot`.
    """

    content: bytes | BinaryIO | Arriving
    size: int
    sha256: str | None
    modified: float
    reopen: Callable[[], FileBody | None] | None = None
    cache_status: str = ""


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


# -- Who may do what


class Action(enum.Enum):
    """
    What somebody may be allowed to do with a project.

    YANK covers all that can be taken back: yanking, unyanking and the project status. OPERATE
    is about the whole index: its history, its problems, its metrics.
    """

    READ = "read"
    CREATE = "create"
    UPLOAD = "upload"
    DELETE = "delete"
    YANK = "yank"
    OPERATE = "operate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """
    What a request says of who sent it.

    Attributes:
        authorization: The Authorization field as it came; None without.
        address: Where it comes from: the IP address of the client, textual; empty if it has none.
        user: A user's name vouched for by a trusted proxy; None if no such proxy said so.
    """

    authorization: bytes | None = None
    address: str = ""
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """
    Somebody, or nobody.

    Attributes:
        user: The user's name; None for nobody, and for a token.
        groups: The groups that the user is in.
        token: The name of the token that was used instead of a user's password.
        scope: For a token: what it is good for, as patterns of project names by action.
    """

    user: str | None = None
    groups: frozenset[str] = frozenset()
    token: str | None = None
    scope: Mapping[Action, tuple[str, ...]] | None = None

    @property
    def known(self) -> bool:
        """Whether it is anybody at all."""
        return self.user is not None or self.token is not None

    @property
    def name(self) -> str:
        """A name for the history: that of the user, `token NAME`, or `anyone`."""
        if self.token is not None:
            return f"token {self.token}"
        return self.user if self.user is not None else "anyone"


NOBODY = Identity()


class IAccess(Interface):
    """Who may do what. Decided by names alone, before anybody looks whether a thing exists."""

    all_may_read = Attribute(
        "Whether everyone may read every project now: a bool, cheap to ask on every request."
    )
    has_users = Attribute("Whether there is anybody who could prove to be somebody: a bool.")
    generation = Attribute("A number that changes when any answer of `may` may have changed; cheap to ask.")

    def identify(credentials: Credentials) -> Eventually[Identity]:
        """
        Find out who sends a request. Never blocks the reactor.

        Returns:
            NOBODY if nothing is claimed.

        Raises:
            Unauthorized: What is claimed is wrong.
            TooManyRequests: Too many wrong passwords have come from there for that user.
        """

    def may(identity: Identity, action: Action, project: str = "") -> bool:
        """
        Say whether somebody may do something.

        Args:
            identity: From `identify`.
            action: What.
            project: A normalized name; empty for OPERATE, and to ask whether it may be done with
                any project at all.
        """


# -- Taking files, and changing what is there


class ISpool(Interface):
    """A file that is being received, without a name: if the process ends, nothing of it remains."""

    size = Attribute("Bytes written so far.")

    def expect(names: Collection[str]) -> None:
        """
        Hear, before the first `write`, of digests that will be asked for besides `sha256`.

        Args:
            names: `blake2b_256` (32 bytes) and `md5`. Others than these may be asked for too, but each
                such question costs a reading of the whole file.
        """

    def digests(names: Collection[str] = ()) -> Eventually[Mapping[str, str]]:
        """
        Give lower-case hex digests of all that was written: `sha256`, and at least those named.

        Raises:
            InsufficientStorage, Unavailable: It could not be written.
        """

    def write(data: bytes) -> Deferred[None]:
        """
        Append; one call at a time.

        It answers when more may come; what could not be written may also be told by the next call.

        Raises:
            InsufficientStorage: The disk is full, or over quota.
            Unavailable: It cannot be written for another reason.
        """

    def close() -> None:
        """Let go of it. Harmless after it was published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """
    A file to be published.

    Attributes:
        spool: Its bytes, all written.
        filename: As it is to be listed; already parsed once without objection.
        signature: An armored signature to lie beside it; None without.
        by: Who publishes it, for the history.
        may_create: Whether the project may be new.
    """

    spool: ISpool
    filename: str
    signature: bytes | None = None
    by: str = "anyone"
    may_create: bool = True


class IStore(Interface):
    """
    Takes files, and changes what is there.

    Every change is in the very next answer of the source when its method has answered, survives a
    loss of power, and is in the history.
    """

    def spool() -> Eventually[ISpool]:
        """
        Begin to receive a file.

        Raises:
            InsufficientStorage, Unavailable: There is no place for it.
        """

    def publish(upload: Upload) -> Eventually[bool]:
        """
        Give a received file its name, if it is right in every respect. Closes the spool.

        Returns:
            False if the very same bytes are there already under that name, or one that means the
            same to installers; True if the file is new.

        Raises:
            BadRequest: It is no readable archive, or contradicts its own name.
            Conflict: Other bytes are there under that name ("File already exists"), or its name is
                taken by a deleted file.
            Forbidden: The project is archived or quarantined, or new and may not be.
            InsufficientStorage, Unavailable: It cannot be kept.
        """

    def delete(project: str, filename: str, *, by: str) -> Eventually[None]:
        """
        Delete a file with its companions. Its name stays taken.

        Raises:
            NotFound: It is not listed.
        """

    def yank(
        project: str, *, version: str | None = None, filename: str | None = None, reason: str = "", by: str
    ) -> Eventually[tuple[str, ...]]:
        """
        Yank one file, or all of a version (PEP 592).

        Returns:
            The names of the files that are yanked now, for just this reason.

        Raises:
            NotFound: There is none.
        """

    def unyank(
        project: str, *, version: str | None = None, filename: str | None = None, by: str
    ) -> Eventually[tuple[str, ...]]:
        """Take back a yank; see `yank`."""

    def set_status(project: str, status: ProjectStatus, *, by: str) -> Eventually[None]:
        """
        Set the status of a project (PEP 792).

        Raises:
            NotFound: There is no such project.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """
    Something that was done.

    Attributes:
        time: Aware, UTC.
        by: Who did it.
        action: `upload`, `overwrite`, `delete`, `yank`, `unyank` or `status`.
        project: A normalized name.
        filename: What it was done to; empty for the whole project.
        detail: A digest, a reason, a status: whatever says more.
    """

    time: datetime
    by: str
    action: str
    project: str
    filename: str = ""
    detail: str = ""


class IHistory(Interface):
    """What was done, in order; nothing in it ever changes."""

    def record(event: Event) -> Eventually[None]:
        """Add an event; it is on disk when this has answered."""

    def latest(number: int) -> Eventually[tuple[Event, ...]]:
        """Give the last so many events, the youngest first."""


class IIndexObserver(Interface):
    """
    Is told what becomes of files, whoever did it. Called in the reactor; what it raises is logged.

    A file that was dropped into or taken out of the folder is told when the server notices, which
    is when somebody asks for its project.
    """

    def added(project: str, file: File) -> None:
        """Hear that a file is listed which was not before."""

    def removed(project: str, filename: str) -> None:
        """Hear that a file is no longer listed."""

    def refused(project: str, filename: str, reason: str) -> None:
        """Hear that a file was not taken, or is not listed; a sentence says why."""
