"""
The record of an upstream's project page: a value, and what follows from it. Pure.

Out of scope: the record of the next page (see `page_merge`), the format on disk (see `page_format`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
from twisted_index.simple.model import ProjectPage, Status
from twisted_index.simple.names import sorted_files, sorted_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Number of files that are remembered per project although they are not listed: as many as the largest
#: projects have.
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberedFile:
    """
    What is recorded of a file in addition to its page.

    Attributes:
        first_seen: When the page first listed it, in seconds since the epoch.
        sha256: Pinned digest where the upstream promises none: that of the first download, or the last
            promised one.
        size: Pinned size in bytes, under the same conditions.
        entry: The page's last entry for a removed file, where files are immutable: should other content
            return under the name, this is listed.
    """

    first_seen: float
    sha256: str | None = None
    size: int | None = None
    entry: RemoteFile | None = None


class FileDigest(NamedTuple):
    """The SHA-256 digest of a file in lower-case hex, and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRecord:
    """
    A page, and what is recorded of its files.

    Attributes:
        page: The upstream's last page, with the previous entries of refused files.
        fetched_at: When the upstream last confirmed it, in seconds since the epoch.
        known: By file name, for every file of the page.
        removed: By file name, for files that the page no longer lists, with their digests; the first
            removed comes first. A page may be wrong for a moment: when its files return, they keep
            their age, and other bytes are refused.
        hashed: By URL, for files that were fetched before they could be listed.
        refused: Names of files that the upstream has replaced although they are immutable.
        is_absent: Whether the upstream has since reported that the project does not exist.
    """

    page: RemotePage
    fetched_at: float
    known: Mapping[str, RememberedFile] = field(default_factory=dict)
    removed: Mapping[str, RememberedFile] = field(default_factory=dict)
    hashed: Mapping[str, FileDigest] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    is_absent: bool = False

    @property
    def is_confirmed(self) -> bool:
        """Whether the upstream's page has been recorded, or its absence; otherwise only `hashed` is."""
        return self.fetched_at > 0


def with_hashed(record: PageRecord | None, project: str, hashed: Mapping[str, FileDigest]) -> PageRecord:
    """
    Make a record with the digests of files that are not listed yet, by URL.

    Returns:
        The same record if they are already recorded.
    """
    if record is None:
        record = PageRecord(page=RemotePage(project=project), fetched_at=0.0, is_absent=True)
    if hashed.items() <= record.hashed.items():
        return record
    merged = {**record.hashed, **hashed}
    return replace(record, hashed=dict(list(merged.items())[-MAX_REMEMBERED:]))


def files_without_digest(record: PageRecord) -> tuple[RemoteFile, ...]:
    """Return the files of a page for which no SHA-256 digest is known."""
    return tuple(entry for entry in listed_files(record).values() if "sha256" not in entry.file.hashes)


def with_digest(record: PageRecord, filename: str, sha256: str, size: int) -> PageRecord:
    """
    Make a record with the pinned digest and size of a file.

    Returns:
        The same record if they are already pinned, or the file has been removed or replaced since.
    """
    known = record.known.get(filename)
    if record.is_absent or known is None or (known.sha256, known.size) == (sha256, size):
        return record
    promised = next(
        entry.file.hashes.get("sha256") for entry in record.page.files if entry.file.filename == filename
    )
    if promised not in (None, sha256):
        return record
    known = replace(known, sha256=sha256, size=size)
    return replace(record, known={**record.known, filename: known})


def listed_files(record: PageRecord) -> dict[str, RemoteFile]:
    """Return the files of a page by name, with pinned digests and sizes; none if quarantined."""
    if record.is_absent or record.page.status.status is Status.QUARANTINED:
        return {}
    return {
        entry.file.filename: _complete(entry, record.known[entry.file.filename])
        for entry in record.page.files
    }


def _complete(remote_file: RemoteFile, known: RememberedFile) -> RemoteFile:
    file = remote_file.file
    if known.sha256 is None and (known.size is None or file.size is not None):
        return remote_file
    hashes = file.hashes if known.sha256 is None else {**file.hashes, "sha256": known.sha256}
    return replace(
        remote_file, file=replace(file, hashes=hashes, size=known.size if file.size is None else file.size)
    )


def page_of_record(record: PageRecord, files: Iterable[RemoteFile]) -> ProjectPage:
    """Make the page to serve from some files of a record."""
    listed = sorted_files(entry.file for entry in files)
    versions = (*(file.version for file in listed), *record.page.versions)
    return ProjectPage(
        name=record.page.project,
        files=listed,
        versions=sorted_versions(versions),
        status=record.page.status,
    )
