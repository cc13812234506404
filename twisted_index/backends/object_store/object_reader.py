"""Reads what a bucket has of a project now, for a change of it. Blocking."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.backends.layout.archive_facts import read_facts
from twisted_index.backends.layout.inventory import Inventory
from twisted_index.backends.layout.project_scan import scan_project
from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.learned import object_id
from twisted_index.backends.object_store.listings import CLAIM
from twisted_index.backends.object_store.object_inspection import open_ranges, read_object
from twisted_index.backends.object_store.object_tree import ObjectTree
from twisted_index.errors import Unavailable
from twisted_index.simple.core_metadata import BadArchive

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.backends.object_store.learned import LearnedObject, ObjectId
    from twisted_index.backends.object_store.listings import Listings

    Learned = Mapping[ObjectId, LearnedObject]

#: Looks at a project whose objects are replaced while they are read.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInventory(Inventory):
    """
    The inventory of a project in a bucket.

    Attributes:
        bucket: The bucket.
        objects: All its objects by key, also those that are not to be seen yet.
    """

    bucket: Bucket
    objects: Mapping[str, StoredObject]

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
        bucket: The bucket.
        listings: Those of it.
        learned: Returns what was learned of the objects of a project; blocks.
    """

    def __init__(
        self, bucket: Bucket, listings: Listings, learned: Callable[[str], Learned] = lambda _project: {}
    ) -> None:
        self._bucket = bucket
        self._listings = listings
        self._learned = learned

    def projects(self) -> list[str]:
        """
        Return the sorted names of all projects.

        Raises:
            Unavailable: The bucket does not answer.
        """
        return self._listings.projects_now()

    def read(self, project: str, *, with_times: bool = False) -> ObjectInventory:
        """
        Read a project, whatever listing holds.

        Args:
            project: The normalized project name.
            with_times: Whether times of uploads are wanted as they were learned, by one more request; else
                they are those of the objects.

        Raises:
            Unavailable: The bucket does not answer.
        """
        for _attempt in range(_ATTEMPTS):
            try:
                return self._read(project, self._learned(project) if with_times else {})
            except ObjectChanged:
                continue
        raise Unavailable("This project is being changed. Retry in a moment.", retry_after=2)

    def _read(self, project: str, learned: Learned) -> ObjectInventory:
        root = self._bucket.url.encode()
        listing = self._listings.read_now(project)
        contents: dict[str, bytes] = {}

        def read(stored: StoredObject) -> bytes:
            if stored.key not in contents:
                contents[stored.key] = read_object(self._bucket, stored)
            return contents[stored.key]

        def uploaded(stored: StoredObject) -> int | None:
            known = learned.get(object_id(stored))
            return None if known is None else known.uploaded_ns

        tree = ObjectTree(root, listing, read, uploaded)
        parts = {root: listing.entries} if listing.objects else {}
        scan = scan_project(project, list(parts.items()), tree)
        if listing.unfinished:
            scan.claimed = True
            scan.owned_by = scan.owned_by or (root, listing.unfinished[0].key)
        return ObjectInventory(
            project=project,
            root=root,
            parts=parts,
            scan=scan,
            tree=tree,
            bucket=self._bucket,
            objects=listing.objects,
        )
