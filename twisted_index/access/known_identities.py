"""
The identities of clients that have logged in, and what they may read: known clients wait for nothing.

An installer sends the same credentials with hundreds of requests. Only successful logins are remembered,
each with a check whether it would succeed again; a change of users, tokens or rights counts in the very
next request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from zope.interface import Interface

from twisted_index.concurrency.lru import LRU
from twisted_index.interfaces import ANONYMOUS, Action, Identity, ProxyUser

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted_index.access.rights import Rights
    from twisted_index.access.rights_file import IRightsProvider

#: Logins and users that are remembered, and decisions about one identity and one project.
_MOST_KNOWN = 4096
_MOST_DECISIONS = 16_384
#: Lines of indexes that are public or not.
_MOST_LINES = 1024


class IWatchedUsers(Interface):
    """A password checker that notices at once when a user is removed or gets another password."""

    def validity() -> Callable[[], bool]:
        """
        Return a check, cheap and synchronous, whether logins that begin now still hold.

        False may be conservative.
        """

    def has_user(name: str) -> bool:
        """Return whether there is a user of that name, as far as that is known without waiting."""

    def has(user: str) -> Awaitable[bool]:
        """
        Return whether there is a user of that name now.

        Raises:
            Unavailable: That is unknown right now.
        """


class _Login(NamedTuple):
    identity: Identity
    is_valid: Callable[[], bool]


class _Decisions:
    """
    What was decided under one set of rights; it goes with them.

    Args:
        rights: Decide.
    """

    def __init__(self, rights: Rights) -> None:
        self.rights = rights
        self._users = LRU[ProxyUser, Identity](_MOST_KNOWN)
        self._may_read = LRU[tuple[int, str, tuple[str, ...]], tuple[Identity, bool]](_MOST_DECISIONS)
        self._public = LRU[tuple[str, ...], bool](_MOST_LINES)

    def user(self, user: ProxyUser) -> Identity:
        """Return the identity of a user with the groups of a proxy, the very same each time."""
        if user.groups:
            # Others change nothing, and a proxy may state any number of them.
            user = ProxyUser(user.name, user.groups & self.rights.named_groups)
        found = self._users.peek(user)
        if found is None:
            groups = self.rights.groups_of(user.name) | user.groups
            found = Identity(user=user.name, groups=groups, proxy_groups=user.groups)
            self._users.put(user, found)
        return found

    def has_user(self, name: str) -> bool:
        """Return whether the identity of a user is remembered."""
        return self._users.peek(ProxyUser(name)) is not None

    def is_public(self, indexes: tuple[str, ...]) -> bool:
        """Return whether everyone may read everything in each of some indexes."""
        found = self._public.peek(indexes)
        if found is None:
            found = all(map(self.rights.is_public, indexes))
            self._public.put(indexes, found)
        return found

    def may_read(self, identity: Identity, project: str, indexes: tuple[str, ...]) -> bool:
        """Return whether an identity may read a project in each of some indexes."""
        # By the object, as a token that is made again may have the same name and other permissions. The entry
        # keeps the object, so that no other one gets its number.
        key = (id(identity), project, indexes)
        found = self._may_read.peek(key)
        if found is None:
            permits = self.rights.permits
            found = (identity, all(permits(identity, Action.READ, project, index) for index in indexes))
            self._may_read.put(key, found)
        return found[1]


class KnownIdentities:
    """
    Remembers logins by the fingerprints of their Authorization fields.

    Args:
        rights: The current rights.
    """

    def __init__(self, rights: IRightsProvider) -> None:
        self._rights = rights
        self._decisions = _Decisions(rights.current())
        self._logins = LRU[bytes, _Login](_MOST_KNOWN)

    def remember(self, key: bytes, identity: Identity, is_valid: Callable[[], bool]) -> None:
        """
        Remember a login.

        Args:
            key: The fingerprint of the Authorization field.
            identity: The user or token that it was accepted for.
            is_valid: Returns whether it would be accepted now; cheap and synchronous.
        """
        self._logins.put(key, _Login(identity, is_valid))

    def find(self, key: bytes) -> Identity | None:
        """Return the identity of a login that is still valid, with the groups of now."""
        return self._find(self._current(), key)

    def user(self, user: ProxyUser) -> Identity:
        """Return the identity of a user, with the groups of now."""
        return self._current().user(user)

    def has_user(self, name: str) -> bool:
        """Return whether a user of that name has logged in lately."""
        return self._current().has_user(name)

    def reader(
        self, project: str, key: bytes | None, user: ProxyUser | None, indexes: tuple[str, ...] = ("",)
    ) -> Identity | None:
        """See `IKnownReaders`."""
        decisions = self._current()
        if decisions.rights.public_read:
            return ANONYMOUS
        if not project:
            return ANONYMOUS if decisions.is_public(indexes) else None
        if decisions.may_read(ANONYMOUS, project, indexes):
            return ANONYMOUS
        identity = decisions.user(user) if user is not None else self._find(decisions, key)
        return identity if identity is not None and decisions.may_read(identity, project, indexes) else None

    def _current(self) -> _Decisions:
        rights = self._rights.current()
        if rights is not self._decisions.rights:
            self._decisions = _Decisions(rights)
        return self._decisions

    def _find(self, decisions: _Decisions, key: bytes | None) -> Identity | None:
        login = None if key is None else self._logins.peek(key)
        if login is None or not login.is_valid():
            return None
        user = login.identity.user
        return login.identity if user is None else decisions.user(ProxyUser(user))
