"""The objects of a project as the tree that a scan reads, and the scan of them."""

from __future__ import annotations

import errno
import io
import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from twisted_index.backends.layout.facts import StatKey
from twisted_index.backends.layout.project_scan import ProjectScan, scan_project
from twisted_index.backends.object_store.learned import object_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import BinaryIO

    from twisted_index.backends.layout.tree import PackageTree
    from twisted_index.backends.object_store.bucket import StoredObject
    from twisted_index.backends.object_store.learned import LearnedObject, ObjectId
    from twisted_index.backends.object_store.object_root import ObjectRoot
    from twisted_index.backends.object_store.project_listing import ProjectListing
    from twisted_index.files.stamps import StampedStat


class ObjectTree:
    """
    A `PackageTree` over the listing of a project: no method but reading asks the bucket.

    Args:
        root: What paths begin with: the URL of the bucket.
        listing: What the bucket has of the project.
        contents: Returns the bytes of a sidecar or mark, as many as have a meaning; may block.
        manifest: Returns all bytes of a `.deleted` or `.copies` object; may block.
        uploaded: Returns when a file was uploaded, in nanoseconds since the epoch, if that is known.
    """

    def __init__(
        self,
        root: bytes,
        listing: ProjectListing,
        contents: Callable[[StoredObject], bytes],
        manifest: Callable[[StoredObject], bytes],
        uploaded: Callable[[StoredObject], int | None],
    ) -> None:
        self._root = root
        self._objects = listing.objects
        self._contents = contents
        self._manifest = manifest
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
        return io.BytesIO(self._manifest(stored))

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


class LineTree:
    """
    A `PackageTree` over the listings of a project in several buckets.

    Args:
        trees: By the URL of their bucket.
    """

    def __init__(self, trees: Mapping[bytes, ObjectTree]) -> None:
        self._trees = {root + b"/": tree for root, tree in trees.items()}

    def _tree(self, path: bytes) -> ObjectTree:
        return next(tree for root, tree in self._trees.items() if path.startswith(root))

    def stamp(self, folder: bytes, before: StampedStat | None) -> None:
        """Return None: a bucket has no stamps."""

    def is_settled(self, key: StatKey) -> bool:
        """Return False, see `ObjectTree`."""
        return False

    def list_names(self, folder: bytes) -> list[bytes]:
        """See `PackageTree`."""
        return self._tree(folder).list_names(folder)

    def stat(self, path: bytes) -> StatKey | None:
        """See `PackageTree`."""
        return self._tree(path).stat(path)

    lstat = stat

    def is_link(self, path: bytes) -> bool:
        """Return False: a bucket has no links."""
        return False

    def is_folder(self, path: bytes) -> bool:
        """See `PackageTree`."""
        return self._tree(path).is_folder(path)

    def open_small(self, path: bytes) -> BinaryIO | None:
        """See `PackageTree`."""
        return self._tree(path).open_small(path)

    def open_manifest(self, path: bytes, limit: int) -> BinaryIO:
        """See `PackageTree`."""
        return self._tree(path).open_manifest(path, limit)


class ObjectPart(NamedTuple):
    """
    What a bucket has of a project.

    Attributes:
        root: The bucket.
        listing: Its listing.
        learned: What was learned of the objects in it; what is read is added.
    """

    root: ObjectRoot
    listing: ProjectListing
    learned: dict[ObjectId, LearnedObject]

    def key(self, path: bytes) -> str:
        """Return the key of a path in it."""
        return os.fsdecode(path[len(self.root.path) + 1 :])

    def tree(self) -> ObjectTree:
        """Return it as a tree."""
        read = partial(self.root.read_small, self.learned)
        read_manifest = partial(self.root.read_small, self.learned, whole=True)
        return ObjectTree(self.root.path, self.listing, read, read_manifest, self._uploaded)

    def _uploaded(self, stored: StoredObject) -> int | None:
        learned = self.learned.get(object_id(stored))
        return None if learned is None else learned.uploaded_ns


def tree_of(parts: Sequence[ObjectPart]) -> PackageTree:
    """Return the parts of a project as one tree."""
    trees = {part.root.path: part.tree() for part in parts}
    return next(iter(trees.values())) if len(trees) == 1 else LineTree(trees)


def scan_parts(project: str, parts: Sequence[ObjectPart]) -> ProjectScan:
    """Scan a project in all its buckets, in order; blocks."""
    entries = [(part.root.path, part.listing.entries) for part in parts]
    scan = scan_project(project, entries, tree_of(parts))
    for part in parts:
        if part.listing.unfinished:
            scan.claimed = True
            scan.owned_by = scan.owned_by or (part.root.path, part.listing.unfinished[0].key)
    return scan
