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
from typing import TYPE_CHECKING, Any

from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
from twisted_index.simple.model import File, ProjectPage, ProjectStatus, Sidecar, Status, Yanked
from twisted_index.simple.names import sorted_files, sorted_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: Raised with every change of what the lines mean.
RECORD_VERSION = 1
#: Digits of nanoseconds since the epoch.
_DIGITS = 20
#: Files of one project that are remembered when its page has them no more: as many as the largest
#: projects in the field have.
_MOST_LEFT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberedFile:
    """
    What we know of a file besides what the page says.

    Attributes:
        first_seen: When it was first on the page: seconds since the epoch.
        sha256: Its digest where the upstream promises none, as it was when it was first fetched
            or last promised.
        size: In bytes, likewise.
    """

    first_seen: float
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRecord:
    """
    A page, and what we know of its files.

    Attributes:
        page: As the upstream told it last.
        fetched_at: When the upstream last said so: seconds since the epoch.
        known: By file name, for every file of the page.
        removed: Likewise, for files that the page had before; with the digest that they had. What left
            first comes first. A page may be wrong for a moment, and its files come back: then no
            other bytes may come by their names, and they are no younger.
        is_absent: Whether the upstream said after that that there is no such project.
    """

    page: RemotePage
    fetched_at: float
    known: Mapping[str, RememberedFile] = field(default_factory=dict)
    removed: Mapping[str, RememberedFile] = field(default_factory=dict)
    is_absent: bool = False


def merge_page(
    before: PageRecord | None, page: RemotePage, now: float, *, rebuilds: bool = False
) -> PageRecord:
    """
    Make the record of a page that has come, with what is still good of the one before.

    A file whose digest is another than before is another file: it is young again. One that comes back
    is what it was.

    Args:
        before: None if the project was not known.
        page: As it came.
        now: Seconds since the epoch.
        rebuilds: Whether a file for which no digest is promised may have other bytes now.
    """
    remembered = {} if before is None else _remembered(before)
    if rebuilds:
        promised = {one.file.filename for one in page.files if "sha256" in one.file.hashes}
        remembered = {
            name: old if name in promised else RememberedFile(first_seen=old.first_seen)
            for name, old in remembered.items()
        }
    known = {
        one.file.filename: _known(one, remembered.pop(one.file.filename, None), now) for one in page.files
    }
    return PageRecord(page=page, fetched_at=now, known=known, removed=_bounded(remembered))


def _remembered(record: PageRecord) -> dict[str, RememberedFile]:
    """Give what is known of all files, on the page or not, with the digests that they have."""
    found = dict(record.removed)
    for one in record.page.files:
        filename, sha256 = one.file.filename, one.file.hashes.get("sha256")
        known = record.known[filename]
        found[filename] = known if sha256 in (None, known.sha256) else replace(known, sha256=sha256)
    return found


def _known(one: RemoteFile, old: RememberedFile | None, now: float) -> RememberedFile:
    sha256 = one.file.hashes.get("sha256")
    if old is None:
        return RememberedFile(first_seen=now)
    if sha256 is None:
        # What was promised once holds, also when it is promised no more.
        return old
    return replace(old, sha256=None) if old.sha256 in (None, sha256) else RememberedFile(first_seen=now)


def _bounded(left: dict[str, RememberedFile]) -> dict[str, RememberedFile]:
    """Forget what left first; but last of all what was fetched here, whose bytes people have."""
    if len(left) <= _MOST_LEFT:
        return left
    by_worth = sorted(left, key=lambda filename: left[filename].size is not None)
    worthless = set(by_worth[: len(left) - _MOST_LEFT])
    return {filename: known for filename, known in left.items() if filename not in worthless}


def with_digest(record: PageRecord, filename: str, sha256: str, size: int) -> PageRecord:
    """
    Make the record in which a file has a digest that its upstream does not promise.

    Returns:
        The same record if that is known already, or the file is gone or another one by now.
    """
    known = record.known.get(filename)
    if record.is_absent or known is None or (known.sha256, known.size) == (sha256, size):
        return record
    promised = next(
        one.file.hashes.get("sha256") for one in record.page.files if one.file.filename == filename
    )
    if promised not in (None, sha256):
        return record
    known = replace(known, sha256=sha256, size=size)
    return replace(record, known={**record.known, filename: known})


def listed_files(record: PageRecord) -> dict[str, RemoteFile]:
    """Give the files of a page by name, with what is known besides; none of a quarantined project."""
    if record.is_absent or record.page.status.status is Status.QUARANTINED:
        return {}
    return {one.file.filename: _complete(one, record.known[one.file.filename]) for one in record.page.files}


def _complete(one: RemoteFile, known: RememberedFile) -> RemoteFile:
    file = one.file
    if known.sha256 is None and (known.size is None or file.size is not None):
        return one
    hashes = file.hashes if known.sha256 is None else {**file.hashes, "sha256": known.sha256}
    return replace(
        one, file=replace(file, hashes=hashes, size=known.size if file.size is None else file.size)
    )


def page_of_record(record: PageRecord, files: Iterable[RemoteFile]) -> ProjectPage:
    """Make the page that is shown of some files of a record."""
    shown = sorted_files(one.file for one in files)
    versions = (*(file.version for file in shown), *record.page.versions)
    return ProjectPage(
        name=record.page.project,
        files=shown,
        versions=sorted_versions(versions),
        status=record.page.status,
    )


# -- Written down


def format_fetched_at(fetched: float) -> bytes:
    """Write the first line: the time, in a fixed width."""
    return b"%0*d\n" % (_DIGITS, max(0, min(int(fetched * 1e9), 10**_DIGITS - 1)))


def encode(record: PageRecord, upstream: str) -> list[bytes]:
    """
    Write a record down.

    Args:
        record: Any.
        upstream: The URL of the upstream, which has to be the same when it is read.
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
        "gone": record.is_absent,
        "left_out": dict(page.left_out),
        "left": len(record.removed),
    }
    lines = [
        _line(head),
        *(_line(_file_cells(one, record.known[one.file.filename])) for one in page.files),
        *(
            _line([filename, known.first_seen, known.sha256, known.size])
            for filename, known in record.removed.items()
        ),
    ]
    return [format_fetched_at(record.fetched_at), _digest(lines), *lines]


def encode_forgotten(project: str, now: float) -> list[bytes]:
    """
    Write a marker in place of a record: processes that hold it in memory must forget it.

    Args:
        project: A normalized name.
        now: Seconds since the epoch.
    """
    lines = [_line({"version": RECORD_VERSION, "project": project, "forgotten": True})]
    return [format_fetched_at(now), _digest(lines), *lines]


def is_forgotten(document: bytes) -> bool:
    """Tell whether this was written by `encode_forgotten`."""
    return len(document) < 4096 and document.rstrip().endswith(b',"forgotten":true}')


def decode(document: bytes, upstream: str, project: str) -> PageRecord | None:
    """
    Read what was written down.

    Returns:
        None if it is damaged in any way, of another version, or about something else.
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
        end = len(lines) - head.get("left", 0)  # a record of an earlier version has none
        pairs = [_read_file(json.loads(line)) for line in lines[1:end]]
        left = dict(_read_left(json.loads(line)) for line in lines[end:])
        status, reason = head["status"]
        page = RemotePage(
            project=project,
            files=tuple(one for one, _known in pairs),
            versions=tuple(head["versions"]),
            status=ProjectStatus(status=Status(status), reason=reason),
            left_out=head.get("left_out", {}),
            etag=head["etag"],
            modified=head["modified"],
        )
        fetched = int(first) / 1e9
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    known = {one.file.filename: known for one, known in pairs}
    return PageRecord(page=page, fetched_at=fetched, known=known, removed=left, is_absent=head["gone"])


def _digest(lines: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return digest.hexdigest().encode("ascii") + b"\n"


def _line(value: Any) -> bytes:
    # ASCII, so that a lone surrogate comes back as it went.
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def _file_cells(one: RemoteFile, known: RememberedFile) -> dict[str, Any]:
    file = one.file
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
        "url": one.url,
        "offers_metadata": one.offers_metadata,
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


def _read_left(cells: list[Any]) -> tuple[str, RememberedFile]:
    filename, since, sha256, size = cells
    return filename, RememberedFile(first_seen=since, sha256=sha256, size=size)


def _yanked(reason: str) -> Yanked:
    return Yanked(reason=reason)


def _optional(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)
