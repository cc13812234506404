"""
Tokens: secrets that programs use in place of a user's password, each good for some things only.

They are kept in `keep/tokens.json` below the state folder, for the server and the command
`twisted-index token` alike: a change of the file holds a lock, and a reader sees
either the old or the new one. The file holds digests only. SHA-256 without salt and stretching is
enough for them: a secret has 256 random bits, which cannot be guessed at any speed.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from twisted_index.errors import ConfigurationError, Unauthorized
from twisted_index.files.private_files import make_private_folder, private_lock, replace_private
from twisted_index.files.watched_file import WatchedFile
from twisted_index.interfaces import Action
from twisted_index.simple.name_patterns import project_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_VERSION = 1
_SECRET_BYTES = 32
_ID_BYTES = 6

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_SECRET = re.compile(rb"tix-([0-9a-f]{12})-[A-Za-z0-9_-]{43}")

TokenPermissions: TypeAlias = "Mapping[Action, tuple[str, ...]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """
    What is kept of a token.

    Attributes:
        identifier: In the secret, so that the token can be looked up by it.
        name: Given by its creator.
        sha256: Lower-case hex digest of the whole secret.
        permissions: What it is good for: patterns of projects by action, as they were asked for.
        created: Aware, UTC.
        expires: The same; None for never.
    """

    identifier: str
    name: str
    sha256: str
    permissions: TokenPermissions
    created: datetime
    expires: datetime | None = None


class TokenStore:
    """
    The tokens of a state folder.

    Args:
        state: Absolute folder. Nothing is made in it before the first token.
        now: Seconds since the epoch.
    """

    def __init__(self, state: str, *, now: Callable[[], float] = time.time) -> None:
        self._folder = os.path.join(state, "keep")
        self._path = os.path.join(self._folder, "tokens.json")
        self._now = now
        self._file = WatchedFile(self._path, lambda data: _parse(data, self._path))

    @property
    def path(self) -> str:
        """Where they are kept."""
        return self._path

    def exists(self) -> bool:
        """Return whether there ever was a token here: one call of `stat`."""
        return self._file.exists()

    def cached(self) -> Mapping[str, Token] | None:
        """Return what `read` gave, if it would give the same again: one call of `stat`."""
        return self._file.cached()

    def last(self) -> Mapping[str, Token]:
        """Return what `read` has returned last, though there may be others; nothing if it never has."""
        return self._file.last() or {}

    def validity(self) -> Callable[[], bool]:
        """Return a check whether the tokens are still those of now; see `WatchedFile.validity`."""
        return self._file.validity()

    def has_expired(self, token: Token) -> bool:
        """Return whether a token has expired."""
        return token.expires is not None and self._now() >= token.expires.timestamp()

    def read(self) -> Mapping[str, Token]:
        """
        Read the tokens. Blocks.

        Returns:
            By identifier, in the order in which they were made.

        Raises:
            ConfigurationError: The file cannot be read, or was damaged.
        """
        try:
            return self._file.read()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigurationError(f"{self._path}: the tokens cannot be read: {error.strerror}.") from error

    def create(
        self, name: str, scope: TokenPermissions, *, lifetime: float | None = None
    ) -> tuple[Token, str]:
        """
        Make a token. Blocks.

        Args:
            name: Not yet in use; letters, digits, `.`, `_` and `-`.
            scope: What it is to be good for.
            lifetime: Seconds; None for ever.

        Returns:
            The token, and the secret, which is kept nowhere.

        Raises:
            ConfigurationError: The name cannot be used, or the token cannot be kept.
        """
        if _NAME.fullmatch(name) is None:
            raise ConfigurationError(
                f"{name!r} is not a valid token name; use up to 64 letters, digits, dots, underscores and"
                " hyphens."
            )
        if not any(scope.values()):
            raise ConfigurationError("A token requires at least one permission.")
        with self._changing() as tokens:
            if any(token.name == name for token in tokens.values()):
                raise ConfigurationError(
                    f"The token {name!r} already exists; revoke it, or use another name."
                )
            identifier = secrets.token_hex(_ID_BYTES)
            secret = f"tix-{identifier}-{secrets.token_urlsafe(_SECRET_BYTES)}"
            token = Token(
                identifier=identifier,
                name=name,
                sha256=_digest(secret.encode()),
                permissions=dict(scope),
                created=self._moment(0.0),
                expires=None if lifetime is None else self._moment(lifetime),
            )
            tokens[identifier] = token
        return token, secret

    def revoke(self, name: str) -> Token:
        """
        Take a token out of use, from the next request on. Blocks.

        Raises:
            ConfigurationError: There is none of that name, or the file cannot be written.
        """
        with self._changing() as tokens:
            for identifier, token in tokens.items():
                if token.name == name:
                    return tokens.pop(identifier)
            raise ConfigurationError(f"There is no token {name!r}.")

    def find(self, tokens: Mapping[str, Token], secret: bytes) -> Token:
        """
        Find the token of a secret.

        Args:
            tokens: From `read`.
            secret: As it was sent.

        Returns:
            The token, with all that its scope implies.

        Raises:
            Unauthorized: It is none, or has expired.
        """
        token = tokens.get(identifier_of(secret))
        # The digest is taken and compared for a token that is not there too.
        right = hmac.compare_digest(_digest(secret), token.sha256 if token else _NO_DIGEST)
        if token is None or not right:
            raise Unauthorized("This token is not valid.")
        if self.has_expired(token):
            raise Unauthorized(f"The token {token.name} has expired.")
        return replace(token, permissions=with_implied_permissions(token.permissions))

    def _moment(self, later: float) -> datetime:
        try:
            return datetime.fromtimestamp(int(self._now() + later), UTC)
        except (OverflowError, ValueError, OSError):
            return datetime.max.replace(microsecond=0, tzinfo=UTC)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Token]]:
        """Yield the tokens under a lock; store them unless the body raises."""
        try:
            make_private_folder(self._folder)
            with private_lock(os.path.join(self._folder, "tokens.lock")):
                tokens = dict(self.read())
                yield tokens
                replace_private(self._path, _serialize(tokens))
        except OSError as error:
            raise ConfigurationError(
                f"{self._path}: the tokens cannot be written: {error.strerror}."
            ) from error


#: What no secret has for its digest.
_NO_DIGEST = "0" * 64


def identifier_of(secret: bytes) -> str:
    """Return the identifier in a secret; empty if the text is not a secret."""
    match = _SECRET.fullmatch(secret)
    return match[1].decode("ascii") if match else ""


def with_implied_permissions(scope: TokenPermissions) -> TokenPermissions:
    """Add what a scope means: who uploads has to create and to read the same projects."""
    upload = scope.get(Action.UPLOAD, ())
    more = {action: (*scope.get(action, ()), *upload) for action in (Action.CREATE, Action.READ)}
    return {action: patterns for action, patterns in {**scope, **more}.items() if patterns}


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()


def _parse(data: bytes, place: str) -> dict[str, Token]:
    """Read the file; whatever is wrong in it is damage, since no person writes it."""
    try:
        table = json.loads(data)
        if table["version"] != _VERSION:
            raise ConfigurationError(f"{place}: the tokens were written by another version of twisted-index.")
        tokens = [_token(raw) for raw in table["tokens"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigurationError(
            f"{place}: the tokens are damaged; restore the file from a backup."
        ) from error
    return {token.identifier: token for token in tokens}


def _token(raw: Mapping[str, str]) -> Token:
    scope: Mapping[str, list[str]] = raw["scope"]  # type: ignore[assignment]
    if re.fullmatch("[0-9a-f]{12}", raw["id"]) is None or re.fullmatch("[0-9a-f]{64}", raw["sha256"]) is None:
        raise ValueError(raw["id"])
    return Token(
        identifier=raw["id"],
        name=str(raw["name"]),
        sha256=raw["sha256"],
        permissions={Action(key): tuple(map(project_pattern, patterns)) for key, patterns in scope.items()},
        created=_aware(raw["created"]),
        expires=None if raw["expires"] is None else _aware(raw["expires"]),
    )


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment


def _serialize(tokens: Mapping[str, Token]) -> bytes:
    rows = [
        {
            "id": token.identifier,
            "name": token.name,
            "sha256": token.sha256,
            "scope": {action.value: list(patterns) for action, patterns in token.permissions.items()},
            "created": token.created.isoformat(),
            "expires": None if token.expires is None else token.expires.isoformat(),
        }
        for token in tokens.values()
    ]
    return json.dumps({"version": _VERSION, "tokens": rows}, indent=1).encode() + b"\n"
