"""A source in memory, which can be changed at any time and remembers what it was asked."""

from __future__ import annotations

import email.parser
import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from zope.interface import implementer

from twisted_index.interfaces import FileBody, ISource, Snapshot
from twisted_index.simple.model import (
    File,
    ProjectList,
    ProjectPage,
    ProjectStatus,
    Sidecar,
    Status,
    Yanked,
)
from twisted_index.testing.archives import MEMBER_SECONDS

if TYPE_CHECKING:
    from twisted_index.errors import SimpleIndexError
    from twisted_index.testing.distributions import BuiltFile

#: When a file was added to a `MemorySource`, if nothing else is said.
ADDED: Final = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCall:
    """
    One question that a `MemorySource` was asked.

    Attributes:
        method: The name of the method of `ISource`.
        project: The normalized name; empty for the project list.
        filename: Of the file that was to be opened; else empty.
        sidecar: Which sidecar of the file; None for the file itself.
    """

    method: str
    project: str = ""
    filename: str = ""
    sidecar: Sidecar | None = None


@implementer(ISource)
class MemorySource:
    """
    An index in memory, which can be changed at any time; what it said before is then no longer true.

    Args:
        files: Added in this order, as `add` does.

    Attributes:
        calls: What was asked so far, in order; may be cleared.
        failure: Raised as the answer to every question, until it is None again.
    """

    def __init__(self, *files: BuiltFile) -> None:
        self.calls: list[SourceCall] = []
        self.failure: SimpleIndexError | None = None
        self._files: dict[str, dict[str, File]] = {}
        self._bodies: dict[tuple[str, str, Sidecar | None], FileBody] = {}
        self._statuses: dict[str, ProjectStatus] = {}
        self._pages: dict[str, ProjectPage] = {}
        self._list = ProjectList()
        for file in files:
            self.add(file)

    def add(
        self,
        file: BuiltFile,
        *,
        yanked: str | None = None,
        upload_time: datetime | None = ADDED,
        signature: bytes | None = None,
        provenance: bytes | None = None,
    ) -> BuiltFile:
        """
        Add a file, or put it in the place of the one of the same name.

        Args:
            file: Its project and version say where it belongs.
            yanked: The reason for which it is yanked, perhaps empty; None if it is not (PEP 592).
            upload_time: Aware, UTC; None if it is not known.
            signature: Its `.asc`.
            provenance: Its `.provenance` (PEP 740).

        Returns:
            The file, unchanged.
        """
        self._forget(file.project, file.filename)
        modified = upload_time.timestamp() if upload_time is not None else MEMBER_SECONDS
        wheel = file.filename.endswith(".whl")
        sidecars = {
            Sidecar.METADATA: file.metadata if wheel else None,
            Sidecar.SIGNATURE: signature,
            Sidecar.PROVENANCE: provenance,
        }
        bodies = {None: file.content} | {kind: body for kind, body in sidecars.items() if body is not None}
        for kind, body in bodies.items():
            self._bodies[file.project, file.filename, kind] = _body(body, modified)
        self._files.setdefault(file.project, {})[file.filename] = File(
            filename=file.filename,
            version=file.version,
            hashes={"sha256": file.sha256},
            size=file.size,
            upload_time=upload_time,
            requires_python=_requires_python(file.metadata),
            core_metadata={"sha256": hashlib.sha256(file.metadata).hexdigest()} if wheel else None,
            yanked=None if yanked is None else Yanked(reason=yanked),
            sidecars=frozenset(kind for kind in bodies if kind not in (None, Sidecar.METADATA)),
        )
        self._refresh(file.project)
        return file

    def remove(self, file: BuiltFile) -> None:
        """
        Remove a file; a project without files and without a status is gone.

        Raises:
            KeyError: It is not here.
        """
        self.discard(file.project, file.filename)

    def discard(self, project: str, filename: str) -> None:
        """
        Remove a file by its name; see `remove`.

        Raises:
            KeyError: It is not here.
        """
        del self._files[project][filename]
        self._forget(project, filename)
        self._refresh(project)

    def yank(self, project: str, filename: str, reason: str | None) -> None:
        """
        Yank a file (PEP 592), or take that back.

        Args:
            project: A normalized name.
            filename: Of a file that is here.
            reason: For people, perhaps empty; None takes the yank back.

        Raises:
            KeyError: It is not here.
        """
        yanked = None if reason is None else Yanked(reason=reason)
        self._files[project][filename] = replace(self._files[project][filename], yanked=yanked)
        self._refresh(project)

    def has(self, project: str) -> bool:
        """Say whether there is a project, by its normalized name; this counts as no question."""
        return project in self._pages

    def files_of(self, project: str) -> tuple[File, ...]:
        """Give the files of a project, those of a quarantined one too; this counts as no question."""
        return tuple(self._files.get(project, {}).values())

    def status_of(self, project: str) -> ProjectStatus:
        """Give the status of a project; this counts as no question."""
        return self._statuses.get(project, ProjectStatus())

    def set_status(self, project: str, status: Status, reason: str = "") -> None:
        """
        Set a project's status (PEP 792); one without files exists from then on, and is empty.

        Args:
            project: A name in any spelling.
            status: While it is quarantined, no file is offered.
            reason: Free text for people.
        """
        normalized = canonicalize_name(project)
        self._statuses[normalized] = ProjectStatus(status=status, reason=reason)
        self._refresh(normalized)

    def project_list(self) -> Snapshot[ProjectList]:
        """Say which projects there are; a quarantined one is not named."""
        self._asked(SourceCall(method="project_list"))
        seen = self._list
        return Snapshot(value=seen, is_current=lambda: self._list is seen)

    def project_page(self, project: str) -> Snapshot[ProjectPage | None]:
        """Say which files a project has."""
        self._asked(SourceCall(method="project_page", project=project))
        seen = self._pages.get(project)
        return Snapshot(value=seen, is_current=lambda: self._pages.get(project) is seen)

    def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """Give the bytes of a file that the project's page lists, or of a sidecar of it."""
        self._asked(SourceCall(method="open_file", project=project, filename=filename, sidecar=sidecar))
        page = self._pages.get(project)
        if page is None or all(file.filename != filename for file in page.files):
            return None
        return self._bodies.get((project, filename, sidecar))

    def _asked(self, question: SourceCall) -> None:
        self.calls.append(question)
        if self.failure is not None:
            raise self.failure

    def _forget(self, project: str, filename: str) -> None:
        for kind in (None, *Sidecar):
            self._bodies.pop((project, filename, kind), None)

    def _refresh(self, project: str) -> None:
        """Bring page and list up to date; what did not change stays the very same object."""
        page = self._page_of(project)
        if page is None:
            self._pages.pop(project, None)
        elif page != self._pages.get(project):
            self._pages[project] = page
        hidden = Status.QUARANTINED
        names = ProjectList(
            names=tuple(
                sorted(name for name, page in self._pages.items() if page.status.status is not hidden)
            )
        )
        if names != self._list:
            self._list = names

    def _page_of(self, project: str) -> ProjectPage | None:
        files = sorted(self._files.get(project, {}).values(), key=_by_version)
        status = self._statuses.get(project)
        if not files and status is None:
            return None
        status = status or ProjectStatus()
        if status.status is Status.QUARANTINED:
            files = []
        versions = tuple(dict.fromkeys(file.version for file in files))
        return ProjectPage(name=project, files=tuple(files), versions=versions, status=status)


def _body(content: bytes, modified: float) -> FileBody:
    digest = hashlib.sha256(content).hexdigest()
    return FileBody(content=content, size=len(content), sha256=digest, modified=modified)


def _requires_python(metadata: bytes) -> str | None:
    """Read Requires-Python; one that is not valid counts as none, as the model demands."""
    value = email.parser.BytesHeaderParser().parsebytes(metadata)["Requires-Python"]
    try:
        SpecifierSet(value or "")
    except InvalidSpecifier:
        return None
    return None if value is None else str(value)


def _by_version(file: File) -> tuple[bool, Version, str]:
    """Order by version, those that are not valid (PEP 440) last, and then by file name."""
    try:
        return False, Version(file.version), file.filename
    except InvalidVersion:
        return True, Version("0"), file.filename
