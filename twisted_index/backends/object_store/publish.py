"""
Publishes a received file in a bucket: the ordered steps. Blocking.

There are no locks. A file of up to 16 MB is created in one request, which of several at once one does; larger
ones have claims. What has come between the look before and the write shows in a look after it: a status, a
tombstone, or the same file in another spelling. Then the file, which no client was answered for, goes again.
The process may die after any step: either the file is absent, or it is there and whole.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.layout.archive_facts import read_facts
from twisted_index.backends.layout.entries import YANKED
from twisted_index.backends.layout.publishing_rules import (
    BYTE_DEPENDENT,
    already_exists_error,
    check_deleted,
    check_status,
)
from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.claimed_upload import ClaimedUpload
from twisted_index.backends.object_store.claims import RUNNING, Claim, Decision, decide
from twisted_index.backends.object_store.project_listing import CLAIM
from twisted_index.backends.object_store.settled_writes import MTIME, SHA256, UPLOAD, Occupied
from twisted_index.errors import BadRequest, Conflict, Forbidden, Unavailable
from twisted_index.files.os_errors import translate_os_errors
from twisted_index.simple.core_metadata import BadArchive, UnreadableFile
from twisted_index.simple.model import Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from twisted_index.backends.layout.candidate import Candidate
    from twisted_index.backends.layout.facts import FileFacts
    from twisted_index.backends.layout.inventory import Inventory
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.backends.object_store.bucket import StoredObject
    from twisted_index.backends.object_store.listings import ProjectLook
    from twisted_index.backends.object_store.object_changes import ObjectChanges

#: Bytes of a file that is written in one request. Each of these is in memory.
ONE_REQUEST = 16 << 20
#: Looks of an upload that waits until others are withdrawn.
_LOOKS = 8


def inspect_received(candidate: Candidate) -> FileFacts:
    """
    Inspect a received archive from end to end with all its checksums, by the same rules as for listing it.

    Raises:
        BadRequest: The archive is invalid or contradicts its name.
        Unavailable: The file cannot be read.
    """
    file, distribution = candidate.file, candidate.distribution
    try:
        with translate_os_errors():
            file.allow_reading()
            with open(file.readable_path, "rb", buffering=0) as content:
                return read_facts(
                    content, distribution, verify_members=True, sha256=candidate.sha256, strict=True
                )
    except BadArchive as error:
        raise BadRequest(f"{distribution.filename}: {error.reason} {error.advice}") from error
    except UnreadableFile:
        raise Unavailable("The received file cannot be read back.") from None


class PublishedObject(NamedTuple):
    """
    A file that was published.

    Attributes:
        stored: Its object.
        overwrites: Whether it replaced another one.
        uploaded_ns: The time of the upload, as its metadata says, in nanoseconds since the epoch.
        look: The project as it was listed when all was written; None if it was not.
    """

    stored: StoredObject
    overwrites: bool
    uploaded_ns: int
    look: ProjectLook | None


class ObjectPublication:
    """
    The steps that publish a file.

    Args:
        candidate: The file.
        changes: Changes of its project, by a look before, or by what was held of it.
        replaced: Result of `check_publishable`.
        now: The time of the upload; aware.
        one_request: Bytes of a file that is written in one request.
        single_writer: Whether nothing else writes.
    """

    def __init__(
        self,
        candidate: Candidate,
        changes: ObjectChanges,
        replaced: Sequence[ScannedFile],
        now: datetime,
        one_request: int,
        single_writer: bool,
    ) -> None:
        self._candidate = candidate
        self._changes = changes
        self._replaced = {key: changes.objects[key] for key in (changes.key(each.path) for each in replaced)}
        self._one_request = one_request
        folder = replaced[0].folder if replaced else changes.inventory.target
        self._key = changes.key_in(folder, candidate.distribution.filename)
        self._is_in_place = self._key in self._replaced
        self._is_own = True
        self._has_looked = changes.inventory.look is not None
        # What is written over another file cannot be taken back. Tombstones go where the file was listed.
        self._looks_again = not (single_writer or self._is_in_place) or changes.inventory.was_deleted(
            candidate.distribution
        )
        self._uploaded_ns = int(now.timestamp()) * 10**9 + now.microsecond * 1000
        self._metadata = {
            SHA256: candidate.sha256,
            MTIME: format_mtime(self._uploaded_ns),
            UPLOAD: secrets.token_hex(8),
        }

    def write(self) -> StoredObject | None:
        """
        Write the file.

        Returns:
            None if it was not written: the same bytes have come there meanwhile, it may not come any more, or
            what was held did not show that the name is taken.

        Raises:
            Conflict: Another file has taken the name meanwhile.
            Unavailable: It is not known whether the file was written.
        """
        if self._is_in_place:
            # They are of the old bytes.
            self._changes.delete(self._key + suffix for suffix in BYTE_DEPENDENT)
        self._changes.forget(self._key + suffix for suffix in ("", *BYTE_DEPENDENT))
        if self._candidate.size > self._one_request:
            return self._write_large()
        return self._write_small()

    def _write_small(self) -> StoredObject | None:
        with open(self._candidate.file.readable_path, "rb") as file:
            content = file.read()
        if len(content) != self._candidate.size:
            raise Unavailable("The file on disk differs from what was received.")
        writes = self._changes.writes
        try:
            if not self._is_in_place:
                return writes.create(self._key, content, metadata=self._metadata)
            self._changes.delete([self._key + CLAIM])
            old = self._replaced[self._key]
            return writes.replace(self._key, content, etag=old.etag, metadata=self._metadata)
        except Occupied:
            if not self._has_looked:
                return None
            raise already_exists_error(self._candidate.distribution.filename) from None
        except ObjectChanged:
            raise Unavailable("Another upload of this file is in progress. Retry in a moment.") from None

    def _write_large(self) -> StoredObject | None:
        changes, claim = self._changes, self._claim
        upload = ClaimedUpload(
            changes.bucket,
            changes.writes,
            self._key,
            claim,
            self._metadata,
            self._uploaded_ns,
            lambda: self.may_stay(self._changes.look()),
        )
        with open(self._candidate.file.readable_path, "rb") as file:
            if self._is_in_place:
                return upload.overwrite(file, changes.objects.get(self._key + CLAIM))
            if upload.take() is not None:
                return None
            self._is_own = upload.is_owner
            stored = upload.write(file)
            if stored is None:
                self.withdraw()
            return stored

    @property
    def _claim(self) -> Claim:
        return Claim(self._candidate.sha256, self._candidate.size)

    def may_stay(self, now: ObjectChanges) -> bool:
        """Return whether a look after the file was written shows nothing that has forbidden it before."""
        return is_open(now.inventory, self._candidate) and not self._rivals(now)

    def _rivals(self, now: ObjectChanges) -> list[str]:
        """Return the keys of files, in other spellings, that were uploaded at the same time."""
        others = now.inventory.equivalents_of(self._candidate.distribution)
        return [
            key
            for entry in others
            if (key := now.key(entry.path)) != self._key and self._replaced.get(key) != now.objects[key]
        ]

    def settle(self, pause: Callable[[], None]) -> ObjectChanges | None:
        """
        Look whether the file may stay, after it was written.

        Of several spellings that are written at once each upload sees the others, or has been first. Of those
        that see each other one waits until the others are withdrawn. Without a look before, what it sees may
        have been there for a while, so that none waits.

        Args:
            pause: Waits a moment.

        Returns:
            What the last look has shown; None if it has to be withdrawn.

        Raises:
            Unavailable: The bucket does not answer.
        """
        if not self._looks_again:
            return self._changes
        if not self._is_own and not self._decide(Decision.KEPT):
            # Another upload of these bytes has begun it, and takes it back.
            return None
        for _look in range(_LOOKS):
            now = self._changes.look()
            if not is_open(now.inventory, self._candidate):
                return None
            rivals = self._rivals(now)
            if not rivals:
                return now
            if self._key > min(rivals) or not self._has_looked:
                return None
            pause()
        return None

    def withdraw(self) -> None:
        """Take back what was written, unless it was decided that it stays, or another upload will do that."""
        if not self._is_in_place and self._is_own and self._decide(Decision.WITHDRAWN):
            for key in (self._key, self._key + CLAIM):
                self._changes.writes.delete(key)

    def _decide(self, decision: Decision) -> bool:
        changes = self._changes
        return decide(changes.bucket, changes.writes, self._key, self._claim, decision)

    def finish(self, stored: StoredObject, now: ObjectChanges) -> PublishedObject:
        """
        Carry out the steps after which the file is complete, once it stays.

        Args:
            stored: The file.
            now: What the last look has shown.

        Raises:
            Unavailable: It is not known whether all were carried out.
        """
        self._drop_old_spellings(now)
        signature = self._candidate.signature
        if signature is not None:
            now.writes.put(self._key + Sidecar.SIGNATURE.value, signature)
        is_revived = now.revive(self._candidate.distribution, self._key)
        was_all = self._looks_again and not (self._replaced or signature is not None or is_revived)
        look = now.inventory.look if was_all else None
        return PublishedObject(stored, bool(self._replaced), self._uploaded_ns, look)

    def _drop_old_spellings(self, now: ObjectChanges) -> None:
        """Remove equivalent spellings of the name, moving a yank to the new one."""
        for key in self._replaced:
            if key != self._key:
                if key + YANKED in now.objects:
                    now.bucket.copy(key + YANKED, self._key + YANKED)
                now.delete([*(key + suffix for suffix in (*BYTE_DEPENDENT, CLAIM, YANKED)), key])
                now.forget(key + suffix for suffix in ("", *BYTE_DEPENDENT))


def is_open(inventory: Inventory, candidate: Candidate) -> bool:
    """Return whether a project accepts files, and the name of this one was not deleted."""
    try:
        check_status(inventory)
        check_deleted(
            candidate.distribution.filename, inventory.tombstones_of(candidate.distribution), candidate.sha256
        )
    except (Conflict, Forbidden):
        return False
    return True


def keep_found(candidate: Candidate, changes: ObjectChanges, now: datetime) -> bool:
    """
    Let a file stay that a look has found with the bytes of a candidate, before an upload is answered for it.

    The upload that has written it may still be looking whether it has to be withdrawn.

    Args:
        candidate: The file.
        changes: Changes of its project, by that look.
        now: The time; aware.

    Returns:
        Whether it stays, if it is there after this.

    Raises:
        Unavailable: It is not known.
    """
    found, *rivals = changes.inventory.equivalents_of(candidate.distribution)
    key = changes.key(found.path)
    if changes.objects[key].modified_ns < (now - RUNNING).timestamp() * 1e9:
        return True
    claim = Claim(candidate.sha256, candidate.size)
    return not rivals and decide(changes.bucket, changes.writes, key, claim, Decision.KEPT)


def complete(candidate: Candidate, changes: ObjectChanges) -> list[str]:
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
        if changes.revive(candidate.distribution, key):
            done.append("no longer deleted")
    return done


def format_mtime(nanoseconds: int) -> str:
    """Format a time as rclone does: seconds since the epoch with nine decimals."""
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"
