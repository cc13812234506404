"""
What `FILE.claim` says, beside a file: its digest and size, before it comes and after. Blocking.

A claim also holds what all nodes go by where a file that was just written may have to go again: see `decide`.
"""

from __future__ import annotations

import enum
import json
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.object_digest import retry_later
from twisted_index.backends.object_store.project_listing import CLAIM
from twisted_index.backends.object_store.settled_writes import UPLOAD, Occupied
from twisted_index.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_index.backends.object_store.bucket import Bucket, ObjectContent, StoredObject
    from twisted_index.backends.object_store.settled_writes import SettledWrites

#: Bytes that a claim may have.
MAX_CLAIM = 1000
#: For so long an upload may be running somewhere, or may take back what it has written.
RUNNING = timedelta(hours=1)
#: Tries to change a claim that others change too.
_TRIES = 5


class Decision(enum.Enum):
    """What becomes of a file that was written, once that is decided for all nodes."""

    OPEN = ""
    #: An upload was answered that has found it there.
    KEPT = "kept"
    #: The upload that wrote it takes it back.
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Claim:
    """
    What `FILE.claim` says.

    Attributes:
        sha256: Lower-case hex digest of the file.
        size: Bytes of the file.
        decision: What was decided of it.
    """

    sha256: str
    size: int
    decision: Decision = Decision.OPEN

    def format(self) -> bytes:
        """Format it as one line of JSON."""
        fields: dict[str, object] = {"sha256": self.sha256, "size": self.size}
        if self.decision is not Decision.OPEN:
            fields["decision"] = self.decision.value
        return json.dumps(fields).encode() + b"\n"

    @classmethod
    def parse(cls, content: bytes) -> Self | None:
        """Parse it; None if it is none."""
        try:
            found = json.loads(content)
            sha256, size = found["sha256"], found["size"]
            decision = Decision(found.get("decision", ""))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        is_right = isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256) and type(size) is int
        return cls(sha256, size, decision) if is_right else None


def decide(bucket: Bucket, writes: SettledWrites, key: str, claim: Claim, decision: Decision) -> bool:
    """
    Decide whether a file stays, for all nodes; the first decision counts.

    An upload that takes its file back decides so before it does. One that has found the file there, and
    would be answered for that, decides that it stays, and then looks whether it is still there.

    Args:
        bucket: The bucket.
        writes: Writes to it.
        key: The key of the file.
        claim: Its digest and size.
        decision: What to decide.

    Returns:
        Whether this is what was decided.

    Raises:
        Unavailable: It is not known.
    """
    for _try in range(_TRIES):
        try:
            found = bucket.read(key + CLAIM, limit=MAX_CLAIM)
        except ObjectChanged:
            return False
        recorded = None if found is None else Claim.parse(found.content)
        if recorded in _decided(claim):
            return recorded == replace(claim, decision=decision)
        content = replace(claim, decision=decision).format()
        try:
            if found is None:
                writes.create(key + CLAIM, content, metadata={})
            else:
                writes.replace(key + CLAIM, content, etag=found.object.etag, metadata=found.metadata)
        except (Occupied, ObjectChanged):
            continue
        return True
    return False


def _decided(claim: Claim) -> tuple[Claim, ...]:
    return tuple(replace(claim, decision=each) for each in (Decision.KEPT, Decision.WITHDRAWN))


class UploadClaim:
    """
    The claim of one upload.

    Args:
        bucket: The bucket.
        writes: Writes to it.
        key: The key of the file.
        claim: Its digest and size.
        metadata: To be written with it; has to be this upload's own.

    Attributes:
        is_owner: Whether this upload has begun it, and not another one of the same bytes.
    """

    def __init__(
        self, bucket: Bucket, writes: SettledWrites, key: str, claim: Claim, metadata: Mapping[str, str]
    ) -> None:
        self._bucket = bucket
        self._writes = writes
        self._key = key + CLAIM
        self._claim = claim
        self._metadata = metadata
        self.is_owner = False

    def take(self, now_ns: int) -> None:
        """
        Create it, or share that of another upload of the same bytes.

        Args:
            now_ns: The time, in nanoseconds since the epoch.

        Raises:
            Conflict: There is one of other bytes.
            Unavailable: It is not known, or was just withdrawn.
        """
        try:
            created = self._writes.create(self._key, self._claim.format(), metadata=self._metadata)
        except Occupied:
            found = self._read()
            recorded = None if found is None else Claim.parse(found.content)
            if found is None or recorded is None or recorded.sha256 != self._claim.sha256:
                raise self.taken_error() from None
            if recorded.decision is Decision.WITHDRAWN:
                self._renew(found, now_ns)
        else:
            self.is_owner = created is not None

    def _renew(self, withdrawn: ObjectContent, now_ns: int) -> None:
        """Replace a claim that was withdrawn so long ago that nothing removes it any more."""
        if withdrawn.object.modified_ns > now_ns - RUNNING.total_seconds() * 1e9:
            retry_later(self._key.removesuffix(CLAIM))
        try:
            self._replace(withdrawn.object)
        except ObjectChanged:
            retry_later(self._key.removesuffix(CLAIM))
        # Another upload of the same bytes may have replaced it by an equal one: whose it is, it says itself.
        self.is_owner = self.is_held()

    def supersede(self, claimed: StoredObject | None) -> None:
        """
        Take it for a file that replaces another one.

        Args:
            claimed: The claim that is there.

        Raises:
            Occupied, ObjectChanged: Another upload has done so.
        """
        if claimed is None:
            self._writes.create(self._key, self._claim.format(), metadata=self._metadata)
        else:
            self._replace(claimed)

    def _replace(self, claimed: StoredObject) -> None:
        self._writes.replace(self._key, self._claim.format(), etag=claimed.etag, metadata=self._metadata)

    def is_held(self) -> bool:
        """Return whether it is there, and no other upload has replaced it."""
        found = self._read()
        return found is not None and found.metadata.get(UPLOAD) == self._metadata.get(UPLOAD)

    def withdraw(self) -> None:
        """Remove it if it is the one of this file, which another file has forestalled."""
        found = self._read()
        if found is not None and found.content == self._claim.format():
            self._writes.delete(self._key)

    def _read(self) -> ObjectContent | None:
        try:
            return self._bucket.read(self._key, limit=MAX_CLAIM)
        except ObjectChanged:
            return None

    def taken_error(self) -> Conflict:
        """Make the error of another file that claims the name."""
        filename = self._key.removesuffix(CLAIM).rpartition("/")[2]
        return Conflict(
            f"File already exists: an upload of {filename} with different content has begun; it can be"
            " completed, or deleted an hour after it has begun."
        )
