"""
What makes a project of a folder equal to a selection of an index. Pure.

The order of the page and of the folder changes nothing. Out of scope: doing it (see `puller`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from twisted_index.backends.layout.entries import YANKED
from twisted_index.backends.layout.inventory import STATUS_MARKS
from twisted_index.backends.layout.reasons import format_reason
from twisted_index.simple.model import Sidecar, Status
from twisted_index.simple.names import parse_filename

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping
    from datetime import datetime

    from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
    from twisted_index.simple.manifest import ManifestLine

_DOCUMENTS = (Sidecar.PROVENANCE.value, Sidecar.SIGNATURE.value)
_SUFFIXES = (YANKED, *_DOCUMENTS)
#: Seconds by which a time may differ: FAT keeps them in steps of 2 s.
TICK = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """
    What is wanted of a project.

    Attributes:
        project: A normalized name.
        files: Those to have, in any order.
        page: The index's page; None if it has no such project, or if the page was not asked for. Marks
            and the status follow it.
    """

    project: str
    files: tuple[RemoteFile, ...] = ()
    page: RemotePage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFile:
    """
    A distribution file of the folder.

    Attributes:
        name: Its name.
        identity: See `Distribution`.
        path: Where it is.
        size: In bytes.
        time: Its modification time in seconds since the epoch.
        sha256: Its digest, as far as it was worth reading.
        line: Its line in `.copies`; None without one.
        in_folder: Whether it lies in the project's folder, which its line is about.
    """

    name: str
    identity: Hashable
    path: bytes
    size: int
    time: float
    sha256: str | None = None
    line: ManifestLine | None = None
    in_folder: bool = True

    @property
    def is_copy(self) -> bool:
        """Whether it is what was recorded of it."""
        return self.line is not None and self.sha256 is not None and self.line.sha256 == self.sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldProject:
    """
    What a folder holds for a project.

    Attributes:
        files: All distribution files, listed or not.
        marks: The digest of each sidecar and status in the project's folder, by name.
        lines: The lines of `.copies`, by name.
        deleted: Names of selected files that have a tombstone.
        is_claimed: Whether what is no copy claims the name, by `.claimed` or otherwise.
        is_empty: Whether it has a folder with nothing in it, as a run leaves it that dies when it removes.
    """

    files: tuple[HeldFile, ...] = ()
    marks: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, ManifestLine] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()
    is_claimed: bool = False
    is_empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What could not be had, by name, and why: a sentence."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A sidecar to fetch: its name in the folder, and its URL."""

    name: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPlan:
    """
    What to do, in this order.

    Attributes:
        project: A normalized name.
        refused: Why nothing is done at all, in a sentence; empty otherwise.
        adopt: Files that are there, with the index's digest, and are to be recorded.
        retime: Upload times of files whose modification time is another, by name.
        write: Contents of yanks and statuses to write, by name: these hide, so they come first.
        place: Files to fetch.
        documents: Sidecars to fetch.
        erase: Names of recorded marks to remove, which shows what they hid.
        forget: Names of lines about nothing.
        is_empty: Whether the project's folder is empty, and is to go unless something is placed.
        unchanged: Names of files that are there.
        removable: Names of copies that are not selected, if the selection is exact.
        deleted: Names that stay taken by tombstones.
        failures: What cannot be done.
    """

    project: str
    refused: str = ""
    adopt: tuple[tuple[HeldFile, RemoteFile], ...] = ()
    retime: Mapping[str, datetime] = field(default_factory=dict)
    write: Mapping[str, bytes] = field(default_factory=dict)
    place: tuple[RemoteFile, ...] = ()
    documents: tuple[Document, ...] = ()
    erase: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()
    is_empty: bool = False
    unchanged: tuple[str, ...] = ()
    removable: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()


def plan_project(
    selection: Selection, held: HeldProject, now: float, *, exact: bool = False, join: bool = False
) -> ProjectPlan:
    """
    Plan what to do about a project.

    Args:
        selection: What is wanted.
        held: What is there.
        now: Seconds since the epoch: a later upload time is not believed.
        exact: Whether copies that are not selected may go.
        join: Whether the project may hold other files too.
    """
    wanted = by_identity(selection.project, selection.files)
    planning = _Planning(held, wanted)
    planning.sort_files()
    if not join and (planning.own or held.is_claimed):
        return ProjectPlan(project=selection.project, refused=_refusal(selection.project, planning.own))
    marks = _Marks(selection, held, planning)
    removable = [file.name for file in planning.copies if exact and file.identity not in wanted]
    known = {file.name for file in held.files} | held.marks.keys() | marks.names
    return ProjectPlan(
        project=selection.project,
        adopt=tuple(planning.adopt),
        retime=dict(planning.late_or_early(now)),
        write=marks.to_write(),
        place=tuple(planning.place),
        documents=tuple(marks.documents()),
        erase=tuple(marks.to_erase(exact=exact)),
        forget=tuple(sorted(held.lines.keys() - known - {file.file.filename for file in planning.place})),
        is_empty=held.is_empty and exact,
        unchanged=tuple(sorted(planning.unchanged)),
        removable=tuple(sorted(removable)),
        deleted=tuple(sorted(planning.deleted)),
        failures=tuple(planning.failures),
    )


def by_identity(project: str, files: Iterable[RemoteFile]) -> dict[Hashable, RemoteFile]:
    """Return files by identity, in the order of their names; of several spellings of one name the first."""
    found: dict[Hashable, RemoteFile] = {}
    for file in sorted(files, key=lambda file: file.file.filename):
        found.setdefault(parse_filename(file.file.filename, project).identity, file)
    return found


def _refusal(project: str, own: list[HeldFile]) -> str:
    if own:
        names = ", ".join(sorted(file.name for file in own)[:3])
        return f"The project {project} holds files of its own ({names}); --join (join = true) adds copies."
    return f"The name {project} is claimed in the folder; --join (join = true) adds copies to it."


class _Planning:
    """What becomes of each file."""

    def __init__(self, held: HeldProject, wanted: Mapping[Hashable, RemoteFile]) -> None:
        self._held = held
        self._wanted = wanted
        self.copies = [file for file in held.files if file.is_copy]
        self.own: list[HeldFile] = []
        self.adopt: list[tuple[HeldFile, RemoteFile]] = []
        self.place: list[RemoteFile] = []
        self.there: dict[str, RemoteFile] = {}
        self.unchanged: list[str] = []
        self.deleted: list[str] = []
        self.failures: list[Failure] = []

    def sort_files(self) -> None:
        there: defaultdict[Hashable, list[HeldFile]] = defaultdict(list)
        for file in sorted(self._held.files, key=lambda file: (not file.is_copy, file.name)):
            there[file.identity].append(file)
        for identity, remote in self._wanted.items():
            if identity in there:
                self._compare(remote, there[identity][0])
            elif remote.file.filename in self._held.deleted:
                self.deleted.append(remote.file.filename)
            else:
                self.place.append(remote)
        adopted = {file.path for file, _remote in self.adopt}
        self.own += (file for file in self._held.files if not file.is_copy and file.path not in adopted)

    def _compare(self, remote: RemoteFile, file: HeldFile) -> None:
        promised = remote.file.hashes.get("sha256")
        if file.is_copy:
            if promised not in (None, file.sha256) or remote.file.size not in (None, file.size):
                self.failures.append(_changed(file))
                return
        elif promised is None or file.sha256 != promised:
            reason = f"The folder has another file of the name {file.name}, which stays."
            self.failures.append(Failure(name=remote.file.filename, reason=reason))
            return
        elif file.in_folder:
            self.adopt.append((file, remote))
            self.there[file.name] = remote
            return
        self.unchanged.append(file.name)
        if file.is_copy:
            self.there[file.name] = remote

    def late_or_early(self, now: float) -> Iterator[tuple[str, datetime]]:
        """Yield the upload times of files that have another modification time."""
        times = {file.name: file.time for file in self._held.files if file.in_folder}
        for name, remote in self.there.items():
            uploaded = remote.file.upload_time
            if uploaded is None or uploaded.timestamp() > now:
                continue
            if abs(times[name] - uploaded.timestamp()) >= TICK:
                yield name, uploaded


def _changed(file: HeldFile) -> Failure:
    reason = f"The index has changed content under the name {file.name}; the recorded file stays."
    return Failure(name=file.name, reason=reason)


class _Marks:
    """What becomes of yanks, statuses, signatures and provenance."""

    def __init__(self, selection: Selection, held: HeldProject, planning: _Planning) -> None:
        self._held = held
        self._page = selection.page
        self._files = {file.file.filename: file for file in planning.place} | planning.there
        if selection.page is not None:
            self._add_others(selection.page, planning)
        self._texts = dict(self._desired(bool(self._files or planning.copies)))
        self._urls = {document.name: document for document in self._offered()}
        self.names = self._texts.keys() | self._urls.keys()

    def _add_others(self, page: RemotePage, planning: _Planning) -> None:
        """Add the copies that are on the page, but not selected: their yanks are followed too."""
        others = [file for file in planning.copies if file.name not in self._files]
        listed = by_identity(page.project, page.files) if others else {}
        for file in others:
            remote = listed.get(file.identity)
            if remote is not None and remote.file.hashes.get("sha256") in (None, file.sha256):
                self._files[file.name] = remote

    def _desired(self, has_files: bool) -> Iterator[tuple[str, bytes]]:
        for name, remote in self._files.items():
            if remote.file.yanked is not None:
                yield name + YANKED, format_reason(remote.file.yanked.reason)
        status = None if self._page is None else self._page.status
        if status is not None and status.status is not Status.ACTIVE and has_files:
            yield f".{status.status.value}", format_reason(status.reason)

    def _offered(self) -> Iterator[Document]:
        for name, remote in self._files.items():
            if remote.file.provenance_url is not None:
                yield Document(name=name + Sidecar.PROVENANCE.value, url=remote.file.provenance_url)
            if Sidecar.SIGNATURE in remote.file.sidecars:
                yield Document(name=name + Sidecar.SIGNATURE.value, url=_signature_url(remote.url))

    def to_write(self) -> dict[str, bytes]:
        """Return the contents to write: of what is not there, or was recorded with other content."""
        return {
            name: content
            for name, content in sorted(self._texts.items())
            if self._is_ours(name, sha256(content).hexdigest())
        }

    def _is_ours(self, name: str, digest: str) -> bool:
        there, line = self._held.marks.get(name), self._held.lines.get(name)
        if there is None:
            return True
        # What was written before a crash is recorded late.
        return line is not None and line.sha256 != digest and there in (digest, line.sha256)

    def documents(self) -> Iterator[Document]:
        """Yield the documents that are not there."""
        return (document for name, document in sorted(self._urls.items()) if name not in self._held.marks)

    def to_erase(self, *, exact: bool) -> Iterator[str]:
        """Yield the names of recorded marks that the page has no more, or whose file is gone."""
        there = {file.name for file in self._held.files}
        # The last file of a project that is gone takes the status along, unless the run dies in between.
        follows = self._page is not None or (exact and not there and not self._files)
        for name, digest in sorted(self._held.marks.items()):
            line = self._held.lines.get(name)
            if line is None or line.sha256 != digest or name in self.names:
                continue
            owner = name.rpartition(".")[0]
            if name in STATUS_MARKS:
                if follows:
                    yield name
            elif owner not in there or (owner in self._files and self._page is not None):
                yield name


def _signature_url(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(path=parts.path + Sidecar.SIGNATURE.value).geturl()
