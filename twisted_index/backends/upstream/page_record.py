"""
The record of an upstream's project page, and its format on disk. Pure.

Lines: the time of the last validation (of fixed width, to be rewritten in place), a digest of the rest,
the page, and one line per listed or remembered file, so that neither writing nor reading holds the GIL
for long.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
from twisted_index.simple.model import File, ProjectPage, ProjectStatus, Sidecar, Status, Yanked
from twisted_index.simple.names import sorted_files, sorted_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: Increased with every change of the format.
RECORD_VERSION = 1
#: Digits of nanoseconds since the epoch.
_DIGITS = 20
#: Largest stored page that is read, in bytes: 100,000 files.
MAX_RECORD_BYTES = 200 << 20
#: Number of removed files that are remembered per project: as many as the largest projects have.
_MAX_REMOVED = 10_000


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


def merge_page(
    before: PageRecord | None,
    page: RemotePage,
    now: float,
    *,
    rebuilds: bool = False,
    immutable: bool = False,
) -> PageRecord:
    """
    Make the record of a new page, with what still holds of the previous record.

    A file with another digest is a new file, first seen now; where files are immutable, it is refused, and
    the previous entry stays. A file that returns to the page keeps its age and digest.

    Args:
        before: The previous record; None if there is none.
        page: The new page.
        now: Seconds since the epoch.
        rebuilds: Whether the upstream may replace a file for which it promises no digest, or an immutable
            one.
        immutable: Whether files are immutable, so that one with another digest was replaced by mistake or
            by an attacker. A URL then names one content.
    """
    remembered = {} if before is None else _remembered(before, with_entries=immutable)
    hashed = {} if before is None else dict(before.hashed)
    if rebuilds:
        _forget_pins(remembered, page)
    files: list[RemoteFile] = []
    known: dict[str, RememberedFile] = {}
    refused: set[str] = set()
    for entry in page.files:
        filename, listed = entry.file.filename, entry
        old = remembered.pop(filename, None)
        if old is not None and old.entry is not None:
            if not rebuilds and _is_replaced(old, entry):
                listed = old.entry
                refused.add(filename)
            old = replace(old, entry=None)
        files.append(listed)
        known[filename] = _with_hashed(listed, _known(listed, old, now), hashed)
    return PageRecord(
        page=replace(page, files=tuple(files)) if refused else page,
        fetched_at=now,
        known=known,
        removed=_bounded(remembered),
        hashed=hashed,
        refused=frozenset(refused),
    )


def _remembered(record: PageRecord, *, with_entries: bool) -> dict[str, RememberedFile]:
    """Return what is recorded of all files, listed or removed, with their digests."""
    remembered = dict(record.removed)
    for entry in record.page.files:
        filename, sha256 = entry.file.filename, entry.file.hashes.get("sha256")
        known = record.known[filename]
        known = known if sha256 in (None, known.sha256) else replace(known, sha256=sha256)
        remembered[filename] = replace(known, entry=entry) if with_entries else known
    return remembered


def _forget_pins(remembered: dict[str, RememberedFile], page: RemotePage) -> None:
    """Forget the digests of files that an upstream may have rebuilt since they were pinned."""
    entries = {entry.file.filename: entry for entry in page.files}
    for filename, old in remembered.items():
        if not _is_pin_valid(old, entries.get(filename)):
            remembered[filename] = RememberedFile(first_seen=old.first_seen, entry=old.entry)


def _is_pin_valid(old: RememberedFile, entry: RemoteFile | None) -> bool:
    if entry is not None and "sha256" in entry.file.hashes:
        return True
    return old.entry is not None and (entry is None or _identity(entry) == _identity(old.entry))


def _identity(entry: RemoteFile) -> tuple[str, int | None]:
    return entry.url, entry.file.size


def _is_replaced(old: RememberedFile, entry: RemoteFile) -> bool:
    """Return whether an entry promises other content than was listed; without a digest, the size tells."""
    assert old.entry is not None
    if old.sha256 is None:
        return False
    if (sha256 := entry.file.hashes.get("sha256")) is not None:
        return sha256 != old.sha256
    before = old.size if old.entry.file.size is None else old.entry.file.size
    return None not in (before, entry.file.size) and before != entry.file.size


def _known(remote_file: RemoteFile, old: RememberedFile | None, now: float) -> RememberedFile:
    sha256 = remote_file.file.hashes.get("sha256")
    if old is None:
        return RememberedFile(first_seen=now)
    if sha256 is None:
        # A promised digest still holds when the upstream promises none any more.
        return old
    return replace(old, sha256=None) if old.sha256 in (None, sha256) else RememberedFile(first_seen=now)


def _with_hashed(entry: RemoteFile, known: RememberedFile, hashed: dict[str, FileDigest]) -> RememberedFile:
    """Pin what was fetched for this, where no digest is promised or pinned."""
    if known.sha256 is not None or "sha256" in entry.file.hashes or entry.url not in hashed:
        return known
    sha256, size = hashed.pop(entry.url)
    return replace(known, sha256=sha256, size=size)


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
    return replace(record, hashed=dict(list(merged.items())[-_MAX_REMOVED:]))


def files_without_digest(record: PageRecord) -> tuple[RemoteFile, ...]:
    """Return the files of a page for which no SHA-256 digest is known."""
    return tuple(entry for entry in listed_files(record).values() if "sha256" not in entry.file.hashes)


def _bounded(removed: dict[str, RememberedFile]) -> dict[str, RememberedFile]:
    """Forget the first removed files; those downloaded here last, because users have their bytes."""
    if len(removed) <= _MAX_REMOVED:
        return removed
    by_worth = sorted(removed, key=lambda filename: removed[filename].size is not None)
    forgotten = set(by_worth[: len(removed) - _MAX_REMOVED])
    return {filename: known for filename, known in removed.items() if filename not in forgotten}


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


# -- The format on disk


def format_fetched_at(fetched: float) -> bytes:
    """Format the first line: the time, in a fixed width."""
    return b"%0*d\n" % (_DIGITS, max(0, min(int(fetched * 1e9), 10**_DIGITS - 1)))


def encode(record: PageRecord, upstream: str) -> list[bytes]:
    """
    Encode a record as lines.

    Args:
        record: The record.
        upstream: The URL of the upstream, which `decode` compares.
    """
    page = record.page
    head = {
        "version": RECORD_VERSION,
        "upstream": upstream,
        "project": page.project,
        "versions": page.versions,
        "status": [page.status.status.value, page.status.reason],
        "etag": page.etag,
        "modified": page.modified,
        "serial": page.serial,
        "gone": record.is_absent,
        "left_out": dict(page.left_out),
        "left": len(record.removed),
        "refused": sorted(record.refused),
        "hashed": record.hashed,
    }
    lines = [
        _line(head),
        *(_line(_file_cells(entry, record.known[entry.file.filename])) for entry in page.files),
        *(_line(_removed_cells(filename, known)) for filename, known in record.removed.items()),
    ]
    return [format_fetched_at(record.fetched_at), _digest(lines), *lines]


def encode_forgotten(project: str, now: float) -> list[bytes]:
    """
    Encode a marker that replaces a record: processes that hold it in memory must forget it.

    Args:
        project: A normalized name.
        now: Seconds since the epoch.
    """
    lines = [_line({"version": RECORD_VERSION, "project": project, "forgotten": True})]
    return [format_fetched_at(now), _digest(lines), *lines]


def is_forgotten(document: bytes) -> bool:
    """Return whether a document was made by `encode_forgotten`."""
    return len(document) < 4096 and document.rstrip().endswith(b',"forgotten":true}')


def file_digests(document: bytes) -> set[str]:
    """Return the SHA-256 digests, in lower-case hex, of all files that a stored record lists or remembers."""
    try:
        head = json.loads(document.splitlines()[2])
        record = decode(document, head["upstream"], head["project"])
    except (ValueError, KeyError, IndexError):
        record = None
    if record is None:
        return set()
    listed = (entry.file.hashes.get("sha256") for entry in record.page.files)
    remembered = (file.sha256 for file in (*record.known.values(), *record.removed.values()))
    hashed = (file.sha256 for file in record.hashed.values())
    return {digest for digest in (*listed, *remembered, *hashed) if digest is not None}


def decode(document: bytes, upstream: str, project: str) -> PageRecord | None:
    """
    Decode a stored record.

    Returns:
        None if it is damaged, of another version, or of another upstream or project.
    """
    first, _, rest = document.partition(b"\n")
    digest, _, body = rest.partition(b"\n")
    lines = body.splitlines(keepends=True)
    if len(first) != _DIGITS or digest + b"\n" != _digest(lines) or not lines:
        return None
    try:
        head = json.loads(lines[0])
        if (head["version"], head["upstream"], head["project"]) != (RECORD_VERSION, upstream, project):
            return None
        end = len(lines) - head.get("left", 0)  # absent in earlier records
        pairs = [_read_file(json.loads(line)) for line in lines[1:end]]
        removed = dict(_read_removed(json.loads(line)) for line in lines[end:])
        status, reason = head["status"]
        page = RemotePage(
            project=project,
            files=tuple(entry for entry, _known in pairs),
            versions=tuple(head["versions"]),
            status=ProjectStatus(status=Status(status), reason=reason),
            left_out=head.get("left_out", {}),
            etag=head["etag"],
            modified=head["modified"],
            serial=head.get("serial"),
        )
        hashed = {url: FileDigest(*cells) for url, cells in head.get("hashed", {}).items()}
        fetched = int(first) / 1e9
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    known = {entry.file.filename: known for entry, known in pairs}
    return PageRecord(
        page=page,
        fetched_at=fetched,
        known=known,
        removed=removed,
        hashed=hashed,
        refused=frozenset(head.get("refused", ())),
        is_absent=head["gone"],
    )


def _digest(lines: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return digest.hexdigest().encode("ascii") + b"\n"


def _line(value: Any) -> bytes:
    # ASCII, so that lone surrogates survive the round trip.
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def _file_cells(remote_file: RemoteFile, known: RememberedFile) -> dict[str, Any]:
    file = remote_file.file
    cells = {
        "filename": file.filename,
        "version": file.version,
        "hashes": dict(file.hashes),
        "size": file.size,
        "upload_time": _optional(datetime.isoformat, file.upload_time),
        "requires_python": file.requires_python,
        "core_metadata": _optional(dict, file.core_metadata),
        "yanked": None if file.yanked is None else file.yanked.reason,
        "companions": sorted(sidecar.value for sidecar in file.sidecars),
        "provenance_url": file.provenance_url,
        "url": remote_file.url,
        "offers_metadata": remote_file.offers_metadata,
        "since": known.first_seen,
        "sha256": known.sha256,
        "known_size": known.size,
    }
    return {key: value for key, value in cells.items() if value is not None}


def _read_file(cells: dict[str, Any]) -> tuple[RemoteFile, RememberedFile]:
    file = File(
        filename=cells["filename"],
        version=cells["version"],
        hashes=cells["hashes"],
        size=cells.get("size"),
        upload_time=_optional(datetime.fromisoformat, cells.get("upload_time")),
        requires_python=cells.get("requires_python"),
        core_metadata=cells.get("core_metadata"),
        yanked=_optional(_yanked, cells.get("yanked")),
        sidecars=frozenset(map(Sidecar, cells["companions"])),
        provenance_url=cells.get("provenance_url"),
    )
    remote = RemoteFile(file=file, url=cells["url"], offers_metadata=cells["offers_metadata"])
    known = RememberedFile(
        first_seen=cells["since"], sha256=cells.get("sha256"), size=cells.get("known_size")
    )
    return remote, known


def _removed_cells(filename: str, known: RememberedFile) -> list[Any] | dict[str, Any]:
    if known.entry is not None:
        return _file_cells(known.entry, known)
    return [filename, known.first_seen, known.sha256, known.size]


def _read_removed(cells: list[Any] | dict[str, Any]) -> tuple[str, RememberedFile]:
    if isinstance(cells, dict):
        entry, known = _read_file(cells)
        return entry.file.filename, replace(known, entry=entry)
    filename, since, sha256, size = cells
    return filename, RememberedFile(first_seen=since, sha256=sha256, size=size)


def _yanked(reason: str) -> Yanked:
    return Yanked(reason=reason)


def _optional(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)
