"""
One page of a project that the folder and the upstream both have files of. Pure.

By `merge-upstream` of the folder's own files, else of copies of the upstream's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twisted_index.simple.explanation import HiddenFile, Obstacle
from twisted_index.simple.model import ProjectPage, Sidecar, Status
from twisted_index.simple.names import (
    InvalidFilename,
    canonical_version,
    parse_filename,
    sorted_files,
    sorted_versions,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping

    from twisted_index.simple.model import File, ProjectStatus

#: The strictest first, as in a folder.
_STRICTNESS = (Status.QUARANTINED, Status.ARCHIVED, Status.DEPRECATED, Status.ACTIVE)


@dataclass(frozen=True, slots=True)
class JoinedPage:
    """
    A page, and where its files are.

    Attributes:
        page: The page.
        in_folder: Names of the files that are opened in the folder; all others are upstream.
    """

    page: ProjectPage | None
    in_folder: frozenset[str] = frozenset()

    def left_out(
        self, in_folder: Iterable[File], upstream: Iterable[File], paths: Mapping[str, str]
    ) -> Iterator[HiddenFile]:
        """
        Yield the files that the page does not list, though the page of the folder or the upstream does.

        A copy that is opened in place of the upstream's file is that file.

        Args:
            in_folder: The files of the folder's page.
            upstream: The files of the upstream's page.
            paths: Where those of the folder are, by file name: see `Explanation`.
        """
        files = () if self.page is None else self.page.files
        listed, names = {id(file) for file in files}, {file.filename for file in files}
        opened = self.in_folder & names
        quarantined = self.page is not None and self.page.status.status is Status.QUARANTINED
        for file in in_folder:
            if id(file) not in listed and file.filename not in opened:
                hidden = _left_out(file, "the upstream's", quarantined=quarantined)
                yield replace(hidden, path=paths.get(file.filename, ""))
        for file in upstream:
            if id(file) not in listed:
                yield _left_out(file, "the folder's", quarantined=quarantined)


def merge_pages(folder_page: ProjectPage, upstream_page: ProjectPage) -> JoinedPage:
    """Merge two pages; of files that installers treat as equal, take the folder's."""
    project = folder_page.name
    identities = {_identity(file, project) for file in folder_page.files}
    others = [file for file in upstream_page.files if _identity(file, project) not in identities]
    return _join(folder_page, upstream_page, (*folder_page.files, *others), folder_page.files)


def add_copies(copies: ProjectPage, upstream_page: ProjectPage) -> JoinedPage:
    """
    Add copies to the upstream's page.

    Of files that installers treat as equal the upstream's is listed, with what the upstream says of it now.
    If the copy has its name and digest, it is the copy that is opened.
    """
    listed = {file.filename: file for file in upstream_page.files}
    unlisted = [file for file in copies.files if file.filename not in listed]
    # Parsing a name takes 5 µs, and the page may have ten thousand: so only those of the same versions.
    versions = {canonical_version(file.version) for file in unlisted}
    rivals = (file for file in upstream_page.files if canonical_version(file.version) in versions)
    identities = {_identity(file, copies.name) for file in rivals}
    added = [file for file in unlisted if _identity(file, copies.name) not in identities]
    same = [
        file for file in copies.files if file.filename in listed and _is_same(file, listed[file.filename])
    ]
    if not added and _strictness(upstream_page.status) <= _strictness(copies.status):
        return JoinedPage(upstream_page, frozenset(file.filename for file in same))
    return _join(copies, upstream_page, (*upstream_page.files, *added), (*same, *added))


def file_of(page: ProjectPage | None, filename: str) -> File | None:
    """Return the file of that name on a page."""
    files = () if page is None else page.files
    return next((file for file in files if file.filename == filename), None)


def offers(copy: File, sidecar: Sidecar | None, listed: File) -> bool:
    """
    Return whether to open a file, or its sidecar, as a copy.

    Args:
        copy: As the folder has it.
        sidecar: What is requested; None for the file itself.
        listed: The same file as the upstream has it, and as the page says.
    """
    if sidecar is None:
        return True
    if sidecar is not Sidecar.METADATA:
        return sidecar in copy.sidecars
    promised = (listed.core_metadata or {}).get("sha256")
    return copy.core_metadata is not None and promised in (None, copy.core_metadata.get("sha256"))


def _join(
    folder_page: ProjectPage, upstream_page: ProjectPage, files: Iterable[File], in_folder: Iterable[File]
) -> JoinedPage:
    status = min(folder_page.status, upstream_page.status, key=_strictness)
    if status.status is Status.QUARANTINED:
        return JoinedPage(ProjectPage(name=folder_page.name, status=status))
    page = ProjectPage(
        name=folder_page.name,
        files=sorted_files(files),
        versions=sorted_versions((*folder_page.versions, *upstream_page.versions)),
        status=status,
    )
    return JoinedPage(page, frozenset(file.filename for file in in_folder))


def _left_out(file: File, other: str, *, quarantined: bool) -> HiddenFile:
    if quarantined:
        return replace(shadowed(file, "The project is quarantined."), obstacle=Obstacle.QUARANTINED)
    return shadowed(file, f"Of files that installers treat as equal, {other} is listed in its place.")


def shadowed(file: File, reason: str) -> HiddenFile:
    """Return a file as hidden by another one."""
    return HiddenFile(
        filename=file.filename,
        version=file.version,
        obstacle=Obstacle.SHADOWED,
        reason=reason,
        index=file.owner,
    )


def _strictness(status: ProjectStatus) -> int:
    return _STRICTNESS.index(status.status)


def _is_same(copy: File, listed: File) -> bool:
    return "sha256" in copy.hashes and copy.hashes["sha256"] == listed.hashes.get("sha256")


def _identity(file: File, project: str) -> Hashable:
    """Return the key by which installers treat files as equal; an invalid file name is its own key."""
    try:
        return parse_filename(file.filename, project).identity
    except InvalidFilename:
        return file.filename
