"""Zip archives (APPNOTE 6.3): the bytes of their members, verified by CRC and size."""

from __future__ import annotations

import functools
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO

from twisted_index.simple.archives.decompress import inflate, inflate_at_once
from twisted_index.simple.archives.errors import BUILD_AGAIN, BadArchive, CorruptArchive, translate_errors
from twisted_index.simple.archives.limits import CHUNK, MAX_METADATA, too_big
from twisted_index.simple.archives.zip_central_directory import (
    CentralDirectory,
    CentralDirectoryEntry,
    read_exactly,
)
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOCAL = struct.Struct("<4s22xHH")  # 4.3.7: signature, lengths of name and extra field
_STORED, _DEFLATED = 0, 8
_METHODS = (_STORED, _DEFLATED)
#: Bytes of a local header's extra field that are read along with a small member; most have none.
_USUAL_EXTRA = 64


class ZipArchive:
    """
    A zip archive. Nothing is read before it is needed.

    Args:
        file: The archive, seekable.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._directory: CentralDirectory | None = None

    @property
    def directory(self) -> CentralDirectory:
        """The members."""
        if self._directory is None:
            self._directory = CentralDirectory(self._file)
        return self._directory

    def read(self, entry: CentralDirectoryEntry, limit: int) -> bytes:
        """Read the verified bytes of a member."""
        content = self._read_at_once(entry, min(limit, CHUNK))
        return b"".join(self.unpack(entry, limit)) if content is None else content

    def verify(self, entry: CentralDirectoryEntry, limit: int) -> int:
        """Verify a member and return how many bytes it unpacks to."""
        content = self._read_at_once(entry, min(limit, CHUNK))
        return sum(map(len, self.unpack(entry, limit))) if content is None else len(content)

    def unpack(self, entry: CentralDirectoryEntry, limit: int) -> Iterator[bytes]:
        """Yield the bytes of a member; after the last piece, they are verified."""
        crc = size = 0
        try:
            for chunk in self._unpacked(entry):
                crc = zlib.crc32(chunk, crc)
                size += len(chunk)
                if size > limit:
                    raise too_big("unpacks to more bytes")
                yield chunk
        except (CorruptArchive, zlib.error):
            raise _damaged(entry) from None
        if (crc, size) != (entry.crc, entry.size):
            raise _damaged(entry)

    def _read_at_once(self, entry: CentralDirectoryEntry, limit: int) -> bytes | None:
        """
        Read and unpack a small member in one step, as nearly all are.

        Returns:
            Its verified bytes; None if it is larger, unusual or damaged, which `unpack` handles.
        """
        _, encrypted, method, crc, packed, size, offset = entry
        if encrypted or method not in _METHODS or size > limit or packed > limit:
            return None
        begin = _LOCAL.size + len(entry.name)
        self._file.seek(offset)
        record = self._file.read(begin + packed + _USUAL_EXTRA)
        if len(record) < begin:
            return None
        signature, name, extra = _LOCAL.unpack_from(record)
        if signature != b"PK\3\4" or name != len(entry.name) or record[_LOCAL.size : begin] != entry.name:
            return None
        body = record[begin + extra : begin + extra + packed]
        if len(body) != packed:
            return None
        content = body if method == _STORED else inflate_at_once(body, size)
        return content if content is not None and (zlib.crc32(content), len(content)) == (crc, size) else None

    def _unpacked(self, entry: CentralDirectoryEntry) -> Iterator[bytes]:
        if entry.encrypted:
            raise BadArchive("The file has encrypted members, which no installer can read.", BUILD_AGAIN)
        if entry.method == _STORED:
            return self._packed(entry)
        if entry.method == _DEFLATED:
            return inflate(self._packed(entry))
        return self._unusual(entry)

    def _packed(self, entry: CentralDirectoryEntry) -> Iterator[bytes]:
        self._file.seek(self._start_of_data(entry))
        left = entry.packed
        while left:
            piece = self._file.read(min(left, CHUNK))
            if not piece:
                raise CorruptArchive
            left -= len(piece)
            yield piece

    def _start_of_data(self, entry: CentralDirectoryEntry) -> int:
        local = read_exactly(self._file, entry.offset, _LOCAL.size + len(entry.name))
        signature, name, extra = _LOCAL.unpack_from(local)
        if signature != b"PK\3\4" or name != len(entry.name) or local[_LOCAL.size :] != entry.name:
            raise CorruptArchive
        return entry.offset + len(local) + int(extra)

    def _unusual(self, entry: CentralDirectoryEntry) -> Iterator[bytes]:
        """
        Unpack a member that is neither stored nor deflated, if this Python can.

        pip installs such wheels, newer versions of uv reject them. `zipfile` unpacks all input of one read
        without a limit: so the reads are the shortest possible, 4096 bytes, which unpack to some 100 MB at
        worst.
        """
        try:
            opened = self._zipfile.open(self._infos[entry.offset])
        except NotImplementedError:
            reason = f"The file has members with compression method {entry.method}, which is not supported."
            raise BadArchive(reason, "Build it again with the usual compression, deflate.") from None
        try:
            with opened:
                while chunk := opened.read(4096):
                    yield chunk
        except MemoryError:  # lzma allocates a dictionary of any size that the member names
            raise too_big("has members that take more memory") from None

    @functools.cached_property
    def _zipfile(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self._file)

    @functools.cached_property
    def _infos(self) -> dict[int, zipfile.ZipInfo]:
        return {info.header_offset: info for info in self._zipfile.infolist()}


def _damaged(entry: CentralDirectoryEntry) -> BadArchive:
    name = printable(entry.name.decode("utf-8", "backslashreplace"))[:200]
    return BadArchive(f"The file's member {name} is damaged, or was copied only in part.")


def read_zip(archive: ZipArchive, limit: int, is_wanted: Callable[[bytes], object]) -> bytes | None:
    """
    Read a zip archive to its end.

    Args:
        archive: The archive.
        limit: Bytes that all members together may unpack to.
        is_wanted: Returns whether a member is wanted, by its name.

    Returns:
        The last wanted member; None if there is none of at most MAX_METADATA bytes.

    Raises:
        CorruptArchive: The archive has no members.
        BadArchive: A member does not match its directory entry.
    """
    if not archive.directory:
        raise CorruptArchive
    document = None
    for entry in archive.directory:
        if is_wanted(entry.name) and entry.size <= MAX_METADATA:
            document = archive.read(entry, min(limit, MAX_METADATA))
            limit -= len(document)
        else:
            limit -= archive.verify(entry, limit)
    return document


@translate_errors("a zip archive")
def check_wheel_members(wheel: ZipArchive, limit: int) -> None:
    """
    Verify that every member of a wheel is complete.

    A wheel that is still being written can already have a complete directory and METADATA: its members may
    be written in any order.

    Args:
        wheel: The wheel.
        limit: Bytes that all members together may unpack to.

    Raises:
        BadArchive: A member's bytes do not match its CRC or size, or exceed the limit.
    """
    read_zip(wheel, limit, lambda _: False)
