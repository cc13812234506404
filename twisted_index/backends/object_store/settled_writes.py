"""
Writes whose outcome is known. Blocking.

What fails without an answer may have been written, or be written later. So the object is read back and
compared, and is written again only where that does no harm, whichever of both tries lands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.backends.object_store.bucket import ObjectChanged, ObjectExists
from twisted_index.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_index.backends.object_store.bucket import Bucket, ObjectContent, StoredObject

#: Of a write that gets no answer, or meets other writers.
_TRIES = 3
#: Metadata: the digest of a file; when it was written, as rclone writes it; by which upload.
SHA256, MTIME, UPLOAD = "sha256", "mtime", "upload"


class Occupied(Exception):
    """Another object has the key."""


class SettledWrites:
    """
    Writes to a bucket.

    Args:
        bucket: The bucket.
        conditional: Whether the store keeps conditions; if not, nothing else may write.
    """

    def __init__(self, bucket: Bucket, *, conditional: bool = True) -> None:
        self._bucket = bucket
        self._conditional = conditional

    def create(self, key: str, content: bytes, *, metadata: Mapping[str, str]) -> StoredObject | None:
        """
        Create an object.

        An empty one is the same as another only if both have the same `SHA256`.

        Returns:
            None if another upload has created the same one.

        Raises:
            Occupied: Another one is there.
            Unavailable: It is not known whether it was written.
        """
        write = self._bucket.create if self._conditional else self._bucket.put
        error = Unavailable("The object is being changed. Retry in a moment.")
        for _try in range(_TRIES):
            try:
                return write(key, content, metadata=metadata)
            except ObjectExists:
                pass
            except Unavailable as failure:
                error = failure
            found = self._find(key, len(content))
            if found is not None:
                same_file = bool(content) or found.metadata.get(SHA256) == metadata.get(SHA256)
                if found.content != content or not same_file:
                    raise Occupied(key)
                return found.object if found.metadata.get(UPLOAD) == metadata.get(UPLOAD) else None
        raise error

    def replace(self, key: str, content: bytes, *, etag: str, metadata: Mapping[str, str]) -> StoredObject:
        """
        Replace an object that has to have this ETag.

        Raises:
            ObjectChanged: It has another, or is gone.
            Unavailable: It is not known whether it was written.
        """
        if not self._conditional:
            return self.put(key, content, metadata=metadata)
        error = Unavailable("The object is being changed. Retry in a moment.")
        for _try in range(_TRIES):
            try:
                return self._bucket.replace(key, content, etag=etag, metadata=metadata)
            except ObjectChanged:
                is_changed = True
            except Unavailable as failure:
                is_changed, error = False, failure
            try:
                found = self._find(key, len(content))
            except Occupied:
                found = None
            if found is not None and found.content == content:
                return found.object
            if is_changed:
                raise ObjectChanged(key)
        raise error

    def put(self, key: str, content: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        """
        Write an object, replacing one that is there.

        Raises:
            Unavailable: It is not known whether it was written.
        """
        error: Unavailable | None = None
        for _try in range(_TRIES):
            try:
                return self._bucket.put(key, content, metadata=metadata or {})
            except Unavailable as failure:
                error = failure
            try:
                found = self._find(key, len(content))
            except Occupied:
                continue
            if found is not None and found.content == content:
                return found.object
        assert error is not None
        raise error

    def delete(self, key: str) -> None:
        """
        Remove an object; there may be none.

        Raises:
            Unavailable: It is not known whether it was removed.
        """
        error: Unavailable | None = None
        for _try in range(_TRIES):
            try:
                self._bucket.delete(key)
            except Unavailable as failure:
                error = failure
            else:
                return
            try:
                if self._find(key, 0) is None:
                    return
            except Occupied:
                continue
        assert error is not None
        raise error

    def _find(self, key: str, limit: int) -> ObjectContent | None:
        """
        Read an object back.

        Raises:
            Occupied: It is larger than it would be.
        """
        try:
            return self._bucket.read(key, limit=limit)
        except ObjectChanged:
            raise Occupied(key) from None
