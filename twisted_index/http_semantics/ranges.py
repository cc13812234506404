"""
Range requests (RFC 9110 section 14): which bytes of a file are asked for.

Single ranges only, which is all that installers request; a server may always send the whole file
instead. Out of scope: If-Range (see `conditional`), sending the bytes.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ByteRange:
    """
    Some bytes of a file, at least one.

    Attributes:
        first: Offset of the first one, from 0.
        last: Offset of the last one, which is included.
    """

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many bytes these are: the Content-Length of the 206."""
        return self.last - self.first + 1


class Unsatisfiable(enum.Enum):
    """A range that no byte of the file lies in: the answer is 416."""

    UNSATISFIABLE = "unsatisfiable"


UNSATISFIABLE = Unsatisfiable.UNSATISFIABLE

#: Digits of an offset that are looked at; with more it lies behind the end of every file. Python
#: takes quadratic time for long numbers and refuses very long ones.
_MAX_DIGITS = 19

#: A list of one range (section 14.1.1), whose empty elements and blanks are passed over (5.6.1.2).
_byte_range = re.compile(rb"bytes=[ \t,]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t,]*", re.IGNORECASE).fullmatch


def parse_range(header: bytes, size: int) -> ByteRange | Unsatisfiable | None:
    """
    Read the Range field of a GET (RFC 9110 sections 14.1.2 and 14.2).

    Args:
        header: The value of the field.
        size: Of the file, in bytes.

    Returns:
        None if the field is to be ignored, and the whole file sent with 200: it is malformed, has
        another unit or several ranges, or asks for the end of a file that is empty.
    """
    match = _byte_range(header.strip())
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return _suffix(_number(suffix), size)
    return _between(_number(first), _number(last) if last else None, size)


def _suffix(length: int, size: int) -> ByteRange | Unsatisfiable | None:
    """Take the last bytes: all of them if the file has fewer (poetry asks so for small files)."""
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
        range_: What `parse_range` found.
        size: Of the file, in bytes.
    """
    if isinstance(range_, Unsatisfiable):
        return b"bytes */%d" % size
    return b"bytes %d-%d/%d" % (range_.first, range_.last, size)
