"""Reads out of an object what an index says of it: whole if it is small, else its digest and some ranges."""

from __future__ import annotations

import io
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from twisted_index.backends.layout.archive_facts import read_facts
from twisted_index.backends.layout.facts import Rejection
from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.claims import MAX_CLAIM, Claim, Decision
from twisted_index.backends.object_store.learned import LearnedObject
from twisted_index.backends.object_store.object_digest import listed_digest
from twisted_index.errors import Unavailable
from twisted_index.files.os_errors import out_of_resources_error
from twisted_index.files.range_file import RangeFile
from twisted_index.simple.core_metadata import BadArchive, UnreadableFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.simple.names import Distribution

#: Bytes of an object that is read by one request.
_WHOLE = 16 << 20
#: Bytes of a range: the directory of most wheels, and a part of an sdist.
_RANGE = 256 << 10


def inspect_object(
    bucket: Bucket, stored: StoredObject, distribution: Distribution, claim: StoredObject | None
) -> LearnedObject:
    """
    Inspect an object as it was listed; blocks.

    Args:
        bucket: Where it is.
        stored: The object.
        distribution: Its parsed name.
        claim: What says which digest it has to have; None without one.

    Raises:
        ObjectChanged: It is another one by now, or gone.
        Unavailable: The bucket does not answer.
    """
    try:
        if stored.size <= _WHOLE:
            return _inspect_whole(bucket, stored, distribution)
        return _inspect_large(bucket, stored, distribution, claim)
    except MemoryError:
        raise out_of_resources_error() from None
    except UnreadableFile:
        raise Unavailable("The object store does not answer as it should. Retry in a moment.") from None
    except BadArchive as error:
        return LearnedObject(result=Rejection(reason=error.reason, advice=error.advice))


def read_object(bucket: Bucket, stored: StoredObject) -> bytes:
    """Read a small object as it was listed; blocks. See `inspect_object` for errors."""
    return _read(bucket, stored)[0]


def _read(bucket: Bucket, stored: StoredObject) -> tuple[bytes, Mapping[str, str]]:
    if not stored.size:
        # Perhaps a folder: consoles write one so, and its key is not quite this one.
        return b"", {}
    found = bucket.read(stored.key, limit=stored.size, etag=stored.etag)
    if found is None or len(found.content) != stored.size:
        raise ObjectChanged(stored.key)
    return found.content, found.metadata


def _inspect_whole(bucket: Bucket, stored: StoredObject, distribution: Distribution) -> LearnedObject:
    content, metadata = _read(bucket, stored)
    facts = read_facts(io.BytesIO(content), distribution, verify_members=True, sha256=None, strict=False)
    return LearnedObject(result=facts, uploaded_ns=uploaded_ns(metadata))


def _inspect_large(
    bucket: Bucket, stored: StoredObject, distribution: Distribution, claim: StoredObject | None
) -> LearnedObject:
    sha256 = _claimed_digest(bucket, stored, claim) or listed_digest(bucket, stored)
    with open_ranges(bucket, stored) as file:
        facts = read_facts(file, distribution, verify_members=False, sha256=sha256, strict=False)
    metadata = bucket.read_metadata(stored.key, etag=stored.etag)
    return LearnedObject(result=facts, uploaded_ns=uploaded_ns(metadata))


@contextmanager
def open_ranges(bucket: Bucket, stored: StoredObject) -> Iterator[Any]:
    """Open an object as a file that reads ranges of it; each read may block and fail."""
    failures: list[Exception] = []

    def read(start: int, stop: int) -> bytes:
        try:
            piece = bucket.read_range(stored.key, start, stop, etag=stored.etag)
            if len(piece) != stop - start:
                raise ObjectChanged(stored.key)
        except Exception as error:
            failures.append(error)
            raise
        return piece

    try:
        with io.BufferedReader(RangeFile(stored.size, read), _RANGE) as file:
            yield file
    finally:
        # What reads archives may have taken it for a damaged one.
        for failure in failures[:1]:
            raise failure


def _claimed_digest(bucket: Bucket, stored: StoredObject, claim: StoredObject | None) -> str | None:
    """Return the digest that a claim states for an object, unless it announces what replaces it."""
    if claim is None or claim.size > MAX_CLAIM:
        return None
    stated = Claim.parse(read_object(bucket, claim))
    if stated is None or stated.size != stored.size:
        return None
    is_of_this = claim.modified_ns <= stored.modified_ns or stated.decision is Decision.KEPT
    return stated.sha256 if is_of_this else None


def uploaded_ns(metadata: Mapping[str, str]) -> int | None:
    """Return the time that rclone keeps with an object: seconds with fractions, as nanoseconds."""
    try:
        nanoseconds = int(Decimal(metadata["mtime"]) * 10**9)
    except (KeyError, InvalidOperation, ValueError, OverflowError):
        return None
    return nanoseconds if 0 <= nanoseconds < 1 << 63 else None
