"""Access in whose place another one may be put while the server runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_index.interfaces import IAccess

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.interfaces import Action, Credentials, Eventually, Identity


@implementer(IAccess)
class ReplaceableAccess:
    """
    Decides as the access does that holds now.

    Args:
        access: That one, at first.
        look: Called before each question; may call `replace`.
    """

    def __init__(self, access: IAccess, look: Callable[[], None]) -> None:
        self._access = access
        self._look = look
        self._generation = 1
        self._seen = (access, access.generation)

    def replace(self, access: IAccess) -> None:
        """Put another one in the place of the one so far."""
        self._access = access

    @property
    def all_may_read(self) -> bool:
        """Whether everyone may read every project now."""
        return bool(self._now().all_may_read)

    @property
    def has_users(self) -> bool:
        """Whether there is anybody who could prove to be somebody."""
        return bool(self._now().has_users)

    @property
    def generation(self) -> int:
        """A number that changes with the access, and with its own number."""
        access = self._now()
        seen = (access, access.generation)
        if seen != self._seen:
            self._seen = seen
            self._generation += 1
        return self._generation

    def identify(self, credentials: Credentials) -> Eventually[Identity]:
        """Find out who sends a request; see IAccess."""
        return self._now().identify(credentials)

    def may(self, identity: Identity, action: Action, project: str = "") -> bool:
        """Say whether somebody may do something; see IAccess."""
        return bool(self._now().may(identity, action, project))

    def _now(self) -> IAccess:
        self._look()
        return self._access
