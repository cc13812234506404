"""The objects of a project as the tree that a scan reads."""

from __future__ import annotations

import errno
import io
import os
from typing import TYPE_CHECKING, cast

from twisted_index.backends.layout.facts import StatKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from twisted_index.backends.object_store.bucket import StoredObject
    from twisted_index.backends.object_store.listings import ProjectListing
    from twisted_index.files.stamps import StampedStat


class ObjectTree:
    """
    A `PackageTree` over the listing of a project: no method but reading asks the bucket.

    Args:
        root: What paths begin with: the URL of the bucket.
        listing: What the bucket has of the project.
        contents: Returns the bytes of a small object; may block.
        uploaded: Returns when a file was uploaded, in nanoseconds since the epoch, if that is known.
    """

    def __init__(
        self,
        root: bytes,
        listing: ProjectListing,
        contents: Callable[[StoredObject], bytes],
        uploaded: Callable[[StoredObject], int | None],
    ) -> None:
        self._root = root
        self._objects = listing.objects
        self._contents = contents
        self._uploaded = uploaded
        self._names: dict[str, set[str]] = {}
        for key in listing.objects:
            folder, slash, rest = key.partition("/")
            if slash and rest:
                self._names.setdefault(folder, set()).add(rest.partition("/")[0])

    def key(self, path: bytes) -> str:
        """Return the key of a path."""
        return os.fsdecode(path[len(self._root) + 1 :])

    def stamp(self, folder: bytes, before: StampedStat | None) -> None:
        """Return None: a bucket has no stamps."""

    def is_settled(self, key: StatKey) -> bool:
        """Return False: of two objects with equal times, each has its own bytes."""
        return False

    def list_names(self, folder: bytes) -> list[bytes]:
        """See `PackageTree`."""
        return [os.fsencode(name) for name in self._names.get(self.key(folder), ()) if name]

    def stat(self, path: bytes) -> StatKey | None:
        """See `PackageTree`. The times are those of the upload and of the object."""
        stored = self._find(path)
        if stored is None:
            return None
        uploaded = self._uploaded(stored)
        return StatKey(stored.size, stored.modified_ns if uploaded is None else uploaded, stored.modified_ns)

    lstat = stat

    def is_link(self, path: bytes) -> bool:
        """Return False: a bucket has no links."""
        return False

    def is_folder(self, path: bytes) -> bool:
        """See `PackageTree`."""
        below = f"{self.key(path)}/"
        return any(key.startswith(below) for key in self._objects)

    def open_small(self, path: bytes) -> BinaryIO | None:
        """See `PackageTree`. It is read with the first byte that is wanted."""
        stored = self._find(path)
        return (
            None
            if stored is None
            else io.BufferedReader(cast("io.RawIOBase", _SmallObject(stored, self._contents)))
        )

    def open_manifest(self, path: bytes, limit: int) -> BinaryIO:
        """See `PackageTree`."""
        stored = self._find(path)
        if stored is None:
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if stored.size > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return io.BytesIO(self._contents(stored))

    def _find(self, path: bytes) -> StoredObject | None:
        """Return the object of a path, None for a folder."""
        stored = self._objects.get(self.key(path))
        if stored is None and not self.is_folder(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return stored


class _SmallObject(io.RawIOBase):
    """A small object that is read once it is wanted: most are only looked for."""

    def __init__(self, stored: StoredObject, contents: Callable[[StoredObject], bytes]) -> None:
        self._stored = stored
        self._contents = contents
        self._rest: memoryview | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Read as much as fits."""
        if self._rest is None:
            self._rest = memoryview(self._contents(self._stored))
        piece, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)
