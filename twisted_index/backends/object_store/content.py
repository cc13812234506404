"""
The bytes of listed objects: small ones at once, others as they arrive.

An object is read by its ETag, so that bytes of two are never mixed.
"""

from __future__ import annotations

import hashlib
import tempfile
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred

from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.object_inspection import open_ranges, read_object
from twisted_index.errors import Unavailable
from twisted_index.interfaces import SMALL_CONTENT, FileBody
from twisted_index.simple.archives.limits import MAX_DOCUMENT
from twisted_index.simple.core_metadata import BadArchive, ZipArchive, read_wheel_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted_index.backends.layout.page_builder import ListedFile
    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.concurrency.thread_pool import IThreadRunner


async def open_object(
    bucket: Bucket,
    worker: IThreadRunner,
    stored: StoredObject,
    listed: ListedFile,
    is_current: Callable[[], bool],
    on_mismatch: Callable[[], None],
) -> FileBody:
    """
    Open a file.

    Args:
        bucket: Where it is.
        worker: Threads that wait for it.
        stored: The object.
        listed: What its page says.
        is_current: Returns whether it is still listed.
        on_mismatch: Called if its bytes have another digest.

    Raises:
        ObjectChanged: It is another one by now, or gone.
        Unavailable: The bucket does not answer, or the bytes are not those that the page promises.
    """
    sha256, modified = listed.facts.sha256, _modified(listed)
    if stored.size > SMALL_CONTENT:
        arriving = ArrivingObject(bucket, worker, stored, sha256, on_mismatch)
        # An object that is gone by now shows here, where it can still be looked for again.
        try:
            await arriving.wait_for(0)
        except BaseException:
            arriving.close()
            raise
        return FileBody(content=arriving, size=stored.size, sha256=sha256, modified=modified)
    content = await worker.run(read_object, bucket, stored)
    if hashlib.sha256(content).hexdigest() != sha256:
        on_mismatch()
        raise mismatch_error()
    return _in_memory(content, sha256, modified, is_current)


def open_metadata(
    bucket: Bucket, stored: StoredObject, listed: ListedFile, is_current: Callable[[], bool]
) -> FileBody | None:
    """
    Read the METADATA of a wheel by ranges; blocks.

    Returns:
        None if it is not the METADATA that the page promises.

    Raises:
        ObjectChanged: It is another one by now, or gone.
        Unavailable: The bucket does not answer.
    """
    try:
        with open_ranges(bucket, stored) as file:
            document = read_wheel_metadata(ZipArchive(file))
    except BadArchive:
        return None
    sha256 = hashlib.sha256(document).hexdigest()
    if sha256 != listed.facts.metadata_sha256:
        return None
    return _in_memory(document, sha256, _modified(listed), is_current)


def open_document(bucket: Bucket, stored: StoredObject, is_current: Callable[[], bool]) -> FileBody | None:
    """Read a document that lies beside a file; blocks. See `open_metadata` for errors."""
    if stored.size > MAX_DOCUMENT:
        return None
    content = read_object(bucket, stored)
    sha256 = hashlib.sha256(content).hexdigest()
    return _in_memory(content, sha256, stored.modified_ns / 1e9, is_current)


def _in_memory(content: bytes, sha256: str, modified: float, is_current: Callable[[], bool]) -> FileBody:
    def reopen() -> FileBody | None:
        return _in_memory(content, sha256, modified, is_current) if is_current() else None

    return FileBody(content=content, size=len(content), sha256=sha256, modified=modified, reopen=reopen)


def _modified(listed: ListedFile) -> float:
    return min(listed.entry.key.mtime_ns, listed.entry.key.ctime_ns) / 1e9


def mismatch_error() -> Unavailable:
    """Make the error of a file whose bytes are not those of its page."""
    return Unavailable("The object store has other bytes for this file than its page promises.")


class ArrivingObject:
    """
    An object that is read as fast as its reader takes it, as a `StreamingContent`.

    What has arrived lies in an anonymous file. Reading begins where the first `wait_for` points, so that a
    range costs no more than a range.

    Args:
        bucket: Where it is.
        worker: Threads that wait for it.
        stored: The object.
        sha256: The digest that it has to have.
        on_mismatch: Called if it has another.
    """

    def __init__(
        self,
        bucket: Bucket,
        worker: IThreadRunner,
        stored: StoredObject,
        sha256: str,
        on_mismatch: Callable[[], None],
    ) -> None:
        self._bucket = bucket
        self._worker = worker
        self._stored = stored
        self._sha256 = sha256
        self._on_mismatch = on_mismatch
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._digest = hashlib.sha256()
        self._pieces: Iterator[bytes] | None = None
        self._start = self._end = 0
        self._is_reading = self._is_closed = False

    def wait_for(self, position: int) -> Deferred[int]:
        """See `StreamingContent`."""
        return Deferred.fromCoroutine(self._arrive(position))

    async def _arrive(self, position: int) -> int:
        while self._end <= position < self._stored.size:
            self._is_reading = True
            try:
                self._end = await self._worker.run(self._read_piece, position)
            except ObjectChanged:
                if not self._start and not self._end:
                    raise
                raise Unavailable("This file is being changed. Retry in a moment.", retry_after=2) from None
            except _OtherDigest:
                self._on_mismatch()
                raise mismatch_error() from None
            finally:
                self._is_reading = False
                if self._is_closed:
                    self._release()
            if self._is_closed:
                raise CancelledError
        return self._end

    def _read_piece(self, position: int) -> int:
        """Read one more piece; called in a thread."""
        if self._is_closed:
            return self._end
        size = self._stored.size
        if self._pieces is None or (self._pieces_are_far_from(position)):
            self._close_pieces()
            self._start = self._end = position
            self._pieces = self._bucket.stream(self._stored.key, position, size, etag=self._stored.etag)
        piece = next(self._pieces, b"")
        end = self._end + len(piece)
        if not piece or end > size:
            raise Unavailable("The object store ended this file early. Retry in a moment.")
        if not self._start:
            self._digest.update(piece)
            if end == size and self._digest.hexdigest() != self._sha256:
                raise _OtherDigest
        self._file.seek(self._end)
        self._file.write(piece)
        return end

    def _pieces_are_far_from(self, position: int) -> bool:
        """Return whether a reader wants what lies far behind, as one of a range does."""
        return position > self._end + (1 << 20)

    def read(self, position: int, size: int) -> bytes:
        """See `StreamingContent`."""
        self._file.seek(position)
        return self._file.read(min(size, max(0, self._end - position)))

    async def _arrive_whole(self) -> None:
        while self._end < self._stored.size:
            await self._arrive(self._end)

    def wait_complete(self) -> Deferred[None]:
        """See `StreamingContent`."""
        return Deferred.fromCoroutine(self._arrive_whole())

    def close(self) -> None:
        """See `StreamingContent`; a running read ends first."""
        self._is_closed = True
        if not self._is_reading:
            self._release()

    def _release(self) -> None:
        self._worker.run(self._close_pieces).addErrback(lambda _failure: None)
        self._file.close()

    def _close_pieces(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()
        self._pieces = None


class _OtherDigest(Exception):
    """The bytes are not the promised ones."""
