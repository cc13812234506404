"""
The public contracts: sources, stores, access control, audit log, observers.

A source answers three questions: which projects, which files of this project, the bytes of this
file. A store publishes and changes files. Access control says who may do what. None of them knows
HTTP, and `web/` knows nothing of where packages come from.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence, Set
    from datetime import datetime
    from typing import TypeAlias

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from twisted_index.errors import RefusedPart, SimpleIndexError
    from twisted_index.files.reload_status import ReloadedFile
    from twisted_index.simple.explanation import HiddenFile, SourceAnswer
    from twisted_index.simple.manifest import ManifestLine
    from twisted_index.simple.model import File, ProjectList, ProjectPage, ProjectStatus, Sidecar

T = TypeVar("T")

#: Bytes of a small file: sent in one write, and possibly cached in memory. Twisted's transports buffer
#: this much before they pause their producer.
SMALL_CONTENT = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(Generic[T]):
    """
    A value of a source, with a cheap check whether it still holds.

    Attributes:
        value: While nothing changes, a source returns the same object, so that whatever is derived
            from it can be cached.
        is_current: Synchronous and quick (a few calls of `stat`, or a look at a clock). False may be
            conservative; True is definitive.
        cache_status: One member of a Cache-Status field (RFC 9211) without the name of the cache, such
            as `hit; ttl=540` or `fwd=stale; detail=slow`; empty where no cache is involved.
        absence: Why there is no value: one public sentence; empty if there is nothing to say.
        serial: That of the project whose page this is (`IChangeSource`): another page has a greater one. None
            where nothing counts changes, as for what an upstream answers.
    """

    value: T
    is_current: Callable[[], bool]
    cache_status: str = ""
    absence: str = ""
    serial: int | None = None

    @classmethod
    def valid_for(cls, value: T, seconds: float, clock: IReactorTime) -> Snapshot[T]:
        """
        Make a snapshot with a lifetime, for a source without a cheap check.

        Args:
            value: The value.
            seconds: Its lifetime; 0 for none.
            clock: Provides `seconds()`.
        """
        until = clock.seconds() + seconds
        return cls(value=value, is_current=lambda: clock.seconds() < until)


@runtime_checkable
class StreamingContent(Protocol):
    """
    The bytes of a file that is still being fetched.

    The fetch starts with the first `wait_for`. The last bytes become readable only once the digest is
    verified.
    """

    def wait_for(self, position: int) -> Deferred[int]:
        """
        Wait until more than `position` bytes are readable.

        Returns:
            The number of readable bytes from the start. Fails with `SimpleIndexError` if there will be
            no more; then the response must be cut off.
        """

    def read(self, position: int, size: int) -> bytes:
        """Read up to `size` of the readable bytes from a position, without blocking for long."""

    def wait_complete(self) -> Deferred[None]:
        """
        Wait until every byte is readable; fails like `wait_for`.

        Fails with `NotImplementedHere` if the bytes are passed on and never all here; then each may be read
        once, in order.
        """

    def close(self) -> None:
        """Release it; the receiver calls this once. The fetch goes on for other readers."""


@runtime_checkable
class RangedContent(StreamingContent, Protocol):
    """The bytes of a file of which a part can be fetched without the rest."""

    def narrow(self, first: int, stop: int) -> None:
        """Fetch only the bytes from `first` up to `stop`; called before the first `wait_for`, or never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBody:
    """
    An opened file or sidecar.

    Attributes:
        content: The bytes, or an open file at its start with a file descriptor, or a file that is
            still being fetched. The receiver closes it.
        size: In bytes.
        sha256: Lower-case hex digest of exactly these bytes; None if unknown.
        modified: Seconds since the epoch.
        reopen: Opens the same file again, synchronously, while it is still the listed one, else
            returns None; None if the source cannot tell synchronously.
        cache_status: See `Snapshot`.
        is_copy: Whether it is a copy of another index's file, or belongs to one: it does not claim the name
            of its project.
        elsewhere: Makes a URL at which a client gets the same bytes for some seconds. None, also as its
            result, if they have to be sent from here.
    """

    content: bytes | BinaryIO | StreamingContent
    size: int
    sha256: str | None
    modified: float
    reopen: Callable[[], FileBody | None] | None = None
    cache_status: str = ""
    is_copy: bool = False
    elsewhere: Callable[[], Awaitable[str | None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """
    A file or folder that is not served, or a file of the server's own that cannot be used.

    Attributes:
        path: Relative to its root, printable.
        reason: One sentence: why.
        advice: One sentence: what to do.
    """

    path: str
    reason: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemReport:
    """
    All known problems of a source.

    Attributes:
        problems: Ordered by path.
        complete: False until the whole source has been scanned.
    """

    problems: tuple[Problem, ...] = ()
    complete: bool = True


if TYPE_CHECKING:
    #: A result that comes at once, by a Deferred, or by a coroutine.
    MaybeAwaitable: TypeAlias = T | Awaitable[T]


class ISource(Interface):
    """
    A source of projects.

    Each method may return its value, a Deferred of it, or a coroutine. Each may raise
    `twisted_index.errors.Unavailable` when the answer is unknown right now, or `Found` to redirect to
    another server; none omits what it knows to exist. `twisted_index.testing.contracts` has
    further promises, as tests.
    """

    def project_list() -> MaybeAwaitable[Snapshot[ProjectList]]:
        """
        List the projects.

        A source with too many to list, such as an upstream, names none. Names that cannot be read
        right now are left out; `complete` is False if it is unknown which these are.
        """

    def project_page(project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """
        Return the page of a project.

        Args:
            project: A normalized name.

        Returns:
            A snapshot of None if this source has no such project. A project without files has an empty
            page.
        """

    def open_file(
        project: str, filename: str, sidecar: Sidecar | None = None
    ) -> MaybeAwaitable[FileBody | None]:
        """
        Open a file that the project's page lists, or a sidecar of it.

        Args:
            project: A normalized name.
            filename: Text from a URL: compared with listed names, never made into a path.
            sidecar: The kind of sidecar; None for the file itself.

        Returns:
            None if it is not listed.
        """


class IProblemSource(Interface):
    """A source that reports what it leaves out."""

    def problems() -> MaybeAwaitable[ProblemReport]:
        """Scan the whole source, within the time that a client waits, and report."""

    def known_problems() -> int:
        """Return the number of problems that are known now: no file and no folder is read for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """
    Why the page of a project is what it is.

    Attributes:
        snapshot: Of the page that a request for it gets; None if it gets an error.
        error: That error.
        sources: In the order of asking, also those that were not asked.
        hidden: The files that are known and not on the page.
        paths: Where the listed files are that are opened in a folder, by file name: below their roots,
            printable.
        copies: Names of those that are copies of an upstream's.
    """

    snapshot: Snapshot[ProjectPage | None] | None = None
    error: SimpleIndexError | None = None
    sources: tuple[SourceAnswer, ...] = ()
    hidden: tuple[HiddenFile, ...] = ()
    paths: Mapping[str, str] = field(default_factory=dict)
    copies: frozenset[str] = frozenset()

    @property
    def page(self) -> ProjectPage | None:
        """The page; None without one."""
        return None if self.snapshot is None else self.snapshot.value

    @property
    def files(self) -> tuple[File, ...]:
        """The listed files."""
        return () if self.page is None else self.page.files

    def narrowed(
        self, snapshot: Snapshot[ProjectPage | None], hide: Callable[[File], HiddenFile]
    ) -> Explanation:
        """
        Return what holds for a page with fewer files.

        Args:
            snapshot: Of that page.
            hide: Takes a file that is not on it any more.
        """
        listed = () if snapshot.value is None else snapshot.value.files
        names = {file.filename for file in listed}
        gone = tuple(hide(file) for file in self.files if file.filename not in names)
        return replace(self, snapshot=snapshot, hidden=(*self.hidden, *gone))


class IExplains(Interface):
    """A source that says why a page is what it is."""

    def explain(project: str) -> MaybeAwaitable[Explanation]:
        """
        Explain the page of a project. Asks other servers nothing that `project_page` would not ask.

        Args:
            project: A normalized name.

        Returns:
            With the very page, or the error, that `project_page` has at that moment.
        """

    def unasked(why: str) -> tuple[SourceAnswer, ...]:
        """
        List its sources as ones that were not asked.

        Args:
            why: A clause that goes on the name: `was not asked, as …`.
        """


class ILocalSource(Interface):
    """
    A source whose pages and files are here, or in storage of its own: reading it asks no other index.

    What the search shows of its projects is read out of their files.
    """


class IChangeSource(ILocalSource):
    """A source that gives each change of a project a serial (`events.serials`)."""

    serials: Any = Attribute("The `events.serials.Serials` of its projects.")
    clock: IReactorTime = Attribute("The clock of those seconds: the reactor.")
    rescan: float = Attribute("Seconds for which a sweep holds: a float.")

    def sweep(owns: Callable[[str], bool]) -> MaybeAwaitable[Set[str]]:
        """
        Look whether any project has changed, and give those that have a new serial.

        Args:
            owns: Whether this is the source that answers for a normalized name; others are left alone.

        Returns:
            The projects that there are, or may be.

        Raises:
            Unavailable: That is unknown right now.
        """

    def tree(project: str) -> MaybeAwaitable[tuple[ManifestLine, ...]]:
        """
        List all that counts of a project: files, also unlisted ones, sidecars, statuses, tombstones.

        Args:
            project: A normalized name.

        Returns:
            Ordered by name. The note of a sidecar or a status is its text; that of a tombstone begins with
            `deleted`. A digest is missing where none is known.

        Raises:
            Unavailable: It cannot be read right now.
        """

    def entries(project: str, inline: int = 0) -> MaybeAwaitable[bytes | None]:
        """
        List the files that lie here for a project, whatever they are, and give it its serial.

        Staged files are left out, those that are being written, and links, but for those to distributions.

        Args:
            project: A normalized name.
            inline: Bytes up to which the contents of a file come with the listing, if it may have that many:
                those of as many first files as fit. 0 for none, and no empty line.

        Returns:
            What `simple.entry_listing` parses; None if there is nothing of the project.

        Raises:
            Conflict: The source has several folders of its own.
            Unavailable: It cannot be read right now, or changes all the time.
        """

    def entry_batch(projects: Sequence[str], inline: int) -> MaybeAwaitable[Mapping[str, bytes]]:
        """
        List the files of several projects, as `entries` does.

        Args:
            projects: Normalized names.
            inline: As for `entries`.

        Returns:
            Listings by project: of those that can be listed at once, and fit into a response.

        Raises:
            Conflict, Unavailable: As for `entries`.
        """

    def open_entry(project: str, path: bytes) -> MaybeAwaitable[FileBody | None]:
        """
        Open a file that `entries` lists.

        Args:
            project: A normalized name.
            path: Of the file below its root.

        Returns:
            None if no such file is listed.

        Raises:
            Conflict, Unavailable: As for `entries`.
        """


class IReloadsFiles(Interface):
    """A component with files that are read again when they change."""

    def reloaded_files() -> Sequence[ReloadedFile]:
        """Return those files."""


class IReplication(Interface):
    """The part that a server has in a replication."""

    is_restricted: bool = Attribute("Whether some of what the primary has is not for everyone: a bool.")
    refusal: str = Attribute("What clients are told where everyone may read that all the same: a str.")

    def health(is_closed: bool, is_public: bool) -> tuple[Mapping[str, object] | None, Sequence[str]]:
        """
        Report how it goes.

        Args:
            is_closed: Whether nobody is answered, as the primary restricts who may read and this server does
                not.
            is_public: Whether the report may name indexes and projects.

        Returns:
            What it has to say, None without a replication; and warnings, in sentences.
        """

    def problems() -> Sequence[Problem]:
        """Return what a person has to look at."""


class ILifecycle(Interface):
    """A source that holds resources: threads, a database, connections."""

    def start() -> None:
        """Acquire them: in the running process, before the first request, and again only after `stop`."""

    def stop() -> MaybeAwaitable[None]:
        """Finish running work and release them. No request follows until `start`."""


# -- Who may do what


class Action(enum.Enum):
    """
    An action that rights allow.

    YANK covers everything reversible: yanking, unyanking and the project status. PROMOTE is checked in the
    index that takes the releases. OPERATE, FOLLOW and MANAGE are about the whole index: its audit log, its
    problems, its metrics; the changes of its projects, for mirrors; making and removing it.
    """

    READ = "read"
    CREATE = "create"
    UPLOAD = "upload"
    DELETE = "delete"
    YANK = "yank"
    PROMOTE = "promote"
    OPERATE = "operate"
    FOLLOW = "follow"
    MANAGE = "manage"


#: The actions that are about no single project.
WHOLE_INDEX = frozenset({Action.OPERATE, Action.FOLLOW, Action.MANAGE})


class ProxyUser(NamedTuple):
    """
    A user that a trusted proxy has authenticated.

    Attributes:
        name: The user's name.
        groups: The groups that the proxy states.
    """

    name: str
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """
    The credentials of a request, unchecked.

    Attributes:
        authorization: The Authorization field as received; None without.
        address: The client's IP address as text; empty if it has none.
        user: The user that a trusted proxy has authenticated; None otherwise.
    """

    authorization: bytes | None = None
    address: str = ""
    user: ProxyUser | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """
    An authenticated user or token, or an anonymous client.

    Attributes:
        user: The user's name; None for an anonymous client, and for a token.
        groups: The user's groups.
        proxy_groups: Those of them that a trusted proxy has stated: they hold for this request, whatever the
            file of rights says of the user.
        token: The name of the token; None without.
        token_owner: The user whose rights bound those of the token; None without such a user.
        token_permissions: A token's rights: patterns of project names by action.
        token_indexes: Where it has them: patterns of index names.
    """

    user: str | None = None
    groups: frozenset[str] = frozenset()
    proxy_groups: frozenset[str] = frozenset()
    token: str | None = None
    token_owner: str | None = None
    token_permissions: Mapping[Action, tuple[str, ...]] | None = None
    token_indexes: tuple[str, ...] = ("",)

    @property
    def is_authenticated(self) -> bool:
        """Whether this is a user or a token."""
        return self.user is not None or self.token is not None

    @property
    def name(self) -> str:
        """The name in the audit log: that of the user, `token NAME`, or `anyone`."""
        if self.token is not None:
            return f"token {self.token}"
        return self.user if self.user is not None else "anyone"


ANONYMOUS = Identity()


class IAccessControl(Interface):
    """Who may do what, decided by names alone, before the source checks whether a project exists."""

    public_read: bool = Attribute(
        "Whether everyone may read every project of every index now: a bool, cheap enough for every request."
        " False may be conservative."
    )
    has_users: bool = Attribute("Whether any user or token can authenticate: a bool.")

    def authenticate(credentials: Credentials) -> MaybeAwaitable[Identity]:
        """
        Authenticate a request, without blocking the reactor; cancelled if the client leaves.

        Returns:
            ANONYMOUS without credentials.

        Raises:
            Unauthorized: The credentials are wrong.
            TooManyRequests: Too many logins of that user from that address have failed.
        """

    def permits(identity: Identity, action: Action, project: str = "", *, index: str = "") -> bool:
        """
        Return whether an identity may perform an action.

        Args:
            identity: From `authenticate`.
            action: The action.
            project: A normalized name; empty for what is about the whole index (`WHOLE_INDEX`), and for
                "with any project at all".
            index: The name of the index; empty for the one without a name.
        """


class IKnownReaders(Interface):
    """Access control that knows clients again, and decides at once whether they may read a project."""

    rights: object = Attribute(
        "What `permits` decides by now: the very same object for as long as it decides the same of the same"
        " identity, cheap enough for every request."
    )

    def reader(
        project: str, key: bytes | None, user: ProxyUser | None, indexes: tuple[str, ...] = ("",)
    ) -> Identity | None:
        """
        Return the client of a request to read a project, if it may and that is known without waiting.

        Args:
            project: A normalized name; empty for all projects.
            key: The fingerprint of the Authorization field (`access.fingerprint`); None without one.
            user: The user that a trusted proxy has authenticated; None otherwise.
            indexes: The names of the indexes whose files the answer shows: it has to be readable in all.

        Returns:
            ANONYMOUS if everyone may read it; else the identity that `authenticate` would return and
            that `permits` allows to read it. None says nothing: then those two decide.
        """


# -- Taking files, and changing what is there


class ISpool(Interface):
    """A file that is being received. It has no name, so that a crash leaves nothing behind."""

    size: int = Attribute("Bytes written so far.")

    def expect_digests(names: Collection[str]) -> None:
        """
        Announce, before the first `write`, digests that will be needed besides `sha256`.

        Args:
            names: `blake2b_256` (32 bytes) and `md5`. Other digests work too, but each costs another
                reading of the whole file.
        """

    def digests(names: Collection[str] = ()) -> MaybeAwaitable[Mapping[str, str]]:
        """
        Return lower-case hex digests of everything written: `sha256`, and at least those named.

        Raises:
            InsufficientStorage, Unavailable: A write failed.
        """

    def write(data: bytes) -> Deferred[None]:
        """
        Append; one call at a time.

        The Deferred fires when more may follow; a failure may also surface in the next call.

        Raises:
            InsufficientStorage: The disk is full, or over quota.
            Unavailable: The write failed for another reason.
        """

    def close() -> None:
        """Discard it; without effect once it is published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """
    A file to be published.

    Attributes:
        spool: Its bytes, all written.
        filename: A valid file name.
        signature: An ASCII-armored signature; None without.
        by: The publisher, for the audit log.
        may_create: Whether the project may be new.
        index: The name of the index in this server; empty for the only one.
    """

    spool: ISpool
    filename: str
    signature: bytes | None = None
    by: str = "anyone"
    may_create: bool = True
    index: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotedFile:
    """
    A file that has come by a promotion.

    Attributes:
        project: Normalized.
        filename: Its name.
        sha256: Lower-case hex digest.
        size: Bytes.
    """

    project: str
    filename: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionOutcome:
    """
    What a promotion has done.

    Attributes:
        id: Its name, as in the audit log.
        published: The files that are new in the target.
        present: The names of those that were there already, with the same bytes.
    """

    id: str
    published: tuple[PromotedFile, ...]
    present: tuple[str, ...]


class IPromotionTarget(Interface):
    """A store into which releases come from another index of the server, all of them in one step."""

    def promote(
        source: IStore,
        releases: Sequence[str],
        *,
        by: str,
        yanked: bool = False,
        move: bool = False,
        may_create: Callable[[str], bool],
        refusals: Sequence[RefusedPart],
    ) -> MaybeAwaitable[PromotionOutcome]:
        """
        Promote releases. It is not stopped by the client's leaving.

        Args:
            source: The store of the index that they come from.
            releases: As `PROJECT==VERSION`.
            by: Who promotes, for the audit log.
            yanked: Whether yanked files come along, with their yanks.
            move: Whether the files leave the source.
            may_create: Returns whether a project may come that is new here.
            refusals: What is in the way besides, so that one error has all of it.

        Raises:
            BadRequest: A word is no release.
            PromotionRefused: Something is in the way: all of it. Nothing was promoted.
            InsufficientStorage, Unavailable: Nothing was promoted.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """
    An index that only its token names, until it is published.

    Attributes:
        name: Unique among the drafts of its index that have not ended.
        digest: That of its token; the token itself is kept nowhere.
        by: Its maker.
        expires: When it ends; aware.
        is_cut_off: Whether its publication was cut off, or is running.
    """

    name: str
    digest: str
    by: str
    expires: datetime
    is_cut_off: bool = False

    @property
    def shown(self) -> str:
        """What to call it in sentences."""
        return f"the draft {self.name}"


#: Of a draft that there never was, and of one that has ended, alike.
NO_DRAFT = "There is no such draft, or it has ended."


class IDrafts(Interface):
    """A store that keeps drafts of its index."""

    def create_draft(draft: Draft) -> MaybeAwaitable[None]:
        """
        Make a draft.

        Raises:
            Conflict: There is a draft of this name.
            InsufficientStorage, Unavailable: It cannot be made.
        """

    def drafts() -> MaybeAwaitable[Sequence[Draft]]:
        """
        Return the drafts that have not ended, by name.

        Raises:
            Unavailable: They cannot be read.
        """

    def remove_draft(
        draft: Draft, *, by: str, reason: str, taken: Collection[str] | None = None
    ) -> MaybeAwaitable[Sequence[str]]:
        """
        Remove a draft with all that is in it.

        Args:
            draft: One of `drafts`.
            by: Who removes it, for the audit log.
            reason: Why, for the audit log.
            taken: The names of the files that were published; None if the others may go with it.

        Returns:
            The names of the other files, for which it is kept.

        Raises:
            Conflict: Its publication was cut off.
            Unavailable: It cannot be removed.
        """


class ISpaceLimit(Interface):
    """A store that knows how much space it has."""

    def require_space(size: int) -> MaybeAwaitable[None]:
        """
        Check that there is room for a file of so many bytes.

        Raises:
            InsufficientStorage: There is not.
        """


class IStore(Interface):
    """
    Publishes and changes files.

    When a method has returned, the change shows in the source's next response, survives a loss of
    power, and is in the audit log. `twisted_index.testing.contracts` has further promises, as tests.
    """

    def spool() -> MaybeAwaitable[ISpool]:
        """
        Start to receive a file.

        Raises:
            InsufficientStorage, Unavailable: There is no space for it.
        """

    def publish(upload: Upload) -> MaybeAwaitable[bool]:
        """
        Verify a received file and give it its name. Closes the spool.

        Returns:
            False if the same bytes exist under that name, or one that installers treat alike; True if
            the file is new.

        Raises:
            BadRequest: The archive is unreadable, or contradicts the file name.
            Conflict: Other bytes exist under that name ("File already exists"), or a tombstone of others
                has it.
            Forbidden: The project is archived or quarantined, or new and may not be created.
            NotFound: There is no index of that name.
            InsufficientStorage, Unavailable: The file cannot be stored.
        """

    def delete(project: str, filename: str, *, by: str) -> MaybeAwaitable[None]:
        """
        Delete a file with its sidecars. Its name stays taken; only the same bytes may return.

        Raises:
            NotFound: It is not listed.
        """

    def yank(
        project: str, *, version: str | None = None, filename: str | None = None, reason: str = "", by: str
    ) -> MaybeAwaitable[tuple[str, ...]]:
        """
        Yank one file, or all of a version (PEP 592).

        Returns:
            The names of the files that now have this yank.

        Raises:
            NotFound: There is none.
        """

    def unyank(
        project: str, *, version: str | None = None, filename: str | None = None, by: str
    ) -> MaybeAwaitable[tuple[str, ...]]:
        """Undo a yank; see `yank`."""

    def set_status(project: str, status: ProjectStatus, *, by: str) -> MaybeAwaitable[None]:
        """
        Set the status of a project (PEP 792).

        Raises:
            NotFound: There is no such project.
        """


class ICountingStore(Interface):
    """A store whose changes have serials (`events.serials`)."""

    def serial_of(project: str) -> int | None:
        """
        Return the serial of a project, at or above that of each change that the store has completed.

        Args:
            project: A normalized name.

        Returns:
            None if it has none, or nobody can follow these serials.
        """


class AuditAction(enum.StrEnum):
    """What an event of the audit log records; the values are those of its files and of `/-/history`."""

    UPLOAD = "upload"
    OVERWRITE = "overwrite"
    PROMOTE = "promote"
    DELETE = "delete"
    YANK = "yank"
    UNYANK = "unyank"
    STATUS = "status"
    TOKEN_CREATE = "token-create"  # noqa: S105 (a name, not a secret)
    TOKEN_REVOKE = "token-revoke"  # noqa: S105 (the same)
    INDEX_CREATE = "index-create"
    INDEX_REMOVE = "index-remove"
    #: A login, a request or an upload that was refused.
    REFUSE = "refuse"
    DRAFT_CREATE = "draft-create"
    DRAFT_REMOVE = "draft-remove"
    #: A file of settings, rights, users or tokens that was read again.
    RELOAD = "reload"
    #: What a server becomes in its replication, and what is agreed to there.
    TAKE_OVER = "take-over"
    HAND_OVER = "hand-over"
    #: A primary that has heard of another one in a higher epoch.
    RETIRE = "retire"
    JOIN = "join"
    #: Removals that a replica did not make without a person.
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """
    An entry of the audit log.

    Attributes:
        time: Aware, UTC.
        by: The user (`alice`; at the console `alice (console)`), `token NAME`, or `anyone`; empty if the
            server did it.
        action: A value of `AuditAction`.
        project: A normalized name; empty for what concerns none.
        filename: Empty for the whole project.
        detail: A digest, a reason, or a status; of a token its name, then what it may do.
        index: The name of the index in this server; empty for the only one.
        address: The client's IP address; empty for what did not come over HTTP.
        client: The start of the User-Agent field, which clients choose themselves; empty without one.
    """

    time: datetime
    by: str
    action: str
    project: str = ""
    filename: str = ""
    detail: str = ""
    index: str = ""
    address: str = ""
    client: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """
    Which events are wanted. An empty condition restricts nothing.

    Attributes:
        since: The first moment; aware.
        until: The first moment that is too late; aware.
        project: A normalized name.
        by: A user: also what that user did at the console, and with the tokens that the audit log says
            the user made. Or `token NAME`, `USER (console)` or `anyone`: exactly that.
        actions: Values of `AuditAction`.
        indexes: Names of indexes; an empty name is that of the index without one, and of the whole server.
        before: `AuditPage.next` of the page before; empty for the first page.
        limit: How many at most; at least 1.
    """

    since: datetime | None = None
    until: datetime | None = None
    project: str = ""
    by: str = ""
    actions: frozenset[str] = frozenset()
    indexes: frozenset[str] = frozenset()
    before: str = ""
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """
    Events that were found.

    Attributes:
        events: Those recorded last come first.
        next: Where the next page begins, though more be recorded meanwhile; empty after the last event.
    """

    events: tuple[AuditEvent, ...]
    next: str = ""


class IAuditLog(Interface):
    """An append-only record of what was done and what was refused."""

    def record(event: AuditEvent) -> MaybeAwaitable[None]:
        """
        Append an event; it is on disk when this returns.

        Raises:
            InsufficientStorage, Unavailable: It cannot be kept.
        """

    def search(query: AuditQuery) -> MaybeAwaitable[AuditPage]:
        """
        Find events.

        Raises:
            BadRequest: `before` is from no page.
            Unavailable: They cannot be read.
        """


class IIndexObserver(Interface):
    """
    Observes changes of pages. Called in the reactor; exceptions are logged.

    A file dropped into or removed from a folder is noticed at the next request for its project.
    """

    def added(project: str, file: File) -> None:
        """Handle a newly listed file."""

    def removed(project: str, filename: str) -> None:
        """Handle a file that is no longer listed."""

    def rejected(project: str, filename: str, reason: str) -> None:
        """Handle a file that was rejected or is left out, with the reason as one sentence."""
