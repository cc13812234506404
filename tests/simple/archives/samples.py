"""Wheels and sdists to read, and how the tests read them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from typing import Any

from hypothesis import strategies as st

from twisted_index.simple.core_metadata import (
    ZipArchive,
    check_wheel_members,
    read_sdist_metadata,
    read_wheel_metadata,
)

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
    return read_wheel_metadata(ZipArchive(io.BytesIO(content)))


def read_sdist(content: bytes, extension: str = ".tar.gz", limit: int = MANY) -> bytes:
    return read_sdist_metadata(io.BytesIO(content), extension, limit)


def check_members(content: bytes, limit: int = MANY) -> None:
    check_wheel_members(ZipArchive(io.BytesIO(content)), limit)


WHEEL = make_zip(MEMBERS)
SDISTS = {extension: make_sdist(extension) for extension in SDIST_EXTENSIONS}


def mutated(data: st.DataObject, content: bytes) -> bytes:
    """Cut, overwrite, insert or remove a few bytes."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed)))
        removed = data.draw(st.sampled_from([0, 1, 2, 4, 8, 512, len(changed)]))
        changed[at : at + removed] = data.draw(st.binary(max_size=8))
    return bytes(changed)
