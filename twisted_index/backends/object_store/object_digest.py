"""The digest of an object, read from end to end. Blocking."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NoReturn

from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.errors import Unavailable

if TYPE_CHECKING:
    from twisted_index.backends.object_store.bucket import Bucket, StoredObject


def listed_digest(bucket: Bucket, stored: StoredObject) -> str:
    """
    Read an object as it was listed.

    Raises:
        ObjectChanged: It is another one by now, or gone.
        Unavailable: It cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    for piece in bucket.stream(stored.key, 0, stored.size, etag=stored.etag) if stored.size else ():
        digest.update(piece)
        size += len(piece)
    if size != stored.size:
        raise ObjectChanged(stored.key)
    return digest.hexdigest()


def stored_digest(bucket: Bucket, stored: StoredObject) -> str:
    """
    Read an object for its digest.

    Raises:
        Unavailable: It cannot be read, or was replaced meanwhile.
    """
    try:
        return listed_digest(bucket, stored)
    except ObjectChanged:
        retry_later(stored.key)


def retry_later(key: str) -> NoReturn:
    """Raise the error of an object that is being changed."""
    raise Unavailable(f"{key.rpartition('/')[2]} is being changed. Retry in a moment.") from None
