"""Core metadata comes out of whole archives unchanged, and out of broken ones comes a clear reason."""

from __future__ import annotations

import bz2
import contextlib
import email
import errno
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twisted_index.errors import SimpleIndexError
from twisted_index.simple import metadata
from twisted_index.simple.metadata import (
    BadArchive,
    CoreHeaders,
    Unreadable,
    check_identity,
    check_wheel_members,
    parse_headers,
    read_sdist_metadata,
    read_wheel_metadata,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DOCUMENT = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n\nA description.\n"
MEMBERS = {
    "demo/__init__.py": b"print('hello')\n" * 50,
    "demo/data.bin": bytes(range(256)) * 20,
    "demo-1.0.dist-info/METADATA": DOCUMENT,
    "demo-1.0.dist-info/RECORD": b"",
}
SDIST_MEMBERS = {
    "demo-1.0/": b"",
    "demo-1.0/PKG-INFO": DOCUMENT,
    "demo-1.0/src/demo.egg-info/PKG-INFO": b"not this one",
    "demo-1.0/src/demo.py": b"print('hello')\n" * 500,
}
MANY = 1 << 30
TAR_MODES = {".tar.gz": "gz", ".tgz": "gz", ".tar.bz2": "bz2", ".tar.xz": "xz", ".tar": ""}
SDIST_EXTENSIONS = [*TAR_MODES, ".zip"]

deterministic = settings(derandomize=True, deadline=None, database=None)


def make_zip(members: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.comment = comment
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return made.getvalue()


def make_tar(members: dict[str, bytes], mode: str = "", **options: Any) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=f"w:{mode}", **options) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            archive.addfile(*tar_member(name, content))
    return made.getvalue()


def tar_member(name: str, content: bytes) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name.rstrip("/"))
    info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
    info.size = len(content)
    return info, io.BytesIO(content)


def make_sdist(extension: str, members: dict[str, bytes] = SDIST_MEMBERS) -> bytes:
    return make_zip(members) if extension == ".zip" else make_tar(members, TAR_MODES[extension])


def read_wheel(content: bytes) -> bytes:
    return read_wheel_metadata(io.BytesIO(content))


def read_sdist(content: bytes, extension: str = ".tar.gz", limit: int = MANY) -> bytes:
    return read_sdist_metadata(io.BytesIO(content), extension, limit)


def check_members(content: bytes, limit: int = MANY) -> None:
    check_wheel_members(io.BytesIO(content), limit)


WHEEL = make_zip(MEMBERS)
SDISTS = {extension: make_sdist(extension) for extension in SDIST_EXTENSIONS}


# --- Wheels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_the_metadata_of_a_wheel_is_its_very_bytes_however_it_is_compressed(method: int) -> None:
    assert read_wheel(make_zip(MEMBERS, method=method)) == DOCUMENT


def test_metadata_that_is_not_utf_8_comes_out_unchanged() -> None:
    document = b"Name: demo\nAuthor: Andr\xe9\n\n\xff\xfe"
    assert read_wheel(make_zip({"demo-1.0.dist-info/METADATA": document})) == document


def test_a_wheel_with_an_archive_comment_is_read() -> None:
    assert read_wheel(make_zip(MEMBERS, comment=b"signed by somebody")) == DOCUMENT


def test_a_wheel_with_the_longest_comment_is_read() -> None:
    assert read_wheel(make_zip(MEMBERS, comment=b"x" * 0xFFFF)) == DOCUMENT


def test_a_wheel_that_was_written_as_a_stream_is_read() -> None:
    """Then sizes and CRC stand behind each member, and its local header has zeros."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, content)
    assert read_wheel(pipe.getvalue()) == DOCUMENT
    check_members(pipe.getvalue())


def test_a_wheel_in_zip64_form_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python writes it from 2 GiB on, as the wheels of large frameworks have them."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    content = make_zip(MEMBERS)
    assert b"PK\6\6" in content
    assert read_wheel(content) == DOCUMENT
    check_members(content)


def test_a_wheel_of_more_than_65535_members_is_read() -> None:
    members = {f"demo/{number}": b"" for number in range(70_000)} | MEMBERS
    assert read_wheel(make_zip(members, method=zipfile.ZIP_STORED)) == DOCUMENT


def test_only_the_dist_info_at_the_top_counts() -> None:
    vendored = {"demo/_vendor/other-2.0.dist-info/METADATA": b"Name: other\n"}
    assert read_wheel(make_zip(vendored | MEMBERS)) == DOCUMENT


@pytest.mark.parametrize(
    "name", [".dist-info/METADATA", "d\u00e9mo-1.0.dist-info/METADATA", " .dist-info/METADATA"]
)
def test_a_dist_info_folder_of_an_odd_name_is_found(name: str) -> None:
    assert read_wheel(make_zip({name: DOCUMENT})) == DOCUMENT


@pytest.mark.parametrize("name", ["demo-1.0.dist-info/METADATA.txt", "METADATA", "a/b.dist-info/METADATA"])
def test_a_wheel_without_metadata_at_the_top_is_told_so(name: str) -> None:
    with pytest.raises(BadArchive, match=r"holds no \.dist-info/METADATA"):
        read_wheel(make_zip({name: DOCUMENT}))


def test_an_empty_zip_is_no_wheel() -> None:
    with pytest.raises(BadArchive, match=r"holds no \.dist-info/METADATA"):
        read_wheel(make_zip({}))


def test_a_wheel_with_two_dist_infos_is_refused() -> None:
    with pytest.raises(BadArchive, match="holds more than one"):
        read_wheel(make_zip(MEMBERS | {"other-1.0.dist-info/METADATA": DOCUMENT}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_wheel_that_holds_its_metadata_twice_is_refused() -> None:
    """Installers would not agree on which of the two they take."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("demo-1.0.dist-info/METADATA", DOCUMENT)
        archive.writestr("demo-1.0.dist-info/METADATA", b"Name: other\n")
    with pytest.raises(BadArchive, match="holds more than one"):
        read_wheel(made.getvalue())


def test_a_wheel_cut_anywhere_is_told_to_be_copied_only_in_part() -> None:
    for length in range(len(WHEEL)):
        with pytest.raises(BadArchive, match="is not a zip archive, or was copied only in part"):
            read_wheel(WHEEL[:length])


def test_a_wheel_cut_where_a_wheel_inside_it_ends_does_not_pass_for_that_one() -> None:
    outer = make_zip({"bundled/demo-1.0-py3-none-any.whl": WHEEL} | MEMBERS, method=zipfile.ZIP_STORED)
    cut = outer[: outer.index(WHEEL) + len(WHEEL)]
    with zipfile.ZipFile(io.BytesIO(cut)) as archive:  # which zipfile takes for whole
        assert archive.namelist() == list(MEMBERS)
    with pytest.raises(BadArchive, match="copied only in part"):
        read_wheel(cut)


@pytest.mark.parametrize("more", [b"\0", b"\0" * 5000, b"PK\5\6"])
def test_a_wheel_with_bytes_after_its_end_is_refused(more: bytes) -> None:
    with pytest.raises(BadArchive, match="is not a zip archive"):
        read_wheel(WHEEL + more)


@pytest.mark.parametrize("content", [b"", b"\0" * 100_000, b"<html>Not found</html>", SDISTS[".tar.gz"]])
def test_what_is_no_zip_archive_is_told_so(content: bytes) -> None:
    with pytest.raises(BadArchive, match="is not a zip archive"):
        read_wheel(content)


def test_metadata_with_a_flipped_bit_is_refused() -> None:
    content = bytearray(make_zip(MEMBERS, method=zipfile.ZIP_STORED))
    content[content.index(b"Name: demo")] ^= 1
    with pytest.raises(BadArchive):
        read_wheel(bytes(content))


def test_a_wheel_whose_first_bytes_have_not_arrived_yet_is_refused_when_all_members_are_checked() -> None:
    """A copy that writes out of order leaves zeros, and a whole directory at the end."""
    content = make_zip(MEMBERS, method=zipfile.ZIP_STORED)
    start = content.index(MEMBERS["demo/data.bin"])
    holed = content[:start] + bytes(1000) + content[start + 1000 :]
    assert read_wheel(holed) == DOCUMENT
    with pytest.raises(BadArchive, match="copied only in part"):
        check_members(holed)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_every_changed_byte_of_a_member_is_noticed(method: int) -> None:
    content = make_zip({"demo.py": b"x = 1\ny = 2\n" * 9}, method=method)
    start, end = 30 + len("demo.py"), content.index(b"PK\1\2")
    for at in range(start, end):
        with pytest.raises(BadArchive):
            check_members(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_whole_wheel_passes_the_check_of_its_members(method: int) -> None:
    check_members(make_zip(MEMBERS, method=method))


def test_members_may_unpack_to_the_limit_and_not_to_more() -> None:
    total = sum(map(len, MEMBERS.values()))
    check_members(WHEEL, total)
    with pytest.raises(BadArchive, match="unpacks to more bytes"):
        check_members(WHEEL, total - 1)


def test_metadata_beyond_its_limit_is_refused_whatever_size_it_declares() -> None:
    content = bytearray(make_zip({"demo-1.0.dist-info/METADATA": bytes(metadata.MAX_METADATA + 1)}))
    assert len(content) < 100_000
    with pytest.raises(BadArchive, match="unpacks to more bytes"):
        read_wheel(bytes(content))
    struct.pack_into("<L", content, content.index(b"PK\1\2") + 24, 10)
    with pytest.raises(BadArchive, match="unpacks to more bytes"):
        read_wheel(bytes(content))


def test_a_wheel_of_too_many_members_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "MAX_MEMBERS", len(MEMBERS))
    assert read_wheel(WHEEL) == DOCUMENT
    with pytest.raises(BadArchive, match="more members"):
        read_wheel(make_zip(MEMBERS | {"more": b""}))


def test_a_directory_of_too_many_bytes_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "MAX_DIRECTORY", 100)
    with pytest.raises(BadArchive, match="more members"):
        read_wheel(WHEEL)


def test_an_encrypted_wheel_is_told_so() -> None:
    content = bytearray(make_zip({"demo-1.0.dist-info/METADATA": DOCUMENT}))
    content[content.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(BadArchive, match="encrypted"):
        read_wheel(bytes(content))


def test_a_compression_that_this_python_does_not_know_is_named() -> None:
    content = bytearray(make_zip({"demo-1.0.dist-info/METADATA": DOCUMENT}))
    content[8] = 97
    content[content.index(b"PK\1\2") + 10] = 97
    with pytest.raises(BadArchive, match="compression method 97"):
        read_wheel(bytes(content))


def test_a_member_that_goes_on_after_its_compressed_end_is_read_to_that_end() -> None:
    """What Java's tools leave; nothing that follows is collected."""
    content = bytearray(make_zip({"demo-1.0.dist-info/METADATA": DOCUMENT}))
    directory = content.index(b"PK\1\2")
    content[directory:directory] = bytes(300_000)
    directory += 300_000
    (packed,) = struct.unpack_from("<L", content, directory + 20)
    struct.pack_into("<L", content, directory + 20, packed + 300_000)
    struct.pack_into("<L", content, len(content) - 6, directory)
    assert read_wheel(bytes(content)) == DOCUMENT


# --- Sdists ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", SDIST_EXTENSIONS)
def test_the_pkg_info_in_the_top_folder_of_an_sdist_is_its_very_bytes(extension: str) -> None:
    assert read_sdist(SDISTS[extension], extension) == DOCUMENT


@pytest.mark.parametrize("extension", SDIST_EXTENSIONS)
def test_an_sdist_without_pkg_info_is_told_so(extension: str) -> None:
    members = {name: content for name, content in SDIST_MEMBERS.items() if name != "demo-1.0/PKG-INFO"}
    with pytest.raises(BadArchive, match="holds no PKG-INFO"):
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


@pytest.mark.parametrize("extension", [".tar.gz", ".tar.bz2", ".tar.xz", ".zip"])
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
    with pytest.raises(BadArchive, match="does not end like an sdist"):
        read_sdist(SDISTS[".tar"], ".tar.Z")


@pytest.mark.parametrize("extension", SDIST_EXTENSIONS)
def test_an_sdist_may_not_unpack_to_more_than_the_limit(extension: str) -> None:
    content = make_sdist(extension, SDIST_MEMBERS | {"demo-1.0/zeros": bytes(1_000_000)})
    assert read_sdist(content, extension, limit=1_100_000) == DOCUMENT
    with pytest.raises(BadArchive, match="unpacks to more bytes"):
        read_sdist(content, extension, limit=900_000)


@pytest.mark.parametrize("extension", [".tar.gz", ".zip"])
def test_a_pkg_info_beyond_its_limit_is_refused(extension: str) -> None:
    with pytest.raises(BadArchive, match=r"unpacks to more bytes|larger description"):
        read_sdist(make_sdist(extension, {"demo-1.0/PKG-INFO": bytes(metadata.MAX_METADATA + 1)}), extension)


@pytest.mark.parametrize("extension", SDIST_EXTENSIONS)
def test_an_sdist_of_too_many_members_is_refused(extension: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "MAX_MEMBERS", 3)
    with pytest.raises(BadArchive, match="more members"):
        read_sdist(SDISTS[extension], extension)


def test_an_xz_that_demands_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "MAX_XZ_MEMORY", 1 << 20)
    with pytest.raises(BadArchive):
        read_sdist(SDISTS[".tar.xz"], ".tar.xz")


@pytest.mark.parametrize("name", ["demo-1.0/PKG-INFO", "./demo-1.0/PKG-INFO", "././demo-1.0/PKG-INFO"])
def test_the_top_folder_may_be_spelled_with_a_dot(name: str) -> None:
    assert read_sdist(make_tar({name: DOCUMENT}, "gz")) == DOCUMENT


@pytest.mark.parametrize("name", ["./PKG-INFO", "../PKG-INFO", "/PKG-INFO", "a/b/PKG-INFO", "a/PKG-INFO.in"])
def test_a_pkg_info_elsewhere_does_not_count(name: str) -> None:
    with pytest.raises(BadArchive, match="holds no PKG-INFO"):
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
    info.type, info.size = tarfile.XHDTYPE, metadata.MAX_TAR_HEADER + 1
    with pytest.raises(BadArchive, match="larger description"):
        read_sdist(gzip.compress(info.tobuf() + bytes(info.size + 1024)))


def test_a_compressed_tar_needs_no_end_blocks() -> None:
    """Its own end proves that it is whole, and some tools leave them out."""
    plain = make_tar({"demo-1.0/PKG-INFO": DOCUMENT})[:1024]
    assert read_sdist(gzip.compress(plain)) == DOCUMENT


# --- Whatever happens, a sentence -----------------------------------------------------------------


class Failing(io.BytesIO):
    """A file on a disk that fails."""

    def read(self, size: int | None = -1) -> bytes:
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("extension", SDIST_EXTENSIONS)
def test_a_disk_that_fails_is_told_apart_from_a_bad_sdist(extension: str) -> None:
    with pytest.raises(Unreadable, match="could not be read"):
        read_sdist_metadata(Failing(SDISTS[extension]), extension, MANY)


def test_a_disk_that_fails_is_told_apart_from_a_bad_wheel() -> None:
    with pytest.raises(Unreadable, match="could not be read"):
        read_wheel_metadata(Failing(WHEEL))


def test_what_cannot_be_sought_in_is_refused() -> None:
    class Pipe(io.BytesIO):
        def seek(self, *_: int) -> int:
            raise OSError(errno.ESPIPE, "Illegal seek")

    with pytest.raises(Unreadable):
        read_wheel_metadata(Pipe(WHEEL))


def test_a_refusal_carries_its_reason_and_its_advice_as_one_public_error() -> None:
    with pytest.raises(BadArchive) as caught:
        read_wheel(b"")
    error = caught.value
    assert isinstance(error, SimpleIndexError)
    assert error.status == 400
    assert error.sentence == f"{error.reason} {error.advice}"


@deterministic
@given(st.data())
def test_a_mutated_wheel_gives_its_metadata_or_a_reason(data: st.DataObject) -> None:
    content = mutated(data, WHEEL)
    with contextlib.suppress(BadArchive):
        assert read_wheel(content) == DOCUMENT
        check_members(content, MANY)


@settings(deterministic, max_examples=60)
@pytest.mark.parametrize("extension", SDIST_EXTENSIONS)
@given(st.data())
def test_a_mutated_sdist_gives_some_document_or_a_reason(extension: str, data: st.DataObject) -> None:
    with contextlib.suppress(BadArchive):
        read_sdist(mutated(data, SDISTS[extension]), extension, 10_000_000)


@settings(deterministic, max_examples=60)
@given(st.data())
def test_a_mutated_tar_inside_a_sound_stream_gives_some_document_or_a_reason(data: st.DataObject) -> None:
    with contextlib.suppress(BadArchive):
        read_sdist(gzip.compress(mutated(data, SDISTS[".tar"][:4096]), 1), ".tar.gz", 10_000_000)


@deterministic
@given(st.binary(max_size=2000))
@pytest.mark.parametrize("extension", SDIST_EXTENSIONS)
def test_any_bytes_give_a_reason(extension: str, content: bytes) -> None:
    with pytest.raises(BadArchive):
        read_sdist(content, extension)
    with pytest.raises(BadArchive):
        read_wheel(content)


def mutated(data: st.DataObject, content: bytes) -> bytes:
    """Cut, overwrite, insert or remove a few bytes."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed)))
        removed = data.draw(st.sampled_from([0, 1, 2, 4, 8, 512, len(changed)]))
        changed[at : at + removed] = data.draw(st.binary(max_size=8))
    return bytes(changed)


# --- The oracle: the standard library, for archives that are whole ---------------------------------

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60)
TREES = st.dictionaries(
    st.one_of(
        st.tuples(NAMES).map("/".join),
        st.tuples(NAMES, st.just("PKG-INFO")).map("/".join),
        st.tuples(NAMES.map("{}.dist-info".format), st.just("METADATA")).map("/".join),
        st.tuples(NAMES, NAMES, NAMES).map("/".join),
    ),
    st.binary(max_size=2000),
    max_size=8,
)


@deterministic
@given(
    TREES,
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    st.binary(max_size=30).filter(lambda comment: b"PK" not in comment),
)
def test_every_wheel_is_read_as_zipfile_reads_it(tree: dict[str, bytes], method: int, comment: bytes) -> None:
    content = make_zip(tree, method=method, comment=comment)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = [
            archive.read(name)
            for name in archive.namelist()
            if name.endswith(".dist-info/METADATA") and name.count("/") == 1
        ]
    check_members(content)
    if len(found) == 1:
        assert read_wheel(content) == found[0]
    else:
        with pytest.raises(BadArchive, match=r"holds no|holds more"):
            read_wheel(content)


@deterministic
@given(TREES, st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_every_tar_is_read_as_tarfile_reads_it(tree: dict[str, bytes], form: int) -> None:
    try:
        content = make_tar(tree, format=form)
    except ValueError:  # a name too long for this form
        return
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        names = [name.split("/") for name in archive.getnames()]
        found = [parts for parts in names if len(parts) == 2 and parts[1] == "PKG-INFO"]
        found = [parts for parts in found if parts[0] not in (".", "..")]
        expected = archive.extractfile("/".join(found[-1])).read() if found else None  # type: ignore[union-attr]
    if expected is None:
        with pytest.raises(BadArchive, match="holds no PKG-INFO"):
            read_sdist(content, ".tar")
    else:
        assert read_sdist(content, ".tar") == expected


# --- Headers --------------------------------------------------------------------------------------


def headers(name: str | None = None, version: str | None = None, requires: str | None = None) -> CoreHeaders:
    return CoreHeaders(name=name, version=version, requires_python=requires)


def test_the_three_fields_are_taken_out_of_the_header() -> None:
    document = b"Metadata-Version: 2.1\nName: Demo\nVersion: 1.0\nRequires-Python: >=3.8,<4\n\nText\n"
    assert parse_headers(document) == headers("Demo", "1.0", ">=3.8,<4")


def test_a_document_without_them_has_none_of_them() -> None:
    assert parse_headers(b"") == headers()


@pytest.mark.parametrize("document", [b"\nName: demo\n", b"\r\nName: demo\n", b"Summary: x\n\nName: demo\n"])
def test_what_stands_in_the_body_is_no_field(document: bytes) -> None:
    assert parse_headers(document) == headers()


def test_a_line_that_is_no_field_ends_the_header() -> None:
    """As it does for pip, whose parser takes all that follows for the description."""
    assert parse_headers(b"Name: demo\nA stray line\nVersion: 1.0\n") == headers("demo")


def test_field_names_have_no_case_and_lines_may_end_as_on_windows() -> None:
    assert parse_headers(b"NAME: demo\r\nversion:1.0\r\n\r\nx") == headers("demo", "1.0")


def test_the_first_of_several_fields_counts() -> None:
    assert parse_headers(b"Name: a\nName: b\n") == headers("a")


def test_a_field_that_is_the_end_of_another_is_not_taken_for_it() -> None:
    assert parse_headers(b"Metadata-Version: 2.1\nOther-Name: x\nVersion: 1.0\n") == headers(None, "1.0")


def test_folded_lines_are_joined() -> None:
    document = b"Name: demo\nRequires-Python: >=3.8,\n  !=3.9.0\n\t,<4\nVersion:\n 1.0\n"
    assert parse_headers(document) == headers("demo", "1.0", ">=3.8, !=3.9.0 ,<4")


def test_a_field_inside_a_folded_description_is_no_field() -> None:
    assert parse_headers(b"Description: x\n Name: a\nName: demo\n") == headers("demo")


def test_bytes_that_are_not_utf_8_do_no_harm() -> None:
    assert parse_headers(b"Author: \xff\xfe\nName: d\xe9mo\n").name == "d\udce9mo"


@pytest.mark.parametrize("value", [b"", b">3.x", b"3.8", b">=3.8;<4", b"\xff", b">=3." + b"1" * 2000, b"~=3"])
def test_a_requires_python_that_is_not_valid_is_left_out(value: bytes) -> None:
    """uv drops a file whose requires-python it cannot read."""
    assert parse_headers(b"Requires-Python: " + value + b"\n").requires_python is None


def test_only_so_much_of_a_document_is_searched() -> None:
    document = b"Name: demo\n" + b"Classifier: x\n" * (metadata.MAX_HEADERS // 14) + b"Version: 1.0\n"
    assert parse_headers(document) == headers("demo")


LINES = st.sampled_from(
    [
        b"Name: demo",
        b"name:x",
        b"VERSION : 1",
        b"Version: 1",
        b" folded",
        b"\tfolded",
        b"",
        b" ",
        b"Text",
        b":",
        b"A:",
    ]
)


@deterministic
@example(lines=[b"Name: demo", b" ", b"Version: 1"], end=b"\r\n")
@given(lines=st.lists(LINES, max_size=8), end=st.sampled_from([b"\n", b"\r\n"]))
def test_headers_are_what_the_email_parser_sees(lines: list[bytes], end: bytes) -> None:
    document = end.join(lines)
    message = email.message_from_bytes(document)
    expected = [
        " ".join(message[field].split()) or None if field in message else None
        for field in ("name", "version")
    ]
    seen = parse_headers(document)
    assert [seen.name, seen.version] == expected


@deterministic
@given(st.binary(max_size=300))
def test_any_bytes_have_headers(document: bytes) -> None:
    parse_headers(b"Name: x\n" + document)


# --- Identity -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("Foo.Bar", "1.0"),
        ("foo_bar", "1.0.0"),
        ("foo--bar", "v1"),
        ("foo-bar", " 1.0 "),
        ("FOO-BAR", "1"),
    ],
)
def test_spellings_of_one_name_and_version_agree(name: str, version: str) -> None:
    check_identity(headers(name, version), project="foo-bar", version="1.0")


@pytest.mark.parametrize("version", ["1.1", "1.0.post1", "1.0+local", "1!1.0", "1.0rc1", "not a version"])
def test_another_version_is_a_contradiction(version: str) -> None:
    with pytest.raises(BadArchive, match="metadata has Version"):
        check_identity(headers("demo", version), project="demo", version="1.0")


def test_another_name_is_a_contradiction() -> None:
    with pytest.raises(BadArchive, match="metadata has Name 'other', but its file name says 'demo'"):
        check_identity(headers("other", "1.0"), project="demo", version="1.0")


def test_versions_that_pep_440_does_not_know_are_compared_as_they_are() -> None:
    check_identity(headers("demo", "2004d-final"), project="demo", version="2004d-final")


@pytest.mark.parametrize("found", [headers(None, "1.0"), headers("demo", None), headers()])
def test_metadata_without_name_or_version_is_refused(found: CoreHeaders) -> None:
    with pytest.raises(BadArchive, match="lacks its Name or its Version"):
        check_identity(found, project="demo", version="1.0")


def test_a_hostile_name_is_shown_short_and_printable() -> None:
    with pytest.raises(BadArchive) as caught:
        check_identity(headers("\udcff\x1b[31m" * 1000, "1.0"), project="demo", version="1.0")
    assert caught.value.reason.isprintable()
    assert len(caught.value.reason) < 1000
