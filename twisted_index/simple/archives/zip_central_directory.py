"""
The central directory of a zip archive (APPNOTE 6.3): its members and their positions.

Out of scope: the bytes of members (see `zip`).
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from twisted_index.simple.archives.errors import BadArchive, CorruptArchive
from twisted_index.simple.archives.limits import MAX_DIRECTORY, MAX_MEMBERS, too_big

if TYPE_CHECKING:
    from collections.abc import Iterator

_END = struct.Struct("<4s8xLLH")  # 4.3.16: signature, directory size and offset, comment length
_END64_LOCATOR = struct.Struct("<4s4xQ4x")  # 4.3.15: signature, offset of the zip64 end record
_END64 = struct.Struct("<4s36xQQ")  # 4.3.14: signature, directory size and offset
_ENTRY = struct.Struct("<4s4xHH4xLLLHHH8xL")  # 4.3.12, the fields of CentralDirectoryEntry
_ENTRY_SIZE = _ENTRY.size
_WIDE = 0xFFFFFFFF  # 4.4.8: the number is in the zip64 field instead


class CentralDirectoryEntry(NamedTuple):
    """An entry of the central directory. Sizes and the offset of its local header in bytes."""

    name: bytes
    encrypted: bool
    method: int
    crc: int
    packed: int
    size: int
    offset: int


class CentralDirectory:
    """
    The central directory, parsed strictly: no other bytes before or after the archive.

    uv rejects a wheel with other bytes in front, like every reader that unpacks while downloading; and a
    partial copy of a wheel that ends inside a nested zip would otherwise be read as that one. Every
    position in the file is checked before it is used.
    """

    def __init__(self, file: BinaryIO) -> None:
        end, size, offset = _find_end(file)
        if offset + size != end:  # damaged, or a placeholder for the zip64 record
            end, size, offset = _find_end64(file, end) or (end, size, offset)
        before = end - size - offset
        if before < 0:
            raise CorruptArchive
        if size > MAX_DIRECTORY:
            raise too_big("has more members")
        self._start = end - size
        if before:
            has_entry = read_exactly(file, self._start, min(size, 4)) == b"PK\1\2"
            raise _extra_bytes_error(before, "in front of") if has_entry else CorruptArchive
        self._records = read_exactly(file, self._start, size)

    def __bool__(self) -> bool:
        return bool(self._records)

    def __iter__(self) -> Iterator[CentralDirectoryEntry]:
        return map(self._checked, _entries(self._records))

    def find_by_suffix(self, tail: bytes) -> list[CentralDirectoryEntry]:
        """Find the members whose names end in `tail`, without creating the other entries."""
        return [self._checked(entry) for entry in _entries(self._records, tail)]

    def _checked(self, entry: CentralDirectoryEntry) -> CentralDirectoryEntry:
        if entry.offset + entry.packed > self._start:  # members precede the directory (4.3.6)
            raise CorruptArchive
        return entry


def _extra_bytes_error(count: int, where: str) -> BadArchive:
    there = "There is 1 byte" if count == 1 else f"There are {count:,} bytes"
    return BadArchive(f"{there} {where} the zip archive, or the file was copied only in part.")


def read_exactly(file: BinaryIO, offset: int, count: int) -> bytes:
    """Read `count` bytes at an offset; CorruptArchive if they are not all in the file."""
    if not 0 <= offset <= file.seek(0, os.SEEK_END) - count:
        raise CorruptArchive
    file.seek(offset)
    data = file.read(count)
    if len(data) != count:
        raise CorruptArchive
    return data


def _find_end(file: BinaryIO) -> tuple[int, int, int]:
    """Find the end record: its position, the size of the directory, the offset of the directory."""
    total = file.seek(0, os.SEEK_END)
    for reach in (_END.size, _END.size + 0xFFFF):  # without a comment; with the longest
        start = max(0, total - reach)
        tail = read_exactly(file, start, total - start)
        at = tail.rfind(b"PK\5\6")
        if 0 <= at <= len(tail) - _END.size:
            _, size, offset, comment = _END.unpack_from(tail, at)
            if at + _END.size + comment == len(tail):
                return start + at, size, offset
    raise _end_error(file, start, tail)


def _end_error(file: BinaryIO, start: int, tail: bytes) -> BadArchive | CorruptArchive:
    """Return the error for a missing end record: it is followed by other bytes, or does not exist."""
    at = tail.rfind(b"PK\5\6", 0, max(0, len(tail) - _END.size + 4))
    if at >= 0:
        _, size, _, comment = _END.unpack_from(tail, at)
        count = len(tail) - (at + _END.size + comment)
        directory = start + at - size
        if count > 0 and directory >= 0 and read_exactly(file, directory, min(size, 4)) == b"PK\1\2":
            return _extra_bytes_error(count, "behind")
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


def _entries(records: bytes, tail: bytes = b"") -> Iterator[CentralDirectoryEntry]:
    """Yield the entries whose names end in `tail`. One loop: a wheel may have ten thousand members."""
    start, total, unpack = 0, len(records), _ENTRY.unpack_from
    for _ in range(MAX_MEMBERS):
        if start == total:
            return
        signature, flags, method, crc, packed, size, name, extra, comment, offset = unpack(records, start)
        if signature != b"PK\1\2":
            raise CorruptArchive
        begin = start + _ENTRY_SIZE
        end = begin + name
        if records.endswith(tail, begin, end):
            if _WIDE in (size, packed, offset):
                wide = iter(_wide_numbers(records[end : end + extra]))
                size, packed, offset = (next(wide, n) if n == _WIDE else n for n in (size, packed, offset))
            encrypted = bool(flags & 1)
            yield CentralDirectoryEntry(records[begin:end], encrypted, method, crc, packed, size, offset)
        start = end + extra + comment
    if start != total:
        raise too_big("has more members")


def _wide_numbers(extra: bytes) -> tuple[int, ...]:
    """Read the zip64 numbers from an extra field (4.5.3): those of sizes and offset that are needed."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            return struct.unpack_from(f"<{length // 8}Q", extra, at + 4)
        at += 4 + length
    return ()
