"""
Authorization of requests. Rights are checked by name, before a source checks whether a project exists.

401 without credentials, 403 without the right; never 404, which would send an installer to its next index.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NoReturn

from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import Forbidden, NotFound, Unauthorized
from twisted_index.interfaces import ANONYMOUS, Action, Credentials, IKnownReaders
from twisted_index.web.requests.context import while_connected
from twisted_index.web.responses.send import header

if TYPE_CHECKING:
    from collections.abc import Callable, Set

    from twisted.web.server import Request

    from twisted_index.interfaces import IAccessControl, Identity, ProxyUser
    from twisted_index.web.requests.client_info import ClientInfoReader

#: Wording of each right in messages: after "may", and before "is disabled".
_VERBS = {
    Action.READ: ("read", "Reading"),
    Action.CREATE: ("create", "Creating"),
    Action.UPLOAD: ("upload to", "Uploading to"),
    Action.DELETE: ("delete files of", "Deleting files of"),
    Action.YANK: ("yank files of", "Yanking files of"),
    Action.PROMOTE: ("promote releases of", "Promoting releases of"),
    Action.OPERATE: ("operate", "Operating"),
    Action.FOLLOW: ("follow", "Following"),
    Action.MANAGE: ("manage", "Managing"),
}

#: Clients whose rights to read are remembered: 100 bytes for each project that was asked about.
_MOST_READERS = 32


class _Decided(dict[str, bool]):
    """
    Which projects a client may read, as far as that was asked.

    Args:
        identity: The client.
        may: Decides about a project.
    """

    def __init__(self, identity: Identity, may: Callable[[str], bool]) -> None:
        # The dictionary of clients knows them by their numbers: no other one gets this one's meanwhile.
        self.identity = identity
        self._may = may

    def __missing__(self, project: str) -> bool:
        decided = self[project] = self._may(project)
        return decided


class Authorizer:
    """
    Lets requests through or raises the error that they get instead.

    To read a project through an index takes the right to read it in all whose files are shown there: an index
    grants nothing by inheriting. All else concerns the index itself.

    Args:
        access: None lets everyone read and refuses all else.
        client_info: Reads the address of a client, and the user that a trusted proxy asserts.
        line: The names of the indexes whose files are shown, that of the index itself first.
    """

    def __init__(
        self, access: IAccessControl | None, client_info: ClientInfoReader, line: tuple[str, ...] = ("",)
    ) -> None:
        self._access = access
        self._client_info = client_info
        self._line = line
        known = IKnownReaders(access, None)
        #: See `IKnownReaders`, for the indexes of the line. Where access control knows no client again, only
        #: what everyone may read is decided at once.
        self.reader: Callable[[str, bytes | None, ProxyUser | None], Identity | None] = (
            self._public_reader if known is None else _bound(known.reader, line)
        )
        self._known = known
        self._rights: object = None
        self._decided = LRU[int, _Decided](_MOST_READERS)

    @property
    def has_users(self) -> bool:
        """Whether a client can authenticate at all."""
        return self._access is not None and self._access.has_users

    @property
    def public_read(self) -> bool:
        """Whether everyone may read everything here."""
        if self._access is None or self._access.public_read:
            return True
        return self._known is not None and self.reader("", None, None) is not None

    @property
    def is_public(self) -> bool:
        """Whether everyone may read everything in all indexes of the server."""
        return self._access is None or self._access.public_read

    @property
    def is_open(self) -> bool:
        """Whether the pages about the server as a whole, with all its indexes, are for everyone."""
        return self.is_public and not self.has_users

    def permits(
        self, identity: Identity, action: Action, project: str = "", *, index: str | None = None
    ) -> bool:
        """
        Return whether an identity may perform an action.

        Args:
            identity: From `authenticate`.
            action: As for `IAccessControl.permits`.
            project: The same.
            index: The name of the only index that it concerns; None for those that it concerns here.
        """
        return self._forbidding(identity, action, project, index) is None

    def reads(self, identity: Identity) -> Callable[[str], bool] | None:
        """
        Return what tells which projects a client may read; None where everyone may read all.

        What was decided is remembered, but not longer than the rights are the same: so this is to be called
        for each response, after what that waits for.
        """
        if self.public_read:
            return None
        may = partial(self.permits, identity, Action.READ)
        if self._known is None:
            return may
        rights = self._known.rights
        if rights is not self._rights:
            self._rights, self._decided = rights, LRU(_MOST_READERS)
        decided = self._decided.get(id(identity))
        if decided is None:
            decided = _Decided(identity, may)
            self._decided.put(id(identity), decided)
        return decided.__getitem__

    def operates_line(self, identity: Identity) -> bool:
        """Return whether an identity may operate each index whose files are shown: problems name them all."""
        return all(self.permits(identity, Action.OPERATE, index=name) for name in self._line)

    def _forbidding(self, identity: Identity, action: Action, project: str, index: str | None) -> str | None:
        """Return the name of the first index that does not permit an action; None if all do."""
        line = (index,) if index is not None else self._line if action is Action.READ else self._line[:1]
        for name in line:
            if not self._may(identity, action, project, name):
                return name
        return None

    def _may(self, identity: Identity, action: Action, project: str, index: str) -> bool:
        if self._access is None:
            return action is Action.READ
        return self._access.permits(identity, action, project, index=index)

    async def authenticate(self, request: Request) -> Identity:
        """
        Identify the client of a request.

        Raises:
            Unauthorized: Its credentials are wrong.
            TooManyRequests: There were too many wrong passwords.
            ConnectionDone: The client has left.
        """
        if self._access is None:
            return ANONYMOUS
        client = self._client_info.read(request)
        authorization = header(request, b"Authorization")
        credentials = Credentials(authorization=authorization, address=client.address, user=client.user)
        # A client that leaves must not keep its place in the queue of passwords.
        identity = await while_connected(request, result_of(self._access.authenticate, credentials))
        if identity.is_authenticated:
            # For the access log.
            request.user_name = identity.name  # type: ignore[attr-defined]
        return identity

    async def require(
        self, request: Request, action: Action, project: str = "", *, index: str | None = None
    ) -> Identity:
        """
        Let a request through whose client has a right to a project.

        Args:
            request: Carries the credentials.
            action: As for `IAccessControl.permits`.
            project: A normalized name; empty for the index as a whole.
            index: As for `permits`; empty for what is about the server as a whole.

        Returns:
            The client; ANONYMOUS where everyone has the right to read.

        Raises:
            Unauthorized: There are no credentials, or wrong ones.
            Forbidden: The client does not have the right.
        """
        if action is Action.READ and self.permits(ANONYMOUS, action, project, index=index):
            return ANONYMOUS
        identity = await self.authenticate(request)
        if not self.permits(identity, action, project, index=index):
            self.refuse(identity, action, project, index=index)
        return identity

    async def require_user(self, request: Request) -> Identity:
        """
        Let a request through whose client is a user, and no token.

        Raises:
            NotFound: There are no users.
            Unauthorized: There are no credentials, or wrong ones.
            Forbidden: The client is a token, which would outlive itself by making others.
        """
        if not self.has_users:
            raise NotFound("This server has no users, who could have tokens.")
        identity = await self.authenticate(request)
        if identity.token is not None:
            raise Forbidden("A token may not make, list or revoke tokens; log in as a user.")
        if identity.user is None:
            raise Unauthorized("Log in as a user to make, list or revoke tokens.")
        return identity

    def refuse(
        self, identity: Identity, action: Action, project: str = "", *, index: str | None = None
    ) -> NoReturn:
        """Raise the error for a client without a right, as for `permits`."""
        subject = self._subject(project, self._shown(identity, action, project, index))
        verb, gerund = _VERBS[action]
        if identity.is_authenticated:
            raise Forbidden(f"{identity.name} may not {verb} {subject}.", project)
        if self.has_users:
            raise Unauthorized(f"Log in to {verb} {subject}.")
        raise Forbidden(f"{gerund} {subject} is disabled: no users are configured.", project)

    def _shown(self, identity: Identity, action: Action, project: str, index: str | None) -> str:
        """
        Return the name of the index that an error names.

        The one that forbids it, unless the client reads nothing there: what an index inherits from is not
        told to all.
        """
        forbidding = self._forbidding(identity, action, project, index)
        own = self._line[0] if index is None else index
        return forbidding if forbidding and self._may(identity, Action.READ, "", forbidding) else own

    def _subject(self, project: str, index: str) -> str:
        if not project:
            return f"the index {index}" if index else "this index"
        return f"the project {project} in the index {index}" if index else f"the project {project}"

    def _public_reader(self, project: str, _key: bytes | None, _user: ProxyUser | None) -> Identity | None:
        if self.public_read or (project and self.permits(ANONYMOUS, Action.READ, project)):
            return ANONYMOUS
        return None


class DraftAuthorizer(Authorizer):
    """
    Lets those read that have the token of a draft, by which they have come here, and nothing else.

    Args:
        own: The names that the draft may have something of.
    """

    def __init__(
        self,
        access: IAccessControl | None,
        client_info: ClientInfoReader,
        line: tuple[str, ...],
        own: Set[str],
    ) -> None:
        super().__init__(access, client_info, line)
        self._own = own

    @property
    def public_read(self) -> bool:
        """Whether everyone may read everything here."""
        return False

    def permits(
        self, identity: Identity, action: Action, project: str = "", *, index: str | None = None
    ) -> bool:
        """See `Authorizer`."""
        return action is Action.READ and index is None and (not project or project in self._own)

    def reads(self, identity: Identity) -> Callable[[str], bool]:
        """See `Authorizer`; what is in a draft changes without the rights."""
        return partial(self.permits, identity, Action.READ)


def _bound(reader: Callable[..., Identity | None], line: tuple[str, ...]) -> Callable[..., Identity | None]:
    """Bind a reader to a line; the index without a name is its default, which saves the fast path a call."""
    return reader if line == ("",) else partial(reader, indexes=line)
