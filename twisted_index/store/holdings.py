"""
What the roots hold for one project, read for a change that is about to be made. Blocking.

It sees all that lies there, listed or not: a file that cannot be listed keeps its name all the same.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.errors import Unavailable
from twisted_index.simple.model import Status
from twisted_index.simple.names import InvalidFilename, normalize, parse_filename, version_key
from twisted_index.sources.filesystems import has_coarse_folders
from twisted_index.sources.listing import DELETED, read_listing
from twisted_index.sources.roots import read_root
from twisted_index.sources.stamps import Freshness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.simple.names import Distribution
    from twisted_index.sources.listing import Entry, Listing
    from twisted_index.sources.roots import Part, RootReading

YANKED = ".yanked"
#: The files in a project's folder that set its status.
STATUS_MARKS = frozenset(f".{status.value}" for status in Status if status is not Status.ACTIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """
    What there is for a project.

    Attributes:
        project: Its normalized name.
        root: The first root, where new things go.
        part: What the first root holds for it; None if nothing.
        listing: All that was found, in all roots.
    """

    project: str
    root: bytes
    part: Part | None
    listing: Listing

    @property
    def exists(self) -> bool:
        """Whether anything at all is named for the project."""
        return self.listing.claimed

    @property
    def own_folder(self) -> bytes | None:
        """The project's folder in the first root, however it is spelled."""
        return own_folder(self.root, self.project, self.part)

    @property
    def made_folder(self) -> bytes:
        """The same, or where it would be."""
        return self.own_folder or os.path.join(self.root, os.fsencode(self.project))

    @property
    def target(self) -> bytes:
        """Where a new file goes: to the project's folder, or beside its flat files."""
        lies_flat = self.part is not None and not self.part.folders and bool(self.part.files)
        return self.root if lies_flat else self.made_folder

    def same_as(self, distribution: Distribution) -> list[Entry]:
        """Give the files that an installer would take for this one, in the order in which they win."""
        identity = distribution.identity
        return [entry for entry in self.listing.entries if entry.distribution.identity == identity]

    def of_version(self, version: str) -> list[Entry]:
        """Give the files of a release, whose version may be spelled in any way (PEP 440)."""
        key = version_key(version)
        return [entry for entry in self.listing.entries if version_key(entry.distribution.version) == key]

    def was_deleted(self, distribution: Distribution) -> bool:
        """Say whether the name of a file is taken by a deleted one."""
        return any(self._means(name, distribution) for name in self.listing.deleted)

    def beside(self, filename: str, suffix: str) -> list[bytes]:
        """Find the companions of one suffix that belong to a file name, in all roots."""
        name = os.fsencode(filename + suffix)
        return sorted(path for path in self.listing.beside if os.path.basename(path) == name)

    def status_marks(self) -> list[bytes]:
        """Find what sets the status, in all roots."""
        return sorted(
            path for path in self.listing.beside if os.fsdecode(os.path.basename(path)) in STATUS_MARKS
        )

    def _means(self, filename: str, distribution: Distribution) -> bool:
        try:
            return parse_filename(filename, self.project).identity == distribution.identity
        except InvalidFilename:
            return False


class HoldingsReader:
    """
    Reads what the roots hold.

    Args:
        roots: Absolute paths, in order.
    """

    def __init__(self, roots: Sequence[bytes]) -> None:
        self.roots = tuple(roots)
        self._freshness = Freshness(trusts_times=not any(map(has_coarse_folders, self.roots)))
        self._readings: dict[bytes, RootReading] = {}

    def read(self, project: str) -> Holdings:
        """
        Read what there is for a project.

        Raises:
            Unavailable: A root or folder cannot be read.
        """
        try:
            readings = [self._root(root) for root in self.roots]
            parts = [(one.path, one.parts[project]) for one in readings if project in one.parts]
            listing = read_listing(project, parts, self._freshness, {})
        except OSError as error:
            raise Unavailable("The package folder cannot be read right now.") from error
        return Holdings(
            project=project, root=self.roots[0], part=readings[0].parts.get(project), listing=listing
        )

    def folder_of(self, project: str) -> bytes | None:
        """Find the project's folder in the first root."""
        root = self.roots[0]
        return own_folder(root, project, self._root(root).parts.get(project))

    def projects(self) -> list[str]:
        """
        Name all that anything is named for, in order.

        Raises:
            Unavailable: A root cannot be read.
        """
        try:
            return sorted({project for root in self.roots for project in self._root(root).parts})
        except OSError as error:
            raise Unavailable("The package folder cannot be read right now.") from error

    def _root(self, root: bytes) -> RootReading:
        before = self._readings.get(root)
        if before is None or not self._freshness.holds(root, before.seen):
            self._readings[root] = before = read_root(root, self._freshness, before)
        return before


def own_folder(root: bytes, project: str, part: Part | None) -> bytes | None:
    """Choose among the folders that spell a project's name: the normalized one, else the first."""
    if part is None or not part.folders:
        return None
    right = os.fsencode(normalize(project))
    return os.path.join(root, right if right in part.folders else part.folders[0])


__all__ = ["DELETED", "STATUS_MARKS", "YANKED", "Holdings", "HoldingsReader", "own_folder"]
