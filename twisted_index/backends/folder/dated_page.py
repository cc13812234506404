"""A page of the past, made from the history of a project. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.folder.history import ALWAYS, NEVER
from twisted_index.backends.layout.facts import FileFacts
from twisted_index.backends.layout.page_builder import ListedFile, build_page, file_upload_time, select_files
from twisted_index.backends.layout.project_scan import Mark, ProjectScan, add_mark
from twisted_index.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from twisted_index.backends.folder.history import ProjectHistory
    from twisted_index.backends.folder.snapshots import IndexSnapshot
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.interfaces import FileBody
    from twisted_index.simple.model import File, ProjectPage, Sidecar


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DatedPage:
    """
    A page of the past.

    Attributes:
        history: What it was made of.
        page: The page; None if there was no such project.
        listed_files: Its files, by name.
        scan: What the folders had, as far as it counts.
        digests: Those that documents beside files have to have, by path.
        source: The name of the snapshot that says so.
    """

    history: ProjectHistory
    page: ProjectPage | None
    listed_files: Mapping[str, ListedFile]
    scan: ProjectScan
    digests: Mapping[bytes, str] = field(default_factory=dict)
    source: str = ""

    def check_document(self, filename: str, sidecar: Sidecar | None, body: FileBody) -> None:
        """
        Check a document beside a file.

        Raises:
            Unavailable: It has another digest than the snapshot says.
        """
        path = None if sidecar is None else self.scan.documents.get(filename, {}).get(sidecar)
        if path is not None and self.digests.get(path, body.sha256) != body.sha256:
            raise _not_as_it_was(self.source, os.fsdecode(os.path.basename(path)), "has changed")

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


def page_of_snapshot(history: ProjectHistory, snapshot: IndexSnapshot, owner: str) -> DatedPage:
    """
    Make the page that a snapshot says; see `page_at`.

    Raises:
        Unavailable: A file of it is missing, or has changed: there is never a page without it.
    """
    said = snapshot.projects.get(history.project)
    if said is None:
        return DatedPage(history=history, page=None, listed_files={}, scan=ProjectScan())
    scan = ProjectScan(status=said.status, claimed=True)
    digests: dict[bytes, str] = {}
    places = _Places(history)
    for path, sha256 in said.files.items():
        found = places.find(path)
        if found is None:
            raise _not_as_it_was(snapshot.name, said.shown[path], "is missing")
        if isinstance(found, _Document):
            scan.documents.setdefault(found.filename, {})[found.kind] = found.path
            digests[found.path] = sha256
            continue
        known = history.known_files.get(found.path)
        facts = None if known is None else known.result
        if not isinstance(facts, FileFacts) or facts.sha256 != sha256:
            raise _not_as_it_was(snapshot.name, said.shown[path], "has changed")
        scan.entries.append(found)
    for path, reason in said.yanked.items():
        add_mark(scan, Mark(path, os.fsdecode(os.path.basename(path)), None, reason))
    dated = finish(history, scan, select_files(scan.entries, scan, history.known_files), {}, owner)
    return replace(dated, digests=digests, source=snapshot.name)


class _Document(NamedTuple):
    """A document beside a file."""

    path: bytes
    filename: str
    kind: Sidecar


class _Places:
    """What lies there and what is kept, by the paths that a snapshot has."""

    def __init__(self, history: ProjectHistory) -> None:
        self._live = dict(_found_in(history.live))
        # A kept file lies in its root's own folder, whichever folder of the root it lay in.
        self._kept = {
            (os.path.dirname(os.path.dirname(os.path.dirname(path))), os.path.basename(path)): found
            for path, found in _found_in(history.deletions.kept)
        }

    def find(self, path: bytes) -> ScannedFile | _Document | None:
        """Return what has a path now; None if it is missing."""
        folder, name = os.path.split(path)
        roots = (folder, os.path.dirname(folder))
        kept = (self._kept[root, name] for root in roots if (root, name) in self._kept)
        return self._live.get(path) or next(kept, None)


def _found_in(scan: ProjectScan) -> Iterator[tuple[bytes, ScannedFile | _Document]]:
    for entry in scan.entries:
        yield entry.path, entry
    for filename, documents in scan.documents.items():
        for kind, path in documents.items():
            if scan.watched.get(path) is not None:
                yield path, _Document(path, filename, kind)


def _not_as_it_was(snapshot: str, shown: str, what: str) -> Unavailable:
    return Unavailable(
        f"The snapshot {snapshot} names {shown}, which {what}. Put that file back, or take another snapshot."
    )


def not_in(dated: DatedPage) -> list[ScannedFile]:
    """Return the files that are known and did not count for a page."""
    there, history = {entry.path for entry in dated.scan.entries}, dated.history
    known = (*history.live.entries, *history.deletions.kept.entries)
    return [entry for entry in known if entry.path not in there]


def why_not_at(history: ProjectHistory, entry: ScannedFile, moment: datetime) -> str:
    """Return why a file was not there at a moment, as a sentence."""
    uploaded = min((life.uploaded for life in history.deletions.lives.get(entry.path, ())), default=None)
    since = _uploaded(entry) if uploaded is None else uploaded
    if since > moment:
        return f"It was published at {since:%Y-%m-%d %H:%M:%S UTC}, after this moment."
    return "It had been deleted before this moment."


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
        page = build_page(
            history.project, scan, listed.values(), claims=history.claims, owners=history.owners
        )
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
