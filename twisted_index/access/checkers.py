"""Users with passwords, by the credential checkers of Twisted's cred: tried in order, and known again."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import Interface, implementer

from twisted_index.access.known_identities import IWatchedUsers, KnownIdentities
from twisted_index.errors import Unavailable
from twisted_index.interfaces import ProxyUser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.concurrency.fair_queue import QueueKey


class IUser(Interface):
    """The interface requested of a portal: an Identity."""


@implementer(IRealm)
class UserRealm:
    """Turns the name that a checker returns into an Identity."""

    def __init__(self, known: KnownIdentities) -> None:
        self._known = known

    def requestAvatar(self, avatarId: object, mind: object, *interfaces: type[Interface]) -> Any:
        """Return the identity to the portal; logout needs no action."""
        if IUser not in interfaces or not isinstance(avatarId, (bytes, str)):
            raise NotImplementedError("Only users have an identity.")
        user = avatarId if isinstance(avatarId, str) else avatarId.decode("utf-8", "replace")
        return IUser, self._known.user(ProxyUser(user)), lambda: None


@implementer(IUsernamePassword)
class UsernamePassword:
    """
    A user name and a password for cred's checkers.

    Args:
        username: The user name, UTF-8.
        password: The password, UTF-8.
        queue_key: Returns where the password waits to be hashed; see `FairQueue.acquire`.

    Attributes:
        validity: Returns whether the checker that has accepted the password still would; None if it
            does not notice changes.
    """

    validity: Callable[[], bool] | None = None

    def __init__(self, username: bytes, password: bytes, queue_key: Callable[[], QueueKey]) -> None:
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
        checkers: Password checkers.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, checkers: Sequence[ICredentialsChecker]) -> None:
        self._checkers = tuple(checkers)

    def requestAvatarId(self, credentials: IUsernamePassword) -> Deferred[Any]:
        """Return the result of the first checker that accepts the user."""
        return Deferred.fromCoroutine(self._try_checkers(credentials))

    async def _try_checkers(self, credentials: Any) -> Any:
        unavailable: Unavailable | None = None
        for checker in self._checkers:
            watched = IWatchedUsers(checker, None)
            # Before the password is checked, so that a change meanwhile is noticed.
            credentials.validity = None if watched is None else watched.validity()
            try:
                return await maybeDeferred(checker.requestAvatarId, credentials)
            except LoginFailed:
                continue
            except Unavailable as error:
                unavailable = error
        # The unavailable checker might have accepted the user.
        raise unavailable or UnauthorizedLogin()

    async def may_have(self, user: str) -> bool:
        """Return whether a user may still log in; only checkers that know all their users can deny it."""
        for checker in self._checkers:
            watched = IWatchedUsers(checker, None)
            if watched is None or await watched.has(user):
                return True
        return False

    def validity(self) -> Callable[[], bool]:
        """Return a check whether `may_have` would return the same; see `IWatchedUsers.validity`."""
        checks = [users.validity() for users in self._watched()]
        # Run for each request with a token, and there is usually one checker.
        return checks[0] if len(checks) == 1 else lambda: all(check() for check in checks)

    def lists(self, user: str) -> bool:
        """Return whether a checker that knows its users has this one; never waits."""
        return any(users.has_user(user) for users in self._watched())

    def _watched(self) -> list[IWatchedUsers]:
        watched = (IWatchedUsers(checker, None) for checker in self._checkers)
        return [users for users in watched if users is not None]
