"""The Content-Range of a response, and the Range field that requests it (RFC 9110 section 14)."""

from __future__ import annotations

import re
from typing import NamedTuple

_CONTENT_RANGE = re.compile(r"bytes +([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE)


class ContentRange(NamedTuple):
    """The first and last position of the part, and the size of the whole file, None if unknown."""

    first: int
    last: int
    total: int | None


def parse_content_range(value: str) -> ContentRange | None:
    """Parse the field; None if it is malformed or impossible."""
    match = _CONTENT_RANGE.fullmatch(value.strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if first > last or (total is not None and last >= total):
        return None
    return ContentRange(first, last, total)


def format_range(first: int | None, last: int | None) -> bytes | None:
    """
    Write a Range field.

    Args:
        first: None for the whole file, or for a suffix of `last` bytes.
        last: The last position, inclusive; without `first`, the length of the suffix.
    """
    if first is None:
        return None if last is None else b"bytes=-%d" % last
    return b"bytes=%d-" % first if last is None else b"bytes=%d-%d" % (first, last)


def satisfies(found: ContentRange, first: int | None, last: int | None) -> bool:
    """Whether a part is the requested one, up to the end of the file."""
    if first is None:
        if last is None or found.total is None:
            return False
        return (found.first, found.last) == (max(0, found.total - last), found.total - 1)
    if found.first != first:
        return False
    end = None if found.total is None else found.total - 1
    expected = end if last is None else last if end is None else min(last, end)
    return expected is None or found.last == expected
