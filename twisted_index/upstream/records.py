"""
What is remembered of a project page of an upstream, and how it is written down. Pure.

Lines: when it was last found to be so (fixed in width, so that it can be written anew in place), a
digest of the rest, the page, and then one line for each file, so that neither writing nor reading
holds up other threads for long.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from twisted_index.simple.model import Companion, File, ProjectPage, ProjectStatus, Status, Yanked
from twisted_index.simple.names import file_order, ordered_versions
from twisted_index.upstream.remote import RemoteFile, RemotePage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: Raised with every change of what the lines mean.
VERSION = 1
#: Digits of nanoseconds since the epoch.
_DIGITS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """
    What we know of a file besides what the page says.

    Attributes:
        since: When it was first on the page: seconds since the epoch.
        sha256: Its digest where the upstream promises none, as it was when it was first fetched
            or last promised.
        size: In bytes, likewise.
    """

    since: float
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRecord:
    """
    A page, and what we know of its files.

    Attributes:
        page: As the upstream told it last.
        fetched: When the upstream last said so: seconds since the epoch.
        known: By file name, for every file of the page.
        gone: Whether the upstream said after that that there is no such project.
    """

    page: RemotePage
    fetched: float
    known: Mapping[str, Known] = field(default_factory=dict)
    gone: bool = False


def follow(before: PageRecord | None, page: RemotePage, now: float) -> PageRecord:
    """
    Make the record of a page that has come, with what is still good of the one before.

    A file whose digest is another than before is another file: it is young again.

    Args:
        before: None if the project was not known.
        page: As it came.
        now: Seconds since the epoch.
    """
    promised = {} if before is None else {one.file.filename: one.file for one in before.page.files}
    known = {}
    for one in page.files:
        filename, sha256 = one.file.filename, one.file.hashes.get("sha256")
        old = None if before is None else before.known.get(filename)
        if old is None:
            known[filename] = Known(since=now)
            continue
        digest = promised[filename].hashes.get("sha256") or old.sha256
        if sha256 is None:
            # What was promised once holds, also when it is promised no more.
            known[filename] = replace(old, sha256=digest)
        elif digest in (None, sha256):
            known[filename] = replace(old, sha256=None)
        else:
            known[filename] = Known(since=now)
    return PageRecord(page=page, fetched=now, known=known)


def learn(record: PageRecord, filename: str, sha256: str, size: int) -> PageRecord:
    """Make the record in which a file has a digest that its upstream does not promise."""
    known = replace(record.known[filename], sha256=sha256, size=size)
    return replace(record, known={**record.known, filename: known})


def listed_files(record: PageRecord) -> dict[str, RemoteFile]:
    """Give the files of a page by name, with what is known besides; none of a quarantined project."""
    if record.gone or record.page.status.status is Status.QUARANTINED:
        return {}
    return {one.file.filename: _complete(one, record.known[one.file.filename]) for one in record.page.files}


def _complete(one: RemoteFile, known: Known) -> RemoteFile:
    file = one.file
    if known.sha256 is None and (known.size is None or file.size is not None):
        return one
    hashes = file.hashes if known.sha256 is None else {**file.hashes, "sha256": known.sha256}
    return replace(
        one, file=replace(file, hashes=hashes, size=known.size if file.size is None else file.size)
    )


def make_page(record: PageRecord, files: Iterable[RemoteFile]) -> ProjectPage:
    """Make the page that is shown of some files of a record."""
    ordered = sorted((one.file for one in files), key=file_order)
    versions = (*(file.version for file in ordered), *record.page.versions)
    return ProjectPage(
        name=record.page.project,
        files=tuple(ordered),
        versions=ordered_versions(versions),
        status=record.page.status,
    )


# -- Written down


def time_line(fetched: float) -> bytes:
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
        "version": VERSION,
        "upstream": upstream,
        "project": page.project,
        "versions": page.versions,
        "status": [page.status.status.value, page.status.reason],
        "etag": page.etag,
        "modified": page.modified,
        "gone": record.gone,
    }
    lines = [_line(head), *(_line(_file_cells(one, record.known[one.file.filename])) for one in page.files)]
    return [time_line(record.fetched), _digest(lines), *lines]


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
        if (head["version"], head["upstream"], head["project"]) != (VERSION, upstream, project):
            return None
        pairs = [_read_file(json.loads(line)) for line in lines[1:]]
        status, reason = head["status"]
        page = RemotePage(
            project=project,
            files=tuple(one for one, _known in pairs),
            versions=tuple(head["versions"]),
            status=ProjectStatus(status=Status(status), reason=reason),
            etag=head["etag"],
            modified=head["modified"],
        )
        fetched = int(first) / 1e9
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    known = {one.file.filename: known for one, known in pairs}
    return PageRecord(page=page, fetched=fetched, known=known, gone=head["gone"])


def _digest(lines: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return digest.hexdigest().encode("ascii") + b"\n"


def _line(value: Any) -> bytes:
    # ASCII, so that a lone surrogate comes back as it went.
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def _file_cells(one: RemoteFile, known: Known) -> dict[str, Any]:
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
        "companions": sorted(companion.value for companion in file.companions),
        "provenance_url": file.provenance_url,
        "url": one.url,
        "offers_metadata": one.offers_metadata,
        "since": known.since,
        "sha256": known.sha256,
        "known_size": known.size,
    }
    return {key: value for key, value in cells.items() if value is not None}


def _read_file(cells: dict[str, Any]) -> tuple[RemoteFile, Known]:
    file = File(
        filename=cells["filename"],
        version=cells["version"],
        hashes=cells["hashes"],
        size=cells.get("size"),
        upload_time=_optional(datetime.fromisoformat, cells.get("upload_time")),
        requires_python=cells.get("requires_python"),
        core_metadata=cells.get("core_metadata"),
        yanked=_optional(_yanked, cells.get("yanked")),
        companions=frozenset(map(Companion, cells["companions"])),
        provenance_url=cells.get("provenance_url"),
    )
    remote = RemoteFile(file=file, url=cells["url"], offers_metadata=cells["offers_metadata"])
    known = Known(since=cells["since"], sha256=cells.get("sha256"), size=cells.get("known_size"))
    return remote, known


def _yanked(reason: str) -> Yanked:
    return Yanked(reason=reason)


def _optional(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)
