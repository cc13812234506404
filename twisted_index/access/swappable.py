"""Access in whose place another one may be put while the server runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_index.interfaces import IAccessControl

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.interfaces import Action, Credentials, Identity, MaybeAwaitable


@implementer(IAccessControl)
class SwappableAccess:
    """
    Decides as the access does that holds now.

    Args:
        access: That one, at first.
        poll: Called before each question; may call `replace`.
    """

    def __init__(self, access: IAccessControl, poll: Callable[[], None]) -> None:
        self._access = access
        self._look = poll
        self._generation = 1
        self._seen = (access, access.generation)

    def replace(self, access: IAccessControl) -> None:
        """Put another one in the place of the one so far."""
        self._access = access

    @property
    def public_read(self) -> bool:
        """Whether everyone may read every project now."""
        return self._now().public_read

    @property
    def has_users(self) -> bool:
        """Whether any user or token can authenticate."""
        return self._now().has_users

    @property
    def generation(self) -> int:
        """A number that changes with the access, and with its own number."""
        access = self._now()
        seen = (access, access.generation)
        if seen != self._seen:
            self._seen = seen
            self._generation += 1
        return self._generation

    def authenticate(self, credentials: Credentials) -> MaybeAwaitable[Identity]:
        """Find out who sends a request; see IAccess."""
        return self._now().authenticate(credentials)

    def permits(self, identity: Identity, action: Action, project: str = "", *, index: str = "") -> bool:
        """Say whether an identity may do something."""
        return self._now().permits(identity, action, project, index=index)

    def _now(self) -> IAccessControl:
        self._look()
        return self._access
