"""The makers: what they make is what installers and the index itself take."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile

import pytest

from twisted_index.testing import IndexInMemory, make_sdist, make_wheel

EXTENSIONS = [".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz", ".tar"]


def test_the_same_arguments_give_the_same_bytes():
    assert (
        make_wheel("demo", "1.0", requires=["a"]).content == make_wheel("demo", "1.0", requires=["a"]).content
    )
    for extension in EXTENSIONS:
        first, second = (make_sdist("demo", "1.0", extension=extension) for _ in range(2))
        assert first.content == second.content


def test_other_arguments_give_other_bytes():
    assert make_wheel("demo", "1.0").sha256 != make_wheel("demo", "1.0", requires=["a"]).sha256


def test_a_wheel_is_named_by_the_rules_of_file_names():
    assert make_wheel("De.Mo-X", "1.0.0a1").filename == "de_mo_x-1.0.0a1-py3-none-any.whl"
    assert make_wheel("demo", "1.0", build="2b", tag="cp313-abi3-linux_x86_64").filename == (
        "demo-1.0-2b-cp313-abi3-linux_x86_64.whl"
    )


def test_a_wheel_holds_the_metadata_that_it_says_it_holds():
    wheel = make_wheel("demo", "1.0", requires=["other>=2"], requires_python=">=3.9")
    with zipfile.ZipFile(io.BytesIO(wheel.content)) as archive:
        assert archive.read("demo-1.0.dist-info/METADATA") == wheel.metadata
    assert wheel.metadata == (
        b"Metadata-Version: 2.2\nName: demo\nVersion: 1.0\nRequires-Python: >=3.9\nRequires-Dist: other>=2\n"
    )


def test_a_record_lists_every_member_of_its_wheel():
    with zipfile.ZipFile(io.BytesIO(make_wheel("demo", "1.0").content)) as archive:
        rows = archive.read("demo-1.0.dist-info/RECORD").decode().splitlines()
        assert {row.split(",")[0] for row in rows} == set(archive.namelist())


def test_an_sdist_holds_its_metadata_in_the_one_folder_that_is_named_like_it():
    with tarfile.open(fileobj=io.BytesIO(make_sdist("De-Mo", "1.0").content)) as archive:
        assert {name.split("/")[0] for name in archive.getnames()} == {"de_mo-1.0"}
        assert "de_mo-1.0/PKG-INFO" in archive.getnames()


def test_an_extension_that_no_sdist_has_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"one of \.tar\.gz"):
        make_sdist("demo", "1.0", extension=".rar")


def test_a_made_file_knows_its_digest_and_its_size():
    wheel = make_wheel("demo", "1.0")
    assert (wheel.sha256, wheel.size) == (hashlib.sha256(wheel.content).hexdigest(), len(wheel.content))


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_the_index_lists_every_kind_of_sdist_that_is_made(tmp_path, extension):
    sdist = make_sdist("demo", "1.0", extension=extension)
    sdist.write_to(tmp_path / "demo")
    with IndexInMemory.of_folders(tmp_path) as index:
        index.advance(3)  # a plain tar is listed when it has been at rest
        assert index.get("/-/problems").json()["problems"] == []
        assert index.get(f"/simple/demo/{sdist.filename}").body == sdist.content


@pytest.mark.parametrize("compress", [True, False])
def test_the_index_lists_wheels_compressed_or_not(tmp_path, compress):
    wheel = make_wheel("demo", "1.0", compress=compress)
    wheel.write_to(tmp_path)
    with IndexInMemory.of_folders(tmp_path) as index:
        assert index.get(f"/simple/demo/{wheel.filename}").body == wheel.content
        assert index.get(f"/simple/demo/{wheel.filename}.metadata").body == wheel.metadata
