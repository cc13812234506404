"""Does the store keep conditions? Tried once with an object of our own. Blocking."""

from __future__ import annotations

import enum
import secrets
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from twisted_index.backends.object_store.bucket import ObjectChanged, ObjectExists
from twisted_index.backends.object_store.store_errors import Unsupported
from twisted_index.errors import SimpleIndexError, Unavailable

if TYPE_CHECKING:
    from twisted_index.backends.object_store.bucket import Bucket

#: Of the objects that are written for this, and removed.
PROBE = ".probe-"


class Conditions(enum.Enum):
    """What a store does with a write under a condition."""

    KEPT = "kept"
    #: Of several nodes that write one name, each may believe that it has.
    IGNORED = "ignored"


class ConditionsProbe:
    """
    Tries once whether a store keeps conditions, for all that write to it; in any threads.

    Args:
        bucket: The bucket.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._conditions: Conditions | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Conditions:
        """
        Return whether it does.

        Raises:
            Unavailable: The store does not say.
        """
        with self._lock:
            if self._conditions is None:
                self._conditions = probe_conditions(self._bucket)
            return self._conditions


def probe_conditions(bucket: Bucket) -> Conditions:
    """
    Try whether a store keeps the conditions that several writers need.

    An object is created twice, and then replaced by one that names another ETag, and the right one.

    Raises:
        Unavailable: The store does not say.
        WriteForbidden: It lets this server read only.
    """
    key = f"{PROBE}{secrets.token_hex(8)}"
    try:
        etag = _create(bucket, key)
        try:
            bucket.create(key, b"2", metadata={})
        except ObjectExists:
            return _try_replacing(bucket, key, etag)
        return Conditions.IGNORED
    except Unsupported:
        # Some stores, such as Backblaze B2 and Swift, refuse the condition itself.
        return Conditions.IGNORED
    finally:
        with suppress(SimpleIndexError):
            bucket.delete(key)


def _create(bucket: Bucket, key: str) -> str:
    """Create an object that no other node knows; return its ETag."""
    try:
        return bucket.create(key, b"1", metadata={}).etag
    except ObjectExists:
        # The answer was lost, and the library has tried again.
        found = bucket.read(key, limit=1)
        if found is None:
            raise Unavailable(
                "The object store does not say what it has written. Retry in a moment."
            ) from None
        return found.object.etag


def _try_replacing(bucket: Bucket, key: str, etag: str) -> Conditions:
    wrong = etag[:-1] + ("0" if etag[-1:] != "0" else "1")
    try:
        bucket.replace(key, b"3", etag=wrong, metadata={})
    except ObjectChanged:
        pass
    else:
        return Conditions.IGNORED
    try:
        bucket.replace(key, b"4", etag=etag, metadata={})
    except ObjectChanged:
        return Conditions.IGNORED
    return Conditions.KEPT
