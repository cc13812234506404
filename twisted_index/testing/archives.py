"""Writes reproducible archives: equal content gives equal bytes."""

from __future__ import annotations

import base64
import bz2
import csv
import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Both zip and tar can represent it, and unpacked files are not dated in the future.
_MEMBER_TIME: Final = (1980, 1, 1, 0, 0, 0)
MEMBER_SECONDS: Final = 315532800


def record_of(members: Mapping[str, bytes], record: str) -> bytes:
    """Write RECORD: each path with digest and size in bytes, and RECORD itself with neither (PEP 376)."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for path, content in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.writerow((path, f"sha256={digest}", len(content)))
    rows.writerow((record, "", ""))
    return text.getvalue().encode()


def write_zip(members: Mapping[str, bytes], *, compress: bool = True) -> bytes:
    """Write a zip archive whose bytes depend on the arguments only."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        for path, content in members.items():
            member = zipfile.ZipInfo(path, _MEMBER_TIME)
            member.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            member.create_system = 3  # Unix, on every system: the attributes below are Unix modes
            member.external_attr = 0o100644 << 16
            writer.writestr(member, content)
    return archive.getvalue()


def _tar(members: Mapping[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as writer:
        for path, content in members.items():
            member = tarfile.TarInfo(path)
            member.size, member.mtime, member.mode = len(content), MEMBER_SECONDS, 0o644
            writer.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def _tar_gz(members: Mapping[str, bytes]) -> bytes:
    return gzip.compress(_tar(members), mtime=0)


#: Functions that write an sdist, by its extension.
SDIST_WRITERS: Final[Mapping[str, Callable[[Mapping[str, bytes]], bytes]]] = {
    ".tar.gz": _tar_gz,
    ".tgz": _tar_gz,
    ".zip": write_zip,
    ".tar.bz2": lambda members: bz2.compress(_tar(members)),
    ".tar.xz": lambda members: lzma.compress(_tar(members)),
    ".tar": _tar,
}
