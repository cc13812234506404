"""No number in an archive reaches the file before it is known to be sane, and none is blamed on the disk."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.kit.properties import examples
from twisted_index.backends.folder import inspection
from twisted_index.backends.folder.inspection import inspect
from twisted_index.backends.layout.facts import FileFacts, Rejection, StatKey
from twisted_index.errors import Unavailable
from twisted_index.simple.archives.limits import MAX_DIRECTORY
from twisted_index.simple.core_metadata import (
    BadArchive,
    UnreadableFile,
    ZipArchive,
    check_wheel_members,
    read_sdist_metadata,
    read_wheel_metadata,
)
from twisted_index.simple.names import parse_filename

from .samples import DOCUMENT, MEMBERS, SDISTS, WHEEL, check_members, make_tar, make_zip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 10_000_000
#: Each example overwrites the file of the one before.
REUSED: dict[str, Any] = {
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
}


class Guarded(io.FileIO):
    """A real file, of whose bytes and numbers nothing may be asked that makes no sense."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.length = os.fstat(self.fileno()).st_size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.length}[whence]
        # Beyond the end by no more than one local header can say.
        assert 0 <= start + offset <= self.length + 0x20000, f"a seek to {start + offset}"
        return super().seek(offset, whence)

    def read(self, size: int | None = -1) -> Any:
        assert size is None or size <= MAX_DIRECTORY, f"a read of {size}"
        return super().read(size)


def try_all(path: Path, content: bytes, read: Callable[[Guarded], object]) -> None:
    """Read it; whatever is wrong with it is a lasting refusal."""
    path.write_bytes(content)
    with Guarded(path) as file, contextlib.suppress(BadArchive):
        try:
            read(file)
        except UnreadableFile as error:
            pytest.fail(f"the disk is blamed for {error.__cause__!r}")


def read_wheel_whole(file: Guarded) -> None:
    try:
        read_wheel_metadata(ZipArchive(file))
    finally:
        check_wheel_members(ZipArchive(file), LIMIT)


def read_tar_sdist(file: Guarded) -> None:
    read_sdist_metadata(file, ".tar", LIMIT)


def read_zip_sdist(file: Guarded) -> None:
    read_sdist_metadata(file, ".zip", LIMIT)


def zip64(members: dict[str, bytes] = MEMBERS) -> bytes:
    """Make a zip all of whose numbers stand in zip64 fields."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile, "ZIP64_LIMIT", 10)
        return make_zip(members)


WHEELS = {
    "deflated": WHEEL,
    "stored": make_zip(MEMBERS, method=zipfile.ZIP_STORED),
    "bzip2": make_zip(MEMBERS, method=zipfile.ZIP_BZIP2),
    "lzma": make_zip(MEMBERS, method=zipfile.ZIP_LZMA),
    "zip64": zip64(),
    "zip64 lzma": make_zip(MEMBERS, method=zipfile.ZIP_LZMA, comment=b"PK\6\7" + bytes(16)),
}

#: Where numbers stand in a record, and their form: APPNOTE 4.3.7, 4.3.12, 4.3.14, 4.3.15, 4.3.16.
FIELDS = {
    b"PK\3\4": [(6, "H"), (8, "H"), (14, "L"), (18, "L"), (22, "L"), (26, "H"), (28, "H")],
    b"PK\1\2": [
        *[(8, "H"), (10, "H"), (16, "L"), (20, "L"), (24, "L")],
        *[(28, "H"), (30, "H"), (32, "H"), (34, "H"), (42, "L")],
    ],
    b"PK\6\6": [(4, "Q"), (16, "L"), (24, "Q"), (32, "Q"), (40, "Q"), (48, "Q")],
    b"PK\6\7": [(4, "L"), (8, "Q"), (16, "L")],
    b"PK\5\6": [(4, "H"), (8, "H"), (10, "H"), (12, "L"), (16, "L"), (20, "H")],
    b"\1\0": [(2, "H"), (4, "Q"), (12, "Q"), (20, "Q")],  # a zip64 extra field, among other things
}
EDGES = [0, 1, 20, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


def places(content: bytes, signature: bytes) -> list[int]:
    found, at = [], content.find(signature)
    while at >= 0:
        found.append(at)
        at = content.find(signature, at + 1)
    return found


@st.composite
def edited_zips(draw: st.DrawFn, samples: dict[str, bytes]) -> bytes:
    """Put other numbers into the records of a zip, and bytes in front of it."""
    content = bytearray(samples[draw(st.sampled_from(sorted(samples)))])
    for _ in range(draw(st.integers(1, 3))):
        signature = draw(st.sampled_from(sorted(FIELDS)))
        found = places(bytes(content), signature)
        if not found:
            continue
        at = draw(st.sampled_from(found))
        shift, form = draw(st.sampled_from(FIELDS[signature]))
        size = struct.calcsize(f"<{form}")
        if at + shift + size > len(content):
            continue
        near = len(content) + draw(st.integers(-80, 80))
        number = draw(st.one_of(st.sampled_from([*EDGES, max(0, near)]), st.integers(0, 2**64 - 1)))
        struct.pack_into(f"<{form}", content, at + shift, number % 2 ** (8 * size))
    return draw(st.one_of(st.just(b""), st.binary(max_size=40))) + bytes(content)


@examples(300, **REUSED)
@given(content=edited_zips(WHEELS))
def test_a_zip_with_other_numbers_is_read_or_refused_for_good(tmp_path: Path, content: bytes) -> None:
    try_all(tmp_path / "edited.whl", content, read_wheel_whole)


@examples(100, **REUSED)
@given(content=edited_zips({"": SDISTS[".zip"], "zip64": zip64({"demo-1.0/PKG-INFO": DOCUMENT})}))
def test_a_zip_sdist_with_other_numbers_is_read_or_refused_for_good(tmp_path: Path, content: bytes) -> None:
    try_all(tmp_path / "edited.zip", content, read_zip_sdist)


def sample_tars() -> Iterator[bytes]:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        long = {"demo-1.0/" + "d" * 120: b"long"} if form != tarfile.USTAR_FORMAT else {}
        yield make_tar({"demo-1.0/PKG-INFO": DOCUMENT, **long, "demo-1.0/x": bytes(3000)}, format=form)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        link, sparse = tarfile.TarInfo("demo-1.0/PKG-INFO"), tarfile.TarInfo("demo-1.0/sparse")
        link.type, link.linkname = tarfile.SYMTYPE, "real"
        sparse.type, sparse.size = tarfile.GNUTYPE_SPARSE, 512
        real = tarfile.TarInfo("demo-1.0/real")
        real.size, real.pax_headers = len(DOCUMENT), {"size": str(len(DOCUMENT)), "GNU.sparse.map": "0,1"}
        archive.addfile(link)
        archive.addfile(sparse, io.BytesIO(bytes(512)))
        archive.addfile(real, io.BytesIO(DOCUMENT))
    yield made.getvalue()


TARS = list(sample_tars())
NUMBERS = [
    *[b"", b"0", b"777777777777", b"-1", b"+1", b"1_0", b" 12 ", b"\xff" * 12, b"\x80" + b"\xff" * 11],
    *[b"\x80" + bytes(11), b"\x81" + bytes(11), b"\x80\0\0\0\x7f" + b"\xff" * 7, b"9", b"0x10", b"\xb2"],
]


@st.composite
def edited_tars(draw: st.DrawFn) -> bytes:
    """Put other numbers, kinds and names into the headers of a tar, with sums that are right."""
    content = bytearray(draw(st.sampled_from(TARS)))
    for _ in range(draw(st.integers(1, 3))):
        at = 512 * draw(st.integers(0, len(content) // 512 - 1))
        start, length = draw(
            st.sampled_from([(0, 100), (124, 12), (156, 1), (157, 100), (345, 155), (482, 1)])
        )
        value = draw(st.one_of(st.sampled_from(NUMBERS), st.binary(max_size=length)))
        if length == 1:
            value = draw(st.sampled_from([b"0", b"1", b"2", b"5", b"x", b"g", b"L", b"K", b"S", b"\1"]))
        content[at + start : at + start + length] = value[:length].ljust(length, b"\0")
        block = content[at : at + 512]
        content[at + 148 : at + 156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:]))
    return bytes(content)


@examples(300, **REUSED)
@given(content=edited_tars())
def test_a_tar_with_other_numbers_is_read_or_refused_for_good(tmp_path: Path, content: bytes) -> None:
    try_all(tmp_path / "edited.tar", content, read_tar_sdist)


@examples(100, **REUSED)
@given(
    keyword=st.sampled_from(["size", "path", "linkpath", "GNU.sparse.size", "GNU.sparse.major"]),
    value=st.one_of(
        st.sampled_from(["-1", str(2**63), str(2**64), "9" * 5000, "", "\u0661", "1e9", "/", "../.."]),
        st.text(max_size=20),
    ),
)
def test_a_pax_record_of_any_value_is_read_or_refused_for_good(
    tmp_path: Path, keyword: str, value: str
) -> None:
    info = tarfile.TarInfo("demo-1.0/PKG-INFO")
    body = keyword.encode() + b"=" + value.encode() + b"\n"
    length = next(n for n in range(len(body), len(body) + 9) if n == len(body) + 1 + len(str(n)))
    record = b"%d " % length + body
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(record)
    padded = record.ljust(-(-len(record) // 512) * 512, b"\0")
    info.size = len(DOCUMENT)
    content = header.tobuf() + padded + info.tobuf() + DOCUMENT.ljust(512, b"\0") + bytes(1024)
    try_all(tmp_path / "edited.tar", content, read_tar_sdist)


# -- What was found


def finding_of(path: Path, content: bytes, filename: str) -> FileFacts | Rejection:
    where = path / filename
    where.write_bytes(content)
    key = StatKey.from_stat(os.stat(where))
    return inspect(os.fsencode(where), parse_filename(filename), key, verify_members=True)


def in_front(count: int) -> bytes:
    return b"#!/bin/sh\n".ljust(count, b"x")[:count]


@pytest.mark.parametrize(
    ("count", "said"),
    [(1, "There is 1 byte"), (10, "There are 10 bytes"), (1_000_000, "There are 1,000,000 bytes")],
)
@pytest.mark.parametrize("filename", ["demo-1.0-py3-none-any.whl", "demo-1.0.zip"])
def test_how_many_bytes_are_in_front_of_a_zip_is_said_for_good(
    tmp_path: Path, count: int, said: str, filename: str
) -> None:
    content = WHEEL if filename.endswith(".whl") else SDISTS[".zip"]
    finding = finding_of(tmp_path, in_front(count) + content, filename)
    assert isinstance(finding, Rejection)
    assert finding.permanent
    assert finding.reason.startswith(f"{said} in front of the zip archive")


def with_offset(content: bytes, offset: int) -> bytes:
    """Let the first member of a zip64 directory say where else its local header stands."""
    changed = bytearray(content)
    extra = content.index(b"\1\0", content.index(b"PK\1\2") + 46)
    (length,) = struct.unpack_from("<H", content, extra + 2)
    struct.pack_into("<Q", changed, extra + 4 + length - 8, offset)
    return bytes(changed)


@pytest.mark.parametrize("offset", [2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("signature", ["locator", "member"])
def test_a_position_that_no_file_has_is_not_blamed_on_the_disk(
    tmp_path: Path, offset: int, signature: str
) -> None:
    content = bytearray(zip64())
    if signature == "member":
        content[:] = with_offset(bytes(content), offset)
    else:
        struct.pack_into("<Q", content, content.index(b"PK\6\7") + 8, offset)
    finding = finding_of(tmp_path, bytes(content), "demo-1.0-py3-none-any.whl")
    assert isinstance(finding, Rejection)
    assert finding.permanent
    assert "is not a zip archive" in finding.reason


@pytest.mark.parametrize(
    "content",
    [b"PK\5\6" + bytes(8) + struct.pack("<LLH", 10, 2**31, 0), b"PK\5\6" * 5],
    ids=["far away", "four times"],
)
def test_an_end_record_alone_is_not_blamed_on_the_disk(tmp_path: Path, content: bytes) -> None:
    finding = finding_of(tmp_path, content, "demo-1.0-py3-none-any.whl")
    assert isinstance(finding, Rejection)
    assert finding.permanent


def test_a_gzip_header_whose_name_has_no_end_is_refused(tmp_path: Path) -> None:
    content = b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 5_000_000
    finding = finding_of(tmp_path, content, "demo-1.0.tar.gz")
    assert isinstance(finding, Rejection)
    assert finding.permanent


def test_gzip_padding_of_any_length_is_passed_over(tmp_path: Path) -> None:
    padding = bytes(300_000)
    plain = SDISTS[".tar"]
    content = gzip.compress(plain[:700]) + padding + gzip.compress(plain[700:]) + padding
    assert isinstance(finding_of(tmp_path, content, "demo-1.0.tar.gz"), FileFacts)


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "no memory")], ids=["Python", "read"])
@pytest.mark.parametrize("filename", ["demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz", "demo-1.0.zip"])
def test_a_server_short_of_memory_blames_neither_the_file_nor_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, filename: str
) -> None:
    class Short(io.FileIO):
        def read(self, size: int | None = -1) -> Any:
            raise error

    monkeypatch.setattr(inspection, "open_regular_file", lambda path: Short(path))
    with pytest.raises(Unavailable, match="run out of file descriptors or memory"):
        finding_of(tmp_path, WHEEL, filename)


def test_a_member_that_wants_a_dictionary_beyond_all_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhaust(*_: Any) -> bytes:
        raise MemoryError

    monkeypatch.setattr(zipfile.LZMADecompressor, "decompress", exhaust)
    with pytest.raises(BadArchive, match="take more memory"):
        check_members(WHEELS["lzma"])
