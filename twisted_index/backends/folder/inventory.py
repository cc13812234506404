"""
Inventory: everything that the roots hold for one project, read before a change. Blocking.

It includes files that cannot be listed, since they occupy their names too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from twisted_index.backends.folder import copies, tombstones
from twisted_index.backends.folder.inspection import inspect
from twisted_index.backends.folder.local_tree import LocalTree
from twisted_index.backends.folder.root_scan import entries_of, read_root
from twisted_index.backends.layout.copies import COPIES
from twisted_index.backends.layout.facts import FileFacts
from twisted_index.backends.layout.inventory import Inventory, choose_folder
from twisted_index.backends.layout.project_scan import scan_project
from twisted_index.errors import Unavailable
from twisted_index.files.filesystems import has_coarse_folders
from twisted_index.files.stamps import StatValidator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeAlias

    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.backends.layout.project_scan import ProjectScan, ScannedFile
    from twisted_index.simple.names import Distribution

    #: A step of a change.
    Step: TypeAlias = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderInventory(Inventory):
    """The inventory of a project in folders, with the steps that change its manifests."""

    def is_whole(self, entry: ScannedFile) -> bool:
        """Return whether a file could be listed: reads the directory and the metadata of the archive."""
        # No digest is needed, and that would read all of the file.
        result = inspect(entry.path, entry.distribution, entry.key, verify_members=False, sha256="")
        return isinstance(result, FileFacts)

    def forget(self, paths: Iterable[bytes]) -> list[Step]:
        """Return the steps that remove the lines by which files, sidecars or statuses are copies."""
        names: dict[bytes, list[str]] = {}
        for path in paths:
            folder, name = os.path.split(path)
            known = self.scan.copies.get(os.path.join(folder, COPIES))
            if known is not None and os.fsdecode(name) in known.lines:
                names.setdefault(folder, []).append(os.fsdecode(name))
        return [partial(copies.forget, os.path.dirname(folder), folder, names[folder]) for folder in names]

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
        self._tree = LocalTree(self._validator)
        self._readings: dict[bytes, RootScan] = {}
        # An upload reads its project twice: what is looked up among the tombstones of years still holds.
        self._last: tuple[str, ProjectScan | None] = "", None

    def read(self, project: str) -> FolderInventory:
        """
        Read the inventory of a project.

        Raises:
            Unavailable: A root or folder cannot be read.
        """
        try:
            readings = [self._root(root) for root in self.roots]
            parts = entries_of(project, readings)
            last, before = self._last
            scan = scan_project(project, parts, self._tree, before if last == project else None)
            self._last = project, scan
        except OSError as error:
            raise Unavailable("The package folder cannot be read right now.") from error
        return FolderInventory(
            project=project,
            root=self.roots[0],
            parts=dict(parts),
            scan=scan,
            tree=self._tree,
            owners=self.owners,
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
