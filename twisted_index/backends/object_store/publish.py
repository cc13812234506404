"""
Publishes a received file in a bucket: the ordered steps. Blocking.

There are no locks. A file of up to 16 MB is created in one request, which of several at once one does; larger
ones have claims. The process may die after any step: either the file is absent, or it is there and whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.layout.archive_facts import read_facts
from twisted_index.backends.layout.inventory import YANKED
from twisted_index.backends.layout.publishing_rules import BYTE_DEPENDENT, already_exists_error
from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.claims import Claim, ClaimedUpload
from twisted_index.backends.object_store.listings import CLAIM
from twisted_index.backends.object_store.settled_writes import MTIME, SHA256, Occupied
from twisted_index.errors import BadRequest, Unavailable
from twisted_index.files.os_errors import translate_os_errors
from twisted_index.simple.core_metadata import BadArchive, UnreadableFile
from twisted_index.simple.model import Sidecar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from twisted_index.backends.layout.facts import FileFacts
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.backends.object_store.bucket import StoredObject
    from twisted_index.backends.object_store.object_changes import ObjectChanges
    from twisted_index.files.anonymous_file import AnonymousFile
    from twisted_index.simple.names import Distribution

#: Bytes of a file that is written in one request. Each of these is in memory.
ONE_REQUEST = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCandidate:
    """
    A file to publish.

    Attributes:
        file: The received file, fully written.
        distribution: Its parsed name.
        sha256: Lower-case hex digest of the file.
        size: Size of the file in bytes.
        signature: Its signature document; None without one.
        may_create: Whether the upload may create a project.
    """

    file: AnonymousFile
    distribution: Distribution
    sha256: str
    size: int
    signature: bytes | None = None
    may_create: bool = True

    def inspect(self) -> FileFacts:
        """
        Inspect the archive from end to end with all its checksums, by the same rules as for listing it.

        Raises:
            BadRequest: The archive is invalid or contradicts its name.
            Unavailable: The file cannot be read.
        """
        try:
            with translate_os_errors():
                self.file.allow_reading()
                with open(self.file.readable_path, "rb", buffering=0) as file:
                    return read_facts(
                        file, self.distribution, verify_members=True, sha256=self.sha256, strict=True
                    )
        except BadArchive as error:
            raise BadRequest(f"{self.distribution.filename}: {error.reason} {error.advice}") from error
        except UnreadableFile:
            raise Unavailable("The received file cannot be read back.") from None


class PublishedObject(NamedTuple):
    """
    A file that was published.

    Attributes:
        stored: Its object.
        overwrites: Whether it replaced another one.
    """

    stored: StoredObject
    overwrites: bool


class ObjectPublication:
    """
    The steps that publish a file.

    Args:
        candidate: The file.
        changes: Changes of its project.
        replaced: Result of `check_publishable`.
        now: The time of the upload; aware.
        one_request: Bytes of a file that is written in one request.
    """

    def __init__(
        self,
        candidate: ObjectCandidate,
        changes: ObjectChanges,
        replaced: Sequence[ScannedFile],
        now: datetime,
        one_request: int = ONE_REQUEST,
    ) -> None:
        self._candidate = candidate
        self._changes = changes
        self._replaced = list(replaced)
        self._one_request = one_request
        inventory = changes.inventory
        folder = replaced[0].folder if replaced else inventory.target
        self._key = changes.key_in(folder, candidate.distribution.filename)
        nanoseconds = int(now.timestamp()) * 10**9 + now.microsecond * 1000
        self._metadata = {SHA256: candidate.sha256, MTIME: format_mtime(nanoseconds)}

    def carry_out(self) -> PublishedObject | None:
        """
        Carry out all steps.

        Returns:
            None if the same bytes have come there meanwhile.

        Raises:
            Conflict: Another file has taken the name meanwhile.
            Unavailable: It is not known whether the file was written.
        """
        self._drop_outdated()
        stored = self._write()
        if stored is None:
            return None
        self._drop_old_spellings()
        if self._candidate.signature is not None:
            self._changes.writes.put(self._key + Sidecar.SIGNATURE.value, self._candidate.signature)
        self._changes.revive(self._candidate.distribution)
        return PublishedObject(stored, bool(self._replaced))

    def _drop_outdated(self) -> None:
        """Remove sidecars of the old bytes, before the old bytes are replaced."""
        keys = [self._changes.key(entry.path) for entry in self._replaced]
        for key in keys:
            self._changes.delete(key + suffix for suffix in (*BYTE_DEPENDENT, CLAIM))
        self._changes.forget(key + suffix for key in {self._key, *keys} for suffix in ("", *BYTE_DEPENDENT))

    def _write(self) -> StoredObject | None:
        old = self._changes.objects.get(self._key) if self._replaced else None
        if self._candidate.size > self._one_request:
            return self._write_large(overwrites=old is not None)
        with open(self._candidate.file.readable_path, "rb") as file:
            content = file.read()
        if len(content) != self._candidate.size:
            raise Unavailable("The file on disk differs from what was received.")
        writes = self._changes.writes
        try:
            if old is not None:
                return writes.replace(self._key, content, etag=old.etag, metadata=self._metadata)
            return writes.create(self._key, content, metadata=self._metadata)
        except Occupied:
            raise already_exists_error(self._candidate.distribution.filename) from None
        except ObjectChanged:
            raise Unavailable("Another upload of this file is in progress. Retry in a moment.") from None

    def _write_large(self, *, overwrites: bool) -> StoredObject | None:
        changes, candidate = self._changes, self._candidate
        claim = Claim(candidate.sha256, candidate.size)
        upload = ClaimedUpload(changes.bucket, changes.writes, self._key, claim, self._metadata)
        if not overwrites and upload.take() is not None:
            return None
        with open(candidate.file.readable_path, "rb") as file:
            return upload.overwrite(file) if overwrites else upload.write(file)

    def _drop_old_spellings(self) -> None:
        """Remove equivalent spellings of the name, moving a yank to the new one."""
        changes = self._changes
        for key in (changes.key(entry.path) for entry in self._replaced):
            if key != self._key:
                if key + YANKED in changes.objects:
                    changes.bucket.copy(key + YANKED, self._key + YANKED)
                changes.delete([key + YANKED, key])


def complete(candidate: ObjectCandidate, changes: ObjectChanges) -> list[str]:
    """
    Complete a file that is there with the same bytes: an earlier upload may have died before it had.

    Returns:
        What was done, for the audit log.
    """
    done = []
    for entry in changes.inventory.equivalents_of(candidate.distribution)[:1]:
        if not changes.has_bytes(entry.path, candidate.sha256, candidate.size):
            continue
        key = changes.key(entry.path)
        signature = key + Sidecar.SIGNATURE.value
        if candidate.signature is not None and signature not in changes.objects:
            changes.writes.put(signature, candidate.signature)
            done.append("signature")
        if changes.inventory.is_recorded(entry):
            changes.forget([key])
            done.append("no longer a copy")
        if changes.revive(candidate.distribution):
            done.append("no longer deleted")
    return done


def format_mtime(nanoseconds: int) -> str:
    """Format a time as rclone does: seconds since the epoch with nine decimals."""
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"
