"""A project in a bucket, as it was listed for a change, and the steps that all changes share. Blocking."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twisted_index.backends.object_store.object_digest import stored_digest
from twisted_index.backends.object_store.tombstone_object import add_manifest_line, remove_manifest_lines
from twisted_index.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.backends.object_store.object_reader import ObjectInventory
    from twisted_index.backends.object_store.settled_writes import SettledWrites
    from twisted_index.simple.names import Distribution


class ObjectChanges:
    """
    Changes of one project.

    Args:
        bucket: The bucket.
        writes: Writes to it.
        inventory: Everything that is there for the project; paths begin with the URL of the bucket.
        objects: All its objects by key.
        known_sha256: Returns the digest of an object if it is known.
        look: Lists the project anew, for what other nodes have changed meanwhile.
    """

    def __init__(
        self,
        bucket: Bucket,
        writes: SettledWrites,
        inventory: ObjectInventory,
        objects: Mapping[str, StoredObject],
        known_sha256: Callable[[StoredObject], str | None],
        look: Callable[[], ObjectChanges],
    ) -> None:
        self.bucket = bucket
        self.writes = writes
        self.inventory = inventory
        self.objects = objects
        self.known_sha256 = known_sha256
        self.look = look

    def key(self, path: bytes) -> str:
        """Return the key of a path."""
        return os.fsdecode(path[len(self.inventory.root) + 1 :])

    def key_in(self, folder: bytes, name: str) -> str:
        """Return the key of a name in a folder, which may be the root."""
        return self.key(folder + b"/" + os.fsencode(name))

    def has_bytes(self, path: bytes, sha256: str, size: int) -> bool:
        """Return whether a file, perhaps an inherited one, has these bytes; reads it if its size is right."""
        part = next((one for one in self.inventory.inherited if path.startswith(one.root.path + b"/")), None)
        if part is None:
            stored, known, bucket = self.objects[self.key(path)], self.known_sha256, self.bucket
        else:
            stored = part.listing.objects[part.key(path)]
            known, bucket = part.root.known_sha256, part.root.bucket
        return stored.size == size and (known(stored) or stored_digest(bucket, stored)) == sha256

    def delete(self, keys: Iterable[str]) -> None:
        """Remove those of the objects that were listed, in this order."""
        for key in keys:
            if key in self.objects:
                self.writes.delete(key)

    def forget(self, keys: Iterable[str]) -> None:
        """Remove the lines by which files, sidecars or statuses are copies."""
        wanted = set(keys)
        for path, known in self.inventory.scan.copies.items():
            folder = self.key(path).rpartition("/")[0]
            below = f"{folder}/" if folder else ""
            names = {name for name in known.lines if below + name in wanted}
            if names:
                remove_manifest_lines(self.bucket, self.writes, self.key(path), names)

    def revive(self, distribution: Distribution, key: str) -> bool:
        """
        Remove a distribution's tombstones, where the same bytes were listed; return whether any were.

        Raises:
            Unavailable: The file was deleted meanwhile. Its tombstones are there again.
        """
        lines = [
            line
            for line in self.inventory.tombstones_of(distribution)
            if line.sha256 is not None and key in self.objects
        ]
        by_path: dict[bytes, set[str]] = {}
        for line in lines:
            by_path.setdefault(line.path, set()).add(line.name)
        for path, taken in by_path.items():
            remove_manifest_lines(self.bucket, self.writes, self.key(path), taken)
        if lines and not self._is_unchanged(key):
            for line in lines:
                add_manifest_line(self.bucket, self.writes, self.key(line.path), line.line)
            raise Unavailable("This file is being deleted. Retry in a moment.")
        return bool(lines)

    def _is_unchanged(self, key: str) -> bool:
        """Look whether an object is there as it was listed."""
        listed, now = self.objects[key], self.look().objects.get(key)
        return now is not None and (listed.etag, listed.size) == (now.etag, now.size)
