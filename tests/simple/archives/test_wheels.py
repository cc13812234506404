"""The metadata of a wheel comes out unchanged if the wheel is whole, and else a clear reason."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from twisted_index.simple.archives import zip_central_directory
from twisted_index.simple.archives.limits import MAX_METADATA
from twisted_index.simple.core_metadata import BadArchive

from .samples import DOCUMENT, MEMBERS, SDISTS, WHEEL, check_members, make_zip, read_wheel


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


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (b"\n", "There is 1 byte behind the zip archive"),
        (b"\0" * 5000, "There are 5,000 bytes behind the zip archive"),
        (b"PK\5\6", "There are 4 bytes behind the zip archive"),
        (b"\0" * 100_000, "is not a zip archive"),
    ],
)
def test_a_wheel_with_bytes_after_its_end_is_refused(more: bytes, said: str) -> None:
    with pytest.raises(BadArchive, match=said):
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
    content = bytearray(make_zip({"demo-1.0.dist-info/METADATA": bytes(MAX_METADATA + 1)}))
    assert len(content) < 100_000
    with pytest.raises(BadArchive, match="METADATA has more than 16,777,216 bytes"):
        read_wheel(bytes(content))
    struct.pack_into("<L", content, content.index(b"PK\1\2") + 24, 10)
    with pytest.raises(BadArchive, match="unpacks to more bytes"):
        read_wheel(bytes(content))


def test_a_wheel_of_too_many_members_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_central_directory, "MAX_MEMBERS", len(MEMBERS))
    assert read_wheel(WHEEL) == DOCUMENT
    with pytest.raises(BadArchive, match="more members"):
        read_wheel(make_zip(MEMBERS | {"more": b""}))


def test_a_directory_of_too_many_bytes_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_central_directory, "MAX_DIRECTORY", 100)
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
