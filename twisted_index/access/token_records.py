"""
What is kept of tokens, and how the file of them is written.

The file is a JSON document with one token per line. A line is understood when its token is needed: a change
of a file of 100,000 tokens then costs a look at its lines, not their meaning. Version 1 had each token on
several lines, and `scope` for `permissions`; it is still read. A line without `indexes` is of a token for the
index without a name only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted_index.errors import ConfigurationError
from twisted_index.interfaces import Action
from twisted_index.simple.name_patterns import NO_NAME, index_pattern, project_pattern

if TYPE_CHECKING:
    from collections.abc import Collection

_HEAD = b'{"version":2,"tokens":['
_TAIL = b"]}"
#: A line as `_row` writes it; names need no escapes.
_ROW = re.compile(
    rb'\{"id":"([0-9a-f]{12})","name":"[\w.-]+","sha256":"[0-9a-f]{64}","permissions":\{[^{}]*\},'
    rb'"created":"[^"]+","expires":(?:null|"[^"]+"),"by":"(?:[^"\\]|\\.)*","bound":(?:true|false)'
    rb'(?:,"indexes":\["[\w.*?-]*"(?:,"[\w.*?-]*")*\])?\}'
)

TokenPermissions: TypeAlias = Mapping[Action, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """
    What is kept of a token.

    Attributes:
        identifier: In the secret, so that the token can be looked up by it.
        name: Given by its maker.
        sha256: Lower-case hex digest of the whole secret.
        permissions: What it is good for: patterns of projects by action, as they were asked for.
        indexes: Where: patterns from `index_pattern`.
        created: Aware, UTC.
        expires: The same; None for never.
        by: Its maker: a user, or `USER (console)`; empty if that was not noted.
        bound: Whether it belongs to the user who made it, and may do no more than that user.
    """

    identifier: str
    name: str
    sha256: str
    permissions: TokenPermissions
    indexes: tuple[str, ...] = (NO_NAME,)
    created: datetime
    expires: datetime | None = None
    by: str = ""
    bound: bool = False

    @property
    def owner(self) -> str | None:
        """The user whom it belongs to; None for a token of the console."""
        return self.by if self.bound else None


class TokenTable(Mapping[str, Token]):
    """
    All tokens, by identifier, in the order in which they were made.

    Args:
        rows: The line of each token.
        place: Name of the file in errors.
    """

    def __init__(self, rows: Mapping[str, bytes], place: str) -> None:
        self._rows = rows
        self._place = place

    @classmethod
    def parse(cls, data: bytes, place: str) -> TokenTable:
        """
        Read the file; whatever is wrong in it is damage, since no person writes it.

        Raises:
            ConfigurationError: It is damaged, or of another version.
        """
        head, *lines = data.split(b"\n")
        if head != _HEAD:
            return cls(_rows_of_another_version(data, place), place)
        if lines[-2:] != [_TAIL, b""]:
            raise _damaged(place)
        rows = {}
        for line in lines[:-2]:
            row = line.removesuffix(b",")
            match = _ROW.fullmatch(row)
            if match is None:
                raise _damaged(place)
            rows[match[1].decode("ascii")] = row
        return cls(rows, place)

    def __getitem__(self, identifier: str) -> Token:
        row = self._rows[identifier]
        try:
            return _token(json.loads(row))
        except _WRONG as error:
            raise _damaged(self._place) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def named(self, name: str) -> Token | None:
        """Return the token of a name."""
        return next(self._with("name", name), None)

    def owned_by(self, user: str) -> list[Token]:
        """Return the tokens that belong to a user."""
        return [token for token in self._with("by", user) if token.bound]

    def plus(self, token: Token) -> TokenTable:
        """Return these and another token."""
        return TokenTable({**self._rows, token.identifier: _row(token)}, self._place)

    def without(self, identifiers: Collection[str]) -> TokenTable:
        """Return these but some."""
        kept = {key: row for key, row in self._rows.items() if key not in identifiers}
        return TokenTable(kept, self._place)

    def serialize(self) -> bytes:
        """Write the file."""
        rows = [b",\n".join(self._rows.values())] if self._rows else []
        return b"\n".join([_HEAD, *rows, _TAIL, b""])

    def _with(self, key: str, value: str) -> Iterator[Token]:
        """Yield the tokens that have a value; other lines are not understood for that."""
        written = json.dumps({key: value}, separators=(",", ":"))[1:-1].encode("ascii")
        return (self[identifier] for identifier, row in self._rows.items() if written in row)


_WRONG = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


def _damaged(place: str) -> ConfigurationError:
    return ConfigurationError(f"{place}: the tokens are damaged; restore the file from a backup.")


def _rows_of_another_version(data: bytes, place: str) -> dict[str, bytes]:
    try:
        table = json.loads(data)
        if table["version"] not in (1, 2):
            raise ConfigurationError(f"{place}: the tokens were written by another version of twisted-index.")
        added = {"by": "", "bound": False}
        tokens = [_token({**added, "permissions": raw.get("scope"), **raw}) for raw in table["tokens"]]
    except _WRONG as error:
        raise _damaged(place) from error
    return {token.identifier: _row(token) for token in tokens}


def _token(raw: Mapping[str, Any]) -> Token:
    if re.fullmatch("[0-9a-f]{12}", raw["id"]) is None or re.fullmatch("[0-9a-f]{64}", raw["sha256"]) is None:
        raise ValueError(raw["id"])
    return Token(
        identifier=raw["id"],
        name=str(raw["name"]),
        sha256=raw["sha256"],
        permissions={
            Action(key): tuple(map(project_pattern, patterns)) for key, patterns in raw["permissions"].items()
        },
        indexes=tuple(map(index_pattern, raw.get("indexes", (NO_NAME,)))),
        created=_aware(raw["created"]),
        expires=None if raw["expires"] is None else _aware(raw["expires"]),
        by=str(raw["by"]),
        bound=bool(raw["bound"]),
    )


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment


def _row(token: Token) -> bytes:
    row = {
        "id": token.identifier,
        "name": token.name,
        "sha256": token.sha256,
        "permissions": {action.value: list(patterns) for action, patterns in token.permissions.items()},
        "created": token.created.isoformat(),
        "expires": None if token.expires is None else token.expires.isoformat(),
        "by": token.by,
        "bound": token.bound,
        **({} if token.indexes == (NO_NAME,) else {"indexes": list(token.indexes)}),
    }
    return json.dumps(row, separators=(",", ":")).encode("ascii")
