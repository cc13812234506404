"""
Tokens: secrets that programs use in place of a user's password, each good for some things only.

They are kept in `keep/tokens.json` below the state folder, or in the bucket that is served, for the server
and the command `twisted-index token` alike: a reader sees either the old or the new ones. Digests only are
kept. SHA-256 without salt and stretching is enough for them: a secret has 256 random bits, which cannot be
guessed at any speed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from twisted_index.access.token_place import TokensInFile
from twisted_index.access.token_records import Token, TokenPermissions, TokenTable
from twisted_index.access.token_terms import token_name
from twisted_index.access.token_uses import TokenUses
from twisted_index.errors import ConfigurationError, Conflict, NotFound, Unauthorized
from twisted_index.interfaces import Action
from twisted_index.simple.name_patterns import NO_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.access.token_place import TokenPlace

_SECRET_BYTES = 32
_ID_BYTES = 6

_SECRET = re.compile(rb"tix-([0-9a-f]{12})-[A-Za-z0-9_-]{43}")

#: Tokens that a user may have at a time: more than programs that one person looks after.
MAX_OWN_TOKENS = 100


class TokenStore:
    """
    The tokens of a server, or of all nodes of a bucket.

    Args:
        state: Absolute folder. Nothing is made in it before the first token or use.
        now: Seconds since the epoch.
        place: Where they lie; None for a file of the state folder.

    Attributes:
        uses: When they were last used, as this server knows.
        place: Where they lie.
    """

    def __init__(
        self, state: str, *, now: Callable[[], float] = time.time, place: TokenPlace | None = None
    ) -> None:
        self.now = now
        self.uses = TokenUses(state, now)
        self.place: TokenPlace = TokensInFile(state) if place is None else place
        self.exists = self.place.exists
        self.cached = self.place.cached
        self.validity = self.place.validity
        self.read = self.place.read

    @property
    def path(self) -> str:
        """Where they are kept."""
        return self.place.path

    def last(self) -> TokenTable:
        """Return what `read` has returned last, though there may be others; nothing if it never has."""
        return self.place.last() or TokenTable({}, self.path)

    def create(
        self,
        name: str,
        permissions: TokenPermissions,
        *,
        indexes: tuple[str, ...] = (NO_NAME,),
        expires: datetime | None = None,
        by: str = "",
        bound: bool = False,
    ) -> tuple[Token, str]:
        """
        Make a token. Blocks.

        Args:
            name: Not yet in use; see `token_name`.
            permissions: What it is to be good for.
            indexes: Where; see `Token`.
            expires: Aware; None for never.
            by: Its maker; see `Token`.
            bound: Whether it belongs to its maker. Those of the maker that have expired go for it.

        Returns:
            The token, and the secret, which is kept nowhere.

        Raises:
            ConfigurationError: The name cannot be used, or the token cannot be kept.
            Conflict: The name is in use, or the maker has too many.
        """
        try:
            token_name(name)
        except ValueError as error:
            raise ConfigurationError(f"{error}.") from None
        if not any(permissions.values()):
            raise ConfigurationError("A token requires at least one permission.")
        identifier = secrets.token_hex(_ID_BYTES)
        secret = f"tix-{identifier}-{secrets.token_urlsafe(_SECRET_BYTES)}"
        token = Token(
            identifier=identifier,
            name=name,
            sha256=_digest(secret.encode()),
            permissions=dict(permissions),
            indexes=indexes,
            created=datetime.fromtimestamp(int(self.now()), UTC),
            expires=expires,
            by=by,
            bound=bound,
        )
        expired: set[str] = set()

        def add(tokens: TokenTable) -> TokenTable:
            if identifier in tokens:
                return tokens
            if bound:
                expired.update(self._make_room(tokens, by))
            tokens = tokens.without(expired)
            if tokens.named(name) is not None:
                raise Conflict(f"The token {name!r} already exists; revoke it, or use another name.")
            return tokens.plus(token)

        self.place.change(add)
        self.uses.forget(expired)
        return token, secret

    def _make_room(self, tokens: TokenTable, owner: str) -> set[str]:
        """Return the expired tokens of an owner, who may have another."""
        own = tokens.owned_by(owner)
        expired = {token.identifier for token in own if _has_passed(token.expires, self.now())}
        if len(own) - len(expired) >= MAX_OWN_TOKENS:
            raise Conflict(f"{owner} has {MAX_OWN_TOKENS} tokens already; revoke one of them.")
        return expired

    def revoke(self, name: str, *, owner: str | None = None) -> Token:
        """
        Take a token out of use, from the next request on. Blocks.

        Args:
            name: The token's.
            owner: The user that it must belong to; None for any token.

        Raises:
            NotFound: There is none of that name, or it does not belong to that user.
            ConfigurationError: The file cannot be written.
        """
        revoked: list[Token] = []

        def remove(tokens: TokenTable) -> TokenTable:
            if revoked and revoked[0].identifier not in tokens:
                return tokens
            token = tokens.named(name)
            if token is None or owner not in (None, token.owner):
                raise NotFound(f"There is no token {name!r}.")
            revoked[:] = [token]
            return tokens.without({token.identifier})

        self.place.change(remove)
        self.uses.forget([revoked[0].identifier])
        return revoked[0]

    def find(self, tokens: TokenTable, secret: bytes, *, max_age: float | None = None) -> Token:
        """
        Find the token of a secret.

        Args:
            tokens: From `read`.
            secret: As it was sent.
            max_age: Seconds for which a token that belongs to a user may live; None for no limit.

        Returns:
            The token, with all that its permissions imply.

        Raises:
            Unauthorized: It is none, or has expired.
            ConfigurationError: Its line in the file was damaged.
        """
        token = tokens.get(identifier_of(secret))
        # The digest is taken and compared for a token that is not there too.
        right = hmac.compare_digest(_digest(secret), token.sha256 if token else _NO_DIGEST)
        if token is None or not right:
            raise Unauthorized("This token is not valid.")
        token = limited(token, max_age)
        if _has_passed(token.expires, self.now()):
            raise Unauthorized(f"The token {token.name} has expired.")
        return replace(token, permissions=with_implied_permissions(token.permissions))


#: What no secret has for its digest.
_NO_DIGEST = "0" * 64


def identifier_of(secret: bytes) -> str:
    """Return the identifier in a secret; empty if the text is not a secret."""
    match = _SECRET.fullmatch(secret)
    return match[1].decode("ascii") if match else ""


def limited(token: Token, max_age: float | None) -> Token:
    """Return a token with the end that it has if the tokens of users may live for so many seconds."""
    if max_age is None or not token.bound:
        return token
    try:
        latest = token.created + timedelta(seconds=max_age)
    except OverflowError:
        return token
    return token if token.expires is not None and token.expires <= latest else replace(token, expires=latest)


def with_implied_permissions(permissions: TokenPermissions) -> TokenPermissions:
    """Add what permissions mean: who uploads has to create and to read the same projects."""
    upload = permissions.get(Action.UPLOAD, ())
    more = {action: (*permissions.get(action, ()), *upload) for action in (Action.CREATE, Action.READ)}
    return {action: patterns for action, patterns in {**permissions, **more}.items() if patterns}


def _has_passed(moment: datetime | None, now: float) -> bool:
    return moment is not None and now >= moment.timestamp()


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()
