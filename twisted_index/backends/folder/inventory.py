"""
Inventory: everything that the roots hold for one project, read before a change. Blocking.

It includes files that cannot be listed, since these keep their names too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.backends.folder.listing import DELETED, read_listing
from twisted_index.backends.folder.root_listing import read_root
from twisted_index.errors import Unavailable
from twisted_index.files.filesystems import has_coarse_folders
from twisted_index.files.stamps import StatValidator
from twisted_index.simple.model import Status
from twisted_index.simple.names import InvalidFilename, normalize, parse_filename, version_sort_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.backends.folder.listing import Listing, ListingEntry
    from twisted_index.backends.folder.root_listing import ProjectEntries, RootListing
    from twisted_index.simple.names import Distribution

YANKED = ".yanked"
#: The files in a project's folder that set its status.
STATUS_MARKS = frozenset(f".{status.value}" for status in Status if status is not Status.ACTIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """
    What there is for a project.

    Attributes:
        project: Its normalized name.
        root: The first root, where new things go.
        entries: What the first root holds for it; None if nothing.
        listing: All that was found, in all roots.
    """

    project: str
    root: bytes
    entries: ProjectEntries | None
    listing: Listing

    @property
    def exists(self) -> bool:
        """Whether anything at all is named for the project."""
        return self.listing.claimed

    @property
    def project_folder(self) -> bytes | None:
        """The project's folder in the first root, however it is spelled."""
        return choose_folder(self.root, self.project, self.entries)

    @property
    def folder_path(self) -> bytes:
        """The same, or where it would be."""
        return self.project_folder or os.path.join(self.root, os.fsencode(self.project))

    @property
    def target(self) -> bytes:
        """Where a new file goes: to the project's folder, or beside its flat files."""
        lies_flat = self.entries is not None and not self.entries.folders and bool(self.entries.files)
        return self.root if lies_flat else self.folder_path

    def equivalents_of(self, distribution: Distribution) -> list[ListingEntry]:
        """Give the files that an installer would take for this one, in the order in which they win."""
        identity = distribution.identity
        return [entry for entry in self.listing.entries if entry.distribution.identity == identity]

    def of_version(self, version: str) -> list[ListingEntry]:
        """Give the files of a release, whose version may be spelled in any way (PEP 440)."""
        key = version_sort_key(version)
        return [
            entry for entry in self.listing.entries if version_sort_key(entry.distribution.version) == key
        ]

    def was_deleted(self, distribution: Distribution) -> bool:
        """Say whether the name of a file is taken by a deleted one."""
        return any(self._means(name, distribution) for name in self.listing.deleted)

    def sidecars_of(self, filename: str, suffix: str) -> list[bytes]:
        """Find the sidecars of one suffix that belong to a file name, in all roots."""
        name = os.fsencode(filename + suffix)
        return sorted(path for path in self.listing.sidecars if os.path.basename(path) == name)

    def status_marks(self) -> list[bytes]:
        """Find what sets the status, in all roots."""
        return sorted(
            path for path in self.listing.sidecars if os.fsdecode(os.path.basename(path)) in STATUS_MARKS
        )

    def _means(self, filename: str, distribution: Distribution) -> bool:
        try:
            return parse_filename(filename, self.project).identity == distribution.identity
        except InvalidFilename:
            return False


class InventoryReader:
    """
    Reads what the roots hold.

    Args:
        roots: Absolute paths, in order.
    """

    def __init__(self, roots: Sequence[bytes]) -> None:
        self.roots = tuple(roots)
        self._validator = StatValidator(trusts_times=not any(map(has_coarse_folders, self.roots)))
        self._readings: dict[bytes, RootListing] = {}

    def read(self, project: str) -> Inventory:
        """
        Read what there is for a project.

        Raises:
            Unavailable: A root or folder cannot be read.
        """
        try:
            readings = [self._root(root) for root in self.roots]
            parts = [(one.path, one.projects[project]) for one in readings if project in one.projects]
            listing = read_listing(project, parts, self._validator, {})
        except OSError as error:
            raise Unavailable("The package folder cannot be read right now.") from error
        return Inventory(
            project=project, root=self.roots[0], entries=readings[0].projects.get(project), listing=listing
        )

    def folder_of(self, project: str) -> bytes | None:
        """Find the project's folder in the first root."""
        root = self.roots[0]
        return choose_folder(root, project, self._root(root).projects.get(project))

    def projects(self) -> list[str]:
        """
        Name all that anything is named for, in order.

        Raises:
            Unavailable: A root cannot be read.
        """
        try:
            return sorted({project for root in self.roots for project in self._root(root).projects})
        except OSError as error:
            raise Unavailable("The package folder cannot be read right now.") from error

    def _root(self, root: bytes) -> RootListing:
        before = self._readings.get(root)
        if before is None or not self._validator.is_current(root, before.stamp):
            self._readings[root] = before = read_root(root, self._validator, before)
        return before


def choose_folder(root: bytes, project: str, part: ProjectEntries | None) -> bytes | None:
    """Choose among the folders that spell a project's name: the normalized one, else the first."""
    if part is None or not part.folders:
        return None
    right = os.fsencode(normalize(project))
    return os.path.join(root, right if right in part.folders else part.folders[0])


__all__ = ["DELETED", "STATUS_MARKS", "YANKED", "Inventory", "InventoryReader", "choose_folder"]
