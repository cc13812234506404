"""
Reads projects of folders as the server does, one after the other. Blocking, without a reactor.

A file counts when every member of it is verified, as nothing is corrected later.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.backends.folder.inspection import UNSETTLED, inspect
from twisted_index.backends.folder.inspection_cache import CachedInspection
from twisted_index.backends.folder.local_tree import LocalTree
from twisted_index.backends.folder.open_file import read_core_metadata, read_document
from twisted_index.backends.folder.root_scan import hides_the_same, read_root
from twisted_index.backends.layout.facts import FileFacts, KnownFile, Rejection
from twisted_index.backends.layout.page_builder import build_page, select_files
from twisted_index.backends.layout.project_scan import scan_project
from twisted_index.errors import Unavailable
from twisted_index.files.filesystems import has_coarse_folders
from twisted_index.files.os_errors import public_read_error
from twisted_index.files.stamps import StatValidator
from twisted_index.simple.legacy_json import latest_version, metadata_file
from twisted_index.simple.model import Sidecar, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.backends.folder.inspection_cache import InspectionCache
    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.backends.layout.entries import ProjectEntries
    from twisted_index.backends.layout.facts import InspectionResult
    from twisted_index.backends.layout.page_builder import ListedFile
    from twisted_index.backends.layout.project_scan import ProjectScan, ScannedFile
    from twisted_index.simple.model import ProjectPage

#: Each root's path with its entries for a project, in order.
Parts = list[tuple[bytes, "ProjectEntries"]]


@dataclass(frozen=True, slots=True)
class PackageFolders:
    """
    Folders that are read as one, and the projects that they answer for.

    Attributes:
        paths: Absolute, in order of precedence.
        owns: Returns whether a project, by its normalized name, is theirs.
    """

    paths: tuple[bytes, ...]
    owns: Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadProject:
    """
    What there is for a project.

    Attributes:
        page: None if there is no such project.
        listed: Its files in the folders, by name.
        scan: What was read of the folders; None if it comes from elsewhere.
        is_named: Whether the list of projects names it.
        is_final: Whether the same stamps will mean the same page.
    """

    page: ProjectPage | None
    listed: dict[str, ListedFile]
    scan: ProjectScan | None
    is_named: bool
    is_final: bool

    def digest(self, filename: str, sidecar: Sidecar) -> str | None:
        """Return the digest of a document of a file, if it is known without reading it."""
        return self.listed[filename].facts.metadata_sha256 if sidecar is Sidecar.METADATA else None

    @property
    def description(self) -> bytes | None:
        """The core metadata of the release that represents the project; None without."""
        version = None if self.page is None else latest_version(self.page)
        file = None if version is None or self.page is None else metadata_file(self.page, version)
        return None if file is None else self.document(file.filename, Sidecar.METADATA)

    def document(self, filename: str, sidecar: Sidecar) -> bytes | None:
        """Read a document of a file; None if it is gone."""
        listed = self.listed.get(filename)
        if listed is None or self.scan is None:
            return None
        if sidecar is Sidecar.METADATA:
            digest = listed.facts.metadata_sha256 or ""
            body = read_core_metadata(listed.entry.path, listed.entry.key, digest, lambda: False)
        else:
            body = read_document(self.scan.documents[filename][sidecar])
        content = None if body is None else body.content
        return content if isinstance(content, bytes) else None


class ProjectReader:
    """
    Reads projects.

    Args:
        folders: Where they are.
        cache: What inspections found, also those of a server.
        validator: Takes the stamps; by default one for the file systems of the folders.
    """

    def __init__(
        self,
        folders: Sequence[PackageFolders],
        cache: InspectionCache,
        validator: StatValidator | None = None,
    ) -> None:
        self._folders = folders
        self._cache = cache
        paths = [path for group in folders for path in group.paths]
        self._validator = validator or StatValidator(trusts_times=not any(map(has_coarse_folders, paths)))
        self._readings: list[RootScan] = []

    def parts_by_project(self) -> tuple[dict[str, Parts], list[RootScan]]:
        """
        Read the roots.

        Returns:
            The entries of each project, and the readings.

        Raises:
            UnreadableFolder: A root cannot be read; nothing is known about its projects then.
        """
        parts: dict[str, Parts] = {}
        readings = []
        for group in self._folders:
            for path in group.paths:
                try:
                    reading = read_root(path, self._validator, None)
                except OSError as error:
                    raise public_read_error(error, os.fsdecode(path), "The package folder") from None
                readings.append(reading)
                for project, entries in reading.projects.items():
                    if group.owns(project):
                        parts.setdefault(project, []).append((path, entries))
        self._readings = readings
        return parts, readings

    def read(self, project: str, parts: Parts) -> ReadProject:
        """
        Read a project.

        Raises:
            Unavailable: One of its folders cannot be read, or something else of it is hidden by now.
        """
        scan = scan_project(project, parts, LocalTree(self._validator))
        self._check_whole(project, parts, scan)
        known = self._inspected(scan)
        listed = select_files(scan.entries, scan, known)
        return ReadProject(
            page=build_page(project, scan, listed.values()) if scan.claimed else None,
            listed=listed,
            scan=scan,
            is_named=self._is_named(project, parts, scan),
            is_final=self._is_final(scan, known),
        )

    def _check_whole(self, project: str, parts: Parts, scan: ProjectScan) -> None:
        """Check that of files that are shown together not only some are in a scan."""
        hides_same = hides_the_same(project, self._readings, self._validator)
        if hides_same is None:
            # Something was hidden in between, or it is too early to tell.
            again = scan_project(project, parts, LocalTree(self._validator), scan)
            hides_same = again.watched == scan.watched
        if not hides_same:
            raise Unavailable(f"{project} is being changed. Run the export again in a moment.")

    def _is_named(self, project: str, parts: Parts, scan: ProjectScan) -> bool:
        """Return whether the server's list has a project: hidden files claim a name without listing it."""
        if scan.status.status is Status.QUARANTINED or not scan.claimed:
            return False
        files = [name for _root, entries in parts for name in entries.files]
        if not files or not all(name.startswith(b".") for name in files):
            return True
        folders = [(root, entries._replace(files=())) for root, entries in parts]
        return scan_project(project, folders, LocalTree(self._validator)).claimed

    def _is_final(self, scan: ProjectScan, known: dict[bytes, KnownFile]) -> bool:
        is_settled = self._validator.is_settled
        return (
            not scan.has_os_errors
            and all(stamped.settled for _folder, stamped in scan.folders)
            and all(key is not None and is_settled(key.ctime_ns) for key in scan.watched.values())
            and all(isinstance(one.result, FileFacts) or one.result.permanent for one in known.values())
        )

    def _inspected(self, scan: ProjectScan) -> dict[bytes, KnownFile]:
        """Inspect the files of a project, as far as the cache does not know them."""
        by_folder: defaultdict[bytes, list[ScannedFile]] = defaultdict(list)
        for entry in scan.entries:
            by_folder[entry.folder].append(entry)
        known: dict[bytes, KnownFile] = {}
        for folder, entries in by_folder.items():
            cached = self._cache.get(folder, {entry.name: entry.key for entry in entries})
            fresh = []
            for entry in entries:
                before = cached.get(entry.name)
                if before is not None and before.settled and _is_proven(before.result):
                    result, settled = before
                else:
                    settled = self._validator.is_settled(entry.key.ctime_ns)
                    result = self._inspect(entry, before, settled)
                    lasts = settled and (isinstance(result, FileFacts) or result.permanent)
                    fresh.append((entry.name, entry.key, CachedInspection(result, lasts)))
                known[entry.path] = KnownFile(entry.key, result, settled, -math.inf)
            if fresh:
                self._cache.put(folder, fresh)
        return known

    def _inspect(
        self, entry: ScannedFile, before: CachedInspection | None, settled: bool
    ) -> InspectionResult:
        sha256 = None
        if before is not None and before.settled and isinstance(before.result, FileFacts):
            sha256 = before.result.sha256
        result = inspect(entry.path, entry.distribution, entry.key, verify_members=True, sha256=sha256)
        # As for the server: a plain tar has no checksums.
        young = entry.distribution.extension == ".tar" and not settled
        return UNSETTLED if young and isinstance(result, FileFacts) else result


def _is_proven(result: InspectionResult) -> bool:
    return isinstance(result, Rejection) or result.verified
