"""
Tokens that users make for themselves, no wider than their makers.

What a token may do when it is used is decided by `access.rights`, by the rights of that moment. The check
here is for the maker: a token for what its maker may not do would be a surprise later.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from twisted.logger import Logger
from zope.interface import Attribute, Interface

from twisted_index.access.token_terms import parse_expires
from twisted_index.access.tokens import limited
from twisted_index.errors import BadRequest, ConfigurationError, Forbidden, Unavailable
from twisted_index.interfaces import WHOLE_INDEX
from twisted_index.simple.name_patterns import NO_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from twisted_index.access.rights import Rights
    from twisted_index.access.rights_file import IRightsProvider
    from twisted_index.access.token_records import Token, TokenPermissions
    from twisted_index.access.tokens import TokenStore
    from twisted_index.concurrency.thread_pool import IThreadRunner

_log = Logger()

T = TypeVar("T")
#: A token and its last use; None for never.
TokenUse: TypeAlias = "tuple[Token, datetime | None]"


class ITokenOwners(Interface):
    """Access control whose users may make tokens."""

    own_tokens: OwnTokens | None = Attribute("The tokens that users make; None where none can be kept.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """
    What a user wants a token to be.

    Attributes:
        name: From `token_name`.
        permissions: Patterns from `project_pattern`; at least one.
        indexes: Patterns from `index_pattern`; at least one.
        expires: See `parse_expires`.
    """

    name: str
    permissions: TokenPermissions
    indexes: tuple[str, ...] = (NO_NAME,)
    expires: str | None = None


#: To a user who may do it until a token has to.
_PROXY_GROUPS = " Groups that the proxy states count for no token."


class OwnTokens:
    """
    The tokens that users make for themselves.

    Args:
        store: All tokens.
        rights: The current rights.
        worker: Reads and writes the tokens.
        max_age: Seconds that a token may live; None for no limit.
    """

    def __init__(
        self, store: TokenStore, rights: IRightsProvider, worker: IThreadRunner, max_age: float | None
    ) -> None:
        self._store = store
        self._rights = rights
        self._worker = worker
        self._max_age = max_age
        self.now = store.now

    async def create(
        self, user: str, wanted: TokenRequest, *, in_proxy_groups: bool = False
    ) -> tuple[Token, str]:
        """
        Make a token that belongs to a user.

        Args:
            user: The maker.
            wanted: What it is to be good for.
            in_proxy_groups: Whether a proxy states groups of the user, which a refusal then mentions.

        Returns:
            The token and its secret.

        Raises:
            BadRequest: It would live too long, or not at all.
            Forbidden: The user may not do all that it is to be good for.
            Conflict: The name is in use, or the user has too many tokens.
            Unavailable: It cannot be kept.
        """
        try:
            expires = parse_expires(wanted.expires, now=self.now(), max_age=self._max_age)
        except ValueError as error:
            raise BadRequest(f"expires: {error}.") from None
        why = _PROXY_GROUPS if in_proxy_groups else ""
        return await self._run(partial(self._create, user, wanted, self._rights.current(), expires, why))

    def _create(
        self, user: str, wanted: TokenRequest, rights: Rights, expires: datetime | None, why: str
    ) -> tuple[Token, str]:
        for action, patterns in wanted.permissions.items():
            for pattern, index in product(patterns, wanted.indexes):
                if not rights.covers(user, action, pattern, index):
                    what = "" if action in WHOLE_INDEX else f" {pattern}"
                    what += f" in the index {index}" if index else ""
                    raise Forbidden(
                        f"No rule allows {user} to {action.value}{what}, so no token of {user} may.{why}"
                    )
        return self._store.create(
            wanted.name, wanted.permissions, indexes=wanted.indexes, expires=expires, by=user, bound=True
        )

    async def revoke(self, name: str, *, owner: str | None) -> Token:
        """
        Take a token out of use.

        Args:
            name: The token's.
            owner: The user that it must belong to; None for any token.

        Raises:
            NotFound: There is none of that name, or it does not belong to that user.
            Unavailable: The tokens cannot be changed.
        """
        return await self._run(partial(self._store.revoke, name, owner=owner))

    async def listed(self, owner: str | None, write: Callable[[Iterator[TokenUse]], T]) -> T:
        """
        List tokens.

        Args:
            owner: The user whom they belong to; None for all.
            write: Called in a thread with each token and its last use, in the order in which they were made.

        Returns:
            What `write` has returned.

        Raises:
            Unavailable: The tokens cannot be read.
        """
        return await self._run(lambda: write(self._rows(owner)))

    def _rows(self, owner: str | None) -> Iterator[TokenUse]:
        table = self._store.read()
        for token in table.values() if owner is None else table.owned_by(owner):
            yield limited(token, self._max_age), self._store.uses.last(token.identifier)

    async def _run(self, work: Callable[[], T]) -> T:
        """Work in a thread; what is wrong with the file is for the log alone."""
        try:
            return await self._worker.run(work)
        except ConfigurationError as error:
            _log.critical("{objection}", objection=error.message)
            raise Unavailable("Tokens cannot be read or changed right now.") from error
