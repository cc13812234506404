"""
The bytes of listed objects, and the documents inside and beside them.

An object is read by its ETag, so that bytes of two are never mixed.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from twisted_index.backends.object_store.object_inspection import open_ranges
from twisted_index.backends.object_store.streamed_object import StreamedObject
from twisted_index.errors import Unavailable
from twisted_index.interfaces import SMALL_CONTENT, FileBody
from twisted_index.simple.core_metadata import BadArchive, ZipArchive, read_wheel_metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.backends.layout.page_builder import ListedFile
    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.concurrency.thread_pool import IThreadRunner


#: Seconds for which a URL of the store holds.
_URL_SECONDS = 60
#: Bytes of a file beyond which clients are sent to the store: for less, a second request takes longer.
_REDIRECTED = 1 << 20


def open_object(
    bucket: Bucket,
    worker: IThreadRunner,
    stored: StoredObject,
    listed: ListedFile,
    is_current: Callable[[], bool],
    *,
    on_change: Callable[[], None],
    on_mismatch: Callable[[], None],
    redirect: bool = False,
) -> FileBody:
    """
    Open a file. Nothing is read of it before its bytes are requested.

    Args:
        bucket: Where it is.
        worker: Threads that wait for it.
        stored: The object.
        listed: What its page says.
        is_current: Returns whether it is still listed.
        on_change: Called if it turns out to be another one by now, or gone.
        on_mismatch: Called if its bytes have another digest.
        redirect: Whether clients may be sent to the store for it, if it is large.
    """
    sha256, modified = listed.facts.sha256, _modified(listed)
    content = StreamedObject(bucket, worker, stored, sha256, on_change=on_change, on_mismatch=on_mismatch)

    def reopen() -> FileBody | None:
        """Return the bytes from memory, if they have been read once."""
        if content.whole is None or not is_current():
            return None
        return FileBody(
            content=content.whole, size=stored.size, sha256=sha256, modified=modified, reopen=reopen
        )

    async def elsewhere() -> str | None:
        """Return None if no URL can be signed, as with the signature that Azure gives in place of a key."""
        try:
            return await worker.run(bucket.presigned_url, stored.key, seconds=_URL_SECONDS)
        except Unavailable:
            return None

    return FileBody(
        content=content,
        size=stored.size,
        sha256=sha256,
        modified=modified,
        reopen=reopen if stored.size <= SMALL_CONTENT else None,
        elsewhere=elsewhere if redirect and stored.size > _REDIRECTED else None,
    )


def read_metadata(bucket: Bucket, stored: StoredObject) -> bytes:
    """
    Read the METADATA of a wheel by ranges; blocks.

    Returns:
        Nothing if it cannot be found.

    Raises:
        ObjectChanged: It is another one by now, or gone.
        Unavailable: The bucket does not answer.
    """
    try:
        with open_ranges(bucket, stored) as file:
            return read_wheel_metadata(ZipArchive(file))
    except BadArchive:
        return b""


def metadata_body(document: bytes, listed: ListedFile, is_current: Callable[[], bool]) -> FileBody | None:
    """Return the METADATA of a wheel; None if it is not that which the page promises."""
    sha256 = hashlib.sha256(document).hexdigest()
    if sha256 != listed.facts.metadata_sha256:
        return None
    return _in_memory(document, sha256, _modified(listed), is_current)


def document_body(document: bytes, stored: StoredObject, is_current: Callable[[], bool]) -> FileBody:
    """Return a document that lies beside a file."""
    sha256 = hashlib.sha256(document).hexdigest()
    return _in_memory(document, sha256, stored.modified_ns / 1e9, is_current)


def _in_memory(content: bytes, sha256: str, modified: float, is_current: Callable[[], bool]) -> FileBody:
    def reopen() -> FileBody | None:
        return _in_memory(content, sha256, modified, is_current) if is_current() else None

    return FileBody(content=content, size=len(content), sha256=sha256, modified=modified, reopen=reopen)


def _modified(listed: ListedFile) -> float:
    return min(listed.entry.key.mtime_ns, listed.entry.key.ctime_ns) / 1e9


def mismatch_error() -> Unavailable:
    """Make the error of a file whose bytes are not those of its page."""
    return Unavailable("The object store has other bytes for this file than its page promises.")
