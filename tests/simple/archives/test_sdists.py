"""The PKG-INFO of an sdist comes out unchanged if the sdist is whole, and else a clear reason."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
from typing import TYPE_CHECKING

import pytest

from twisted_index.simple.archives import decompress, tar, zip_central_directory
from twisted_index.simple.archives.limits import MAX_METADATA, MAX_TAR_HEADER
from twisted_index.simple.core_metadata import BadArchive, NoMetadata

from .samples import (
    DOCUMENT,
    SDIST_EXTENSIONS,
    SDIST_MEMBERS,
    SDISTS,
    WHEEL,
    make_sdist,
    make_tar,
    read_sdist,
    tar_member,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("extension", SDIST_EXTENSIONS)
def test_the_pkg_info_in_the_top_folder_of_an_sdist_is_its_very_bytes(extension: str) -> None:
    assert read_sdist(SDISTS[extension], extension) == DOCUMENT


@pytest.mark.parametrize("extension", SDIST_EXTENSIONS)
def test_an_sdist_without_pkg_info_is_told_so(extension: str) -> None:
    members = {name: content for name, content in SDIST_MEMBERS.items() if name != "demo-1.0/PKG-INFO"}
    with pytest.raises(NoMetadata, match="holds no PKG-INFO"):
        read_sdist(make_sdist(extension, members | {"PKG-INFO": DOCUMENT}), extension)


@pytest.mark.parametrize("extension", [".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip"])
def test_an_sdist_cut_anywhere_is_told_to_be_copied_only_in_part(extension: str) -> None:
    content = SDISTS[extension]
    for length in range(len(content)):
        with pytest.raises(BadArchive, match="copied only in part"):
            read_sdist(content[:length], extension)


def test_a_plain_tar_cut_before_its_two_end_blocks_is_told_to_be_copied_only_in_part() -> None:
    content = SDISTS[".tar"]
    end = len(content.rstrip(b"\0")) + 511 & ~511
    for length in range(0, end + 1024, 64):
        with pytest.raises(BadArchive, match="copied only in part"):
            read_sdist(content[:length], ".tar")
    assert read_sdist(content[: end + 1024], ".tar") == DOCUMENT


def test_a_wrong_sum_at_the_end_of_gzip_is_noticed() -> None:
    content = SDISTS[".tar.gz"]
    for at in (-8, -5, -4, -1):
        changed = bytearray(content)
        changed[at] ^= 1
        with pytest.raises(BadArchive, match="copied only in part"):
            read_sdist(bytes(changed))


@pytest.mark.parametrize("extension", [".tar.gz", ".tar.bz2", ".tar.xz"])
def test_a_changed_byte_anywhere_after_the_pkg_info_is_noticed(extension: str) -> None:
    content = bytearray(
        make_sdist(extension, {"demo-1.0/PKG-INFO": DOCUMENT, "demo-1.0/x": bytes(range(256)) * 40})
    )
    content[len(content) * 3 // 4] ^= 0x10
    with pytest.raises(BadArchive):
        read_sdist(bytes(content), extension)


@pytest.mark.parametrize(
    ("extension", "compress"),
    [(".tar.gz", gzip.compress), (".tar.bz2", bz2.compress), (".tar.xz", lzma.compress)],
)
def test_an_sdist_that_was_compressed_in_several_streams_is_read(
    extension: str, compress: Callable[[bytes], bytes]
) -> None:
    """As parallel compressors leave it."""
    plain = SDISTS[".tar"]
    content = b"".join(compress(plain[at : at + 1000]) for at in range(0, len(plain), 1000))
    assert read_sdist(content, extension) == DOCUMENT


def test_an_xz_stream_may_be_padded_with_zeros() -> None:
    assert read_sdist(SDISTS[".tar.xz"] + bytes(4), ".tar.xz") == DOCUMENT


@pytest.mark.parametrize("more", [b"\n", b"more", bytes(700) + b"more", b"\x1f", b"x" * 300_000])
def test_bytes_behind_gzip_that_begin_no_other_stream_are_passed_over(more: bytes) -> None:
    """As gzip, pip and uv do."""
    assert read_sdist(SDISTS[".tar.gz"] + more, ".tar.gz") == DOCUMENT


@pytest.mark.parametrize("chunk", [1, 2, 3, 50, 4096])
def test_streams_of_gzip_are_told_apart_wherever_a_reading_ends(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decompress, "CHUNK", chunk)
    plain = SDISTS[".tar"]
    content = b"".join(gzip.compress(plain[at : at + 1000]) for at in range(0, len(plain), 1000))
    assert read_sdist(content + b"more", ".tar.gz") == DOCUMENT


def test_a_second_stream_of_gzip_that_is_cut_is_told_to_be_copied_only_in_part() -> None:
    content = gzip.compress(SDISTS[".tar"][:1536]) + gzip.compress(SDISTS[".tar"][1536:])
    with pytest.raises(BadArchive, match="copied only in part"):
        read_sdist(content[:-9], ".tar.gz")


@pytest.mark.parametrize("extension", [".tar.bz2", ".tar.xz", ".zip"])
def test_an_sdist_with_other_bytes_after_its_end_is_refused(extension: str) -> None:
    with pytest.raises(BadArchive):
        read_sdist(SDISTS[extension] + b"more", extension)


@pytest.mark.parametrize("extension", SDIST_EXTENSIONS)
@pytest.mark.parametrize("content", [b"", b"\0" * 100_000, b"<html>Not found</html>" * 99, WHEEL[:-1]])
def test_what_is_no_sdist_of_its_kind_is_told_so(extension: str, content: bytes) -> None:
    with pytest.raises(BadArchive):
        read_sdist(content, extension)


def test_the_reason_names_the_kind_of_archive_that_was_expected() -> None:
    with pytest.raises(BadArchive, match="is not a gzip-compressed tar"):
        read_sdist(b"", ".tar.gz")


def test_an_unknown_ending_is_refused() -> None:
    with pytest.raises(BadArchive, match="does not end like that of an sdist"):
        read_sdist(SDISTS[".tar"], ".tar.Z")


@pytest.mark.parametrize("extension", SDIST_EXTENSIONS)
def test_an_sdist_may_not_unpack_to_more_than_the_limit(extension: str) -> None:
    content = make_sdist(extension, SDIST_MEMBERS | {"demo-1.0/zeros": bytes(1_000_000)})
    assert read_sdist(content, extension, limit=1_100_000) == DOCUMENT
    with pytest.raises(BadArchive, match="unpacks to more bytes"):
        read_sdist(content, extension, limit=900_000)


@pytest.mark.parametrize("extension", [".tar.gz", ".zip"])
def test_a_pkg_info_beyond_its_limit_is_none(extension: str) -> None:
    with pytest.raises(NoMetadata, match="holds no PKG-INFO of at most 16,777,216 bytes"):
        read_sdist(make_sdist(extension, {"demo-1.0/PKG-INFO": bytes(MAX_METADATA + 1)}), extension)


@pytest.mark.parametrize("extension", SDIST_EXTENSIONS)
def test_an_sdist_of_too_many_members_is_refused(extension: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (tar, zip_central_directory):
        monkeypatch.setattr(module, "MAX_MEMBERS", 3)
    with pytest.raises(BadArchive, match="more members"):
        read_sdist(SDISTS[extension], extension)


def test_an_xz_that_demands_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompress, "MAX_XZ_MEMORY", 1 << 20)
    with pytest.raises(BadArchive):
        read_sdist(SDISTS[".tar.xz"], ".tar.xz")


@pytest.mark.parametrize("name", ["demo-1.0/PKG-INFO", "./demo-1.0/PKG-INFO", "././demo-1.0/PKG-INFO"])
def test_the_top_folder_may_be_spelled_with_a_dot(name: str) -> None:
    assert read_sdist(make_tar({name: DOCUMENT}, "gz")) == DOCUMENT


@pytest.mark.parametrize("name", ["./PKG-INFO", "../PKG-INFO", "/PKG-INFO", "a/b/PKG-INFO", "a/PKG-INFO.in"])
def test_a_pkg_info_elsewhere_does_not_count(name: str) -> None:
    with pytest.raises(NoMetadata, match="holds no PKG-INFO"):
        read_sdist(make_tar({name: DOCUMENT}, "gz"))


def test_a_pkg_info_that_comes_twice_is_the_last_one() -> None:
    """As it is for whoever unpacks the archive."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        archive.addfile(*tar_member("demo-1.0/PKG-INFO", b"Name: old\n"))
        archive.addfile(*tar_member("demo-1.0/PKG-INFO", DOCUMENT))
    assert read_sdist(made.getvalue()) == DOCUMENT


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("length", [90, 98, 99, 100, 101, 140])
def test_a_long_top_folder_is_followed_in_every_tar_form(form: int, length: int) -> None:
    assert read_sdist(make_tar({"d" * length + "/PKG-INFO": DOCUMENT}, "gz", format=form)) == DOCUMENT


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_top_folder_beyond_the_old_limit_is_followed(form: int) -> None:
    assert read_sdist(make_tar({"d" * 250 + "/PKG-INFO": DOCUMENT}, "gz", format=form)) == DOCUMENT


def test_pax_headers_of_other_meanings_do_no_harm() -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", pax_headers={"comment": "of all"}) as archive:
        for name in ("demo-1.0/a", "demo-1.0/PKG-INFO"):
            info, body = tar_member(name, DOCUMENT)
            info.mtime = 1234567890.25
            info.pax_headers = {"comment": "a=b\nc=d", "SCHILY.xattr.user.x": "\u00e9"}
            archive.addfile(info, body)
    assert read_sdist(made.getvalue()) == DOCUMENT


def test_a_size_that_only_the_pax_header_tells_is_followed() -> None:
    info, _ = tar_member("demo-1.0/a", b"")
    info.pax_headers = {"size": "700"}
    content = info.tobuf(tarfile.PAX_FORMAT) + bytes([7]) * 700 + bytes(1024 - 700)
    assert read_sdist(content + make_tar({"demo-1.0/PKG-INFO": DOCUMENT}), ".tar") == DOCUMENT


def test_links_folders_and_devices_have_no_body_even_if_they_claim_a_size() -> None:
    blocks = b""
    for kind in (b"1", b"2", b"3", b"4", b"5", b"6"):
        info = tarfile.TarInfo("demo-1.0/PKG-INFO")
        info.type, info.size = kind, 5000
        blocks += info.tobuf(tarfile.GNU_FORMAT)
    assert read_sdist(blocks + make_tar({"demo-1.0/PKG-INFO": DOCUMENT}), ".tar") == DOCUMENT


def test_a_member_in_gnus_sparse_form_is_passed_over() -> None:
    info = tarfile.TarInfo("demo-1.0/sparse")
    info.type, info.size = b"S", 512
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[482] = 1
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:]))
    more = bytearray(512)
    more[504] = 1
    content = bytes(block) + bytes(more) + bytes(512) + b"s" * 512
    assert read_sdist(content + make_tar({"demo-1.0/PKG-INFO": DOCUMENT}), ".tar") == DOCUMENT


def test_a_header_sum_of_signed_bytes_is_taken_as_right() -> None:
    block = bytearray(tarfile.TarInfo("demo-1.0/d\u00e9j\u00e0").tobuf(tarfile.GNU_FORMAT))
    signed = struct.unpack("512b", block)
    block[148:156] = b"%06o\0 " % (256 + sum(signed[:148]) + sum(signed[156:]))
    assert read_sdist(bytes(block) + make_tar({"demo-1.0/PKG-INFO": DOCUMENT}), ".tar") == DOCUMENT


@pytest.mark.parametrize("field", [b"-0000001000\0", b"\xff" * 12, b"\x81" + bytes(11), b"99999999999\0"])
def test_a_size_that_is_no_size_is_damage(field: bytes) -> None:
    block = bytearray(tarfile.TarInfo("demo-1.0/a").tobuf())
    block[124:136] = field
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:]))
    with pytest.raises(BadArchive, match="copied only in part"):
        read_sdist(bytes(block) + SDISTS[".tar"], ".tar")


@pytest.mark.parametrize("body", [b"0 a=b\n", b"3 a=b\n", b"11 size=-5\n", b"11 size=xx\n", b"999 path=a\n"])
def test_a_pax_header_that_makes_no_sense_is_damage(body: bytes) -> None:
    info, _ = tar_member("pax", body)
    info.type = tarfile.XHDTYPE
    content = info.tobuf() + body.ljust(512, b"\0") + SDISTS[".tar"]
    with pytest.raises(BadArchive, match="copied only in part"):
        read_sdist(content, ".tar")


def test_an_extended_header_beyond_its_limit_is_refused() -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, MAX_TAR_HEADER + 1
    with pytest.raises(BadArchive, match="larger description"):
        read_sdist(gzip.compress(info.tobuf() + bytes(info.size + 1024)))


def test_a_compressed_tar_needs_no_end_blocks() -> None:
    """Its own end proves that it is whole, and some tools leave them out."""
    plain = make_tar({"demo-1.0/PKG-INFO": DOCUMENT})[:1024]
    assert read_sdist(gzip.compress(plain)) == DOCUMENT
