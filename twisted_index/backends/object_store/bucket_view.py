"""A part of a bucket as a bucket: what lies below a prefix, by the connections of the whole. Blocking."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twisted_index.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

    from twisted_index.backends.object_store.bucket import Bucket, Listing, ObjectContent, StoredObject


class BucketView:
    """
    A `Bucket` below a prefix of another one.

    Args:
        bucket: The whole.
        prefix: Whole parts of keys, without a slash at either end.
    """

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/"

    @property
    def url(self) -> str:
        """See `Bucket`."""
        return f"{self._bucket.url}/{self._prefix}".rstrip("/")

    def list_all(self, prefix: str = "", *, limit: int | None = None) -> Listing:
        """See `Bucket`."""
        return self._below(self._bucket.list_all(self._key(prefix).rstrip("/"), limit=limit))

    @property
    def can_seek(self) -> bool:
        """See `Bucket`."""
        return self._bucket.can_seek

    def list_after(self, key: str) -> Listing:
        """See `Bucket`."""
        listing = self._bucket.list_after(self._key(key))
        inside = {each: stored for each, stored in listing.objects.items() if each.startswith(self._prefix)}
        return self._below(
            replace(
                listing,
                objects=inside,
                is_complete=listing.is_complete or len(inside) < len(listing.objects),
                unusable=tuple(each for each in listing.unusable if each.startswith(self._prefix)),
            )
        )

    def list_level(self, prefix: str = "") -> Listing:
        """See `Bucket`."""
        return self._below(self._bucket.list_level(self._key(prefix).rstrip("/")))

    def read(self, key: str, *, limit: int, etag: str = "") -> ObjectContent | None:
        """See `Bucket`."""
        found = self._bucket.read(self._key(key), limit=limit, etag=etag)
        return None if found is None else replace(found, object=replace(found.object, key=key))

    def read_metadata(self, key: str, *, etag: str) -> Mapping[str, str]:
        """See `Bucket`."""
        return self._bucket.read_metadata(self._key(key), etag=etag)

    def read_range(self, key: str, start: int, stop: int, *, etag: str) -> bytes:
        """See `Bucket`."""
        return self._bucket.read_range(self._key(key), start, stop, etag=etag)

    def stream(self, key: str, start: int, stop: int, *, etag: str) -> Iterator[bytes]:
        """See `Bucket`."""
        return self._bucket.stream(self._key(key), start, stop, etag=etag)

    def create(self, key: str, content: bytes, *, metadata: Mapping[str, str]) -> StoredObject:
        """See `Bucket`."""
        return replace(self._bucket.create(self._key(key), content, metadata=metadata), key=key)

    def put(self, key: str, content: bytes, *, metadata: Mapping[str, str]) -> StoredObject:
        """See `Bucket`."""
        return replace(self._bucket.put(self._key(key), content, metadata=metadata), key=key)

    def replace(self, key: str, content: bytes, *, etag: str, metadata: Mapping[str, str]) -> StoredObject:
        """See `Bucket`."""
        written = self._bucket.replace(self._key(key), content, etag=etag, metadata=metadata)
        return replace(written, key=key)

    def put_file(self, key: str, file: BinaryIO, size: int, *, metadata: Mapping[str, str]) -> None:
        """See `Bucket`."""
        self._bucket.put_file(self._key(key), file, size, metadata=metadata)

    def delete(self, key: str) -> None:
        """See `Bucket`."""
        self._bucket.delete(self._key(key))

    def copy(self, key: str, target: str) -> None:
        """See `Bucket`."""
        self._bucket.copy(self._key(key), self._key(target))

    def is_beside(self, other: BucketView) -> bool:
        """Return whether another one is a part of the same whole."""
        return self._bucket is other._bucket

    def copy_to(self, key: str, other: BucketView, target: str) -> None:
        """Copy an object to another part of the same whole; see `copy_object`."""
        self._bucket.copy(self._key(key), other._key(target))

    def presigned_url(self, key: str, *, seconds: int) -> str:
        """See `Bucket`."""
        return self._bucket.presigned_url(self._key(key), seconds=seconds)

    def _key(self, key: str) -> str:
        return self._prefix + key

    def _below(self, listing: Listing) -> Listing:
        objects = (
            replace(stored, key=key.removeprefix(self._prefix)) for key, stored in listing.objects.items()
        )
        return replace(
            listing,
            objects={stored.key: stored for stored in objects},
            unusable=tuple(key.removeprefix(self._prefix) for key in listing.unusable),
        )


def can_copy(source: Bucket, target: Bucket) -> bool:
    """Return whether the store copies objects from one to the other, as parts of one bucket."""
    return isinstance(source, BucketView) and isinstance(target, BucketView) and source.is_beside(target)


def copy_object(source: Bucket, key: str, target: Bucket, target_key: str) -> None:
    """
    Copy an object, with its metadata, from one part of a bucket to another, replacing one that is there.

    Raises:
        ObjectChanged: There is none.
        Unavailable: It was not copied, or that is not known.
    """
    if isinstance(source, BucketView) and isinstance(target, BucketView) and source.is_beside(target):
        source.copy_to(key, target, target_key)
    else:
        raise Unavailable("Large files can be promoted between the indexes of one bucket only.")
