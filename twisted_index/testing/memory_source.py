"""A source in memory, which can be changed at any time and records the calls of its methods."""

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

#: The default upload time of a file in a `MemorySource`.
ADDED: Final = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCall:
    """
    A recorded call of a `MemorySource`.

    Attributes:
        method: The name of the method of `ISource`.
        project: The normalized name; empty for the project list.
        filename: The file to open; empty for other methods.
        sidecar: The sidecar to open; None for the file itself.
    """

    method: str
    project: str = ""
    filename: str = ""
    sidecar: Sidecar | None = None


@implementer(ISource)
class MemorySource:
    """
    A source in memory, which can be changed at any time; earlier snapshots are then no longer current.

    Args:
        files: Added in this order by `add`.

    Attributes:
        calls: The calls so far, in order; may be cleared.
        failure: Raised by every method of `ISource`, until it is None again.
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
        Add a file, replacing one of the same name.

        Args:
            file: Added to its project and version.
            yanked: The reason of a yank, possibly empty; None if the file is not yanked (PEP 592).
            upload_time: Aware, UTC; None if unknown.
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
        Remove a file; a project without files and without a status does not exist.

        Raises:
            KeyError: The source does not have it.
        """
        self.discard(file.project, file.filename)

    def discard(self, project: str, filename: str) -> None:
        """
        Remove a file by its name; see `remove`.

        Raises:
            KeyError: The source does not have it.
        """
        del self._files[project][filename]
        self._forget(project, filename)
        self._refresh(project)

    def yank(self, project: str, filename: str, reason: str | None) -> None:
        """
        Yank or unyank a file (PEP 592).

        Args:
            project: A normalized name.
            filename: The name of an existing file.
            reason: For users, possibly empty; None unyanks the file.

        Raises:
            KeyError: The source does not have it.
        """
        yanked = None if reason is None else Yanked(reason=reason)
        self._files[project][filename] = replace(self._files[project][filename], yanked=yanked)
        self._refresh(project)

    def has(self, project: str) -> bool:
        """Whether a project exists, by its normalized name; not recorded as a call."""
        return project in self._pages

    def files_of(self, project: str) -> tuple[File, ...]:
        """Return the files of a project, even of a quarantined one; not recorded as a call."""
        return tuple(self._files.get(project, {}).values())

    def status_of(self, project: str) -> ProjectStatus:
        """Return the status of a project; not recorded as a call."""
        return self._statuses.get(project, ProjectStatus())

    def set_status(self, project: str, status: Status, reason: str = "") -> None:
        """
        Set a project's status (PEP 792); a project without files exists from then on.

        Args:
            project: A name in any spelling.
            status: A quarantined project offers no files.
            reason: Free text for users.
        """
        normalized = canonicalize_name(project)
        self._statuses[normalized] = ProjectStatus(status=status, reason=reason)
        self._refresh(normalized)

    def project_list(self) -> Snapshot[ProjectList]:
        """Return the projects, without quarantined ones."""
        self._record(SourceCall(method="project_list"))
        current = self._list
        return Snapshot(value=current, is_current=lambda: self._list is current)

    def project_page(self, project: str) -> Snapshot[ProjectPage | None]:
        """Return the page of a project."""
        self._record(SourceCall(method="project_page", project=project))
        current = self._pages.get(project)
        return Snapshot(value=current, is_current=lambda: self._pages.get(project) is current)

    def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """Return the bytes of a listed file or of a sidecar of it."""
        self._record(SourceCall(method="open_file", project=project, filename=filename, sidecar=sidecar))
        page = self._pages.get(project)
        if page is None or all(file.filename != filename for file in page.files):
            return None
        return self._bodies.get((project, filename, sidecar))

    def _record(self, call: SourceCall) -> None:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure

    def _forget(self, project: str, filename: str) -> None:
        for kind in (None, *Sidecar):
            self._bodies.pop((project, filename, kind), None)

    def _refresh(self, project: str) -> None:
        """Update page and list; unchanged ones stay the very same object."""
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
    """Read Requires-Python; an invalid one counts as missing, as the model requires."""
    value = email.parser.BytesHeaderParser().parsebytes(metadata)["Requires-Python"]
    try:
        SpecifierSet(value or "")
    except InvalidSpecifier:
        return None
    return None if value is None else str(value)


def _by_version(file: File) -> tuple[bool, Version, str]:
    """Order by version, invalid ones (PEP 440) last, and then by file name."""
    try:
        return False, Version(file.version), file.filename
    except InvalidVersion:
        return True, Version("0"), file.filename
