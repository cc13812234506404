"""
The central directory of a zip archive (APPNOTE 6.3): what members it has, and where.

Out of scope: their bytes (see `zip`).
"""

from __future__ import annotations

import os
import re
import struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from twisted_index.simple.archives.errors import BadArchive, CorruptArchive
from twisted_index.simple.archives.limits import MAX_DIRECTORY, MAX_MEMBERS, too_big

if TYPE_CHECKING:
    from collections.abc import Iterator

_END = struct.Struct("<4s8xLLH")  # 4.3.16: signature, directory size and offset, comment length
_END64_LOCATOR = struct.Struct("<4s4xQ4x")  # 4.3.15: signature, where the next one is
_END64 = struct.Struct("<4s36xQQ")  # 4.3.14: signature, directory size and offset
_ENTRY = struct.Struct("<4s4xHH4xLLLHHH8xL")  # 4.3.12, all that is needed of it
_STEP = struct.Struct("<4s24xHHH")  # 4.3.12, all that is needed to pass over it
_ENTRY_SIZE = _ENTRY.size
_WIDE = 0xFFFFFFFF  # 4.4.8: the number stands in the zip64 field instead


class CentralDirectoryEntry(NamedTuple):
    """One record of the central directory. Sizes and the offset of its local header in bytes."""

    name: bytes
    encrypted: bool
    method: int
    crc: int
    packed: int
    size: int
    offset: int


class CentralDirectory:
    """
    The directory, strictly: its offset counts from the file's first byte, its end is the file's.

    uv refuses a wheel with other bytes in front, as those that unpack while they download have to;
    and a half-copied wheel that ends inside a zip which it contains would otherwise pass for that
    one. No number of the file is taken for a position before it is known to lie in the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        end, size, offset = _find_end(file)
        if offset + size != end:  # damaged, or it is only a stand-in for a zip64 one
            end, size, offset = _find_end64(file, end) or (end, size, offset)
        before = end - size - offset
        if before < 0:
            raise CorruptArchive
        if size > MAX_DIRECTORY:
            raise too_big("has more members")
        self._start = end - size
        if before:
            is_there = read_exactly(file, self._start, min(size, 4)) == b"PK\1\2"
            raise _beside(before, "in front of") if is_there else CorruptArchive
        self._records = read_exactly(file, self._start, size)

    def __bool__(self) -> bool:
        return bool(self._records)

    def __iter__(self) -> Iterator[CentralDirectoryEntry]:
        return (self._entry(start) for start, _ in _walk(self._records))

    def find_by_suffix(self, tail: bytes) -> list[CentralDirectoryEntry]:
        """Find the members whose names end so, without making anything of the others."""
        ends = {match.end() for match in re.finditer(re.escape(tail), self._records)}
        return [self._entry(start) for start, end in _walk(self._records) if end in ends]

    def _entry(self, start: int) -> CentralDirectoryEntry:
        entry = _entry(self._records, start)
        if entry.offset + entry.packed > self._start:  # members lie before the directory (4.3.6)
            raise CorruptArchive
        return entry


def _beside(count: int, where: str) -> BadArchive:
    there = "There is 1 byte" if count == 1 else f"There are {count:,} bytes"
    return BadArchive(f"{there} {where} the zip archive, or the file was copied only in part.")


def read_exactly(file: BinaryIO, offset: int, count: int) -> bytes:
    """Read so many bytes from there, which have to be there; any numbers will do."""
    if not 0 <= offset <= file.seek(0, os.SEEK_END) - count:
        raise CorruptArchive
    file.seek(offset)
    data = file.read(count)
    if len(data) != count:
        raise CorruptArchive
    return data


def _find_end(file: BinaryIO) -> tuple[int, int, int]:
    """Find the end record: where it stands, the size of the directory, its offset."""
    total = file.seek(0, os.SEEK_END)
    for reach in (_END.size, _END.size + 0xFFFF):  # without a comment; with any
        start = max(0, total - reach)
        tail = read_exactly(file, start, total - start)
        found = tail.rfind(b"PK\5\6")
        if 0 <= found <= len(tail) - _END.size:
            _, size, offset, comment = _END.unpack_from(tail, found)
            if found + _END.size + comment == len(tail):
                return start + found, size, offset
    raise _behind(file, start, tail)


def _behind(file: BinaryIO, start: int, tail: bytes) -> BadArchive | CorruptArchive:
    """Say why no end record stands at the end: there is one before other bytes, or none at all."""
    found = tail.rfind(b"PK\5\6", 0, max(0, len(tail) - _END.size + 4))
    if found >= 0:
        _, size, _, comment = _END.unpack_from(tail, found)
        count = len(tail) - (found + _END.size + comment)
        directory = start + found - size
        if count > 0 and directory >= 0 and read_exactly(file, directory, min(size, 4)) == b"PK\1\2":
            return _beside(count, "behind")
    return CorruptArchive()


def _find_end64(file: BinaryIO, end: int) -> tuple[int, int, int] | None:
    """Find the zip64 end record (4.3.14) that belongs to the end record at `end`, if there is one."""
    if end < _END64_LOCATOR.size:
        return None
    located = read_exactly(file, end - _END64_LOCATOR.size, _END64_LOCATOR.size)
    locator, end64 = _END64_LOCATOR.unpack(located)
    if locator != b"PK\6\7":
        return None
    signature, size, offset = _END64.unpack(read_exactly(file, end64, _END64.size))
    if signature != b"PK\6\6":
        raise CorruptArchive
    return end64, size, offset


def _walk(records: bytes) -> Iterator[tuple[int, int]]:
    """Say of each record where it starts, and where its name ends."""
    start = 0
    for _ in range(MAX_MEMBERS):
        if start == len(records):
            return
        signature, name, extra, comment = _STEP.unpack_from(records, start)
        if signature != b"PK\1\2":
            raise CorruptArchive
        end = start + _ENTRY_SIZE + name
        yield start, end
        start = end + extra + comment
    if start != len(records):
        raise too_big("has more members")


def _entry(records: bytes, start: int) -> CentralDirectoryEntry:
    _, flags, method, crc, packed, size, name, extra, _, offset = _ENTRY.unpack_from(records, start)
    begin = start + _ENTRY_SIZE
    end = begin + name
    if _WIDE in (size, packed, offset):
        wide = iter(_wide_numbers(records[end : end + extra]))
        size, packed, offset = (next(wide, n) if n == _WIDE else n for n in (size, packed, offset))
    return CentralDirectoryEntry(records[begin:end], bool(flags & 1), method, crc, packed, size, offset)


def _wide_numbers(extra: bytes) -> tuple[int, ...]:
    """Take the zip64 numbers out of an extra field (4.5.3): sizes and offset, those needed."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            return struct.unpack_from(f"<{length // 8}Q", extra, at + 4)
        at += 4 + length
    return ()
