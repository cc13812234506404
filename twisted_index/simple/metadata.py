"""
METADATA out of a wheel, PKG-INFO out of an sdist, and the few headers that an index needs of them.

Everything is read from an open, seekable, binary file, within limits; nothing is ever unpacked to
disk. The functions block: their caller runs them in a thread. They run beside a reactor that shares
the interpreter with them, so they keep their share of Python small and leave the rest to zlib, bz2
and lzma, which let other threads run meanwhile. That is why archives are walked here: for a wheel
of 200 members `zipfile` takes six times as long as this, because it makes an object of each; a tar
of 300 small members costs `tarfile` about twice as much, unpacking included, and it lets hostile
headers take memory without a bound.

Not for: deciding which files are distributions (`names`), or remembering what was read.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import lzma
import os
import re
import struct
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from twisted_index.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: Bytes of a METADATA or PKG-INFO. The largest in the field have some hundred thousand.
MAX_METADATA = 16 * 1024 * 1024
#: Members of an archive. The largest wheels in the field have some ten thousand.
MAX_MEMBERS = 200_000
#: Bytes of a zip archive's central directory: MAX_MEMBERS of them with long names.
MAX_DIRECTORY = 64 * 1024 * 1024
#: Bytes of one extended header of a tar (a long name, a set of pax records).
MAX_TAR_HEADER = 1024 * 1024
#: Bytes that the xz decoder may hold; its highest preset, -9, takes 65 MiB.
MAX_XZ_MEMORY = 128 * 1024 * 1024
#: Bytes of a document that are searched for its headers, in one step that no thread can interrupt:
#: 10 ms if they are full of long lines, some 50 ms if of the shortest. Old documents have a
#: description of some hundred thousand bytes among them.
MAX_HEADERS = 1024 * 1024
#: Characters of a Requires-Python that is looked at. Real ones have less than a hundred.
MAX_SPECIFIERS = 1024

_CHUNK = 128 * 1024
_COPY_AGAIN = "Copy it again; if that does not help, build it again."
_BUILD_AGAIN = "Build it again with a current build tool."


class BadArchive(BadRequest):
    """
    A file that is not the distribution that its name promises.

    Args:
        reason: One sentence: what is wrong with it. Safe to show to anybody.
        advice: One sentence: what to do about it.
    """

    def __init__(self, reason: str, advice: str = _COPY_AGAIN) -> None:
        super().__init__(f"{reason} {advice}")
        self.reason = reason
        self.advice = advice


class Unreadable(BadArchive):
    """
    The operating system could not read the file: nothing is known of what is in it.

    Unlike its base this says nothing lasting about these bytes, so another try may go well.
    """


class _Damage(Exception):
    """Bytes that break the format; `_refusing` says so in a sentence."""


#: What the standard library raises on hostile bytes, apart from OSError (and RuntimeError is also
#: NotImplementedError: a compression that this Python does not know).
_HOSTILE = (
    _Damage,
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Turn all that hostile bytes can cause into a BadArchive that says the file is not `what`."""
    reason = f"The file is not {what}, or was copied only in part."
    try:
        yield
    except OSError as error:
        # bz2 and gzip raise OSError for bad data too, but only the system sets errno.
        if error.errno is not None:
            raise Unreadable("The file could not be read.", "Look at its disk and its rights.") from error
        raise BadArchive(reason) from error
    except _HOSTILE as error:
        raise BadArchive(reason) from error


def _too_big(what: str) -> BadArchive:
    return BadArchive(f"The file {what} than this index unpacks.", "Make it smaller.")


# --- The three questions --------------------------------------------------------------------------


@_refusing("a zip archive")
def read_wheel_metadata(file: BinaryIO) -> bytes:
    """
    Read the core metadata of a wheel (binary distribution format, PEP 427).

    Args:
        file: The wheel, seekable.

    Returns:
        The bytes of its one top-level `*.dist-info/METADATA`; their CRC is right.

    Raises:
        BadArchive: It is no whole zip archive, or does not hold exactly one such member, or that
            has more than MAX_METADATA bytes.
    """
    archive = _Zip(file)
    found = [entry for entry in archive.ending_with(b".dist-info/METADATA") if entry.name.count(b"/") == 1]
    if len(found) != 1:
        many = "no" if not found else "more than one"
        raise BadArchive(f"The file holds {many} .dist-info/METADATA, so it is not a wheel.", _BUILD_AGAIN)
    return b"".join(archive.unpack(found[0], MAX_METADATA))


@_refusing("a zip archive")
def check_wheel_members(file: BinaryIO, limit: int) -> None:
    """
    Prove that every member of a wheel is all there.

    A wheel that is still being written can have a whole directory and a whole METADATA already:
    its members may be written in any order.

    Args:
        file: The wheel, seekable.
        limit: Bytes that all members together may unpack to.

    Raises:
        BadArchive: A member's bytes contradict its CRC or its size, or are more than allowed.
    """
    archive = _Zip(file)
    for entry in archive:
        limit -= sum(map(len, archive.unpack(entry, limit)))


def read_sdist_metadata(file: BinaryIO, extension: str, limit: int) -> bytes:
    """
    Read an sdist to its end and return its core metadata (source distribution format, PEP 643).

    Args:
        file: The sdist, seekable.
        extension: One of `.tar.gz`, `.tgz`, `.tar.bz2`, `.tar.xz`, `.tar` and `.zip`.
        limit: Bytes that it may unpack to.

    Returns:
        The bytes of the PKG-INFO in its top folder.

    Raises:
        BadArchive: It is not a whole archive of that kind, unpacks to more, or has no PKG-INFO.
    """
    kind = _SDISTS.get(extension)
    if kind is None:
        raise BadArchive("The file does not end like an sdist.", "Rename it, or build it again as .tar.gz.")
    with _refusing(kind.name):
        if not _size(file):
            raise _Damage
        document = kind.read(file, limit)
    if document is None:
        raise BadArchive("The file holds no PKG-INFO in its top folder.", _BUILD_AGAIN)
    return document


#: `PKG-INFO` in a folder of the top level, however the archive spells "here".
_is_pkg_info = re.compile(rb"(?:\./)*(?!\.\.?/)[^/]+/PKG-INFO").fullmatch


def _size(file: BinaryIO) -> int:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


# --- Zip archives (APPNOTE 6.3) -------------------------------------------------------------------

_END = struct.Struct("<4s8xLLH")  # 4.3.16: signature, directory size and offset, comment length
_END64_LOCATOR = struct.Struct("<4s4xQ4x")  # 4.3.15: signature, where the next one is
_END64 = struct.Struct("<4s36xQQ")  # 4.3.14: signature, directory size and offset
_ENTRY = struct.Struct("<4s4xHH4xLLLHHH8xL")  # 4.3.12, all that is needed of it
_STEP = struct.Struct("<4s24xHHH")  # 4.3.12, all that is needed to pass over it
_LOCAL = struct.Struct("<4s22xHH")  # 4.3.7: signature, lengths of name and extra field
_ENTRY_SIZE = 46
_WIDE = 0xFFFFFFFF  # 4.4.8: the number stands in the zip64 field instead
_STORED, _DEFLATED = 0, 8


class _Entry(NamedTuple):
    """One record of the central directory. Sizes and the offset of its local header in bytes."""

    name: bytes
    encrypted: bool
    method: int
    crc: int
    packed: int
    size: int
    offset: int


class _Zip:
    """
    A zip archive, strictly: it begins with its first member and ends with its directory.

    Installers that unpack while they download read from the first byte, so bytes before the first
    member would break them; and a half-copied wheel that ends inside a zip which it contains would
    otherwise pass for that one.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._directory = self._read_directory()

    def __iter__(self) -> Iterator[_Entry]:
        return (_entry(self._directory, start) for start, _ in _records(self._directory))

    def ending_with(self, tail: bytes) -> list[_Entry]:
        """Find the members whose names end so, without making anything of the others."""
        ends = {match.end() for match in re.finditer(re.escape(tail), self._directory)}
        return [_entry(self._directory, start) for start, end in _records(self._directory) if end in ends]

    def unpack(self, entry: _Entry, limit: int) -> Iterator[bytes]:
        """Yield the bytes of a member; at their end it is sure that they are the right ones."""
        crc = size = 0
        for chunk in self._unpacked(entry):
            crc = zlib.crc32(chunk, crc)
            size += len(chunk)
            if size > limit:
                raise _too_big("unpacks to more bytes")
            yield chunk
        if (crc, size) != (entry.crc, entry.size):
            raise _Damage

    def _unpacked(self, entry: _Entry) -> Iterator[bytes]:
        if entry.encrypted:
            raise BadArchive("The file has encrypted members, which no installer can read.", _BUILD_AGAIN)
        if entry.method == _STORED:
            return self._packed(entry)
        if entry.method == _DEFLATED:
            return _inflate(self._packed(entry))
        return self._unusual(entry)

    def _packed(self, entry: _Entry) -> Iterator[bytes]:
        self._file.seek(self._start_of_data(entry))
        left = entry.packed
        while left:
            piece = self._file.read(min(left, _CHUNK))
            if not piece:
                raise _Damage
            left -= len(piece)
            yield piece

    def _start_of_data(self, entry: _Entry) -> int:
        local = self._read(entry.offset, _LOCAL.size + len(entry.name))
        signature, name, extra = _LOCAL.unpack_from(local)
        if signature != b"PK\3\4" or name != len(entry.name) or local[_LOCAL.size :] != entry.name:
            raise _Damage
        return entry.offset + len(local) + int(extra)

    def _unusual(self, entry: _Entry) -> Iterator[bytes]:
        """
        Unpack what is neither stored nor deflated, if this Python can.

        pip installs such wheels, newer versions of uv refuse them. `zipfile` unpacks all that one
        read brings, without a bound: so its reads are the shortest that it makes, 4096 bytes,
        which is some 100 MB at worst.
        """
        try:
            opened = self._zipfile.open(self._infos[entry.offset])
        except NotImplementedError:
            reason = f"The file has members with compression method {entry.method}, unknown here."
            raise BadArchive(reason, "Build it again with the usual compression, deflate.") from None
        with opened:
            while chunk := opened.read(4096):
                yield chunk

    @functools.cached_property
    def _zipfile(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self._file)

    @functools.cached_property
    def _infos(self) -> dict[int, zipfile.ZipInfo]:
        return {info.header_offset: info for info in self._zipfile.infolist()}

    def _read(self, offset: int, count: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(count)
        if len(data) != count:
            raise _Damage
        return data

    def _read_directory(self) -> bytes:
        end, size, offset = self._find_end()
        if offset + size != end:  # damaged, or it is only a stand-in for a zip64 one
            end, size, offset = self._find_end64(end)
        if size > MAX_DIRECTORY:
            raise _too_big("has more members")
        if offset + size != end:
            raise _Damage
        return self._read(offset, size)

    def _find_end(self) -> tuple[int, int, int]:
        """Find the end record: where it stands, the size of the directory, its offset."""
        total = _size(self._file)
        for reach in (22, 22 + 0xFFFF):  # without a comment; with any
            start = max(0, total - reach)
            tail = self._read(start, total - start)
            found = tail.rfind(b"PK\5\6")
            if 0 <= found <= len(tail) - 22:
                _, size, offset, comment = _END.unpack_from(tail, found)
                if found + 22 + comment == len(tail):
                    return start + found, size, offset
        raise _Damage

    def _find_end64(self, end: int) -> tuple[int, int, int]:
        """Find the zip64 end record (4.3.14) that belongs to the end record at `end`."""
        locator, end64 = _END64_LOCATOR.unpack(self._read(end - _END64_LOCATOR.size, _END64_LOCATOR.size))
        signature, size, offset = _END64.unpack(self._read(end64, _END64.size))
        if (locator, signature) != (b"PK\6\7", b"PK\6\6"):
            raise _Damage
        return end64, size, offset


def _records(directory: bytes) -> Iterator[tuple[int, int]]:
    """Walk a central directory: where each record starts, and where its name ends."""
    start = 0
    for _ in range(MAX_MEMBERS):
        if start == len(directory):
            return
        signature, name, extra, comment = _STEP.unpack_from(directory, start)
        if signature != b"PK\1\2":
            raise _Damage
        end = start + _ENTRY_SIZE + name
        yield start, end
        start = end + extra + comment
    if start != len(directory):
        raise _too_big("has more members")


def _entry(directory: bytes, start: int) -> _Entry:
    _, flags, method, crc, packed, size, name, extra, _, offset = _ENTRY.unpack_from(directory, start)
    begin = start + _ENTRY_SIZE
    end = begin + name
    if _WIDE in (size, packed, offset):
        wide = iter(_wide_numbers(directory[end : end + extra]))
        size, packed, offset = (next(wide, n) if n == _WIDE else n for n in (size, packed, offset))
    return _Entry(directory[begin:end], bool(flags & 1), method, crc, packed, size, offset)


def _wide_numbers(extra: bytes) -> tuple[int, ...]:
    """Take the zip64 numbers out of an extra field (4.5.3): sizes and offset, those needed."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            return struct.unpack_from(f"<{length // 8}Q", extra, at + 4)
        at += 4 + length
    return ()


def _inflate(packed: Iterable[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    for piece in packed:
        while piece and not unpacker.eof:  # past its end it would collect all that follows
            yield unpacker.decompress(piece, _CHUNK)
            piece = unpacker.unconsumed_tail
    yield unpacker.flush()  # what the last bound held back: less than a window


def _read_zip_sdist(file: BinaryIO, limit: int) -> bytes | None:
    archive = _Zip(file)
    document = None
    for entry in archive:
        if _is_pkg_info(entry.name):
            document = b"".join(archive.unpack(entry, min(limit, MAX_METADATA)))
            limit -= len(document)
        else:
            limit -= sum(map(len, archive.unpack(entry, limit)))
    return document


# --- Tar archives (POSIX.1-2017 pax, and the GNU and older forms) ---------------------------------

_BLOCK = 512
_NO_BLOCK = bytes(_BLOCK)
_FILE_KINDS = (b"0", b"\0", b"7")
_KINDS_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders, pipes
_SPARSE_KIND = b"S"
_EXTENSIONS = (b"x", b"X", b"g", b"L", b"K")
_pax_record = re.compile(rb"(\d{1,9}) ([^=]*)=").match


class _Tape:
    """
    The unpacked bytes of an archive, once from first to last, and never more than allowed.

    Args:
        chunks: The bytes, in pieces.
        limit: Bytes.
    """

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        self._chunks = filter(None, chunks)
        self._allowed = limit
        self._held = b""
        self._at = 0

    def _turn(self) -> bool:
        self._held, self._at = next(self._chunks, b""), 0
        self._allowed -= len(self._held)
        if self._allowed < 0:
            raise _too_big("unpacks to more bytes")
        return bool(self._held)

    def take(self, count: int) -> bytes:
        """Read so many bytes; fewer only at the end."""
        pieces = [self._cut(count)]
        while (count := count - len(pieces[-1])) and self._turn():
            pieces.append(self._cut(count))
        return b"".join(pieces)

    def _cut(self, count: int) -> bytes:
        piece = self._held[self._at : self._at + count]
        self._at += len(piece)
        return piece

    def take_body(self, size: int, limit: int) -> bytes:
        """Read the body of a member, of whole blocks as it is."""
        if size > limit:
            raise _too_big("has a larger description")
        body = self.take(_padded(size))
        if len(body) < size:
            raise _Damage
        return body[:size]

    def skip(self, count: int) -> None:
        """Pass over so many bytes, which have to be there."""
        while count > (rest := len(self._held) - self._at):
            count -= rest
            if not self._turn():
                raise _Damage
        self._at += count

    def run_out(self) -> None:
        """Read to the end: only there a compressed stream proves its sum."""
        while self._turn():
            pass


class _Header(NamedTuple):
    """A member of a tar: its name, its kind (one byte), the bytes of its body as stored."""

    name: bytes
    kind: bytes
    size: int


def _read_tar(tape: _Tape, *, bare: bool) -> bytes | None:
    """
    Read a tar to its end.

    Args:
        tape: The tar.
        bare: It is not compressed, so only its two end blocks can prove that it is whole.
    """
    document = None
    for header in _tar_members(tape):
        if header.kind in _FILE_KINDS and _is_pkg_info(header.name):
            document = tape.take_body(header.size, MAX_METADATA)
        elif header.kind not in _KINDS_WITHOUT_DATA:
            tape.skip(_padded(header.size))
    if bare and tape.take(_BLOCK) != _NO_BLOCK:
        raise _Damage
    tape.run_out()
    return document


def _tar_members(tape: _Tape) -> Iterator[_Header]:
    """Yield each member, up to the first end block; the caller reads or skips its body."""
    said: dict[bytes, bytes] = {}  # of the next member, by the extended headers before it
    for _ in range(MAX_MEMBERS):
        block = tape.take(_BLOCK)
        if not block.strip(b"\0"):
            return
        header = _tar_header(block)
        if header.kind in _EXTENSIONS:
            said |= _extension(header.kind, tape.take_body(header.size, MAX_TAR_HEADER))
            continue
        if header.kind == _SPARSE_KIND:
            _skip_sparse_map(tape, block)
        yield _extended(header, said)
        said = {}
    raise _too_big("has more members")


def _tar_header(block: bytes) -> _Header:
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0]
    if prefix and block[257:263] == b"ustar\0":  # elsewhere these bytes have other meanings
        name = prefix + b"/" + name
    size = _tar_number(block[124:136])
    if len(block) != _BLOCK or size < 0 or not _sum_is_right(block):
        raise _Damage
    return _Header(name, block[156:157], size)


def _sum_is_right(block: bytes) -> bool:
    """Compare the header's checksum: of unsigned bytes, or of signed ones as old writers did."""
    rest = block[:148] + b" " * 8 + block[156:]
    total = sum(rest)
    claimed = _tar_number(block[148:156])
    return claimed == total or claimed == total - 256 * sum(byte > 127 for byte in rest)


def _tar_number(field: bytes) -> int:
    """Read a number: octal digits, or where the first bit is set GNU's base 256 (signed)."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def _extension(kind: bytes, body: bytes) -> dict[bytes, bytes]:
    if kind == b"L":
        return {b"path": body.rstrip(b"\0")}
    return _pax_records(body) if kind in (b"x", b"X") else {}


def _pax_records(body: bytes) -> dict[bytes, bytes]:
    r"""Read the records of a pax header: each is its own length, a blank, `keyword=value\n`."""
    records, at = {}, 0
    while match := _pax_record(body, at):
        at += int(match[1])
        if not match.end() < at <= len(body):
            raise _Damage
        records[match[2]] = body[match.end() : at - 1]
    return records


def _extended(header: _Header, said: dict[bytes, bytes]) -> _Header:
    size = int(said.get(b"size", header.size))
    if size < 0:
        raise _Damage
    return header._replace(name=said.get(b"path", header.name), size=size)


def _skip_sparse_map(tape: _Tape, block: bytes) -> None:
    """Pass over the blocks with which GNU's old sparse form continues its map of holes."""
    more = block[482]
    while more:
        block = tape.take(_BLOCK)
        if len(block) != _BLOCK:
            raise _Damage
        more = block[504]


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


# --- Compressed streams ---------------------------------------------------------------------------


def _read_file(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(_CHUNK), b"")


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    unpacker = gzip.GzipFile(fileobj=file, mode="rb")
    return iter(lambda: unpacker.read(_CHUNK), b"")


def _unpack_streams(
    file: BinaryIO, new: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]
) -> Iterator[bytes]:
    """Unpack one stream after the other, each to its proven end, to the end of the file."""
    data = file.read(_CHUNK)
    while data:
        unpacker = new()
        while not unpacker.eof:
            if unpacker.needs_input and not data:
                data = file.read(_CHUNK) or _ends_early()
            yield unpacker.decompress(data, _CHUNK)
            data = b""  # the unpacker keeps what it did not use yet
        data = unpacker.unused_data.lstrip(b"\0") or file.read(_CHUNK)  # zeros: xz stream padding


def _ends_early() -> bytes:
    raise EOFError


def _new_xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_XZ_MEMORY)


class _Sdist(NamedTuple):
    """A kind of sdist: what it is called, and how its PKG-INFO is read."""

    name: str
    read: Callable[[BinaryIO, int], bytes | None]


def _compressed_tar(unpack: Callable[[BinaryIO], Iterator[bytes]]) -> Callable[[BinaryIO, int], bytes | None]:
    return lambda file, limit: _read_tar(_Tape(unpack(file), limit), bare=False)


_GZIP = _Sdist("a gzip-compressed tar", _compressed_tar(_gunzip))
_SDISTS = {
    ".tar.gz": _GZIP,
    ".tgz": _GZIP,
    ".tar.bz2": _Sdist(
        "a bzip2-compressed tar",
        _compressed_tar(lambda file: _unpack_streams(file, bz2.BZ2Decompressor)),
    ),
    ".tar.xz": _Sdist("an xz-compressed tar", _compressed_tar(lambda file: _unpack_streams(file, _new_xz))),
    ".tar": _Sdist(
        "a tar archive",
        lambda file, limit: _read_tar(_Tape(_read_file(file), limit), bare=True),
    ),
    ".zip": _Sdist("a zip archive", _read_zip_sdist),
}


# --- Core metadata --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreHeaders:
    """
    The few fields of core metadata that an index uses.

    Attributes:
        name: As the document spells it; None if it has none.
        version: As the document spells it; None if it has none.
        requires_python: A valid specifier set (PEP 440), as the document spells it; None if there
            is none or it is not valid: uv drops a file whose requires-python it cannot read.
    """

    name: str | None
    version: str | None
    requires_python: str | None


#: The headers: lines with a field name and their folded lines (RFC 5322 section 2.2), up to the
#: first line that is neither, as Python's email parser takes them.
_header_lines = re.compile(rb"(?:[!-9;-~]*:[^\n]*(?:\n|\Z)|[ \t][^\n]*(?:\n|\Z))*+").match
_value = re.compile(rb"[^\n]*(?:\n[ \t][^\n]*)*").match


def parse_headers(document: bytes) -> CoreHeaders:
    """
    Read what an index needs of a METADATA or PKG-INFO.

    Only the header is looked at, and only three fields are taken out of it: full parsers take
    milliseconds, in which nothing else runs.

    Args:
        document: The whole document, of any encoding.

    Returns:
        The first field of each name, without regard to case; folded lines are joined.
    """
    match = _header_lines(document, 0, MAX_HEADERS)
    head = b"\n" + (match[0] if match else b"")
    lowered = head.lower()
    requires_python = _field(head, lowered, b"\nrequires-python:")
    return CoreHeaders(
        name=_field(head, lowered, b"\nname:"),
        version=_field(head, lowered, b"\nversion:"),
        requires_python=requires_python if _are_specifiers(requires_python) else None,
    )


def _field(head: bytes, lowered: bytes, label: bytes) -> str | None:
    at = lowered.find(label)
    if at < 0:
        return None
    match = _value(head, at + len(label))
    text = (match[0] if match else b"").decode("utf-8", "surrogateescape")
    return " ".join(text.split()) or None


def _are_specifiers(text: str | None) -> bool:
    return text is not None and len(text) <= MAX_SPECIFIERS and _parse_as_specifiers(text)


@functools.lru_cache(maxsize=1024)  # a few dozen distinct ones serve a whole index
def _parse_as_specifiers(text: str) -> bool:
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return False
    return True


def check_identity(headers: CoreHeaders, *, project: str, version: str) -> None:
    """
    Check that a file's metadata speaks of what its file name says.

    pip and uv refuse a file whose metadata contradicts its name, after they have chosen it.

    Args:
        headers: What the metadata says.
        project: The project's name by the file name, in any spelling (PEP 503 compares them).
        version: The version by the file name, in any spelling (PEP 440 compares them).

    Raises:
        BadArchive: They differ, or the metadata lacks one of them.
    """
    if headers.name is None or headers.version is None:
        raise BadArchive("The file's metadata lacks its Name or its Version.", _BUILD_AGAIN)
    if canonicalize_name(headers.name) != canonicalize_name(project):
        raise _contradiction("Name", headers.name, project)
    if _version_key(headers.version) != _version_key(version):
        raise _contradiction("Version", headers.version, version)


def _version_key(version: str) -> Version | str:
    try:
        return Version(version)
    except InvalidVersion:
        return version


def _contradiction(field: str, said: str, named: str) -> BadArchive:
    said = said.encode("ascii", "backslashreplace").decode()[:200]
    reason = f"The file's metadata has {field} {said!r}, but its file name says {named!r}."
    return BadArchive(reason, "Rename the file, or build it again.")
