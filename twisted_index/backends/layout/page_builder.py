"""Builds a page from a scan and the inspection results of its files. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from twisted_index.backends.layout.facts import FileFacts, Rejection
from twisted_index.backends.layout.project_scan import DELETED, is_recorded, not_as_recorded
from twisted_index.interfaces import Problem
from twisted_index.simple.explanation import Obstacle
from twisted_index.simple.model import File, ProjectPage, Status, Yanked
from twisted_index.simple.names import DistributionType, sorted_files, sorted_versions

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from twisted_index.backends.layout.facts import KnownFiles
    from twisted_index.backends.layout.project_scan import ProjectScan, ScannedFile

_EPOCH = datetime.fromtimestamp(0, UTC)
#: Where all roots belong to the index of the page.
NO_OWNERS: Mapping[bytes, str] = {}


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A listed file: its entry and its inspected facts."""

    entry: ScannedFile
    facts: FileFacts


def select_files(
    entries: Iterable[ScannedFile], scan: ProjectScan, known_files: KnownFiles
) -> dict[str, ListedFile]:
    """
    Choose the files to list.

    Of files that installers treat as equal (same name, version, build and tags) the first valid one
    wins, so that two roots never give one name two meanings.

    Returns:
        The listed files, by file name.
    """
    chosen: dict[object, ListedFile] = {}
    for entry in entries:
        result = listable(entry, scan, known_files)
        if isinstance(result, FileFacts):
            chosen.setdefault(entry.distribution.identity, ListedFile(entry, result))
    return {served.entry.distribution.filename: served for served in chosen.values()}


def listable(entry: ScannedFile, scan: ProjectScan, known_files: KnownFiles) -> FileFacts | Obstacle:
    """Return the facts of a file that may be listed if no other one takes precedence, else what hides it."""
    if scan.status.status is Status.QUARANTINED:
        return Obstacle.QUARANTINED
    known = known_files.get(entry.path)
    if known is None or known.key != entry.key:
        return Obstacle.UNREAD
    if not isinstance(known.result, FileFacts):
        return Obstacle.REFUSED
    return Obstacle.DELETED if entry.distribution.filename in scan.deleted else known.result


def claims_name(scan: ProjectScan, known_files: KnownFiles) -> bool:
    """Return whether a project claims its name: whether anything in its folders is no copy."""
    return scan.owned or not all(is_copy(entry, scan, known_files) for entry in scan.entries)


def is_copy(entry: ScannedFile, scan: ProjectScan, known_files: KnownFiles) -> bool:
    """Return whether a file is recorded as a copy, and is what was recorded."""
    line, known = scan.recorded.get(entry.path), known_files.get(entry.path)
    return (
        line is not None
        and known is not None
        and known.key == entry.key
        and isinstance(known.result, FileFacts)
        and is_recorded(line, entry.key.size, known.result.sha256)
    )


def build_page(
    project: str,
    scan: ProjectScan,
    served: Iterable[ListedFile],
    *,
    claims: bool = True,
    owners: Mapping[bytes, str] = NO_OWNERS,
) -> ProjectPage:
    """
    Build the page of a project from its listed files.

    Args:
        project: The normalized project name.
        scan: The scan of the project.
        served: The listed files.
        claims: Whether anything claims the name.
        owners: The index that each root belongs to, for roots of other indexes.
    """
    files = sorted_files(_file(listed, scan, owners.get(listed.entry.root)) for listed in served)
    return ProjectPage(
        name=project,
        files=files,
        versions=sorted_versions(file.version for file in files),
        status=scan.status,
        claims=claims,
    )


def _file(served: ListedFile, scan: ProjectScan, owner: str | None) -> File:
    entry, facts = served.entry, served.facts
    filename = entry.distribution.filename
    reason = scan.yanked.get(filename)
    metadata = None if facts.metadata_sha256 is None else {"sha256": facts.metadata_sha256}
    return File(
        filename=filename,
        version=entry.distribution.version,
        hashes={"sha256": facts.sha256},
        size=entry.key.size,
        upload_time=file_upload_time(entry.key.mtime_ns, entry.key.ctime_ns),
        requires_python=facts.requires_python,
        core_metadata=metadata,
        yanked=None if reason is None else Yanked(reason=reason),
        sidecars=frozenset(scan.documents.get(filename, ())),
        owner=owner,
    )


def file_upload_time(mtime_ns: int, ctime_ns: int) -> datetime:
    """
    Return the upload time of a file: the earlier of its two times.

    Copies that keep the modification time keep the upload time too, so that resolutions by date are
    reproducible on a mirror; a time set into the future does not count.

    Args:
        mtime_ns: Modification time, nanoseconds since the epoch.
        ctime_ns: Change time, nanoseconds since the epoch.
    """
    return _EPOCH + timedelta(microseconds=max(0, min(mtime_ns, ctime_ns)) // 1000)


def problems_of(scan: ProjectScan, served: dict[str, ListedFile], known_files: KnownFiles) -> list[Problem]:
    """Report which of a project's files are not listed, and which lack their core metadata."""
    problems = list(scan.problems)
    filenames = {entry.distribution.filename for entry in scan.entries}
    problems.extend(
        Problem(
            path=path,
            reason="No file here has this sidecar.",
            advice=f"Rename it to the name of its file followed by {suffix}, or remove it.",
        )
        for (filename, suffix), path in scan.sidecar_owners.items()
        # A tombstone outlives its file.
        if filename not in filenames and suffix != DELETED
    )
    winners: dict[Hashable, ListedFile] | None = None
    for entry in scan.entries:
        known = known_files.get(entry.path)
        if known is None:
            continue
        if isinstance(known.result, Rejection):
            problems.append(
                Problem(path=entry.display_path, reason=known.result.reason, advice=known.result.advice)
            )
            continue
        problem = None
        listed = served.get(entry.distribution.filename)
        if listed is None or listed.entry is not entry:
            if winners is None:
                winners = {listed.entry.distribution.identity: listed for listed in served.values()}
            winner = winners.get(entry.distribution.identity)
            problem = _left_out(entry, known.result, scan, winner)
        problem = problem or _changed_copy(entry, scan, known_files) or _badly_encoded(entry, known.result)
        if problem is not None:
            problems.append(problem)
    return problems


def _left_out(
    entry: ScannedFile, facts: FileFacts, scan: ProjectScan, winner: ListedFile | None
) -> Problem | None:
    if entry.distribution.filename in scan.deleted:
        return Problem(
            path=entry.display_path,
            reason="A file of this name was deleted, and its name stays taken.",
            advice="If it is left from a deletion that was cut off, delete it again. Give a new file another"
            " version; if its content is the same as before, remove its line from .deleted, or its .deleted"
            " file.",
        )
    if winner is None or winner.entry.path == entry.path or winner.facts.sha256 == facts.sha256:
        return None
    return Problem(
        path=entry.display_path,
        reason=f"{winner.entry.display_path} has different content for the same release and platforms, and"
        " takes precedence.",
        advice="Keep only one of them, or give this one another version or build tag.",
    )


def _changed_copy(entry: ScannedFile, scan: ProjectScan, known_files: KnownFiles) -> Problem | None:
    line = scan.recorded.get(entry.path)
    if line is None or is_copy(entry, scan, known_files):
        return None
    return not_as_recorded(entry.display_path, line)


def _badly_encoded(entry: ScannedFile, facts: FileFacts) -> Problem | None:
    if entry.distribution.kind is not DistributionType.WHEEL or facts.metadata_sha256 is not None:
        return None
    return Problem(
        path=entry.display_path,
        reason="Its METADATA is not UTF-8: pip refuses it, and its core metadata is not served.",
        advice="Build it again with a current build tool.",
    )
