"""
METADATA out of a wheel, PKG-INFO out of an sdist, and the few headers that an index needs of them.

The functions that take a file block: their caller runs them in a thread.

Not for: deciding which files are distributions (`names`), how archives are built (`archives`), or
remembering what was read.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from twisted_index.simple.archives.limits import MAX_METADATA
from twisted_index.simple.archives.refusals import BUILD_AGAIN, BadArchive, Damage, Unreadable, refusing
from twisted_index.simple.archives.streams import bunzip2, gunzip, read_plain, unxz
from twisted_index.simple.archives.tar_archive import read_tar
from twisted_index.simple.archives.zip_archive import ZipArchive, check_wheel_members, read_zip
from twisted_index.simple.names import normalize, version_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "BadArchive",
    "CoreHeaders",
    "Unreadable",
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

#: `PKG-INFO` in a folder of the top level, however the archive spells "here".
_is_pkg_info = re.compile(rb"(?:\./)*(?!\.\.?/)[^/]+/PKG-INFO").fullmatch


@refusing("a zip archive")
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
        for entry in archive.directory.ending_with(b".dist-info/METADATA")
        if entry.name.count(b"/") == 1
    ]
    if len(found) != 1:
        many = "no" if not found else "more than one"
        raise BadArchive(f"The file holds {many} .dist-info/METADATA, so it is not a wheel.", BUILD_AGAIN)
    return b"".join(archive.unpack(found[0], MAX_METADATA))


def read_sdist_metadata(file: BinaryIO, extension: str, limit: int) -> bytes:
    """
    Read an sdist to its end and return its core metadata (source distribution format, PEP 643).

    Args:
        file: The sdist, seekable.
        extension: One of `.tar.gz`, `.tgz`, `.tar.bz2`, `.tar.xz`, `.tar` and `.zip`.
        limit: Bytes that it may unpack to.

    Returns:
        The bytes of the PKG-INFO in its top folder.

    Raises:
        BadArchive: It is not a whole archive of that kind, unpacks to more, or has no PKG-INFO.
    """
    form = _FORMS.get(extension)
    if form is None:
        raise BadArchive("The file does not end like an sdist.", "Rename it, or build it again as .tar.gz.")
    with refusing(form.name):
        document = _read_to_end(file, form, limit)
    if document is None:
        raise BadArchive("The file holds no PKG-INFO in its top folder.", BUILD_AGAIN)
    return document


def _read_to_end(file: BinaryIO, form: _Form, limit: int) -> bytes | None:
    if form.unpack is None:
        return read_zip(file, limit, _is_pkg_info)
    if not file.seek(0, os.SEEK_END):
        raise Damage
    file.seek(0)
    return read_tar(form.unpack(file), limit, _is_pkg_info, bare=form.unpack is read_plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreHeaders:
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


#: The headers: lines with a field name and their folded lines (RFC 5322 section 2.2), up to the
#: first line that is neither, as Python's email parser takes them.
_header_lines = re.compile(rb"(?:[!-9;-~]*:[^\n]*(?:\n|\Z)|[ \t][^\n]*(?:\n|\Z))*+").match
_value = re.compile(rb"[^\n]*(?:\n[ \t][^\n]*)*").match


def parse_headers(document: bytes) -> CoreHeaders:
    """
    Read what an index needs of a METADATA or PKG-INFO.

    Only the header is looked at, and only three fields are taken out of it: full parsers take
    milliseconds, in which nothing else runs.

    Args:
        document: The whole document, of any encoding.

    Returns:
        The first field of each name, without regard to case; folded lines are joined.
    """
    match = _header_lines(document, 0, MAX_HEADERS)
    head = b"\n" + (match[0] if match else b"")
    lowered = head.lower()
    requires_python = _field(head, lowered, b"\nrequires-python:")
    is_valid = requires_python and len(requires_python) <= MAX_VALUE and _are_specifiers(requires_python)
    return CoreHeaders(
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


@functools.lru_cache(maxsize=1024)  # a few dozen distinct ones serve a whole index
def _are_specifiers(text: str) -> bool:
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return False
    return True


def check_identity(headers: CoreHeaders, *, project: str, version: str) -> None:
    """
    Check that a file's metadata speaks of what its file name says.

    pip and uv refuse a file whose metadata contradicts its name, after they have chosen it.

    Args:
        headers: What the metadata says.
        project: The project's name by the file name, in any spelling (PEP 503 compares them).
        version: The version by the file name, in any spelling (PEP 440 compares them).

    Raises:
        BadArchive: They differ, or the metadata lacks one of them.
    """
    if headers.name is None or headers.version is None:
        raise BadArchive("The file's metadata lacks its Name or its Version.", BUILD_AGAIN)
    if normalize(headers.name) != normalize(project):
        raise _contradiction("Name", headers.name, project)
    if len(headers.version) > MAX_VALUE or version_key(headers.version) != version_key(version):
        raise _contradiction("Version", headers.version, version)


def _contradiction(field: str, said: str, named: str) -> BadArchive:
    said = said.encode("ascii", "backslashreplace").decode()[:200]
    reason = f"The file's metadata has {field} {said!r}, but its file name says {named!r}."
    return BadArchive(reason, "Rename the file, or build it again.")
