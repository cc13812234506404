"""
A kit for testing with package indexes: distribution files made in memory, and a source to put them in.

It is public: programs that embed an index, or install from one, may use it in their own tests.

    wheel = make_wheel("demo", "1.0", requires=["other>=2"])
    wheel.write_to(folder)  # folder / "demo-1.0-py3-none-any.whl", and pip installs it

The same arguments give the same bytes, so that digests may be compared between runs.

    source = MemorySource(wheel)
    source.add(make_sdist("demo", "1.1"), yanked="broken")

Not for: building real distributions. There is no project here, only what installers look at.
"""

from __future__ import annotations

import base64
import bz2
import csv
import email.parser
import gzip
import hashlib
import io
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import parse_tag
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from zope.interface import implementer

from twisted_index.interfaces import FileBody, ISource, Snapshot
from twisted_index.simple.model import (
    Companion,
    File,
    ProjectList,
    ProjectPage,
    ProjectStatus,
    Status,
    Yanked,
)

if TYPE_CHECKING:
    from twisted_index.errors import SimpleIndexError

#: Paths inside an archive and what stands there; text is written as UTF-8.
Contents = Mapping[str, bytes | str]

# Both zip and tar can hold it, and whoever unpacks it gets a file that is not in the future.
_MEMBER_TIME: Final = (1980, 1, 1, 0, 0, 0)
_MEMBER_SECONDS: Final = 315532800

#: When a file was added to a `MemorySource`, if nothing else is said.
ADDED: Final = datetime(2020, 1, 1, tzinfo=UTC)

# 2.2 is the first in which an sdist's dependencies may be trusted without a build (PEP 643).
_METADATA_VERSION: Final = "2.2"

# An in-tree build backend (PEP 517) that needs nothing installed: an sdist brings its own wheel.
_PYPROJECT: Final = """\
[build-system]
requires = []
build-backend = "ready_made"
backend-path = ["_build"]
"""
_BACKEND: Final = """\
import pathlib
import shutil


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    (wheel,) = pathlib.Path(__file__).parent.glob("*.whl")
    shutil.copy(wheel, wheel_directory)
    return wheel.name


def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError("This sdist was made without a project.")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFile:
    """
    A distribution file, or something that claims to be one, in memory.

    Attributes:
        project: The normalized name of its project.
        version: In normal form (PEP 440) if it is valid, else as it was given.
        filename: What it is called; the last segment of its URL.
        content: Its bytes.
        metadata: The core metadata inside, the bytes that belong at the URL plus `.metadata`.
    """

    project: str
    version: str
    filename: str
    content: bytes
    metadata: bytes

    @property
    def sha256(self) -> str:
        """The lower-case hex digest of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def size(self) -> int:
        """The length of the content in bytes."""
        return len(self.content)

    def write_to(self, folder: str | Path) -> Path:
        """
        Write the file into a folder, under its own name, and over what was there.

        Args:
            folder: Made, with its parents, if it is not there yet.

        Returns:
            Where the file is now.
        """
        target = Path(folder) / self.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.content)
        return target


def make_wheel(
    name: str,
    version: str,
    *,
    requires: Iterable[str] = (),
    requires_python: str | None = None,
    build: str = "",
    tag: str = "py3-none-any",
    extra_metadata: Iterable[str] = (),
    files: Contents | None = None,
    metadata: bytes | str | None = None,
    filename: str | None = None,
    compress: bool = True,
) -> MadeFile:
    """
    Make a wheel that installers take.

    Args:
        name: The project's name in any spelling; the file name holds it escaped (PEP 427).
        version: Brought into normal form (PEP 440) if it is valid, else left as it is.
        requires: Requirements (PEP 508), one `Requires-Dist` each.
        requires_python: A specifier set, such as `>=3.9`.
        build: A build tag; begins with a digit.
        tag: Python, ABI and platform, each perhaps several joined by dots (PEP 425).
        extra_metadata: More header lines of METADATA, such as `Provides-Extra: tls`.
        files: What is installed; without it a package that has a `__version__`.
        metadata: All of METADATA, instead of what the other arguments say.
        filename: A name for the file that differs from the right one.
        compress: Deflate the members; else they are stored.

    Returns:
        The wheel; its bytes depend on nothing but the arguments.
    """
    escaped, spelled = _escaped(name), _normal(version)
    if metadata is None:
        metadata = _core_metadata(name, spelled, requires, requires_python, extra_metadata)
    if files is None:
        files = {f"{escaped}/__init__.py": f'__version__ = "{spelled}"\n'}
    dist_info = f"{escaped}-{_wheel_part(spelled)}.dist-info"
    members = {path: _as_bytes(content) for path, content in files.items()}
    members[f"{dist_info}/METADATA"] = _as_bytes(metadata)
    members[f"{dist_info}/WHEEL"] = _wheel_file(build, tag)
    members[f"{dist_info}/RECORD"] = _record(members, f"{dist_info}/RECORD")
    parts = [escaped, _wheel_part(spelled), *([build] if build else []), tag]
    return MadeFile(
        project=canonicalize_name(name),
        version=spelled,
        filename=filename or "-".join(parts) + ".whl",
        content=_zip(members, compress=compress),
        metadata=_as_bytes(metadata),
    )


def make_sdist(
    name: str,
    version: str,
    *,
    extension: str = ".tar.gz",
    requires: Iterable[str] = (),
    requires_python: str | None = None,
    extra_metadata: Iterable[str] = (),
    files: Contents | None = None,
    metadata: bytes | str | None = None,
    filename: str | None = None,
) -> MadeFile:
    """
    Make an sdist that installers take; it builds offline, with nothing installed.

    Args:
        name: The project's name in any spelling; the file name holds it escaped (PEP 625).
        version: Brought into normal form (PEP 440) if it is valid, else left as it is.
        extension: One of `.tar.gz`, `.tgz`, `.zip`, `.tar.bz2`, `.tar.xz`, `.tar`.
        requires: Requirements (PEP 508), one `Requires-Dist` each.
        requires_python: A specifier set, such as `>=3.9`.
        extra_metadata: More header lines of PKG-INFO, such as `Dynamic: Requires-Dist`.
        files: What the wheel that is built from it installs, as for `make_wheel`.
        metadata: All of PKG-INFO, instead of what the other arguments say.
        filename: A name for the file that differs from the right one.

    Returns:
        The sdist; its bytes depend on nothing but the arguments.

    Raises:
        ValueError: The extension is not one of those.
    """
    if extension not in _SDIST_WRITERS:
        raise ValueError(f"An sdist's extension is one of {', '.join(_SDIST_WRITERS)}; not {extension!r}.")
    escaped, spelled = _escaped(name), _normal(version)
    if metadata is None:
        metadata = _core_metadata(name, spelled, requires, requires_python, extra_metadata)
    wheel = make_wheel(name, version, files=files, metadata=metadata)
    top = f"{escaped}-{spelled}"
    members = {
        f"{top}/PKG-INFO": _as_bytes(metadata),
        f"{top}/pyproject.toml": _PYPROJECT.encode(),
        f"{top}/_build/ready_made.py": _BACKEND.encode(),
        f"{top}/_build/{wheel.filename}": wheel.content,
    }
    return MadeFile(
        project=canonicalize_name(name),
        version=spelled,
        filename=filename or f"{top}{extension}",
        content=_SDIST_WRITERS[extension](members),
        metadata=_as_bytes(metadata),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """
    One question that a `MemorySource` was asked.

    Attributes:
        method: The name of the method of `ISource`.
        project: The normalized name; empty for the project list.
        filename: Of the file that was to be opened; else empty.
        companion: Which companion of the file; None for the file itself.
    """

    method: str
    project: str = ""
    filename: str = ""
    companion: Companion | None = None


@implementer(ISource)
class MemorySource:
    """
    An index in memory, which can be changed at any time; what it said before is then no longer true.

    Args:
        files: Added in this order, as `add` does.

    Attributes:
        questions: What was asked so far, in order; may be cleared.
        failure: Raised as the answer to every question, until it is None again.
    """

    def __init__(self, *files: MadeFile) -> None:
        self.questions: list[Question] = []
        self.failure: SimpleIndexError | None = None
        self._files: dict[str, dict[str, File]] = {}
        self._bodies: dict[tuple[str, str, Companion | None], FileBody] = {}
        self._statuses: dict[str, ProjectStatus] = {}
        self._pages: dict[str, ProjectPage] = {}
        self._list = ProjectList()
        for file in files:
            self.add(file)

    def add(
        self,
        file: MadeFile,
        *,
        yanked: str | None = None,
        upload_time: datetime | None = ADDED,
        signature: bytes | None = None,
        provenance: bytes | None = None,
    ) -> MadeFile:
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
        modified = upload_time.timestamp() if upload_time is not None else _MEMBER_SECONDS
        wheel = file.filename.endswith(".whl")
        companions = {
            Companion.METADATA: file.metadata if wheel else None,
            Companion.SIGNATURE: signature,
            Companion.PROVENANCE: provenance,
        }
        bodies = {None: file.content} | {kind: body for kind, body in companions.items() if body is not None}
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
            companions=frozenset(kind for kind in bodies if kind not in (None, Companion.METADATA)),
        )
        self._refresh(file.project)
        return file

    def remove(self, file: MadeFile) -> None:
        """
        Remove a file; a project without files and without a status is gone.

        Raises:
            KeyError: It is not here.
        """
        del self._files[file.project][file.filename]
        self._forget(file.project, file.filename)
        self._refresh(file.project)

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
        """Say which projects have files to offer."""
        self._asked(Question(method="project_list"))
        seen = self._list
        return Snapshot(value=seen, still_true=lambda: self._list is seen)

    def project_page(self, project: str) -> Snapshot[ProjectPage | None]:
        """Say which files a project has."""
        self._asked(Question(method="project_page", project=project))
        seen = self._pages.get(project)
        return Snapshot(value=seen, still_true=lambda: self._pages.get(project) is seen)

    def open_file(self, project: str, filename: str, companion: Companion | None = None) -> FileBody | None:
        """Give the bytes of a file that the project's page lists, or of a companion of it."""
        self._asked(Question(method="open_file", project=project, filename=filename, companion=companion))
        page = self._pages.get(project)
        if page is None or all(file.filename != filename for file in page.files):
            return None
        return self._bodies.get((project, filename, companion))

    def _asked(self, question: Question) -> None:
        self.questions.append(question)
        if self.failure is not None:
            raise self.failure

    def _forget(self, project: str, filename: str) -> None:
        for kind in (None, *Companion):
            self._bodies.pop((project, filename, kind), None)

    def _refresh(self, project: str) -> None:
        """Bring page and list up to date; what did not change stays the very same object."""
        page = self._page_of(project)
        if page is None:
            self._pages.pop(project, None)
        elif page != self._pages.get(project):
            self._pages[project] = page
        names = ProjectList(names=tuple(sorted(name for name, page in self._pages.items() if page.files)))
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


def _as_bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _escaped(name: str) -> str:
    """Escape a project name for a file name: PEP 503 normal form, with `_` for `-` (PEP 427, 625)."""
    return re.sub(r"[-_.]+", "_", name).lower()


def _normal(version: str) -> str:
    try:
        return str(Version(version))
    except InvalidVersion:
        return version


def _wheel_part(version: str) -> str:
    """Keep a version that is not valid from looking like two parts of a wheel's name (PEP 427)."""
    return version.replace("-", "_")


def _core_metadata(
    name: str, version: str, requires: Iterable[str], requires_python: str | None, extra: Iterable[str]
) -> bytes:
    lines = [f"Metadata-Version: {_METADATA_VERSION}", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Python: {requires_python}"] if requires_python is not None else []
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    lines += extra
    return "".join(f"{line}\n" for line in lines).encode()


def _wheel_file(build: str, tag: str) -> bytes:
    pure = "true" if tag.endswith("-none-any") else "false"
    lines = ["Wheel-Version: 1.0", "Generator: twisted-index.testing", f"Root-Is-Purelib: {pure}"]
    lines += [f"Tag: {single}" for single in sorted(map(str, parse_tag(tag)))]
    lines += [f"Build: {build}"] if build else []
    return "".join(f"{line}\n" for line in lines).encode()


def _record(members: Mapping[str, bytes], record: str) -> bytes:
    """Write RECORD: each path with its digest and size in bytes, and itself with neither (PEP 376)."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for path, content in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.writerow((path, f"sha256={digest}", len(content)))
    rows.writerow((record, "", ""))
    return text.getvalue().encode()


def _zip(members: Mapping[str, bytes], *, compress: bool = True) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        for path, content in members.items():
            member = zipfile.ZipInfo(path, _MEMBER_TIME)
            member.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            member.create_system = 3  # Unix, wherever this runs: the attributes below are its modes
            member.external_attr = 0o100644 << 16
            writer.writestr(member, content)
    return archive.getvalue()


def _tar(members: Mapping[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as writer:
        for path, content in members.items():
            member = tarfile.TarInfo(path)
            member.size, member.mtime, member.mode = len(content), _MEMBER_SECONDS, 0o644
            writer.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def _tar_gz(members: Mapping[str, bytes]) -> bytes:
    return gzip.compress(_tar(members), mtime=0)


_SDIST_WRITERS: Final[Mapping[str, Callable[[Mapping[str, bytes]], bytes]]] = {
    ".tar.gz": _tar_gz,
    ".tgz": _tar_gz,
    ".zip": _zip,
    ".tar.bz2": lambda members: bz2.compress(_tar(members)),
    ".tar.xz": lambda members: lzma.compress(_tar(members)),
    ".tar": _tar,
}
