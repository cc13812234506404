"""
Reads the row of a project: out of its page, and out of a file of the release that represents it.

Of a wheel its METADATA and the directory of its archive are read, never the whole file.
"""

from __future__ import annotations

import io
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.interfaces import StreamingContent
from twisted_index.search.import_names import MAX_IMPORTS, MAX_LENGTH, import_names
from twisted_index.search.opened_body import opened, whole_metadata
from twisted_index.search.row import MOST_RELEASES, ProjectRow
from twisted_index.simple.archives.errors import translate_errors
from twisted_index.simple.core_metadata import (
    BadArchive,
    ZipArchive,
    read_sdist_metadata,
    read_wheel_metadata,
)
from twisted_index.simple.legacy_json import (
    latest_releases,
    latest_version,
    metadata_file,
    parse_core_metadata,
)
from twisted_index.simple.model import Sidecar
from twisted_index.simple.names import canonical_version, normalize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import ISource
    from twisted_index.simple.model import File, ProjectPage

#: Bytes at the end of a wheel that is elsewhere: the directory of nearly all.
_TAIL = 256 << 10
#: Bytes of an sdist that is read, and to which it may unpack: its metadata is found by unpacking it.
_SMALL_SDIST, _UNPACKED = 4 << 20, 32 << 20
#: What is kept of a project: characters of a text, and requirements.
_MAX_TEXT, _MAX_REQUIRES = 500, 500
#: Bytes of the fields of core metadata that are read, and what ends them.
_MAX_HEADERS, _BLANK_LINE = 256 << 10, re.compile(rb"\r?\n\r?\n")
_SDISTS = (".tar.gz", ".zip")


class _Described(NamedTuple):
    """What a file says: its core metadata, what it is imported by, and the names of what it needs."""

    fields: Mapping[str, Any] = {}
    imports: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()


async def read_row(source: ISource, page: ProjectPage, reader: IThreadRunner) -> ProjectRow:
    """
    Read a project.

    Args:
        source: Has the files of the page.
        page: Of the project.
        reader: Threads that read archives.

    Raises:
        Unavailable: A file cannot be read now.
    """
    version = latest_version(page)
    if version is None:
        return ProjectRow(name=page.name)
    same = canonical_version(version)
    files = [file for file in page.files if canonical_version(file.version) == same]
    fields, imports, requires = await _describe(source, page, metadata_file(page, version), files, reader)
    name, summary, keywords = (fields.get(key) for key in ("name", "summary", "keywords"))
    times = [file.upload_time for file in files if file.upload_time is not None]
    return ProjectRow(
        name=page.name,
        shown_name=name if isinstance(name, str) and normalize(name) == page.name else page.name,
        version=version,
        summary=_line(summary or ""),
        keywords=_line(" ".join(keywords or ())),
        import_names=imports,
        requires=requires,
        uploaded=max(times, default=None),
        releases=tuple(latest_releases(page, MOST_RELEASES)),
        files=len(page.files),
    )


async def read_small_sdist(
    source: ISource, project: str, files: Iterable[File], reader: IThreadRunner
) -> bytes | None:
    """
    Read the core metadata of an sdist, which has to be unpacked for them.

    Args:
        source: Has the files.
        project: A normalized name.
        files: Those of a release.
        reader: Threads that read archives.

    Returns:
        None if no sdist is small, or the first one has no metadata.

    Raises:
        Unavailable: The file cannot be read now.
    """
    sdists = (file for file in files if (file.size or _SMALL_SDIST) < _SMALL_SDIST)
    sdist = next((file for file in sdists if file.filename.endswith(_SDISTS)), None)
    body = None if sdist is None else await result_of(source.open_file, project, sdist.filename)
    content = None if body is None else await opened(body)
    if sdist is None or content is None:
        return None
    with content:
        return await reader.run(_read_sdist, content, sdist.filename)


def _line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:_MAX_TEXT]


async def _describe(
    source: ISource, page: ProjectPage, wheel: File | None, files: Iterable[File], reader: IThreadRunner
) -> _Described:
    if wheel is not None:
        return await _describe_wheel(source, page, wheel, reader)
    metadata = await read_small_sdist(source, page.name, files, reader)
    return _Described() if metadata is None else await reader.run(_described, metadata, ())


async def _describe_wheel(
    source: ISource, page: ProjectPage, wheel: File, reader: IThreadRunner
) -> _Described:
    body = await result_of(source.open_file, page.name, wheel.filename)
    if body is None:
        return _Described()
    if not isinstance(body.content, StreamingContent):
        content = io.BytesIO(body.content) if isinstance(body.content, bytes) else body.content
        with content:
            return await reader.run(_read_wheel, content)
    tail = await opened(body, max(0, body.size - _TAIL))
    document = await result_of(source.open_file, page.name, wheel.filename, Sidecar.METADATA)
    metadata = b"" if document is None else await whole_metadata(document)
    return await reader.run(_read_parts, metadata, tail)


# -- Archives; in a thread


def _read_wheel(content: BinaryIO) -> _Described:
    with suppress(BadArchive, OSError), translate_errors("a zip archive"):
        archive = ZipArchive(content)
        return _described(read_wheel_metadata(archive), _members(archive))
    return _Described()


def _read_parts(metadata: bytes, tail: BinaryIO | None) -> _Described:
    members: list[str] = []
    if tail is not None:
        with suppress(BadArchive), translate_errors("a zip archive"):
            members = _members(ZipArchive(tail))
    return _described(metadata, members)


def _read_sdist(content: BinaryIO, filename: str) -> bytes | None:
    extension = next(end for end in _SDISTS if filename.endswith(end))
    with suppress(BadArchive, OSError):
        return read_sdist_metadata(content, extension, _UNPACKED)
    return None


def _members(archive: ZipArchive) -> list[str]:
    return [entry.name.decode("utf-8", "replace") for entry in archive.directory]


def _fields(metadata: bytes) -> Mapping[str, Any]:
    """Parse the fields alone: the description after them may be long."""
    return parse_core_metadata(_BLANK_LINE.split(metadata, 1)[0][:_MAX_HEADERS])


def _described(metadata: bytes, members: Iterable[str]) -> _Described:
    """Parse all that is read: hundreds of requirements take 15 ms."""
    fields = _fields(metadata)
    return _Described(fields, _imports(fields, members), _required(fields.get("requires_dist") or ()))


def _imports(fields: Mapping[str, Any], members: Iterable[str]) -> tuple[str, ...]:
    """`Import-Name` and `Import-Namespace` (core metadata 2.5, PEP 794) win over what is there."""
    stated = [*fields.get("import_names", ()), *fields.get("import_namespaces", ())]
    if not stated:
        return import_names(members)
    names = sorted({name.partition(";")[0].strip() for name in stated})
    return tuple(name for name in names if 0 < len(name) <= MAX_LENGTH)[:MAX_IMPORTS]


def _required(requirements: Iterable[str]) -> tuple[str, ...]:
    """Return the names of what is needed without an extra, ascending."""
    found = set()
    for text in list(requirements)[:_MAX_REQUIRES]:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or "extra" not in str(requirement.marker):
            found.add(normalize(requirement.name))
    return tuple(sorted(found))
