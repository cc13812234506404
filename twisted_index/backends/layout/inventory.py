"""
Inventory: everything that the roots hold for one project, read before a change.

It includes files that cannot be listed, since they occupy their names too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted_index.backends.layout.project_scan import DELETED, scan_blocks
from twisted_index.backends.layout.tombstones import TakenName, equivalents, is_equivalent
from twisted_index.simple.model import Status
from twisted_index.simple.names import normalize, version_sort_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_index.backends.layout.entries import ProjectEntries
    from twisted_index.backends.layout.project_scan import ProjectScan, ScannedFile
    from twisted_index.backends.layout.tree import PackageTree
    from twisted_index.simple.names import Distribution

#: The files in a project's folder that set its status.
STATUS_MARKS = frozenset(f".{status.value}" for status in Status if status is not Status.ACTIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """
    Everything that the roots hold for a project.

    Attributes:
        project: The normalized project name.
        root: The first root, where new files go.
        parts: Each root's entries for the project; roots without any are absent.
        scan: The scan over all roots.
        tree: What was scanned.
        owners: The index that each root of another index belongs to.
    """

    project: str
    root: bytes
    parts: Mapping[bytes, ProjectEntries]
    scan: ProjectScan
    tree: PackageTree
    owners: Mapping[bytes, str] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        """Whether any entry is named for the project."""
        return self.scan.claimed

    @property
    def is_owned(self) -> bool:
        """Whether anything here but recorded copies claims the name."""
        return self.scan.owned

    def is_recorded(self, entry: ScannedFile) -> bool:
        """Return whether a file is recorded as a copy, with this digest or another."""
        return entry.path in self.scan.recorded

    @property
    def folder_path(self) -> bytes:
        """The project's folder in the first root, or the path at which to create it."""
        return self.folder_in(self.root)

    def folder_in(self, root: bytes) -> bytes:
        """Return the project's folder in a root, in any spelling, or the path at which to create it."""
        folder = choose_folder(root, self.project, self.parts.get(root))
        return folder or os.path.join(root, os.fsencode(self.project))

    def root_of(self, path: bytes) -> bytes:
        """Return the root that something of the project lies in: there, or in a folder of it."""
        folder = os.path.dirname(path)
        return folder if folder in self.parts else os.path.dirname(folder)

    @property
    def target(self) -> bytes:
        """
        The folder for a new file: the root if all of the project's files in it lie flat, else its folder.

        A flat project may have a folder nevertheless, for its status and its tombstones.
        """
        part = self.parts.get(self.root)
        if part is None or not part.files:
            return self.folder_path
        folders = {entry.folder for entry in self.scan.entries if entry.root == self.root}
        return self.root if folders <= {self.root} else self.folder_path

    def equivalents_of(self, distribution: Distribution) -> list[ScannedFile]:
        """Return the files that installers treat as this distribution, in order of precedence."""
        identity = distribution.identity
        return [entry for entry in self.scan.entries if entry.distribution.identity == identity]

    def of_version(self, version: str) -> list[ScannedFile]:
        """Return the files of a release; any spelling of the version matches (PEP 440)."""
        key = version_sort_key(version)
        return [entry for entry in self.scan.entries if version_sort_key(entry.distribution.version) == key]

    def was_deleted(self, distribution: Distribution) -> bool:
        """
        Return whether a tombstone occupies the file name, in any spelling.

        Raises:
            OSError: The tombstones cannot be read.
        """
        return bool(self.tombstones_of(distribution))

    def tombstones_of(self, distribution: Distribution) -> list[TakenName]:
        """
        Return the tombstones that occupy the file name, in any spelling.

        Raises:
            OSError: The tombstones cannot be read.
        """
        lines = [
            line
            for path in self.scan.tombstones
            for line in equivalents(path, scan_blocks(self.tree, path), distribution)
        ]
        # What `FILE.deleted` says of the file is a reason, and no digest.
        return lines + [
            TakenName(path, name)
            for path in sorted(self.scan.sidecars)
            if (name := os.fsdecode(os.path.basename(path)).removesuffix(DELETED)) in self.scan.deleted
            and path.endswith(DELETED.encode())
            and is_equivalent(name, distribution)
        ]

    def is_announced(self, _filename: str) -> bool:
        """Return whether an upload has taken this name, and not filled it."""
        return False

    def owner_of(self, path: bytes) -> str | None:
        """Return the other index that a path lies in; None for one of this index."""
        return next(
            (owner for root, owner in self.owners.items() if path.startswith(os.path.join(root, b""))), None
        )

    def is_hidden(self, entry: ScannedFile) -> bool:
        """Return whether a tombstone names just this file."""
        return entry.distribution.filename in self.scan.deleted

    def sidecars_of(self, filename: str, suffix: str) -> list[bytes]:
        """Return the paths of a file's sidecars with this suffix, in all roots."""
        name = os.fsencode(filename + suffix)
        return sorted(path for path in self.scan.sidecars if os.path.basename(path) == name)

    def status_marks(self) -> list[bytes]:
        """Return the paths of the files that set the project's status, in all roots."""
        return sorted(
            path for path in self.scan.sidecars if os.fsdecode(os.path.basename(path)) in STATUS_MARKS
        )


def choose_folder(root: bytes, project: str, part: ProjectEntries | None) -> bytes | None:
    """Choose among folders whose names normalize to the project's: the normalized name, else the first."""
    if part is None or not part.folders:
        return None
    normalized = os.fsencode(normalize(project))
    return os.path.join(root, normalized if normalized in part.folders else part.folders[0])
