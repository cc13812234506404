"""Reads what a bucket has of a project now, for a change of it. Blocking."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twisted_index.backends.layout.archive_facts import read_facts
from twisted_index.backends.layout.inventory import Inventory
from twisted_index.backends.layout.tombstones import MAX_TOMBSTONES
from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.object_inspection import open_ranges
from twisted_index.backends.object_store.object_tree import ObjectPart, scan_parts, tree_of
from twisted_index.backends.object_store.project_listing import CLAIM
from twisted_index.errors import Unavailable
from twisted_index.simple.core_metadata import BadArchive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted_index.backends.layout.entries import ProjectEntries
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.backends.object_store.learned import LearnedObject, ObjectId
    from twisted_index.backends.object_store.listings import ProjectLook
    from twisted_index.backends.object_store.object_root import ObjectRoot
    from twisted_index.backends.object_store.project_listing import ProjectListing

#: Looks at a project whose objects are replaced while they are read, as by several deletions at once.
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInventory(Inventory):
    """
    The inventory of a project in a bucket.

    Attributes:
        bucket: The bucket.
        objects: All its objects by key, also those that are not to be seen yet.
        look: What it was made of, if that was listed for it.
        inherited: What the buckets of other indexes have, which this one inherits.
        piled: The inventory of all these buckets; None without any.
    """

    bucket: Bucket
    objects: Mapping[str, StoredObject]
    look: ProjectLook | None = None
    inherited: Sequence[ObjectPart] = ()
    piled: Inventory | None = None

    @property
    def line(self) -> Inventory:
        """The inventory of this bucket and those that are inherited."""
        return self.piled or self

    def is_whole(self, entry: ScannedFile) -> bool:
        """
        Return whether a file could be listed: reads the directory and the metadata of the archive.

        Raises:
            Unavailable: The bucket does not answer.
        """
        stored = self.objects[os.fsdecode(entry.path[len(self.root) + 1 :])]
        try:
            with open_ranges(self.bucket, stored) as file:
                read_facts(file, entry.distribution, verify_members=False, sha256="", strict=False)
        except (BadArchive, ObjectChanged):
            return False
        return True

    def is_announced(self, filename: str) -> bool:
        """See `Inventory`."""
        return any(key.rpartition("/")[2] == filename + CLAIM for key in self.objects)


class ObjectReader:
    """
    Reads projects by fresh listings.

    Args:
        roots: The buckets, that of the index itself first.
        owners: The indexes that the others belong to, by their paths.
    """

    def __init__(self, roots: Sequence[ObjectRoot], owners: Mapping[bytes, str] | None = None) -> None:
        self._roots = roots
        self._owners = owners or {}

    def projects(self) -> list[str]:
        """
        Return the sorted names of all projects of the index itself.

        Raises:
            Unavailable: The bucket does not answer.
        """
        return self._roots[0].listings.projects_now()

    def read(self, project: str, *, again: bool = False, with_times: bool = False) -> ObjectInventory:
        """
        Read a project, whatever listing holds.

        Args:
            project: The normalized project name.
            again: See `Listings.look`.
            with_times: Whether times of uploads are wanted as they were learned, by one more request; else
                they are those of the objects.

        Raises:
            Unavailable: A bucket does not answer.
        """
        for _attempt in range(_ATTEMPTS):
            looks = [root.listings.look(project, again=again) for root in self._roots]
            times = self._roots[0].read_times(project) if with_times else {}
            try:
                inventory = self._make(project, [look.project for look in looks], times)
            except ObjectChanged:
                continue
            return replace(inventory, look=looks[0])
        raise Unavailable("This project is being changed. Retry in a moment.", retry_after=2)

    def read_held(self, project: str) -> ObjectInventory | None:
        """
        Read a project from the listings that hold; None without them. Changes of other nodes may be missing.

        Raises:
            Unavailable: A bucket does not answer.
        """
        listings = [held for root in self._roots if (held := root.listings.held(project)) is not None]
        if len(listings) < len(self._roots):
            return None
        try:
            return self._make(project, listings, {})
        except ObjectChanged:
            return None

    def _make(
        self, project: str, listings: Sequence[ProjectListing], times: dict[ObjectId, LearnedObject]
    ) -> ObjectInventory:
        own, *inherited = [
            ObjectPart(root, listing, {} if at else times)
            for at, (root, listing) in enumerate(zip(self._roots, listings, strict=True))
        ]
        inventory = ObjectInventory(
            project=project,
            root=own.root.path,
            parts=_entries([own]),
            scan=scan_parts(project, [own]),
            tree=own.tree(),
            bucket=own.root.bucket,
            objects=own.listing.objects,
        )
        for path in inventory.scan.tombstones:
            # Now, while they are as listed: the rules look up names in them.
            with suppress(OSError):
                inventory.tree.open_manifest(path, MAX_TOMBSTONES)
        if not inherited:
            return inventory
        parts = [own, *inherited]
        piled = Inventory(
            project=project,
            root=own.root.path,
            parts=_entries(parts),
            scan=scan_parts(project, parts),
            tree=tree_of(parts),
            owners=self._owners,
        )
        return replace(inventory, inherited=inherited, piled=piled)


def _entries(parts: Sequence[ObjectPart]) -> dict[bytes, ProjectEntries]:
    return {part.root.path: part.listing.entries for part in parts if part.listing.objects}
