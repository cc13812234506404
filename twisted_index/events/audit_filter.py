"""
Which events a query wants, and which lines may have them.

A line is judged by bytes that a wanted event must have in it, since most lines then need not be parsed; an
event is judged by what it says.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from datetime import UTC
from typing import TYPE_CHECKING

from twisted_index.events.audit_lines import LINE_START
from twisted_index.interfaces import AuditAction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from twisted_index.interfaces import AuditEvent, AuditQuery

#: The second of an event in its line.
_SECOND = slice(len(LINE_START), len(LINE_START) + len("2026-11-01T00:00:00"))
_TOKEN = "token "  # noqa: S105 (a word, not a secret)
#: The name of a token at the start of the detail of its events.
_TOKEN_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
#: A token makes and revokes none.
_NEVER_BY_TOKENS = frozenset({AuditAction.TOKEN_CREATE, AuditAction.TOKEN_REVOKE})
#: Up to so many values, an expression of all of them is faster than a look at each line's value.
_FEW = 32
#: A line that is not empty.
_LINE = re.compile(rb"[^\n]+")


class TokenMakers:
    """
    Who made which token, as far as the audit log knows. A name may be used again after a revocation.

    Args:
        events: Those of tokens that were made, in any order.
    """

    def __init__(self, events: Iterable[AuditEvent]) -> None:
        self._made: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
        for event in events:
            name = _TOKEN_NAME.match(event.detail)
            if name is not None:
                self._made[name[0]].append((event.time, event.by))
        for made in self._made.values():
            made.sort()

    def maker(self, token: str, time: datetime) -> str:
        """Return who made the token that had a name at a time; empty if that is unknown."""
        return next((by for made, by in reversed(self._made.get(token, ())) if made <= time), "")

    def tokens_of(self, names: tuple[str, ...]) -> list[str]:
        """Return the names of all tokens that one of these makers ever made."""
        return [token for token, made in self._made.items() if any(by in names for _time, by in made)]


def depends_on_makers(query: AuditQuery) -> bool:
    """Return whether what a query finds depends on who made which token."""
    return bool(query.by) and (not query.actions or not query.actions <= _NEVER_BY_TOKENS)


class AuditFilter:
    """
    Decides which events a query wants.

    Args:
        query: The query.
        makers: Makers of tokens; not needed unless `depends_on_makers`.

    Attributes:
        bys: Whose events are wanted: users and tokens; empty for all.
    """

    def __init__(self, query: AuditQuery, makers: TokenMakers) -> None:
        self._query = query
        self._makers = makers
        self._names = (query.by, f"{query.by} (console)")
        self.bys = self._bys() if query.by else ()
        self._patterns = list(self._conditions())
        self._earliest = b"" if query.since is None else _second(query.since)
        self._latest = b"\xff" if query.until is None else _second(query.until)

    def _bys(self) -> tuple[str, ...]:
        return (*self._names, *(_TOKEN + token for token in self._makers.tokens_of(self._names)))

    def wants(self, event: AuditEvent) -> bool:
        """Return whether an event is wanted."""
        query = self._query
        return (
            (query.since is None or event.time >= query.since)
            and (query.until is None or event.time < query.until)
            and query.project in ("", event.project)
            and (not query.actions or event.action in query.actions)
            and (not query.indexes or event.index in query.indexes)
            and (not query.by or self._is_by(event))
        )

    def _is_by(self, event: AuditEvent) -> bool:
        if event.by in self._names:
            return True
        token = event.by.removeprefix(_TOKEN)
        return token != event.by and self._makers.maker(token, event.time) in self._names

    def _conditions(self) -> Iterator[re.Pattern[bytes] | _OneOf]:
        """Yield, for each condition, a pattern that a wanted line has. The rarest comes first."""
        query = self._query
        if query.project:
            yield _pattern("project", [query.project])
        if query.by:
            yield _pattern("by", self.bys)
        if query.indexes and "" not in query.indexes:
            yield _pattern("index", query.indexes)
        if query.actions:
            yield _pattern("action", query.actions)

    def candidates(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        """
        Find the lines of a block that may be wanted, the last one first.

        Args:
            block: Whole lines.

        Returns:
            Lines, each with its offset.
        """
        first, *others = self._patterns or [_LINE]
        end = len(block) + 1
        for found in reversed(list(first.finditer(block))):
            if found.start() >= end:
                continue  # in the same line as the one before
            end = start = block.rfind(b"\n", 0, found.start()) + 1
            stop = block.find(b"\n", found.end())
            line = block[start:stop] if stop >= 0 else block[start:]
            if line.startswith(LINE_START) and not self._earliest <= line[_SECOND] <= self._latest:
                continue
            if all(pattern.search(line) for pattern in others):
                yield start, line


def _pattern(name: str, values: Iterable[str]) -> re.Pattern[bytes] | _OneOf:
    """Write a pattern of a member of a JSON object that has one of several values."""
    ways = {json.dumps(value, ensure_ascii=ascii_) for value in values for ascii_ in (True, False)}
    written = sorted(way.encode("utf-8", "replace") for way in ways)
    member = b'"%s"[ \t]*:[ \t]*' % name.encode("ascii")
    if len(written) > _FEW:
        return _OneOf(re.compile(member + rb'("(?:[^"\\\n]|\\.)*+")'), frozenset(written))
    return re.compile(member + b"(?:%s)" % b"|".join(map(re.escape, written)))


class _OneOf:
    """
    A pattern whose group has one of very many values, such as the names of a user's tokens for years.

    Args:
        pattern: With one group.
        values: Of the group.
    """

    def __init__(self, pattern: re.Pattern[bytes], values: frozenset[bytes]) -> None:
        self._pattern = pattern
        self._values = values

    def finditer(self, block: bytes) -> Iterator[re.Match[bytes]]:
        """Yield each match in a block."""
        return (match for match in self._pattern.finditer(block) if match[1] in self._values)

    def search(self, line: bytes) -> re.Match[bytes] | None:
        """Return the first match in a line."""
        return next(self.finditer(line), None)


def _second(moment: datetime) -> bytes:
    return moment.astimezone(UTC).isoformat()[:19].encode("ascii")
