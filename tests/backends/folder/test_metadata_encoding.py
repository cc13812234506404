"""Core metadata is offered where installers survive it, and what is left of the file is still served."""

from __future__ import annotations

import pytest

from tests.kit.folder_source import Folder
from twisted_index.simple.model import Sidecar
from twisted_index.testing import make_wheel

HEADERS = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Python: >=3.8\n"
WHEEL = "demo-1.0-py3-none-any.whl"
NOT_UTF_8 = {
    "an author in latin-1": HEADERS + b"Author: Andr\xe9\n\nbody\n",
    "a description in latin-1": HEADERS + b"\ncaf\xe9\n",
    "a charset that is named": HEADERS + b"Content-Type: text/plain; charset=latin-1\nAuthor: Andr\xe9\n",
    "half of a surrogate": HEADERS + b"Author: \xed\xa0\x80\n",
    "a sequence that is cut off": HEADERS + b"\n\xe2\x82",
    "shift-jis": HEADERS + "Author: 日本\n".encode("shift-jis"),
}
FINE = {
    "UTF-8": HEADERS + "Author: André 日本\n".encode(),
    "a NUL": HEADERS + b"Author: A\0B\n\n\0\n",
    "a very long line": HEADERS + b"Author: " + b"x" * 1_000_000 + b"\n",
    "a Name that comes twice": HEADERS + b"Name: other\nVersion: 2.0\n",
    "CRLF": HEADERS.replace(b"\n", b"\r\n"),
    "CR": HEADERS.replace(b"\n", b"\r"),
    "line ends of other standards": HEADERS + "Author: a\u2028b\x0bc\x85d\x1ce\n".encode(),
}


def put(folder: Folder, metadata: bytes) -> None:
    make_wheel("demo", "1.0", metadata=metadata).write_to(folder.path / "demo")


@pytest.mark.parametrize("kind", NOT_UTF_8)
def test_a_wheel_whose_metadata_is_not_utf_8_is_listed_without_core_metadata(folder: Folder, kind: str):
    """pip ends in a traceback when it is given such a document; uv installs the wheel without it."""
    put(folder, NOT_UTF_8[kind])
    (file,) = folder.page("demo").files
    assert (file.filename, file.core_metadata, file.requires_python) == (WHEEL, None, ">=3.8")
    assert folder.read("demo", WHEEL, Sidecar.METADATA) is None
    assert folder.read("demo", WHEEL) is not None
    assert "METADATA is not UTF-8" in folder.problems()[f"demo/{WHEEL}"]


@pytest.mark.parametrize("kind", FINE)
def test_core_metadata_that_installers_can_read_is_offered_unchanged(folder: Folder, kind: str):
    put(folder, FINE[kind])
    (file,) = folder.page("demo").files
    assert file.core_metadata is not None
    assert file.requires_python == ">=3.8"
    assert folder.read("demo", WHEEL, Sidecar.METADATA) == FINE[kind]
    assert folder.problems() == {}


@pytest.mark.parametrize(
    "metadata", [b"\xef\xbb\xbf" + HEADERS, HEADERS.decode().encode("utf-16"), b"\n" + HEADERS, b""]
)
def test_a_wheel_in_whose_metadata_no_installer_finds_a_name_is_left_out(folder: Folder, metadata: bytes):
    put(folder, metadata)
    assert folder.files("demo") == []
    assert "lacks its Name or its Version" in folder.problems()[f"demo/{WHEEL}"]


def test_a_wheel_that_is_badly_encoded_and_deleted_is_told_once(folder: Folder):
    put(folder, NOT_UTF_8["shift-jis"])
    (folder.path / "demo" / f"{WHEEL}.deleted").touch()
    assert "was deleted" in folder.problems()[f"demo/{WHEEL}"]
