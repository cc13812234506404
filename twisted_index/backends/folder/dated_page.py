"""A page of the past, made from the history of a project. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.folder.history import ALWAYS, NEVER
from twisted_index.backends.folder.inspection_cache import FileFacts
from twisted_index.backends.folder.page_builder import (
    ListedFile,
    build_page,
    file_upload_time,
    select_files,
)
from twisted_index.backends.folder.project_scan import ProjectScan, add_mark

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from twisted_index.backends.folder.history import ProjectHistory
    from twisted_index.backends.folder.project_scan import ScannedFile
    from twisted_index.simple.model import File, ProjectPage


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DatedPage:
    """
    A page of the past.

    Attributes:
        history: What it was made of.
        page: The page; None if there was no such project.
        listed_files: Its files, by name.
        scan: What the folders had, as far as it counts.
    """

    history: ProjectHistory
    page: ProjectPage | None
    listed_files: Mapping[str, ListedFile]
    scan: ProjectScan

    def with_page(self, page: ProjectPage | None) -> DatedPage:
        """Return the same with an equal page."""
        return replace(self, page=page)


def page_at(history: ProjectHistory, moment: datetime, owner: str) -> DatedPage:
    """
    Make the page that a project had at a moment.

    Args:
        history: What is known of the project.
        moment: Aware.
        owner: The name of the index, at which files are linked that it still lists.
    """
    scan, uploaded = _scan_at(history, moment)
    listed = select_files(scan.entries, scan, history.known_files)
    return finish(history, scan, listed, uploaded, owner)


def finish(
    history: ProjectHistory,
    scan: ProjectScan,
    listed: Mapping[str, ListedFile],
    uploaded: Mapping[bytes, datetime],
    owner: str,
) -> DatedPage:
    """
    Make a page of the files that were listed.

    Args:
        history: What is known of the project.
        scan: What counted.
        listed: The files, by name.
        uploaded: Upload times by path, where the file itself has another one by now.
        owner: See `page_at`.
    """
    page = None
    if scan.claimed:
        page = build_page(history.project, scan, listed.values(), claims=history.claims)
        files = (_dated(file, listed[file.filename].entry, history, uploaded, owner) for file in page.files)
        page = replace(page, files=tuple(files))
    return DatedPage(history=history, page=page, listed_files=listed, scan=scan)


def _dated(
    file: File, entry: ScannedFile, history: ProjectHistory, uploaded: Mapping[bytes, datetime], owner: str
) -> File:
    """Link a file where it is still listed, so that its URL outlives the view; date it as it was."""
    is_live = entry.path in history.live.watched and file.filename in history.listed
    return replace(
        file,
        owner=(owner if file.owner is None else file.owner) if is_live else None,
        upload_time=uploaded.get(entry.path, file.upload_time),
    )


def _scan_at(history: ProjectHistory, moment: datetime) -> tuple[ProjectScan, dict[bytes, datetime]]:
    """Return what the folders had at a moment, and the upload times that files had then."""
    live, deletions = history.live, history.deletions
    entries, uploaded, began = _kept_at(history, moment)
    there = [
        entry
        for entry in live.entries
        if _uploaded(entry) <= moment <= deletions.tombstones.get(entry.distribution.filename, NEVER)
    ]
    scan = ProjectScan(entries=[*there, *entries])
    for mark in live.marks:
        if history.time_of(mark.path) <= moment:
            add_mark(scan, mark)
    for mark in deletions.kept.marks:
        if began.get(mark.filename, NEVER) <= history.time_of(mark.path) <= moment:
            add_mark(scan, mark)
    for filename, paths in live.documents.items():
        scan.documents[filename] = {
            kind: path for kind, path in paths.items() if history.time_of(path) <= moment
        }
    for filename, paths in deletions.kept.documents.items():
        since = began.get(filename, NEVER)
        then = {kind: path for kind, path in paths.items() if since <= history.time_of(path) <= moment}
        scan.documents[filename] = then | scan.documents.get(filename, {})
    scan.claimed = _claimed_at(history, moment)
    return scan, uploaded


class _Kept(NamedTuple):
    """
    The kept files that were there at a moment.

    Attributes:
        entries: The files.
        uploaded: When each had been uploaded, by path.
        began: By name, since when marks and documents are about that life of a file: those from before it was
            deleted and came back are not.
    """

    entries: list[ScannedFile]
    uploaded: dict[bytes, datetime]
    began: dict[str, datetime]


def _kept_at(history: ProjectHistory, moment: datetime) -> _Kept:
    kept = _Kept([], {}, dict.fromkeys(history.live.deleted, ALWAYS))
    for entry in history.deletions.kept.entries:
        known = history.known_files.get(entry.path)
        facts = None if known is None else known.result
        digest = facts.sha256 if isinstance(facts, FileFacts) else None
        before = ALWAYS
        for life in history.deletions.lives.get(entry.path, ()):
            # Deletions are noted by the second, and moments begin one.
            if life.sha256 in (None, digest) and life.uploaded <= moment <= life.deleted:
                kept.entries.append(entry)
                kept.uploaded[entry.path] = life.uploaded
                kept.began[entry.distribution.filename] = before
                break
            before = life.deleted
    return kept


def _claimed_at(history: ProjectHistory, moment: datetime) -> bool:
    """Return whether anything is known that claimed the name; what is deleted goes on to claim it."""
    scan, deletions = history.live, history.deletions
    lives = (life for lived in deletions.lives.values() for life in lived)
    if deletions.since <= moment or any(life.uploaded <= moment for life in lives):
        return True
    others = scan.watched.keys() - scan.tombstones.keys() - scan.copies.keys()
    return any(history.time_of(path) <= moment for path in others)


def _uploaded(entry: ScannedFile) -> datetime:
    return file_upload_time(entry.key.mtime_ns, entry.key.ctime_ns)
