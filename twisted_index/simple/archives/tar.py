"""Tar archives: POSIX.1-2017 pax, and the GNU and older formats."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.simple.archives.block_reader import BLOCK, BlockReader
from twisted_index.simple.archives.errors import CorruptArchive
from twisted_index.simple.archives.limits import MAX_MEMBERS, MAX_METADATA, MAX_TAR_HEADER, too_big
from twisted_index.simple.archives.tar_links import SymlinkTable, normalize_member_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_NO_BLOCK = bytes(BLOCK)
_FILE_KINDS = (b"0", b"\0", b"7")
_HARD_LINK, _SYMBOLIC_LINK = b"1", b"2"
_LINK_KINDS = (_HARD_LINK, _SYMBOLIC_LINK)
_KINDS_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders, pipes
_SPARSE_KIND = b"S"
_GNU_LONG = {b"L": b"path", b"K": b"linkpath"}  # the equivalent keywords of pax
_EXTENSIONS = (b"x", b"X", b"g", *_GNU_LONG)
_pax_record = re.compile(rb"(\d{1,9}) ([^=]*)=").match


class _Header(NamedTuple):
    """A member of a tar: name, kind (one byte), bytes of its body as stored, target of a link."""

    name: bytes
    kind: bytes
    size: int
    link: bytes


class _WantedMember(NamedTuple):
    """The last wanted member: a document, or a link of this name; or neither."""

    document: bytes | None = None
    link: bytes | None = None


def read_tar(
    unpack: Callable[[], Iterable[bytes]], limit: int, is_wanted: Callable[[bytes], object], *, bare: bool
) -> bytes | None:
    """
    Read a tar to its end; twice if the wanted member is a link, whose target may be any other member.

    Args:
        unpack: Returns the pieces of the tar, from its beginning.
        limit: Bytes that the tar may have.
        is_wanted: Returns whether a file is wanted, by its name.
        bare: The tar is not compressed, so only its end blocks and the zeros that pad the last record can
            prove that it is complete.

    Returns:
        The last wanted file, which is the one that remains after unpacking; None if there is none of at
        most MAX_METADATA bytes.
    """
    links = SymlinkTable()
    member = _read_through(BlockReader(unpack(), limit), is_wanted, links, bare=bare)
    if member.link is None or (target := links.resolve(member.link)) is None:
        return member.document
    return _read_through(
        BlockReader(unpack(), limit),
        lambda name: normalize_member_name(name) == target,
        SymlinkTable(),
        bare=bare,
    ).document


def _read_through(
    reader: BlockReader, is_wanted: Callable[[bytes], object], links: SymlinkTable, *, bare: bool
) -> _WantedMember:
    member, empty = _WantedMember(), True
    for header in _members(reader):
        empty = False
        if header.kind in _LINK_KINDS:
            links.put(header.name, header.link, symbolic=header.kind == _SYMBOLIC_LINK)
            if is_wanted(header.name):
                member = _WantedMember(link=header.name)
            continue
        links.drop(header.name)
        if header.kind in _FILE_KINDS and is_wanted(header.name):
            member = _WantedMember(_small_body(reader, header.size))
        elif header.kind not in _KINDS_WITHOUT_DATA:
            reader.skip_body(header.size)
    ended = reader.read_block() == _NO_BLOCK
    blank = reader.drain()
    # Nothing else distinguishes the end of a plain tar from a hole in an unfinished copy.
    if empty or (bare and not (ended and blank)):
        raise CorruptArchive
    return member


def _small_body(reader: BlockReader, size: int) -> bytes | None:
    if size <= MAX_METADATA:
        return reader.read_body(size, MAX_METADATA)
    reader.skip_body(size)
    return None


def _members(reader: BlockReader) -> Iterator[_Header]:
    """Yield each member, up to the first end block; the caller reads or skips its body."""
    extended: dict[bytes, bytes] = {}  # values for the next member, from the extended headers before it
    for _ in range(MAX_MEMBERS):
        block = reader.read_block()
        if not block.strip(b"\0"):
            return
        header = _header(block)
        if header.kind in _EXTENSIONS:
            extended |= _extension(header.kind, reader.read_body(header.size, MAX_TAR_HEADER))
            continue
        if header.kind == _SPARSE_KIND:
            _skip_sparse_map(reader, block)
        yield _apply_extended(header, extended)
        extended = {}
    raise too_big("has more members")


def _header(block: bytes) -> _Header:
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0]
    if prefix and block[257:263] == b"ustar\0":  # elsewhere these bytes have other meanings
        name = prefix + b"/" + name
    size = _number(block[124:136])
    if len(block) != BLOCK or size < 0 or not _is_checksum_valid(block):
        raise CorruptArchive
    return _Header(name, block[156:157], size, block[157:257].partition(b"\0")[0])


def _is_checksum_valid(block: bytes) -> bool:
    """Verify the header's checksum: of unsigned bytes, or of signed ones as old writers used."""
    rest = block[:148] + b" " * 8 + block[156:]
    total = sum(rest)
    claimed = _number(block[148:156])
    return claimed == total or claimed == total - 256 * sum(byte > 127 for byte in rest)


def _number(field: bytes) -> int:
    """Parse a number: octal digits, or GNU's base 256 (signed) if the first bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def _extension(kind: bytes, body: bytes) -> dict[bytes, bytes]:
    if kind in _GNU_LONG:
        return {_GNU_LONG[kind]: body.rstrip(b"\0")}
    return _pax_records(body) if kind in (b"x", b"X") else {}


def _pax_records(body: bytes) -> dict[bytes, bytes]:
    r"""Parse the records of a pax header: each is its own length, a blank, `keyword=value\n`."""
    records, at = {}, 0
    while match := _pax_record(body, at):
        at += int(match[1])
        if not match.end() < at <= len(body):
            raise CorruptArchive
        records[match[2]] = body[match.end() : at - 1]
    return records


def _apply_extended(header: _Header, extended: dict[bytes, bytes]) -> _Header:
    if not extended:
        return header
    size = int(extended.get(b"size", header.size))
    if size < 0:
        raise CorruptArchive
    return header._replace(
        name=extended.get(b"path", header.name), size=size, link=extended.get(b"linkpath", header.link)
    )


def _skip_sparse_map(reader: BlockReader, block: bytes) -> None:
    """Skip the blocks that continue the map of holes in GNU's old sparse format."""
    more = block[482]
    while more:
        block = reader.read_block()
        if len(block) != BLOCK:
            raise CorruptArchive
        more = block[504]
