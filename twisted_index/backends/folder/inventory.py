"""
Inventory: everything that the roots hold for one project, read before a change. Blocking.

It includes files that cannot be listed, since they occupy their names too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from twisted_index.backends.folder import copies, tombstones
from twisted_index.backends.folder.copies import COPIES
from twisted_index.backends.folder.project_scan import DELETED, scan_project
from twisted_index.backends.folder.root_scan import entries_of, read_root
from twisted_index.backends.folder.tombstones import TakenName, equivalents, is_equivalent
from twisted_index.errors import Unavailable
from twisted_index.files.filesystems import has_coarse_folders
from twisted_index.files.stamps import StatValidator
from twisted_index.simple.model import Status
from twisted_index.simple.names import normalize, version_sort_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeAlias

    from twisted_index.backends.folder.project_scan import ProjectScan, ScannedFile
    from twisted_index.backends.folder.root_scan import ProjectEntries, RootScan
    from twisted_index.simple.names import Distribution

    #: A step of a change.
    Step: TypeAlias = Callable[[], object]

YANKED = ".yanked"
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
        owners: The index that each root of another index belongs to.
    """

    project: str
    root: bytes
    parts: Mapping[bytes, ProjectEntries]
    scan: ProjectScan
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

    def forget(self, paths: Iterable[bytes]) -> list[Step]:
        """Return the steps that remove the lines by which files, sidecars or statuses are copies."""
        names: dict[bytes, list[str]] = {}
        for path in paths:
            folder, name = os.path.split(path)
            known = self.scan.copies.get(os.path.join(folder, COPIES))
            if known is not None and os.fsdecode(name) in known.lines:
                names.setdefault(folder, []).append(os.fsdecode(name))
        return [partial(copies.forget, os.path.dirname(folder), folder, names[folder]) for folder in names]

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
        lines = [line for path in self.scan.tombstones for line in equivalents(path, distribution)]
        # What `FILE.deleted` says of the file is a reason, and no digest.
        return lines + [
            TakenName(path, name)
            for path in sorted(self.scan.sidecars)
            if (name := os.fsdecode(os.path.basename(path)).removesuffix(DELETED)) in self.scan.deleted
            and path.endswith(DELETED.encode())
            and is_equivalent(name, distribution)
        ]

    def revive(self, distribution: Distribution) -> list[Step]:
        """Return the steps that remove a distribution's tombstones, once the same bytes lie there again."""
        names: dict[bytes, list[str]] = {}
        for line in self.tombstones_of(distribution):
            if line.sha256 is not None and self.owner_of(line.path) is None:
                names.setdefault(line.path, []).append(line.name)
        return [
            partial(tombstones.exhume, os.path.dirname(os.path.dirname(path)), path, names[path])
            for path in names
        ]

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


class InventoryReader:
    """
    Reads inventories.

    Args:
        roots: Absolute paths, in order.
        validator: Takes the stamps of folders; by default one for the file systems of the roots.
        owners: The index that each root of another index belongs to.
        shown_only: Whether to leave out what is not to be seen yet, see `staged`. It takes its names, so
            whatever adds files looks at it too.
    """

    def __init__(
        self,
        roots: Sequence[bytes],
        validator: StatValidator | None = None,
        *,
        owners: Mapping[bytes, str] | None = None,
        shown_only: bool = False,
    ) -> None:
        self.roots = tuple(roots)
        self.owners = owners or {}
        self._shown_only = shown_only
        self._validator = validator or StatValidator(
            trusts_times=not any(map(has_coarse_folders, self.roots))
        )
        self._readings: dict[bytes, RootScan] = {}
        # An upload reads its project twice: what is looked up among the tombstones of years still holds.
        self._last: tuple[str, ProjectScan | None] = "", None

    def read(self, project: str) -> Inventory:
        """
        Read the inventory of a project.

        Raises:
            Unavailable: A root or folder cannot be read.
        """
        try:
            readings = [self._root(root) for root in self.roots]
            parts = entries_of(project, readings)
            last, before = self._last
            scan = scan_project(project, parts, self._validator, before if last == project else None)
            self._last = project, scan
        except OSError as error:
            raise Unavailable("The package folder cannot be read right now.") from error
        return Inventory(
            project=project, root=self.roots[0], parts=dict(parts), scan=scan, owners=self.owners
        )

    def folder_of(self, project: str) -> bytes | None:
        """Find the project's folder in the first root."""
        root = self.roots[0]
        return choose_folder(root, project, self._root(root).projects.get(project))

    def projects(self) -> list[str]:
        """
        Return the sorted names of all projects that any entry is named for.

        Raises:
            Unavailable: A root cannot be read.
        """
        try:
            return sorted({project for root in self.roots for project in self._root(root).projects})
        except OSError as error:
            raise Unavailable("The package folder cannot be read right now.") from error

    def _root(self, root: bytes) -> RootScan:
        before = self._readings.get(root)
        if before is None or not before.is_current(self._validator):
            self._readings[root] = before = read_root(root, self._validator, before)
        return before if self._shown_only else replace(before, projects=before.taken)


def choose_folder(root: bytes, project: str, part: ProjectEntries | None) -> bytes | None:
    """Choose among folders whose names normalize to the project's: the normalized name, else the first."""
    if part is None or not part.folders:
        return None
    normalized = os.fsencode(normalize(project))
    return os.path.join(root, normalized if normalized in part.folders else part.folders[0])
