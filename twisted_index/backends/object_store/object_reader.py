"""Reads what a bucket has of a project now, for a change of it. Blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.layout.inventory import Inventory
from twisted_index.backends.layout.project_scan import scan_project
from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.object_inspection import read_object
from twisted_index.backends.object_store.object_tree import ObjectTree
from twisted_index.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.backends.object_store.listings import Listings

#: Looks at a project whose objects are replaced while they are read.
_ATTEMPTS = 3


class ProjectObjects(NamedTuple):
    """
    A project, as it was listed for a change.

    Attributes:
        inventory: Everything that is there for it; paths begin with the URL of the bucket.
        objects: All its objects by key, also those that are not to be seen yet.
    """

    inventory: Inventory
    objects: Mapping[str, StoredObject]


class ObjectReader:
    """
    Reads projects by fresh listings.

    Args:
        bucket: The bucket.
        listings: Those of it.
    """

    def __init__(self, bucket: Bucket, listings: Listings) -> None:
        self._bucket = bucket
        self._listings = listings

    def read(self, project: str) -> ProjectObjects:
        """
        Read a project, whatever listing holds.

        Raises:
            Unavailable: The bucket does not answer.
        """
        for _attempt in range(_ATTEMPTS):
            try:
                return self._read(project)
            except ObjectChanged:
                continue
        raise Unavailable("This project is being changed. Retry in a moment.", retry_after=2)

    def _read(self, project: str) -> ProjectObjects:
        root = self._bucket.url.encode()
        listing = self._listings.read_now(project)
        contents: dict[str, bytes] = {}

        def read(stored: StoredObject) -> bytes:
            if stored.key not in contents:
                contents[stored.key] = read_object(self._bucket, stored)
            return contents[stored.key]

        tree = ObjectTree(root, listing, read, lambda _stored: None)
        parts = {root: listing.entries} if listing.objects else {}
        scan = scan_project(project, list(parts.items()), tree)
        if listing.unfinished:
            scan.claimed = True
            scan.owned_by = scan.owned_by or (root, listing.unfinished[0].key)
        inventory = Inventory(project=project, root=root, parts=parts, scan=scan, tree=tree)
        return ProjectObjects(inventory, listing.objects)
