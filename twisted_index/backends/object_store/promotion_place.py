"""An index in a bucket as the place of a promotion; see `PromotionPlace`. Blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.backends.object_store.object_digest import stored_digest
from twisted_index.backends.object_store.object_inspection import inspect_object
from twisted_index.backends.object_store.project_listing import CLAIM
from twisted_index.backends.object_store.staged_objects import naming, promotions_in, read_record
from twisted_index.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.backends.layout.facts import FileFacts, InspectionResult
    from twisted_index.backends.layout.inventory import Inventory
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.backends.layout.promotion_record import PromotionRecord
    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.backends.object_store.object_reader import ObjectInventory, ObjectReader
    from twisted_index.backends.object_store.object_tree import ObjectPart
    from twisted_index.simple.names import Distribution


class ObjectPlace:
    """
    An index in a bucket.

    Args:
        name: The name of the index.
        bucket: Its own part of the bucket.
        reader: Reads projects of it, and of what it inherits.
        known_facts: Returns what is known of an object of it.

    Attributes:
        name: As given.
        bucket: As given.
        path: The URL of the bucket, as bytes.
        own: The promotion whose names are no obstacle to it; empty for none.
    """

    def __init__(
        self,
        name: str,
        bucket: Bucket,
        reader: ObjectReader,
        known_facts: Callable[[StoredObject], FileFacts | None] = lambda _stored: None,
    ) -> None:
        self.name = name
        self.bucket = bucket
        self.path = bucket.url.encode()
        self.own = ""
        self._reader = reader
        self._known_facts = known_facts
        self._objects: dict[bytes, tuple[Bucket, StoredObject]] = {}
        self._unfinished: list[PromotionRecord] = []

    @property
    def shown(self) -> str:
        """See `PromotionPlace`."""
        return self.name or "the index without a name"

    @property
    def way_on(self) -> str:
        """See `PromotionPlace`."""
        return "repeat that promotion first"

    def begin(self) -> None:
        """See `PromotionPlace`."""
        self._unfinished = self.unfinished()

    def unfinished(self) -> list[PromotionRecord]:
        """Return what the promotions have written down that are not finished; one without it does nothing."""
        records = (read_record(self.bucket, promotion) for promotion in promotions_in(self.bucket))
        return [record for record in records if record is not None]

    def is_part_of(self, source: ObjectPlace) -> bool:
        """See `PromotionPlace`."""
        return self.path == source.path

    def read_own(self, project: str) -> Inventory:
        """See `PromotionPlace`."""
        return self.read_objects(project)

    def read_line(self, project: str) -> Inventory:
        """See `PromotionPlace`."""
        return self.read_objects(project).line

    def read_objects(self, project: str) -> ObjectInventory:
        """Read a project, and remember which objects it has."""
        inventory = self._reader.read(project)
        own = {self.path + b"/" + key.encode(): stored for key, stored in inventory.objects.items()}
        self._objects |= {path: (self.bucket, stored) for path, stored in own.items()}
        for part in inventory.inherited:
            self._objects |= _objects_of(part)
        return inventory

    def folder_for(self, inventory: Inventory) -> bytes:
        """Return the folder of the project: where files lie flat, no listing shows all of them at once."""
        return inventory.folder_path

    def naming(self, distribution: Distribution) -> str:
        """See `PromotionPlace`."""
        others = [record.id for record in self._unfinished if record.id != self.own]
        return naming(self.bucket, others, distribution)

    def require_unfinished(self, promotion: str) -> None:
        """Do nothing: any node may complete it."""

    def inspect(self, entry: ScannedFile) -> InspectionResult:
        """Inspect a file to its end."""
        bucket, stored = self._objects[entry.path]
        claim = self._objects.get(entry.path + CLAIM.encode())
        learned = inspect_object(bucket, stored, entry.distribution, None if claim is None else claim[1])
        if learned.result is None:
            raise Unavailable("The object store does not answer as it should. Retry in a moment.")
        return learned.result

    def facts_of(self, entry: ScannedFile) -> FileFacts | None:
        """Return what is known of a file; None if it is not of this index, or was not read yet."""
        found = self._objects.get(entry.path)
        return None if found is None or found[0] is not self.bucket else self._known_facts(found[1])

    def sha256_of(self, path: bytes) -> str | None:
        """See `PromotionPlace`."""
        found = self._objects.get(path)
        return None if found is None else stored_digest(*found)

    def is_taken(self, path: bytes) -> bool:
        """See `PromotionPlace`; what the promotion itself has placed takes no name."""
        return not self.own and path in self._objects


def _objects_of(part: ObjectPart) -> dict[bytes, tuple[Bucket, StoredObject]]:
    return {
        part.root.path + b"/" + key.encode(): (part.root.bucket, stored)
        for key, stored in part.listing.objects.items()
    }
