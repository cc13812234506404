"""What a Content-Range field says (RFC 9110 section 14.4)."""

from __future__ import annotations

import re
from typing import NamedTuple

_CONTENT_RANGE = re.compile(r"bytes +([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE)


class ContentRange(NamedTuple):
    """The first and last position of what comes, and the bytes of the whole file, if they are told."""

    first: int
    last: int
    total: int | None


def parse_content_range(value: str) -> ContentRange | None:
    """Read the field; None if it says nothing that could be so."""
    match = _CONTENT_RANGE.fullmatch(value.strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if first > last or (total is not None and last >= total):
        return None
    return ContentRange(first, last, total)


def range_field(first: int | None, last: int | None) -> bytes | None:
    """
    Write a Range field.

    Args:
        first: None for the whole file, and with `last` for the last so many bytes.
        last: The last position, inclusive; or, without `first`, how many bytes.
    """
    if first is None:
        return None if last is None else b"bytes=-%d" % last
    return b"bytes=%d-" % first if last is None else b"bytes=%d-%d" % (first, last)


def answers(found: ContentRange, first: int | None, last: int | None) -> bool:
    """Tell whether a range is the one that was asked for, as far as the file goes."""
    if first is None:
        if last is None or found.total is None:
            return False
        return (found.first, found.last) == (max(0, found.total - last), found.total - 1)
    if found.first != first:
        return False
    end = None if found.total is None else found.total - 1
    wanted = end if last is None else last if end is None else min(last, end)
    return wanted is None or found.last == wanted
