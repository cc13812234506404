"""
The files of folders by project, as a server lists them, and what they need. Blocking.

For resolving against what is here: a file is not read before its needs are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.backends.folder.inventory import InventoryReader
from twisted_index.resolution.file_needs import Needs, read_needs
from twisted_index.simple.model import File, Status, Yanked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.backends.layout.project_scan import ProjectScan, ScannedFile
    from twisted_index.simple.names import Distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """
    A file that may be listed.

    Attributes:
        file: As a page lists it, without what only reading it would tell.
        path: The file.
        distribution: Its parsed name.
    """

    file: File
    path: bytes
    distribution: Distribution


class LocalProjects:
    """
    The projects of folders; what was read once is kept.

    Args:
        roots: Absolute paths, in order of precedence.
    """

    def __init__(self, roots: Sequence[bytes]) -> None:
        self._inventories = InventoryReader(roots, shown_only=True)
        self._files: dict[str, tuple[LocalFile, ...]] = {}
        self._needs: dict[bytes, Needs] = {}

    def names(self) -> list[str]:
        """
        Return the normalized names of all projects.

        Raises:
            Unavailable: A root cannot be read.
        """
        return self._inventories.projects()

    def files(self, project: str) -> tuple[LocalFile, ...]:
        """
        Return the files of a project that are neither quarantined nor deleted; of equal ones the first.

        Raises:
            SimpleIndexError: Its folder cannot be read.
        """
        if project not in self._files:
            self._files[project] = _listed(self._inventories.read(project).scan)
        return self._files[project]

    def needs(self, local: LocalFile) -> Needs:
        """
        Return what a file needs.

        Raises:
            UnknownNeeds: It cannot be said.
        """
        if local.path not in self._needs:
            self._needs[local.path] = read_needs(local.path, local.distribution)
        return self._needs[local.path]


def _listed(scan: ProjectScan) -> tuple[LocalFile, ...]:
    if scan.status.status is Status.QUARANTINED:
        return ()
    files: dict[object, LocalFile] = {}
    for entry in scan.entries:
        if entry.distribution.filename not in scan.deleted:
            files.setdefault(entry.distribution.identity, _local_file(entry, scan))
    return tuple(files.values())


def _local_file(entry: ScannedFile, scan: ProjectScan) -> LocalFile:
    distribution = entry.distribution
    reason = scan.yanked.get(distribution.filename)
    file = File(
        filename=distribution.filename,
        version=distribution.version,
        hashes={},
        size=entry.key.size,
        yanked=None if reason is None else Yanked(reason=reason),
    )
    return LocalFile(file=file, path=entry.path, distribution=distribution)
