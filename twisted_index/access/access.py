"""Access: who somebody is, by Twisted's cred and by tokens, and what that one may do."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from zope.interface import Interface, implementer

from twisted_index.access.authorization import TOKEN_USER, Claim, parse_authorization
from twisted_index.access.rights import default_rights
from twisted_index.access.tokens import identifier_of
from twisted_index.errors import ConfigurationError, Unauthorized, Unavailable
from twisted_index.interfaces import NOBODY, Action, Credentials, IAccess, Identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.access.rights_file import HasRights
    from twisted_index.access.throttle import Throttle
    from twisted_index.access.tokens import Token, TokenStore
    from twisted_index.access.turns import Lane
    from twisted_index.worker import Works

_log = Logger()

#: Seconds between two looks whether a first token was made meanwhile.
_LOOK_SECONDS = 1.0


class _IUser(Interface):
    """What the portal is asked for: an Identity."""


@implementer(IRealm)
class _Realm:
    """Makes an Identity of the name that a checker vouches for."""

    def __init__(self, rights: HasRights) -> None:
        self._rights = rights

    def identity(self, user: str) -> Identity:
        """Give the identity of a user."""
        return Identity(user=user, groups=self._rights.current().groups_of(user))

    def requestAvatar(self, avatarId: object, mind: object, *interfaces: type[Interface]) -> Any:
        """Give the identity to the portal; nothing has to be done when its user has left."""
        if _IUser not in interfaces or not isinstance(avatarId, (bytes, str)):
            raise NotImplementedError("Only users have an identity.")
        user = avatarId if isinstance(avatarId, str) else avatarId.decode("utf-8", "replace")
        return _IUser, self.identity(user), lambda: None


@implementer(IUsernamePassword)
class Password:
    """
    A user name and a password, as cred's checkers want them.

    Args:
        username: UTF-8.
        password: UTF-8.
        lane: Where to wait if it has to be hashed.
    """

    def __init__(self, username: bytes, password: bytes, lane: Lane) -> None:
        self.username = username
        self.password = password
        self.lane = lane

    def checkPassword(self, password: bytes) -> bool:
        """Compare with the right one, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(self.password, password)


@implementer(ICredentialsChecker)
class FirstOf:
    """
    Ask several checkers, in order: a portal has only one for each kind of credentials.

    Args:
        checkers: Of passwords, at least one.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, checkers: Sequence[ICredentialsChecker]) -> None:
        self._checkers = tuple(checkers)

    def requestAvatarId(self, credentials: IUsernamePassword) -> Deferred[Any]:
        """Give the answer of the first that lets the user in."""
        return Deferred.fromCoroutine(self._ask(credentials))

    async def _ask(self, credentials: IUsernamePassword) -> Any:
        unavailable: Unavailable | None = None
        for checker in self._checkers:
            try:
                return await maybeDeferred(checker.requestAvatarId, credentials)
            except LoginFailed:
                continue
            except Unavailable as error:
                unavailable = error
        # Whoever cannot be asked might have known the user.
        raise unavailable or UnauthorizedLogin()


@implementer(IAccess)
class Access:
    """
    Users and tokens with their rights.

    Args:
        checkers: Of passwords (IUsernamePassword), asked in order.
        tokens: None if there can be none.
        rights: Say which rights hold.
        throttle: Counts failures.
        worker: Reads the tokens.
        clock: Reactor.
        proxied: Whether there are proxies that vouch for users.
    """

    def __init__(
        self,
        *,
        checkers: Sequence[ICredentialsChecker],
        tokens: TokenStore | None,
        rights: HasRights,
        throttle: Throttle,
        worker: Works,
        clock: IReactorTime,
        proxied: bool = False,
    ) -> None:
        self._realm = _Realm(rights)
        self._portal = Portal(self._realm, [FirstOf(checkers)]) if checkers else None
        self._tokens = tokens
        self._rights = rights
        self._throttle = throttle
        self._worker = worker
        self._clock = clock
        self._always_users = bool(checkers) or proxied
        self._tokens_exist = tokens is not None and tokens.exists()
        self._looked_at = clock.seconds()
        self._objection = ""

    @property
    def all_may_read(self) -> bool:
        """Whether everyone may read every project now."""
        return self._rights.current().all_may_read

    @property
    def generation(self) -> int:
        """A number that changes with the rights; what a token may do does not change."""
        return self._rights.generation

    @property
    def has_users(self) -> bool:
        """Whether there is anybody: a user, a proxy's user, or a token, which may be made at any time."""
        return self._always_users or self._has_tokens()

    def may(self, identity: Identity, action: Action, project: str = "") -> bool:
        """Say whether somebody may do something; see IAccess."""
        return self._rights.current().allow(identity, action, project)

    async def identify(self, credentials: Credentials) -> Identity:
        """
        Find out who sends a request; see IAccess.

        A user vouched for by a proxy comes before anything in the Authorization field, which such
        proxies hand on. Where nobody could be right, nobody is wrong: an index without users and
        tokens passes over the names that some tools insist on sending.
        """
        if credentials.user is not None:
            return self._realm.identity(credentials.user)
        if credentials.authorization is None or (self._portal is None and not self._has_tokens()):
            return NOBODY
        claim = parse_authorization(credentials.authorization)
        who = f"token {identifier_of(claim.secret)}" if claim.user is None else f"user {claim.user}"
        try:
            if claim.user is None:
                return await self._token(claim.secret)
            return await self._user(claim, claim.user, self._throttle.lane(credentials.address, who))
        except Unauthorized as error:
            raise self._throttle.failed(credentials.address, who, error) from None

    async def _user(self, claim: Claim, user: str, lane: Lane) -> Identity:
        if self._portal is None:
            raise Unauthorized(f"There are no users here, only tokens: use the user name {TOKEN_USER}.")
        credentials = Password(user.encode(), claim.secret, lane)
        try:
            login: Any = await self._portal.login(credentials, None, _IUser)
        except LoginFailed:
            hint = f" A token has the user name {TOKEN_USER}." if identifier_of(claim.secret) else ""
            raise Unauthorized(f"The user name or the password is wrong.{hint}") from None
        _interface, identity, _logout = login
        found: Identity = identity
        return found

    async def _token(self, secret: bytes) -> Identity:
        if self._tokens is None:
            raise Unauthorized("There are no tokens here.")
        token = self._tokens.find(await self._read(self._tokens), secret)
        return Identity(token=token.name, scope=token.scope)

    async def _read(self, tokens: TokenStore) -> Mapping[str, Token]:
        """Give the tokens, read anew if they are others."""
        try:
            latest = tokens.latest()
            return await self._worker.run(tokens.read) if latest is None else latest
        except ConfigurationError as error:
            # A token that was revoked must not come back because the file was damaged.
            if error.sentence != self._objection:
                self._objection = error.sentence
                _log.critical("No token is let in. {objection}", objection=error.sentence)
            raise Unavailable("Tokens cannot be checked right now.") from error

    def _has_tokens(self) -> bool:
        """Say whether there are any, looking once in a while until there are."""
        if self._tokens is not None and not self._tokens_exist:
            now = self._clock.seconds()
            if now - self._looked_at >= _LOOK_SECONDS:
                self._looked_at = now
                self._tokens_exist = self._tokens.exists()
        return self._tokens_exist


@implementer(IAccess)
class OpenAccess:
    """
    An index without users: everyone reads, and nobody does anything else.

    Args:
        anyone_may_upload: Whether everyone may create projects and upload files.
    """

    all_may_read = True
    has_users = False
    generation = 1

    def __init__(self, *, anyone_may_upload: bool = False) -> None:
        self._rights = default_rights(anyone_may_upload=anyone_may_upload)

    def identify(self, credentials: Credentials) -> Identity:
        """Take everybody for nobody, whatever name some tool insists on sending."""
        return NOBODY

    def may(self, identity: Identity, action: Action, project: str = "") -> bool:
        """Say whether anybody may do something; see IAccess."""
        return self._rights.allow(NOBODY, action, project)
