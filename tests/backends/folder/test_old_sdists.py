"""Sdists as they were made before PKG-INFO was promised are listed; pip and uv install them."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest

from tests.kit.folder_source import Folder

DOCUMENT = b"Metadata-Version: 1.0\nName: demo\nVersion: 1.0\nRequires-Python: >=2.7\n"
SETUP = b"from setuptools import setup\nsetup(name='demo', version='1.0')\n"


def sdist(members: dict[str, bytes], links: dict[str, tuple[bytes, str]] | None = None) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, (kind, target) in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return made.getvalue()


def put(folder: Folder, content: bytes, filename: str = "demo-1.0.tar.gz") -> None:
    (folder.path / "demo").mkdir()
    (folder.path / "demo" / filename).write_bytes(content)


OLD = {
    "no PKG-INFO": sdist({"demo-1.0/setup.py": SETUP}),
    "no top folder": sdist({"setup.py": SETUP, "PKG-INFO": DOCUMENT}),
    "only an egg-info": sdist({"demo-1.0/setup.py": SETUP, "demo-1.0/demo.egg-info/PKG-INFO": DOCUMENT}),
    "a PKG-INFO too deep": sdist({"src/demo-1.0/setup.py": SETUP, "src/demo-1.0/PKG-INFO": DOCUMENT}),
    "an empty PKG-INFO": sdist({"demo-1.0/PKG-INFO": b""}),
    "no Version": sdist({"demo-1.0/PKG-INFO": b"Metadata-Version: 1.0\nName: demo\n"}),
    "no headers": sdist({"demo-1.0/PKG-INFO": b"\0\1\2 no headers"}),
    "UTF-16": sdist({"demo-1.0/PKG-INFO": DOCUMENT.decode().encode("utf-16")}),
    "a link that leads out": sdist(
        {"demo-1.0/setup.py": SETUP}, {"demo-1.0/PKG-INFO": (tarfile.SYMTYPE, "/etc/passwd")}
    ),
    "a circle": sdist({"demo-1.0/setup.py": SETUP}, {"demo-1.0/PKG-INFO": (tarfile.SYMTYPE, "PKG-INFO")}),
    "a PKG-INFO of 17 MB": sdist({"demo-1.0/PKG-INFO": DOCUMENT + bytes(17_000_000)}),
}


@pytest.mark.parametrize("kind", OLD)
def test_an_sdist_that_says_nothing_of_itself_is_listed_by_its_file_name(folder: Folder, kind: str):
    put(folder, OLD[kind])
    (file,) = folder.page("demo").files
    assert (file.filename, file.version, file.requires_python) == ("demo-1.0.tar.gz", "1.0", None)
    assert file.core_metadata is None
    assert folder.read("demo", "demo-1.0.tar.gz") == OLD[kind]
    assert folder.problems() == {}


def test_a_zip_without_pkg_info_is_listed_by_its_file_name(folder: Folder):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("demo-1.0/setup.py", SETUP)
    put(folder, made.getvalue(), "demo-1.0.zip")
    assert folder.files("demo") == ["demo-1.0.zip"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_linked_pkg_info_says_which_pythons_it_is_for(folder: Folder, kind: bytes):
    target = "demo.egg-info/PKG-INFO" if kind == tarfile.SYMTYPE else "demo-1.0/demo.egg-info/PKG-INFO"
    members = {"demo-1.0/demo.egg-info/PKG-INFO": DOCUMENT}
    put(folder, sdist(members, {"demo-1.0/PKG-INFO": (kind, target)}))
    assert [file.requires_python for file in folder.page("demo").files] == [">=2.7"]


def test_a_pkg_info_in_another_encoding_is_read_as_far_as_it_can_be(folder: Folder):
    put(folder, sdist({"demo-1.0/PKG-INFO": DOCUMENT + b"Author: Andr\xe9\n"}))
    assert [file.requires_python for file in folder.page("demo").files] == [">=2.7"]


@pytest.mark.parametrize(
    "said",
    [b"Name: UNKNOWN\nVersion: 0.0.0\n", b"Name: UNKNOWN\nVersion: 1.0\n", b"Name: Demo\nVersion: 0.0.0\n"],
)
def test_what_distutils_wrote_where_it_was_told_nothing_contradicts_nothing(folder: Folder, said: bytes):
    put(folder, sdist({"demo-1.0/PKG-INFO": said}))
    assert folder.files("demo") == ["demo-1.0.tar.gz"]


@pytest.mark.parametrize(
    "said", [b"Name: other\nVersion: 1.0\n", b"Name: demo\nVersion: 2.0\n", b"Name: x\n"]
)
def test_an_sdist_that_says_it_is_another_is_left_out(folder: Folder, said: bytes):
    put(folder, sdist({"demo-1.0/PKG-INFO": said}))
    assert folder.files("demo") == []
    assert "but its file name says" in folder.problems()["demo/demo-1.0.tar.gz"]


@pytest.mark.parametrize("kind", ["no PKG-INFO", "no top folder", "a circle"])
def test_an_old_sdist_that_is_cut_is_left_out(folder: Folder, kind: str):
    put(folder, OLD[kind][:-9])
    assert folder.files("demo") == []
    assert "in part" in folder.problems()["demo/demo-1.0.tar.gz"]


@pytest.mark.parametrize("filename", ["demo-1.0.tar", "demo-1.0.zip", "demo-1.0.tar.gz"])
def test_an_archive_that_holds_nothing_is_left_out(folder: Folder, filename: str):
    """As a copy looks of which only zeros are here, or the record that ends a zip."""
    empty = {".tar": bytes(10240), ".zip": b"PK\5\6" + bytes(18), ".gz": sdist({})}
    put(folder, empty[filename[len("demo-1.0") :].replace(".tar.gz", ".gz")], filename)
    assert folder.files("demo") == []
    folder.later()  # a plain tar has to rest
    assert folder.files("demo") == []
    assert "in part" in folder.problems()[f"demo/{filename}"]


def test_a_plain_tar_with_a_hole_is_not_taken_for_a_short_one(folder: Folder):
    """A copy of which the first and the last bytes are here, and zeros between them."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name in ("demo-1.0/setup.py", "demo-1.0/data", "demo-1.0/PKG-INFO"):
            info = tarfile.TarInfo(name)
            info.size = 5000
            archive.addfile(info, io.BytesIO(b"x" * 5000))
    whole = made.getvalue()
    put(folder, whole[:5632] + bytes(6000) + whole[11632:], "demo-1.0.tar")
    assert folder.files("demo") == []
