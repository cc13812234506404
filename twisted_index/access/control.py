"""Access control: authentication by Twisted's cred and by tokens, permissions by rights."""

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

from twisted_index.access.authorization_header import TOKEN_USER, PresentedCredentials, parse_authorization
from twisted_index.access.rights import default_rights
from twisted_index.access.tokens import identifier_of
from twisted_index.errors import ConfigurationError, Unauthorized, Unavailable
from twisted_index.interfaces import ANONYMOUS, Action, Credentials, IAccessControl, Identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.access.login_throttle import LoginThrottle
    from twisted_index.access.rights_file import IRightsProvider
    from twisted_index.access.tokens import Token, TokenStore
    from twisted_index.concurrency.fair_queue import QueueKey
    from twisted_index.concurrency.thread_pool import IThreadRunner

_log = Logger()

#: Seconds between checks for a first token.
_CHECK_SECONDS = 1.0


class _IUser(Interface):
    """The interface requested of the portal: an Identity."""


@implementer(IRealm)
class _Realm:
    """Turns the name that a checker returns into an Identity."""

    def __init__(self, rights: IRightsProvider) -> None:
        self._rights = rights

    def identity(self, user: str) -> Identity:
        """Return the identity of a user."""
        return Identity(user=user, groups=self._rights.current().groups_of(user))

    def requestAvatar(self, avatarId: object, mind: object, *interfaces: type[Interface]) -> Any:
        """Return the identity to the portal; logout needs no action."""
        if _IUser not in interfaces or not isinstance(avatarId, (bytes, str)):
            raise NotImplementedError("Only users have an identity.")
        user = avatarId if isinstance(avatarId, str) else avatarId.decode("utf-8", "replace")
        return _IUser, self.identity(user), lambda: None


@implementer(IUsernamePassword)
class UsernamePassword:
    """
    A user name and a password for cred's checkers.

    Args:
        username: The user name, UTF-8.
        password: The password, UTF-8.
        queue_key: The queue in which the password waits to be hashed.
    """

    def __init__(self, username: bytes, password: bytes, queue_key: QueueKey) -> None:
        self.username = username
        self.password = password
        self.queue_key = queue_key

    def checkPassword(self, password: bytes) -> bool:
        """Compare with the correct password, in constant time."""
        return hmac.compare_digest(self.password, password)


@implementer(ICredentialsChecker)
class CheckerChain:
    """
    Tries several checkers in order, since a portal has only one per kind of credentials.

    Args:
        checkers: Password checkers, at least one.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, checkers: Sequence[ICredentialsChecker]) -> None:
        self._checkers = tuple(checkers)

    def requestAvatarId(self, credentials: IUsernamePassword) -> Deferred[Any]:
        """Return the result of the first checker that accepts the user."""
        return Deferred.fromCoroutine(self._try_checkers(credentials))

    async def _try_checkers(self, credentials: IUsernamePassword) -> Any:
        unavailable: Unavailable | None = None
        for checker in self._checkers:
            try:
                return await maybeDeferred(checker.requestAvatarId, credentials)
            except LoginFailed:
                continue
            except Unavailable as error:
                unavailable = error
        # The unavailable checker might have accepted the user.
        raise unavailable or UnauthorizedLogin()


@implementer(IAccessControl)
class AccessControl:
    """
    Users and tokens with their rights.

    Args:
        checkers: Password checkers (IUsernamePassword), in order.
        tokens: The tokens; None without a state folder.
        rights: The current rights.
        throttle: Counts failed logins.
        worker: Reads the tokens.
        clock: The reactor.
        proxies_assert_users: Whether trusted proxies authenticate users.
    """

    def __init__(
        self,
        *,
        checkers: Sequence[ICredentialsChecker],
        tokens: TokenStore | None,
        rights: IRightsProvider,
        throttle: LoginThrottle,
        worker: IThreadRunner,
        clock: IReactorTime,
        proxies_assert_users: bool = False,
    ) -> None:
        self._realm = _Realm(rights)
        self._portal = Portal(self._realm, [CheckerChain(checkers)]) if checkers else None
        self._tokens = tokens
        self._rights = rights
        self._throttle = throttle
        self._worker = worker
        self._clock = clock
        self._always_users = bool(checkers) or proxies_assert_users
        self._tokens_exist = tokens is not None and tokens.exists()
        self._checked_at = clock.seconds()
        self._last_error = ""

    @property
    def public_read(self) -> bool:
        """Whether everyone may read every project now."""
        return self._rights.current().public_read

    @property
    def generation(self) -> int:
        """A number that changes with the rights; the scope of a token is fixed."""
        return self._rights.generation

    @property
    def has_users(self) -> bool:
        """Whether there are users, users of a proxy, or tokens, which may be created at any time."""
        return self._always_users or self._has_tokens()

    def permits(self, identity: Identity, action: Action, project: str = "", *, index: str = "") -> bool:
        """Return whether an identity may perform an action. Rights apply to every index."""
        return self._rights.current().permits(identity, action, project)

    async def authenticate(self, credentials: Credentials) -> Identity:
        """
        Authenticate a request; see `IAccessControl`.

        A user authenticated by a proxy takes precedence over the Authorization field, which such
        proxies forward. An index without users and tokens ignores credentials, since some tools always
        send some; so does one without users where everyone may upload, but for those of tokens.
        """
        if credentials.user is not None:
            return self._realm.identity(credentials.user)
        if credentials.authorization is None or (self._portal is None and not self._has_tokens()):
            return ANONYMOUS
        presented = parse_authorization(credentials.authorization)
        subject = (
            f"token {identifier_of(presented.secret)}" if presented.user is None else f"user {presented.user}"
        )
        try:
            if presented.user is None:
                return await self._authenticate_token(presented.secret)
            return await self._authenticate_user(
                presented, presented.user, self._throttle.queue_for(credentials.address, subject)
            )
        except Unauthorized as error:
            raise self._throttle.record_failure(credentials.address, subject, error) from None

    async def _authenticate_user(
        self, presented: PresentedCredentials, user: str, queue_key: QueueKey
    ) -> Identity:
        if self._portal is None and self.permits(ANONYMOUS, Action.UPLOAD):
            return ANONYMOUS
        if self._portal is None:
            raise Unauthorized(f"This server has no users, only tokens; use the user name {TOKEN_USER}.")
        credentials = UsernamePassword(user.encode(), presented.secret, queue_key)
        try:
            login: Any = await self._portal.login(credentials, None, _IUser)
        except LoginFailed:
            hint = f" For a token, use the user name {TOKEN_USER}." if identifier_of(presented.secret) else ""
            raise Unauthorized(f"The user name or password is wrong.{hint}") from None
        _interface, identity, _logout = login
        result: Identity = identity
        return result

    async def _authenticate_token(self, secret: bytes) -> Identity:
        if self._tokens is None:
            raise Unauthorized("This server has no tokens.")
        token = self._tokens.find(await self._read(self._tokens), secret)
        return Identity(token=token.name, token_permissions=token.permissions)

    async def _read(self, tokens: TokenStore) -> Mapping[str, Token]:
        """Return the tokens, read again if their file has changed."""
        try:
            latest = tokens.cached()
            return await self._worker.run(tokens.read) if latest is None else latest
        except ConfigurationError as error:
            # A damaged file must not make a revoked token valid again.
            if error.message != self._last_error:
                self._last_error = error.message
                _log.critical(
                    "All tokens are rejected until their file is readable. {objection}",
                    objection=error.message,
                )
            raise Unavailable("Tokens cannot be checked right now.") from error

    def _has_tokens(self) -> bool:
        """Return whether there are tokens, checking once a second until there are."""
        if self._tokens is not None and not self._tokens_exist:
            now = self._clock.seconds()
            if now - self._checked_at >= _CHECK_SECONDS:
                self._checked_at = now
                self._tokens_exist = self._tokens.exists()
        return self._tokens_exist


@implementer(IAccessControl)
class AnonymousAccess:
    """
    An index without users: everyone reads, and nothing else is allowed.

    Args:
        anonymous_upload: Whether everyone may create projects and upload files.
    """

    public_read = True
    has_users = False
    generation = 1

    def __init__(self, *, anonymous_upload: bool = False) -> None:
        self._rights = default_rights(anonymous_upload=anonymous_upload)

    def authenticate(self, credentials: Credentials) -> Identity:
        """Treat every client as anonymous, and ignore credentials, since some tools always send some."""
        return ANONYMOUS

    def permits(self, identity: Identity, action: Action, project: str = "", *, index: str = "") -> bool:
        """Return whether everyone may perform an action."""
        return self._rights.permits(ANONYMOUS, action, project)
