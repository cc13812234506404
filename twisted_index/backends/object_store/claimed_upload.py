"""
Uploads of files that are too large for one request, which several nodes may make at once. Blocking.

A multipart upload replaces whatever has its key, so the name has to be taken before, by steps that only one
of several uploads can do:

1. `FILE.claim` is created: the digest and the size of the file that is to come.
2. `FILE` is created without any bytes, with the digest in its metadata. This takes the name, against small
   files too, which are created under the same key. While it is empty it is listed nowhere.
3. The file is written over it, which the owner of that digest alone does.
4. It is read back.

Whatever stops in between, an upload of the same bytes goes on, and of others is refused. The claim stays, so
that no node has to read the file for its digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.backends.layout.publishing_rules import already_exists_error
from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.claims import UploadClaim
from twisted_index.backends.object_store.object_digest import stored_digest
from twisted_index.backends.object_store.settled_writes import SHA256, Occupied
from twisted_index.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.backends.object_store.claims import Claim
    from twisted_index.backends.object_store.settled_writes import SettledWrites


class ClaimedUpload:
    """
    The upload of a large file.

    Args:
        bucket: The bucket.
        writes: Writes to it.
        key: The key of the file.
        claim: Its digest and size.
        metadata: To be written with it, and with the empty object before; has to be this upload's own.
        now_ns: The time, in nanoseconds since the epoch.
        may_stay: Looks whether the file may still come there; asked before its last part is written.
    """

    def __init__(
        self,
        bucket: Bucket,
        writes: SettledWrites,
        key: str,
        claim: Claim,
        metadata: Mapping[str, str],
        now_ns: int,
        may_stay: Callable[[], bool] = lambda: True,
    ) -> None:
        self._bucket = bucket
        self._writes = writes
        self._key = key
        self._claim = claim
        self._claimed = UploadClaim(bucket, writes, key, claim, metadata)
        self._metadata = metadata
        self._now_ns = now_ns
        self._may_stay = may_stay
        self._filename = key.rpartition("/")[2]

    @property
    def is_owner(self) -> bool:
        """Whether this upload has begun it, and not another one of the same bytes."""
        return self._claimed.is_owner

    def take(self) -> StoredObject | None:
        """
        Take the name.

        Returns:
            The file, if it is there whole already; None if it is to be written.

        Raises:
            Conflict: Another file has the name, or claims it.
            Unavailable: It is not known.
        """
        self._claimed.take(self._now_ns)
        try:
            self._writes.create(self._key, b"", metadata=self._metadata)
        except Occupied:
            found = self._find()
            if found is not None and self.is_whole(found):
                return found
            self._claimed.withdraw()
            if found is not None and found.size:
                raise already_exists_error(self._filename) from None
            raise self._claimed.taken_error() from None
        return None

    def write(self, file: BinaryIO) -> StoredObject | None:
        """
        Write the file under the name that was taken.

        Returns:
            None if it may not come there any more, and has not.

        Raises:
            Conflict: The name was given free meanwhile.
            Unavailable: It was not written, or that is not known.
        """
        try:
            error = self._put(_GuardedFile(file, self._claim.size, self._check_taken))
        except _Refused:
            return None
        except _WrittenMeanwhile:
            error = Unavailable(f"{self._filename} was written meanwhile. Upload it again.")
        return self._require_whole(error)

    def copy(self, copy: Callable[[], None]) -> StoredObject:
        """
        Copy the file in the store to the name that was taken.

        Args:
            copy: Does so.

        Raises:
            Conflict, Unavailable: See `write`.
        """
        error = None
        try:
            self._check_taken()
            copy()
        except _WrittenMeanwhile:
            error = Unavailable(f"{self._filename} was written meanwhile. Repeat that.")
        except Unavailable as failure:
            error = failure
        except ObjectChanged:
            error = Unavailable(f"{self._filename} was changed or removed while it was copied.")
        return self._require_whole(error)

    def _require_whole(self, error: Unavailable | None) -> StoredObject:
        """Read the file back; raise an error if it is not there whole."""
        found = self._find()
        if found is not None and self.is_whole(found):
            return found
        if error is None and found is not None and found.size:
            # Damaged on the way: nothing but these bytes may be listed.
            self._writes.replace(self._key, b"", etag=found.etag, metadata=self._metadata)
        raise error or Unavailable(f"{self._filename} did not arrive whole. Upload it again.")

    def overwrite(self, file: BinaryIO, claimed: StoredObject | None) -> StoredObject:
        """
        Write the file over another one, which its version allows.

        Of several at once the last one that has replaced the claim goes on.

        Args:
            file: The file.
            claimed: The claim that is there.

        Raises:
            Unavailable: It was not written, or another upload replaces it too, or neither is known.
        """
        try:
            self._claimed.supersede(claimed)
            error = self._put(_GuardedFile(file, self._claim.size, self._check_claimed))
            found = self._find()
            if found is not None and self.is_whole(found):
                self._check_claimed()
                return found
        except (Occupied, ObjectChanged, _Refused):
            error = None
        raise error or Unavailable(f"{self._filename} is being replaced. Retry in a moment.")

    def is_whole(self, stored: StoredObject) -> bool:
        """Read an object, and return whether it is this file."""
        return stored.size == self._claim.size and stored_digest(self._bucket, stored) == self._claim.sha256

    def _put(self, file: BinaryIO | _GuardedFile) -> Unavailable | None:
        """Write all parts; return what has gone wrong, after which they may be there nevertheless."""
        try:
            self._bucket.put_file(self._key, file, self._claim.size, metadata=self._metadata)  # type: ignore[arg-type]
        except Unavailable as error:
            return error
        return None

    def _check_taken(self) -> None:
        """
        Check before the last part that the name is still taken for this file.

        Raises:
            Conflict: It is not.
            _WrittenMeanwhile: The file is there, by another upload of it.
            _Refused: It may not come there any more.
        """
        try:
            found = self._bucket.read(self._key, limit=0)
        except ObjectChanged:
            raise _WrittenMeanwhile from None
        if found is None or found.metadata.get(SHA256) != self._claim.sha256:
            raise Conflict(f"{self._filename} was deleted while it was uploaded.")
        if not self._may_stay():
            raise _Refused

    def _check_claimed(self) -> None:
        """
        Check that no other upload has replaced the claim of this file.

        Raises:
            _Refused: One has.
        """
        if not self._claimed.is_held():
            raise _Refused

    def _find(self) -> StoredObject | None:
        return self._bucket.list_level(self._key.rpartition("/")[0]).objects.get(self._key)


class _WrittenMeanwhile(Exception):
    """Another upload of the same bytes has been faster."""


class _Refused(Exception):
    """The file may not come there any more."""


class _GuardedFile:
    """
    A file that is read once, with a check before its last bytes.

    Args:
        file: The file.
        size: Its size.
        check: Called then; what it raises ends the upload.
    """

    def __init__(self, file: BinaryIO, size: int, check: Callable[[], None]) -> None:
        self._file = file
        self._size = size
        self._check = check

    def seek(self, offset: int) -> int:
        """See `io.IOBase`."""
        return self._file.seek(offset)

    def read(self, size: int) -> bytes:
        """See `io.RawIOBase`."""
        data = self._file.read(size)
        if data and self._file.tell() >= self._size:
            self._check()
        return data
