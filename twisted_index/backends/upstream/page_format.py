"""
The format on disk of the record of an upstream's project page. Pure.

Lines: the time of the last validation (of fixed width, to be rewritten in place), a digest of the rest,
the page, and one line per listed or remembered file, so that neither writing nor reading holds the GIL
for long.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from twisted_index.backends.upstream.page_record import FileDigest, PageRecord, RememberedFile
from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
from twisted_index.simple.model import File, ProjectStatus, Sidecar, Status, Yanked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Increased with every change of the format.
RECORD_VERSION = 1
#: Digits of nanoseconds since the epoch.
_DIGITS = 20
#: Largest stored page that is read, in bytes: 100,000 files.
MAX_RECORD_BYTES = 200 << 20


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
