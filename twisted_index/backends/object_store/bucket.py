"""
What the object store backend needs of a bucket: blocking calls, their values and their errors.

Keys are relative to the prefix that a path names: `foo/foo-1.0-py3-none-any.whl`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from twisted_index.errors import Forbidden, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """
    An object, as a listing shows it.

    Attributes:
        key: Relative to the prefix.
        size: In bytes.
        etag: Without quotes; another one after each write. Empty if the store has not told it.
        modified_ns: When it was written, by the store's clock: nanoseconds since the epoch.
    """

    key: str
    size: int
    etag: str
    modified_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """
    A listing, whole or up to its limit.

    Attributes:
        objects: By key.
        folders: The next parts of longer keys, without their slash; only of a listing of one level.
        is_complete: False if it ended at its limit.
        requests: How many requests it took.
        unusable: Keys that no folder could have, escaped; they are in nothing else.
    """

    objects: Mapping[str, StoredObject] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    is_complete: bool = True
    requests: int = 1
    unusable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectContent:
    """
    The bytes of an object.

    Attributes:
        object: That object, with the ETag that these bytes have.
        content: All of them.
        metadata: What was written with it: lower-case names without hyphens.
    """

    object: StoredObject
    content: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)


class ObjectExists(Exception):
    """There is an object of that key, perhaps by an earlier try of the same call."""


class ObjectChanged(Exception):
    """The object is not the one with that ETag any more, or is gone."""


class Unlistable(Unavailable):
    """A key that no folder could have keeps the store's other keys from being listed with it."""


class WriteForbidden(Forbidden):
    """The store refuses the write: nothing was written."""


class Bucket(Protocol):
    """
    A bucket, or what is below a prefix in one. All methods block, and may run in several threads at once.

    Each may raise `Unavailable`, after which a write may have happened or not, or happen later. Each that
    writes may raise `WriteForbidden`.
    """

    @property
    def url(self) -> str:
        """Where it is, for people: `s3://BUCKET/PREFIX`, without a slash at its end."""

    def list_all(self, prefix: str = "", *, limit: int | None = None) -> Listing:
        """
        List objects at all levels.

        Args:
            prefix: Empty, or whole parts of keys without a slash at the end: only what lies below it.
            limit: Stop after about so many objects, as the store's pages fall.

        Raises:
            Unlistable: There is a key that no folder could have, and this kind of store lists none past it.
        """

    @property
    def can_seek(self) -> bool:
        """Whether `list_after` costs the same wherever it begins."""

    def list_after(self, key: str) -> Listing:
        """List the objects at all levels whose keys come after one, by UTF-8: what one request returns."""

    def list_level(self, prefix: str = "") -> Listing:
        """List the objects of one level, and the folders in it."""

    def read(self, key: str, *, limit: int, etag: str = "") -> ObjectContent | None:
        """
        Read a small object.

        Args:
            key: Its key.
            limit: Bytes that it may have.
            etag: Which one; empty for any.

        Returns:
            None if there is none.

        Raises:
            ObjectChanged: It is another one, or larger than the limit.
        """

    def read_metadata(self, key: str, *, etag: str) -> Mapping[str, str]:
        """
        Read what was written with an object of at least one byte, as in `ObjectContent`.

        Raises:
            ObjectChanged: It is gone, or another one.
        """

    def read_range(self, key: str, start: int, stop: int, *, etag: str) -> bytes:
        """
        Read `stop - start` bytes of an object.

        Raises:
            ObjectChanged: It is gone, or another one.
        """

    def stream(self, key: str, start: int, stop: int, *, etag: str) -> Iterator[bytes]:
        """
        Read bytes in pieces of at most 1 MiB, as they are consumed. Closing the iterator ends the request.

        Raises:
            ObjectChanged: It is gone, or another one: before the first piece or in the middle.
        """

    def create(self, key: str, content: bytes, *, metadata: Mapping[str, str]) -> StoredObject:
        """
        Write an object that must not exist, in one request: of several at once one succeeds.

        Raises:
            ObjectExists: There is one.
        """

    def put(self, key: str, content: bytes, *, metadata: Mapping[str, str]) -> StoredObject:
        """Write an object, replacing one that is there."""

    def replace(self, key: str, content: bytes, *, etag: str, metadata: Mapping[str, str]) -> StoredObject:
        """
        Replace an object that has to have this ETag.

        Raises:
            ObjectChanged: It has another, or is gone.
        """

    def put_file(self, key: str, file: BinaryIO, size: int, *, metadata: Mapping[str, str]) -> None:
        """Write a large object from an open file, in parts, replacing one that is there."""

    def delete(self, key: str) -> None:
        """Remove an object; there may be none."""

    def copy(self, key: str, target: str) -> None:
        """Copy an object in the store, with its metadata, replacing one that is there."""

    def presigned_url(self, key: str, *, seconds: int) -> str:
        """Make a URL by which a client may read an object for a while, by GET."""
