"""
METADATA out of a wheel, PKG-INFO out of an sdist, and the few headers that an index needs of them.

The functions that take a file block: their caller runs them in a thread.

Out of scope: which files are distributions (see `names`), archives (see `archives`), or
remembering what was read.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from twisted_index.simple._specifiers import are_specifiers
from twisted_index.simple.archives.decompress import bunzip2, gunzip, read_plain, unxz
from twisted_index.simple.archives.errors import (
    BUILD_AGAIN,
    BadArchive,
    CorruptArchive,
    UnreadableFile,
    translate_errors,
)
from twisted_index.simple.archives.limits import MAX_METADATA
from twisted_index.simple.archives.tar import read_tar
from twisted_index.simple.archives.zip import ZipArchive, check_wheel_members, read_zip
from twisted_index.simple.names import normalize, version_sort_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "BadArchive",
    "CoreMetadata",
    "NoMetadata",
    "UnreadableFile",
    "check_archive",
    "check_consistency",
    "check_encoding",
    "check_identity",
    "check_wheel_members",
    "parse_headers",
    "read_sdist_metadata",
    "read_wheel_metadata",
]

#: Bytes of a document that are searched for its headers, in one step that no thread can interrupt:
#: 10 ms if they are full of long lines, some 50 ms if of the shortest. Old documents have a
#: description of some hundred thousand bytes among them.
MAX_HEADERS = 1024 * 1024
#: Characters of a Requires-Python or a Version that is looked at. Real ones have less than a hundred.
MAX_VALUE = 1024


class _Form(NamedTuple):
    """A form of sdist: what it is called, and what makes a tar of it (nothing, if it is a zip)."""

    name: str
    unpack: Callable[[BinaryIO], Iterator[bytes]] | None


_FORMS = {
    ".tar.gz": _Form("a gzip-compressed tar", gunzip),
    ".tgz": _Form("a gzip-compressed tar", gunzip),
    ".tar.bz2": _Form("a bzip2-compressed tar", bunzip2),
    ".tar.xz": _Form("an xz-compressed tar", unxz),
    ".tar": _Form("a tar archive", read_plain),
    ".zip": _Form("a zip archive", None),
}


class NoMetadata(BadArchive):
    """
    An sdist that is whole, and has no core metadata that could be read.

    No installer minds: pip and uv run its build, as they had to before PKG-INFO was promised (PEP 643).
    """


#: `PKG-INFO` in a folder of the top level, however the archive spells "here".
_is_pkg_info = re.compile(rb"(?:\./)*(?!\.\.?/)[^/]+/PKG-INFO").fullmatch


@translate_errors("a zip archive")
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
    archive = ZipArchive(file)
    found = [
        entry
        for entry in archive.directory.find_by_suffix(b".dist-info/METADATA")
        if entry.name.count(b"/") == 1
    ]
    if len(found) != 1:
        many = "no" if not found else "more than one"
        raise BadArchive(f"The file holds {many} .dist-info/METADATA, so it is not a wheel.", BUILD_AGAIN)
    if found[0].size > MAX_METADATA:
        raise BadArchive(f"The file's METADATA has more than {MAX_METADATA:,} bytes.", "Shorten it.")
    return b"".join(archive.unpack(found[0], MAX_METADATA))


def read_sdist_metadata(file: BinaryIO, extension: str, limit: int) -> bytes:
    """
    Read an sdist to its end and return its core metadata (source distribution format, PEP 643).

    Args:
        file: The sdist, seekable.
        extension: One of `.tar.gz`, `.tgz`, `.tar.bz2`, `.tar.xz`, `.tar` and `.zip`.
        limit: Bytes that it may unpack to.

    Returns:
        The bytes of the PKG-INFO in its top folder, or of the member that this is a link to.

    Raises:
        NoMetadata: It is a whole archive, but has no such document of at most MAX_METADATA bytes.
        BadArchive: It is not a whole archive of that kind, or unpacks to more.
    """
    form = _FORMS.get(extension)
    if form is None:
        raise BadArchive(
            "The file name does not end like that of an sdist.", "Rename it, or build it again as .tar.gz."
        )
    with translate_errors(form.name):
        document = _read_to_end(file, form, limit)
    if document is None:
        size = f"{MAX_METADATA:,}"
        raise NoMetadata(
            f"The file holds no PKG-INFO of at most {size} bytes in its top folder.", BUILD_AGAIN
        )
    return document


def _read_to_end(file: BinaryIO, form: _Form, limit: int) -> bytes | None:
    unpack = form.unpack
    if unpack is None:
        return read_zip(file, limit, _is_pkg_info)
    if not file.seek(0, os.SEEK_END):
        raise CorruptArchive

    def begin() -> Iterator[bytes]:
        file.seek(0)
        return unpack(file)

    return read_tar(begin, limit, _is_pkg_info, bare=unpack is read_plain)


def check_archive(file: BinaryIO, filename: str, limit: int) -> None:
    """
    Prove that a wheel or sdist is all there, whatever it says of itself.

    Args:
        file: It, seekable.
        filename: Its name, which says what it is.
        limit: Bytes that it may unpack to.

    Raises:
        BadArchive: It is not a whole archive of that kind, or unpacks to more.
    """
    if filename.endswith(".whl"):
        check_wheel_members(file, limit)
        return
    form = next((form for end, form in _FORMS.items() if filename.lower().endswith(end)), None)
    if form is None:
        raise BadArchive("The file name does not end like that of a distribution.")
    with translate_errors(form.name):
        _read_to_end(file, form, limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreMetadata:
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


def check_encoding(document: bytes) -> None:
    """
    Check that core metadata is UTF-8, as its specification says.

    pip installs no wheel of which it is not. It says so if it finds it in the wheel, and ends in a
    traceback if an index gives it the document; uv takes either.

    Raises:
        BadArchive: It is not.
    """
    try:
        document.decode()
    except UnicodeDecodeError:
        raise BadArchive("The file's METADATA is not UTF-8.", BUILD_AGAIN) from None


#: The headers: lines with a field name and their folded lines (RFC 5322 section 2.2), up to the
#: first line that is neither, as Python's email parser takes them.
_header_lines = re.compile(rb"(?:[!-9;-~]*:[^\n]*(?:\n|\Z)|[ \t][^\n]*(?:\n|\Z))*+").match
_value = re.compile(rb"[^\n]*(?:\n[ \t][^\n]*)*").match


def parse_headers(document: bytes) -> CoreMetadata:
    """
    Read what an index needs of a METADATA or PKG-INFO.

    Only the header is looked at, and only three fields are taken out of it: full parsers take
    milliseconds, in which nothing else runs.

    Args:
        document: The whole document, of any encoding.

    Returns:
        The first field of each name, without regard to case; folded lines are joined.
    """
    document = document[:MAX_HEADERS]
    if b"\r" in document:  # a line ends where that parser says
        document = document.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    match = _header_lines(document)
    head = b"\n" + (match[0] if match else b"")
    lowered = head.lower()
    requires_python = _field(head, lowered, b"\nrequires-python:")
    is_valid = requires_python and len(requires_python) <= MAX_VALUE and are_specifiers(requires_python)
    return CoreMetadata(
        name=_field(head, lowered, b"\nname:"),
        version=_field(head, lowered, b"\nversion:"),
        requires_python=requires_python if is_valid else None,
    )


def _field(head: bytes, lowered: bytes, label: bytes) -> str | None:
    at = lowered.find(label)
    if at < 0:
        return None
    match = _value(head, at + len(label))
    text = (match[0] if match else b"").decode("utf-8", "surrogateescape")
    return " ".join(text.split()) or None


def check_identity(headers: CoreMetadata, *, project: str, version: str) -> None:
    """
    Check that a file's metadata says what its file name says.

    Args:
        headers: What the metadata says.
        project: The project's name by the file name, in any spelling (PEP 503 compares them).
        version: The version by the file name, in any spelling (PEP 440 compares them).

    Raises:
        BadArchive: They differ, or the metadata lacks one of them.
    """
    if headers.name is None or headers.version is None:
        raise BadArchive("The file's metadata lacks its Name or its Version.", BUILD_AGAIN)
    check_consistency(headers, project=project, version=version)


def check_consistency(headers: CoreMetadata, *, project: str, version: str) -> None:
    """
    Check that a file's metadata says nothing else than its file name.

    pip and uv refuse a file whose metadata contradicts its name, after they have chosen it. For an
    sdist that is the metadata that its build gives; what wrote its PKG-INFO was the same build. What
    distutils wrote where it was told nothing, UNKNOWN and 0.0.0, says nothing.

    Args:
        headers: What the metadata says.
        project: As for `check_identity`.
        version: As for `check_identity`.

    Raises:
        BadArchive: They differ.
    """
    if headers.name not in (None, "UNKNOWN") and normalize(headers.name) != normalize(project):
        raise _contradiction("Name", headers.name, project)
    said = headers.version
    if said not in (None, "0.0.0") and (
        len(said) > MAX_VALUE or version_sort_key(said) != version_sort_key(version)
    ):
        raise _contradiction("Version", said, version)


def _contradiction(field: str, said: str, named: str) -> BadArchive:
    said = said.encode("ascii", "backslashreplace").decode()[:200]
    reason = f"The file's metadata has {field} {said!r}, but its file name says {named!r}."
    return BadArchive(reason, "Rename the file, or build it again.")
