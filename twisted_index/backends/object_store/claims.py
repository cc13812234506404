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

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Self

from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.listings import CLAIM
from twisted_index.backends.object_store.settled_writes import SHA256, Occupied
from twisted_index.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.backends.object_store.settled_writes import SettledWrites

#: Bytes that a claim may have.
MAX_CLAIM = 1000


@dataclass(frozen=True, slots=True)
class Claim:
    """
    What `FILE.claim` says.

    Attributes:
        sha256: Lower-case hex digest of the file.
        size: Bytes of the file.
    """

    sha256: str
    size: int

    def format(self) -> bytes:
        """Format it as one line of JSON."""
        return json.dumps({"sha256": self.sha256, "size": self.size}).encode() + b"\n"

    @classmethod
    def parse(cls, content: bytes) -> Self | None:
        """Parse it; None if it is none."""
        try:
            found = json.loads(content)
            sha256, size = found["sha256"], found["size"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return None
        is_right = isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256) and type(size) is int
        return cls(sha256, size) if is_right else None


class ClaimedUpload:
    """
    The upload of a large file.

    Args:
        bucket: The bucket.
        writes: Writes to it.
        key: The key of the file.
        claim: Its digest and size.
        metadata: To be written with it, and with the empty object before.
    """

    def __init__(
        self, bucket: Bucket, writes: SettledWrites, key: str, claim: Claim, metadata: Mapping[str, str]
    ) -> None:
        self._bucket = bucket
        self._writes = writes
        self._key = key
        self._claim = claim
        self._metadata = metadata
        self._filename = key.rpartition("/")[2]

    def take(self) -> StoredObject | None:
        """
        Take the name.

        Returns:
            The file, if it is there whole already; None if it is to be written.

        Raises:
            Conflict: Another file has the name, or claims it.
            Unavailable: It is not known.
        """
        try:
            self._writes.create(self._key + CLAIM, self._claim.format(), metadata={})
        except Occupied:
            raise self._claimed_error() from None
        try:
            self._writes.create(self._key, b"", metadata=self._metadata)
        except Occupied:
            found = self._find()
            if found is not None and self.is_whole(found):
                return found
            self._withdraw_claim()
            if found is not None and found.size:
                raise Conflict(
                    f"File already exists: {self._filename} exists with different content; upload a new"
                    " version."
                ) from None
            raise self._claimed_error() from None
        return None

    def write(self, file: BinaryIO) -> StoredObject:
        """
        Write the file under the name that was taken.

        Raises:
            Conflict: The name was given free meanwhile.
            Unavailable: It was not written, or that is not known.
        """
        try:
            error = self._put(_GuardedFile(file, self._claim.size, self._check_taken))
        except _WrittenMeanwhile:
            error = Unavailable(f"{self._filename} was written meanwhile. Upload it again.")
        found = self._find()
        if found is not None and self.is_whole(found):
            return found
        if error is None and found is not None and found.size:
            # Damaged on the way: nothing but these bytes may be listed.
            self._writes.replace(self._key, b"", etag=found.etag, metadata=self._metadata)
        raise error or Unavailable(f"{self._filename} did not arrive whole. Upload it again.")

    def overwrite(self, file: BinaryIO) -> StoredObject:
        """
        Write the file over another one, which its version allows.

        Raises:
            Unavailable: It was not written, or another upload has replaced it already, or neither is known.
        """
        self._writes.put(self._key + CLAIM, self._claim.format())
        error = self._put(file)
        found = self._find()
        if found is not None and self.is_whole(found):
            return found
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
        """
        try:
            found = self._bucket.read(self._key, limit=0)
        except ObjectChanged:
            raise _WrittenMeanwhile from None
        if found is None or found.metadata.get(SHA256) != self._claim.sha256:
            raise Conflict(f"{self._filename} was deleted while it was uploaded.")

    def _find(self) -> StoredObject | None:
        return self._bucket.list_level(self._key.rpartition("/")[0]).objects.get(self._key)

    def _withdraw_claim(self) -> None:
        """Remove the claim if it is the one of this file, which another file has forestalled."""
        key = self._key + CLAIM
        found = self._bucket.read(key, limit=MAX_CLAIM)
        if found is not None and found.content == self._claim.format():
            self._writes.delete(key)

    def _claimed_error(self) -> Conflict:
        return Conflict(
            f"File already exists: an upload of {self._filename} with different content has begun; it can be"
            " completed, or deleted an hour after it has begun."
        )


class _WrittenMeanwhile(Exception):
    """Another upload of the same bytes has been faster."""


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


def stored_digest(bucket: Bucket, stored: StoredObject) -> str:
    """
    Read an object for its digest.

    Raises:
        Unavailable: It cannot be read, or was replaced meanwhile.
    """
    digest = hashlib.sha256()
    try:
        for piece in bucket.stream(stored.key, 0, stored.size, etag=stored.etag) if stored.size else ():
            digest.update(piece)
    except ObjectChanged:
        _retry_later(stored.key)
    return digest.hexdigest()


def _retry_later(key: str) -> NoReturn:
    raise Unavailable(f"{key.rpartition('/')[2]} is being changed. Retry in a moment.") from None
