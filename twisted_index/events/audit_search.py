"""
Finds events in the files of the audit log.

A million events have 200 MB. Whole months are skipped by their names, and blocks and lines by the bytes that
a wanted event must have in them: only the lines that are left are parsed. A search rests every millisecond,
so that other threads get the interpreter in between.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

from twisted_index.events.audit_files import BEFORE_MONTHS, AuditPosition, month_of
from twisted_index.interfaces import AuditAction, AuditEvent, AuditPage, AuditQuery

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from twisted_index.events.audit_files import AuditFolder, AuditMonth

_BLOCK = 1 << 16
#: Seconds of work, and of the rest after it. CPython interrupts a busy thread only after 5 ms,
#: and a block that is in the page cache is read before a waiting thread has woken up.
_WORK, _REST = 0.001, 0.0002
#: Bytes of a line, so that what is no event does not fill the memory.
_MAX_LINE = 1 << 20
_FIELDS = ("time", "by", "action", "project", "filename", "detail")
#: What a line has only where it is not empty.
_RARE_FIELDS = ("index", "address", "client")
#: How each line starts; the time follows, in UTC.
_START = b'{"time": "'
_SECOND = slice(len(_START), len(_START) + len("2026-11-01T00:00:00"))
_TOKEN = "token "  # noqa: S105 (a word, not a secret)
#: The name of a token at the start of the detail of its events.
_TOKEN_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
#: A line that is not empty.
_LINE = re.compile(rb"[^\n]+")


def write_event(event: AuditEvent) -> bytes:
    """Write an event as one line of JSON."""
    values = {name: getattr(event, name) for name in _FIELDS}
    values |= {name: value for name in _RARE_FIELDS if (value := getattr(event, name))}
    values["time"] = event.time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps(values).encode() + b"\n"


def parse_event(line: bytes) -> AuditEvent | None:
    """Read a line; None if it is no whole event."""
    try:
        values = json.loads(line)
        time = datetime.fromisoformat(values["time"])
        texts = {name: str(values.get(name, "")) for name in (*_FIELDS[1:], *_RARE_FIELDS)}
        return AuditEvent(time=time.astimezone(UTC), **texts) if time.tzinfo is not None else None
    # Whatever a torn line may have become: no JSON, no mapping, no time.
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None


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
        """Return the names of all tokens that someone ever made."""
        return [token for token, made in self._made.items() if any(by in names for _time, by in made)]


class AuditFilter:
    """
    Decides which events a query wants.

    Args:
        query: The query.
        makers: Makers of tokens; needed only with `by`.
    """

    def __init__(self, query: AuditQuery, makers: TokenMakers) -> None:
        self._query = query
        self._makers = makers
        self._names = (query.by, f"{query.by} (console)")
        self._patterns = [re.compile(pattern) for pattern in self._conditions()]
        self._earliest = b"" if query.since is None else _second(query.since)
        self._latest = b"\xff" if query.until is None else _second(query.until)

    def wants(self, event: AuditEvent) -> bool:
        """Return whether an event is wanted."""
        query = self._query
        return (
            (query.since is None or event.time >= query.since)
            and (query.until is None or event.time < query.until)
            and query.project in ("", event.project)
            and (not query.actions or event.action in query.actions)
            and (not query.by or self._is_by(event))
        )

    def _is_by(self, event: AuditEvent) -> bool:
        if event.by in self._names:
            return True
        token = event.by.removeprefix(_TOKEN)
        return token != event.by and self._makers.maker(token, event.time) in self._names

    def _conditions(self) -> Iterator[bytes]:
        """Yield, for each condition, a pattern of bytes that a wanted line has. The rarest comes first."""
        query = self._query
        if query.project:
            yield _pattern("project", [query.project])
        if query.by:
            tokens = self._makers.tokens_of(self._names)
            yield _pattern("by", [*self._names, *(_TOKEN + token for token in tokens)])
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
            if line.startswith(_START) and not self._earliest <= line[_SECOND] <= self._latest:
                continue
            if all(pattern.search(line) for pattern in others):
                yield start, line


def _pattern(name: str, values: Iterable[str]) -> bytes:
    """Write a pattern of a member of a JSON object that has one of several values."""
    ways = {json.dumps(value, ensure_ascii=ascii_) for value in values for ascii_ in (True, False)}
    return b'"%s"[ \t]*:[ \t]*(?:%s)' % (
        name.encode("ascii"),
        b"|".join(re.escape(way.encode("utf-8", "replace")) for way in sorted(ways)),
    )


def _second(moment: datetime) -> bytes:
    return moment.astimezone(UTC).isoformat()[:19].encode("ascii")


def blocks_from_end(file: BinaryIO, end: int) -> Iterator[tuple[int, bytes]]:
    """
    Yield a file in blocks of whole lines with their offsets, the last one first.

    Args:
        file: Open for reading.
        end: The end of the last line, in bytes from the start.
    """
    position, rest = end, b""
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        file.seek(position)
        block = file.read(size) + rest
        # The first line may begin in the block before.
        cut = block.find(b"\n") + 1 if position else 0
        if position and not cut:
            rest = block if len(block) <= _MAX_LINE else b""
            continue
        rest = block[:cut]
        yield position + cut, block[cut:]


class TokenHistory:
    """
    The tokens that were made, as the files know. A file is read again only when it has changed.

    Args:
        folder: The files.
    """

    def __init__(self, folder: AuditFolder) -> None:
        self._folder = folder
        #: The events of each file, by its path, size and time.
        self._found: dict[tuple[str, int, int], list[AuditEvent]] = {}

    def makers(self) -> TokenMakers:
        """
        Return who made which token. Blocking.

        Raises:
            OSError: A file cannot be read.
        """
        found = {}
        for month in self._folder.months():
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(month.path)
                key = (month.path, status.st_size, status.st_mtime_ns)
                known = self._found.get(key)
                found[key] = self._read(month) if known is None else known
        self._found = found
        return TokenMakers(itertools.chain.from_iterable(found.values()))

    def _read(self, month: AuditMonth) -> list[AuditEvent]:
        wanted = AuditFilter(AuditQuery(actions=frozenset({AuditAction.TOKEN_CREATE})), TokenMakers(()))
        return [event for _position, event in _in_month(self._folder, month, wanted)]


def search_files(folder: AuditFolder, tokens: TokenHistory, query: AuditQuery) -> AuditPage:
    """
    Find events in files; see `IAuditLog.search`. Blocking.

    Raises:
        OSError: A file that may have wanted events cannot be read.
    """
    makers = tokens.makers() if query.by else TokenMakers(())
    return page_of(_found(folder, query, AuditFilter(query, makers)), query.limit)


def page_of(found: Iterable[tuple[AuditPosition, AuditEvent]], limit: int) -> AuditPage:
    """Take the events of one page, and see whether another one follows."""
    first = list(itertools.islice(found, limit + 1))
    page = first[:limit]
    return AuditPage(
        events=tuple(event for _position, event in page), next=str(page[-1][0]) if len(first) > limit else ""
    )


def _found(
    folder: AuditFolder, query: AuditQuery, wanted: AuditFilter
) -> Iterator[tuple[AuditPosition, AuditEvent]]:
    """Yield the wanted events with their positions, those recorded last first."""
    before = AuditPosition.parse(query.before) if query.before else None
    earliest = "" if query.since is None else month_of(query.since)
    latest = "9999-99" if query.until is None else month_of(query.until)
    for month in folder.months():
        # What was recorded before there were months is of any month.
        if not earliest <= month.month <= latest and month.month != BEFORE_MONTHS:
            continue
        if before is not None and month[:2] > before[:2]:
            continue
        end = before.offset if before is not None and month[:2] == before[:2] else None
        yield from _in_month(folder, month, wanted, end)


def _in_month(
    folder: AuditFolder, month: AuditMonth, wanted: AuditFilter, end: int | None = None
) -> Iterator[tuple[AuditPosition, AuditEvent]]:
    """Yield the wanted events of one file, or of what is before an offset in it."""
    file = folder.open(month)
    if file is None:
        return
    with file:
        size = file.seek(0, os.SEEK_END)
        for start, line in _candidates(file, size if end is None else min(end, size), wanted):
            event = parse_event(line)
            if event is not None and wanted.wants(event):
                yield AuditPosition(month.month, month.plain, start), event


def _candidates(file: BinaryIO, end: int, wanted: AuditFilter) -> Iterator[tuple[int, bytes]]:
    rest_at = time.perf_counter() + _WORK
    for position, block in blocks_from_end(file, end):
        for start, line in wanted.candidates(block):
            rest_at = _rest(rest_at)
            yield position + start, line
        rest_at = _rest(rest_at)


def _rest(due: float) -> float:
    """Let other threads run if that is due; return when it is due again."""
    if time.perf_counter() < due:
        return due
    time.sleep(_REST)
    return time.perf_counter() + _WORK
