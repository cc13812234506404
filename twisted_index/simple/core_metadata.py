"""
METADATA from a wheel, PKG-INFO from an sdist, and the few headers that an index needs.

The functions that take a file block: their caller runs them in a thread.

Out of scope: which files are distributions (see `names`), archives (see `archives`), caching.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from twisted_index.simple._versions import are_specifiers
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
    "ZipArchive",
    "check_archive",
    "check_consistency",
    "check_encoding",
    "check_identity",
    "check_wheel_members",
    "parse_headers",
    "read_pyproject",
    "read_sdist_metadata",
    "read_wheel_metadata",
]

#: Bytes of a document that are searched for its headers, in one step that no thread can interrupt:
#: 10 ms for long lines, some 50 ms for the shortest. Old documents have a description of some hundred
#: thousand bytes among their headers.
MAX_HEADERS = 1024 * 1024
#: Characters of a Requires-Python or a Version; longer ones are ignored. Real ones have less than a hundred.
MAX_VALUE = 1024


class _Form(NamedTuple):
    """A format of sdists: its name in messages, and the function that decompresses its tar; None for zip."""

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
    An sdist that is complete, but has no readable core metadata.

    Installers accept it: pip and uv run its build, as they had to before PEP 643 required PKG-INFO.
    """


#: In a top-level folder, with any number of leading `./`.
_is_pkg_info = re.compile(rb"(?:\./)*(?!\.\.?/)[^/]+/PKG-INFO").fullmatch
_is_pyproject = re.compile(rb"(?:\./)*(?!\.\.?/)[^/]+/pyproject\.toml").fullmatch


@translate_errors("a zip archive")
def read_wheel_metadata(wheel: ZipArchive) -> bytes:
    """
    Read the core metadata of a wheel (binary distribution format, PEP 427).

    Args:
        wheel: The wheel.

    Returns:
        The bytes of its one top-level `*.dist-info/METADATA`; their CRC is checked.

    Raises:
        BadArchive: The file is not a complete zip archive, does not contain exactly one such member, or
            the member has more than MAX_METADATA bytes.
    """
    members = [
        entry
        for entry in wheel.directory.find_by_suffix(b".dist-info/METADATA")
        if entry.name.count(b"/") == 1
    ]
    if len(members) != 1:
        many = "no" if not members else "more than one"
        raise BadArchive(f"The file holds {many} .dist-info/METADATA, so it is not a wheel.", BUILD_AGAIN)
    if members[0].size > MAX_METADATA:
        raise BadArchive(f"The file's METADATA has more than {MAX_METADATA:,} bytes.", "Shorten it.")
    return wheel.read(members[0], MAX_METADATA)


def read_sdist_metadata(file: BinaryIO, extension: str, limit: int) -> bytes:
    """
    Read an sdist to its end and return its core metadata (source distribution format, PEP 643).

    Args:
        file: The sdist, seekable.
        extension: One of `.tar.gz`, `.tgz`, `.tar.bz2`, `.tar.xz`, `.tar` and `.zip`.
        limit: Bytes that the archive may unpack to.

    Returns:
        The bytes of the PKG-INFO in its top folder, or of the member that it links to.

    Raises:
        NoMetadata: The archive is complete, but has no such document of at most MAX_METADATA bytes.
        BadArchive: The file is not a complete archive of that kind, or unpacks to more.
    """
    form = _FORMS.get(extension)
    if form is None:
        raise BadArchive(
            "The file name does not end like that of an sdist.", "Rename it, or build it again as .tar.gz."
        )
    with translate_errors(form.name):
        document = _read_to_end(file, form, limit, _is_pkg_info)
    if document is None:
        size = f"{MAX_METADATA:,}"
        raise NoMetadata(
            f"The file holds no PKG-INFO of at most {size} bytes in its top folder.", BUILD_AGAIN
        )
    return document


def read_pyproject(file: BinaryIO, extension: str, limit: int) -> bytes | None:
    """
    Read an sdist to its end and return its `pyproject.toml` (PEP 517), by which it is built.

    Args:
        file: As for `read_sdist_metadata`.
        extension: The same.
        limit: The same.

    Returns:
        None if there is none of at most MAX_METADATA bytes in its top folder.

    Raises:
        BadArchive: As for `read_sdist_metadata`.
    """
    form = _FORMS[extension]
    with translate_errors(form.name):
        return _read_to_end(file, form, limit, _is_pyproject)


def _read_to_end(
    file: BinaryIO, form: _Form, limit: int, is_wanted: Callable[[bytes], object]
) -> bytes | None:
    unpack = form.unpack
    if unpack is None:
        return read_zip(ZipArchive(file), limit, is_wanted)
    if not file.seek(0, os.SEEK_END):
        raise CorruptArchive

    def begin() -> Iterator[bytes]:
        file.seek(0)
        return unpack(file)

    return read_tar(begin, limit, is_wanted, bare=unpack is read_plain)


def check_archive(file: BinaryIO, filename: str, limit: int) -> None:
    """
    Verify that a wheel or sdist is complete, whatever its metadata.

    Args:
        file: The archive, seekable.
        filename: Its name, which determines its kind.
        limit: Bytes that the archive may unpack to.

    Raises:
        BadArchive: The file is not a complete archive of that kind, or unpacks to more.
    """
    if filename.endswith(".whl"):
        check_wheel_members(ZipArchive(file), limit)
        return
    form = next((form for end, form in _FORMS.items() if filename.lower().endswith(end)), None)
    if form is None:
        raise BadArchive("The file name does not end like that of a distribution.")
    with translate_errors(form.name):
        _read_to_end(file, form, limit, _is_pkg_info)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreMetadata:
    """
    The few fields of core metadata that an index uses.

    Attributes:
        name: As the document spells it; None if it has none.
        version: As the document spells it; None if it has none.
        requires_python: A valid specifier set (PEP 440), as the document spells it; None if missing or
            invalid: uv drops a file whose requires-python it cannot parse.
    """

    name: str | None
    version: str | None
    requires_python: str | None


def check_encoding(document: bytes) -> None:
    """
    Check that core metadata is UTF-8, as its specification requires.

    pip installs no wheel whose metadata is not: it reports an error if it reads the wheel, and ends in a
    traceback if an index serves the document; uv accepts both.

    Raises:
        BadArchive: The document is not UTF-8.
    """
    try:
        document.decode()
    except UnicodeDecodeError:
        raise BadArchive("The file's METADATA is not UTF-8.", BUILD_AGAIN) from None


#: The headers: lines with a field name and their folded lines (RFC 5322 section 2.2), up to the first
#: line that is neither, as in Python's email parser.
_header_lines = re.compile(rb"(?:[!-9;-~]*:[^\n]*(?:\n|\Z)|[ \t][^\n]*(?:\n|\Z))*+").match
_value = re.compile(rb"[^\n]*(?:\n[ \t][^\n]*)*").match


def parse_headers(document: bytes) -> CoreMetadata:
    """
    Parse the headers of a METADATA or PKG-INFO that an index needs.

    Only three fields are read: full parsers take milliseconds, in which nothing else runs.

    Args:
        document: The whole document, of any encoding.

    Returns:
        The first field of each name, case-insensitively; folded lines are joined.
    """
    document = document[:MAX_HEADERS]
    if b"\r" in document:  # the line ends of Python's email parser
        document = document.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    match = _header_lines(document)
    header = b"\n" + (match[0] if match else b"")
    lower = header.lower()
    requires_python = _field(header, lower, b"\nrequires-python:")
    valid = requires_python and len(requires_python) <= MAX_VALUE and are_specifiers(requires_python)
    return CoreMetadata(
        name=_field(header, lower, b"\nname:"),
        version=_field(header, lower, b"\nversion:"),
        requires_python=requires_python if valid else None,
    )


def _field(header: bytes, lower: bytes, label: bytes) -> str | None:
    at = lower.find(label)
    if at < 0:
        return None
    match = _value(header, at + len(label))
    text = (match[0] if match else b"").decode("utf-8", "surrogateescape")
    return " ".join(text.split()) or None


def check_identity(headers: CoreMetadata, *, project: str, version: str) -> None:
    """
    Check that a file's metadata has the name and version of its file name.

    Args:
        headers: The parsed metadata.
        project: The project of the file name, in any spelling (PEP 503 compares them).
        version: The version of the file name, in any spelling (PEP 440 compares them).

    Raises:
        BadArchive: One of them differs, or is missing in the metadata.
    """
    if headers.name is None or headers.version is None:
        raise BadArchive("The file's metadata lacks its Name or its Version.", BUILD_AGAIN)
    check_consistency(headers, project=project, version=version)


def check_consistency(headers: CoreMetadata, *, project: str, version: str) -> None:
    """
    Check that a file's metadata does not contradict its file name.

    pip and uv reject a file whose metadata contradicts its name, after they have selected it. For an sdist
    that is the metadata that its build generates, as the same build has generated its PKG-INFO. UNKNOWN
    and 0.0.0, which distutils wrote for missing values, count as missing.

    Args:
        headers: The parsed metadata.
        project: As for `check_identity`.
        version: As for `check_identity`.

    Raises:
        BadArchive: One of them differs.
    """
    if headers.name not in (None, "UNKNOWN") and normalize(headers.name) != normalize(project):
        raise _contradiction("Name", headers.name, project)
    value = headers.version
    # Most are spelled alike, which takes no parsing.
    if value not in (None, "0.0.0", version) and (
        len(value) > MAX_VALUE or version_sort_key(value) != version_sort_key(version)
    ):
        raise _contradiction("Version", value, version)


def _contradiction(field: str, value: str, expected: str) -> BadArchive:
    value = value.encode("ascii", "backslashreplace").decode()[:200]
    reason = f"The file's metadata has {field} {value!r}, but its file name says {expected!r}."
    return BadArchive(reason, "Rename the file, or build it again.")
