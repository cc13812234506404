"""
Finds events in the files of the audit log.

A million events have 200 MB. Whole months are skipped by their names, and blocks and lines by the bytes that
a wanted event must have in them: only the lines that are left are parsed. A search rests every millisecond,
so that other threads get the interpreter in between.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from typing import TYPE_CHECKING, BinaryIO

from twisted_index.events.audit_files import BEFORE_MONTHS, AuditPosition, month_of
from twisted_index.events.audit_filter import AuditFilter, TokenMakers
from twisted_index.events.audit_lines import blocks_from_end, parse_event
from twisted_index.interfaces import AuditAction, AuditPage, AuditQuery

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twisted_index.events.audit_files import AuditFolder, AuditMonth
    from twisted_index.interfaces import AuditEvent

#: Seconds of work, and of the rest after it. CPython interrupts a busy thread only after 5 ms,
#: and a block that is in the page cache is read before a waiting thread has woken up.
_WORK, _REST = 0.001, 0.0002


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

    def events(self) -> list[AuditEvent]:
        """
        Return the events of all tokens that were made. Blocking.

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
        return list(itertools.chain.from_iterable(found.values()))

    def _read(self, month: AuditMonth) -> list[AuditEvent]:
        wanted = AuditFilter(AuditQuery(actions=frozenset({AuditAction.TOKEN_CREATE})), TokenMakers(()))
        return [event for _position, event in _in_month(self._folder, month, wanted)]


def search_files(
    folder: AuditFolder, query: AuditQuery, makers: TokenMakers
) -> list[tuple[AuditPosition, AuditEvent]]:
    """
    Find events in files, one more than a page has, with their positions. Blocking.

    Raises:
        OSError: A file that may have wanted events cannot be read.
    """
    found = _found(folder, query, AuditFilter(query, makers))
    return list(itertools.islice(found, query.limit + 1))


def page_of(first: Sequence[tuple[AuditPosition, AuditEvent]], limit: int) -> AuditPage:
    """Make a page of events of which one more follows if there is another page."""
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
