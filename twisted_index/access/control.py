"""Access control: authentication by Twisted's cred and by tokens, permissions by rights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.cred.error import LoginFailed
from twisted.cred.portal import Portal
from zope.interface import implementer

from twisted_index.access.authorization_header import TOKEN_USER, PresentedCredentials, parse_authorization
from twisted_index.access.checkers import CheckerChain, IUser, UsernamePassword, UserRealm
from twisted_index.access.fingerprint import fingerprint
from twisted_index.access.known_identities import KnownIdentities
from twisted_index.access.own_tokens import ITokenOwners, OwnTokens
from twisted_index.access.rights import default_rights
from twisted_index.access.token_file import TokenFile
from twisted_index.access.token_uses import USE_SECONDS
from twisted_index.access.tokens import identifier_of
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.errors import Unauthorized
from twisted_index.files.reload_status import ReloadedFile
from twisted_index.interfaces import (
    ANONYMOUS,
    Action,
    Credentials,
    IAccessControl,
    Identity,
    IKnownReaders,
    IReloadsFiles,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.cred.checkers import ICredentialsChecker
    from twisted.internet.interfaces import IReactorTime

    from twisted_index.access.login_throttle import LoginThrottle
    from twisted_index.access.rights_file import IRightsProvider
    from twisted_index.access.token_records import Token
    from twisted_index.access.tokens import TokenStore
    from twisted_index.concurrency.thread_pool import IThreadRunner

#: Seconds between checks for a first token.
_CHECK_SECONDS = 1.0

#: Seconds for which a login is remembered where the checker notices no change of its users.
_UNWATCHED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Attempt:
    """
    A login. Equal attempts at the same time are checked once.

    Attributes:
        key: The fingerprint of the Authorization field.
        address: The client's; clients of other addresses wait in queues of their own.
    """

    key: bytes
    address: str
    presented: PresentedCredentials = field(compare=False)

    @property
    def subject(self) -> str:
        """What failures are counted for."""
        user = self.presented.user
        return f"token {identifier_of(self.presented.secret)}" if user is None else f"user {user}"


@implementer(IAccessControl, IKnownReaders, IReloadsFiles, ITokenOwners)
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
        max_token_age: Seconds for which a token that belongs to a user may live; None for no limit.
        report: Called with a sentence when a file of users, rights or tokens takes effect, cannot be used, or
            can be used again.

    Attributes:
        own_tokens: The tokens that users make for themselves; None without a state folder.
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
        max_token_age: float | None = None,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self._known = KnownIdentities(rights)
        self._chain = CheckerChain(checkers)
        self._portal = Portal(UserRealm(self._known), [self._chain]) if checkers else None
        self._logins: FreshSingleFlight[_Attempt, Identity] = FreshSingleFlight(self._log_in, abandon=True)
        self.reader = self._known.reader
        self._checkers = tuple(checkers)
        self._tokens = tokens
        self._token_file = None if tokens is None else TokenFile(tokens, worker, clock)
        self._max_token_age = max_token_age
        self.own_tokens = OwnTokens(tokens, rights, worker, max_token_age) if tokens is not None else None
        self._proxies_assert_users = proxies_assert_users
        self._rights = rights
        self._throttle = throttle
        self._clock = clock
        self._always_users = bool(checkers) or proxies_assert_users
        self._tokens_exist = tokens is not None and tokens.exists()
        self._checked_at = clock.seconds()
        if report is not None:
            for file in self._files():
                file.status.report = report

    @property
    def public_read(self) -> bool:
        """Whether everyone may read every project of every index now."""
        return self._rights.current().public_read

    @property
    def rights(self) -> object:
        """See `IKnownReaders`."""
        return self._rights.current()

    @property
    def has_users(self) -> bool:
        """Whether there are users, users of a proxy, or tokens, which may be created at any time."""
        return self._always_users or self._has_tokens()

    def permits(self, identity: Identity, action: Action, project: str = "", *, index: str = "") -> bool:
        """Return whether an identity may perform an action."""
        return self._rights.current().permits(identity, action, project, index)

    async def authenticate(self, credentials: Credentials) -> Identity:
        """
        Authenticate a request; see `IAccessControl`.

        A user authenticated by a proxy takes precedence over the Authorization field, which such
        proxies forward. An index without users and tokens ignores credentials, since some tools always
        send some; so does one without users where everyone may upload, but for those of tokens.
        """
        if credentials.user is not None:
            return self._known.user(credentials.user)
        if credentials.authorization is None or (self._portal is None and not self._has_tokens()):
            return ANONYMOUS
        key = fingerprint(credentials.authorization)
        known = self._known.find(key)
        if known is not None:
            return known
        attempt = _Attempt(key, credentials.address, parse_authorization(credentials.authorization))
        try:
            return await self._logins.run(attempt)
        except Unauthorized as error:
            failure = self._throttle.record_failure(attempt.address, attempt.subject, error)
            failure.claimed = self._claimed(attempt.presented)
            raise failure from None

    def _claimed(self, presented: PresentedCredentials) -> str:
        """Return the user or token that credentials name, if there is one; see `Unauthorized`."""
        user = presented.user
        if user is not None:
            return user if self._chain.lists(user) or self._known.has_user(user) else ""
        identifier = identifier_of(presented.secret)
        token = None if self._tokens is None else self._tokens.last().get(identifier)
        return "" if token is None else f"token {token.name}"

    async def _log_in(self, attempt: _Attempt) -> Identity:
        known = self._known.find(attempt.key)
        if known is not None:
            return known
        user = attempt.presented.user
        if user is None:
            return await self._authenticate_token(attempt)
        return await self._authenticate_user(attempt, user)

    async def _authenticate_user(self, attempt: _Attempt, user: str) -> Identity:
        secret = attempt.presented.secret
        if self._portal is None and self.permits(ANONYMOUS, Action.UPLOAD):
            return ANONYMOUS
        if self._portal is None:
            raise Unauthorized(f"This server has no users, only tokens; use the user name {TOKEN_USER}.")
        queue_key = partial(self._throttle.queue_for, attempt.address, attempt.subject)
        credentials = UsernamePassword(user.encode(), secret, queue_key)
        try:
            login: Any = await self._portal.login(credentials, None, IUser)
        except LoginFailed:
            hint = f" For a token, use the user name {TOKEN_USER}." if identifier_of(secret) else ""
            raise Unauthorized(f"The user name or password is wrong.{hint}") from None
        _interface, identity, _logout = login
        result: Identity = identity
        self._known.remember(attempt.key, result, credentials.validity or self._for_a_while())
        return result

    def _for_a_while(self) -> Callable[[], bool]:
        until = self._clock.seconds() + _UNWATCHED_SECONDS
        return lambda: self._clock.seconds() < until

    async def _authenticate_token(self, attempt: _Attempt) -> Identity:
        tokens = self._tokens
        if tokens is None or self._token_file is None:
            raise Unauthorized("This server has no tokens.")
        # Before they are read, so that a change meanwhile is noticed.
        unchanged = tokens.validity()
        token = await self._token_file.find(attempt.presented.secret, max_age=self._max_token_age)
        if token.owner is not None and not self._proxies_assert_users:
            unchanged = _both(unchanged, self._chain.validity())
            if not await self._chain.may_have(token.owner):
                raise Unauthorized(f"The token {token.name} was made by {token.owner}, who is no user here.")
        identity = Identity(
            token=token.name,
            token_owner=token.owner,
            token_permissions=token.permissions,
            token_indexes=token.indexes,
        )
        self._known.remember(attempt.key, identity, _until(token, tokens.now, unchanged))
        self._token_file.note_use(token)
        return identity

    def reloaded_files(self) -> Sequence[ReloadedFile]:
        """See `IReloadsFiles`."""
        # Where there never was a token, the file of them is not missed.
        return [file for file in self._files() if file is not self._token_file or self._has_tokens()]

    def _files(self) -> list[ReloadedFile]:
        parts: Sequence[object] = (*self._checkers, self._rights, self._token_file)
        return [part for part in parts if isinstance(part, ReloadedFile)]

    def _has_tokens(self) -> bool:
        """Return whether there are tokens, checking once a second until there are."""
        if self._tokens is not None and not self._tokens_exist:
            now = self._clock.seconds()
            if now - self._checked_at >= _CHECK_SECONDS:
                self._checked_at = now
                self._tokens_exist = self._tokens.exists()
        return self._tokens_exist


def _both(one: Callable[[], bool], other: Callable[[], bool]) -> Callable[[], bool]:
    return lambda: one() and other()


def _until(token: Token, now: Callable[[], float], unchanged: Callable[[], bool]) -> Callable[[], bool]:
    """Return a check whether a token that is accepted now still is; after an hour its use is noted again."""
    expires = math.inf if token.expires is None else token.expires.timestamp()
    until = min(now() + USE_SECONDS, expires)
    return lambda: now() < until and unchanged()


@implementer(IAccessControl)
class AnonymousAccess:
    """
    An index without users: everyone reads, and nothing else is allowed.

    Args:
        anonymous_upload: Whether everyone may create projects and upload files.
    """

    public_read = True
    has_users = False

    def __init__(self, *, anonymous_upload: bool = False) -> None:
        self._rights = default_rights(anonymous_upload=anonymous_upload)

    def authenticate(self, credentials: Credentials) -> Identity:
        """Treat every client as anonymous, and ignore credentials, since some tools always send some."""
        return ANONYMOUS

    def permits(self, identity: Identity, action: Action, project: str = "", *, index: str = "") -> bool:
        """Return whether everyone may perform an action."""
        return self._rights.permits(ANONYMOUS, action, project, index)
