"""
Range requests (RFC 9110 section 14), as a server answers them and as a client sends them.

Single ranges only: installers request no others, and a server may always send the whole file instead.
Out of scope: If-Range (see `conditional`), sending the bytes (see `web.responses.send`).
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import NamedTuple

_CONTENT_RANGE = re.compile(r"bytes +([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """
    A range of at least one byte of a file.

    Attributes:
        first: Offset of the first byte, from 0.
        last: Offset of the last byte, inclusive.
    """

    first: int
    last: int

    @property
    def length(self) -> int:
        """The number of bytes: the Content-Length of the 206."""
        return self.last - self.first + 1


class Unsatisfiable(enum.Enum):
    """A range without any byte of the file: the response is 416."""

    UNSATISFIABLE = "unsatisfiable"


UNSATISFIABLE = Unsatisfiable.UNSATISFIABLE

#: Digits of an offset; one with more is beyond the end of every file. Python takes quadratic time to
#: parse long numbers and refuses very long ones.
_MAX_DIGITS = 19

#: A list of one range (section 14.1.1), whose empty elements and blanks are ignored (5.6.1.2).
_byte_range = re.compile(rb"bytes=[ \t,]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t,]*", re.IGNORECASE).fullmatch


def parse_range(header: bytes, size: int) -> ByteRange | Unsatisfiable | None:
    """
    Parse the Range field of a GET (RFC 9110 sections 14.1.2 and 14.2).

    Args:
        header: The value of the field.
        size: Bytes of the file.

    Returns:
        None if the field is to be ignored, and the whole file sent with 200: it is malformed, has
        another unit or several ranges, or requests the end of an empty file.
    """
    match = _byte_range(header.strip())
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return _suffix(_number(suffix), size)
    return _between(_number(first), _number(last) if last else None, size)


def _suffix(length: int, size: int) -> ByteRange | Unsatisfiable | None:
    """Return the last bytes: all of them if the file has fewer (poetry sends such requests)."""
    if not length:
        return UNSATISFIABLE
    return ByteRange(max(0, size - length), size - 1) if size else None


def _between(first: int, last: int | None, size: int) -> ByteRange | Unsatisfiable | None:
    if last is not None and last < first:
        return None  # section 14.1.1: such a range is invalid, not unsatisfiable
    if first >= size:
        return UNSATISFIABLE
    return ByteRange(first, size - 1 if last is None else min(last, size - 1))


def _number(digits: bytes) -> int:
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS


def format_content_range(range_: ByteRange | Unsatisfiable, size: int) -> bytes:
    """
    Write the Content-Range of a 206 or 416 (RFC 9110 section 14.4).

    Args:
        range_: From `parse_range`.
        size: Bytes of the file.
    """
    if isinstance(range_, Unsatisfiable):
        return b"bytes */%d" % size
    return b"bytes %d-%d/%d" % (range_.first, range_.last, size)


# -- As a client


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
