"""
Promotion between indexes in a bucket: releases of several projects come into one in one step. Blocking.

Files are copied to their places, hidden by the list of the promotion, and when the list goes, all of them are
there; see `staged_objects`. Small files are read, checked and created; large ones are copied in the store,
after a claim has taken their names, and read back.

Each step can be repeated, by any node: what was cut off is completed by the same request.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twisted_index.backends.layout.promotion_record import (
    PromotionRecord,
    PromotionResult,
    StagedFile,
    new_id,
)
from twisted_index.backends.layout.promotion_rules import PromotionPlan, PromotionRules
from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.bucket_view import can_copy, copy_object
from twisted_index.backends.object_store.claimed_upload import ClaimedUpload
from twisted_index.backends.object_store.claims import MAX_CLAIM, Claim, Decision
from twisted_index.backends.object_store.project_listing import CLAIM
from twisted_index.backends.object_store.publish import ONE_REQUEST, format_mtime
from twisted_index.backends.object_store.settled_writes import MTIME, SHA256, UPLOAD, Occupied
from twisted_index.backends.object_store.staged_objects import (
    key_of_list,
    key_of_marker,
    key_of_record,
    read_list,
)
from twisted_index.errors import Conflict, PromotionRefused, RefusedPart
from twisted_index.simple.archives.limits import MAX_DOCUMENT
from twisted_index.simple.names import parse_filename

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.backends.layout.facts import FileFacts
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.backends.layout.promotion_rules import PlannedFile
    from twisted_index.backends.object_store.bucket import StoredObject
    from twisted_index.backends.object_store.object_changes import ObjectChanges
    from twisted_index.backends.object_store.promotion_place import ObjectPlace
    from twisted_index.backends.object_store.settled_writes import SettledWrites


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPromotionRequest:
    """
    What is wanted.

    Attributes:
        source: Where the releases are; only what is its own is promoted.
        target: Where they shall be.
        releases: As `PROJECT==VERSION`, the project normalized.
        by: For the audit log.
        yanked: Whether yanked files come along, with their yanks.
    """

    source: ObjectPlace
    target: ObjectPlace
    releases: tuple[str, ...]
    by: str
    yanked: bool = False

    def facts_of(self, entry: ScannedFile) -> FileFacts | None:
        """Return what is known of a file of either index."""
        return self.source.facts_of(entry) or self.target.facts_of(entry)

    def is_of(self, record: PromotionRecord) -> bool:
        """Return whether an unfinished promotion does just this."""
        return (record.source, record.target, record.releases, record.yanked) == (
            self.source.name,
            self.target.name,
            self.releases,
            self.yanked,
        )


class ObjectPromotion:
    """
    One promotion, in steps.

    They are called in this order, in any threads: `examine`, `begin`, `mark`, `place` with each file,
    `confirm`, `copy` with each file, `show`, `finish`. With the record of one that was cut off, the first two
    are left out.

    Args:
        request: What is wanted.
        rules: The rules that its releases are held against.
        writes: Writes to the bucket of the target.
        changes_of: Reads a project there for a change.
        now_ns: Returns the time in nanoseconds since 1970.
        record: What an unfinished promotion has written down; None for a new one.
        one_request: Bytes of a file that is written in one request.

    Attributes:
        record: What it has written down, once it has begun.
    """

    def __init__(
        self,
        request: ObjectPromotionRequest,
        rules: PromotionRules,
        writes: SettledWrites,
        changes_of: Callable[[str], ObjectChanges],
        now_ns: Callable[[], int],
        *,
        record: PromotionRecord | None = None,
        one_request: int = ONE_REQUEST,
    ) -> None:
        self._request = request
        self._rules = rules
        self._writes = writes
        self._changes_of = changes_of
        self._now_ns = now_ns
        self._one_request = one_request
        self._source = request.source.bucket
        self._target = request.target.bucket
        self._plan = PromotionPlan()
        self.record = record

    @property
    def new(self) -> list[PlannedFile]:
        """The files that are new in the target."""
        return [planned for planned in self._plan.files if not planned.is_there]

    @property
    def result(self) -> PromotionResult:
        """What it has done."""
        present = tuple(planned.name for planned in self._plan.files if planned.is_there)
        if self.record is None:
            return PromotionResult(id=new_id(), present=present)
        return PromotionResult(id=self.record.id, published=self.record.files, present=present)

    @property
    def planned(self) -> PromotionResult:
        """What it would do, once it was examined; an unfinished one goes on with what it has written down."""
        if self.record is not None:
            return self.result
        return replace(self.result, published=tuple(map(self._staged_file, self.new)))

    def examine(self) -> None:
        """
        Hold all files of all releases against all rules.

        Raises:
            PromotionRefused: Something is in the way.
            Unavailable: The bucket does not answer.
        """
        self._plan = self._rules.run()
        if not can_copy(self._source, self._target):
            # Said before any name is taken: repeating the promotion would never complete it.
            large = (planned for planned in self.new if planned.entry.key.size > self._one_request)
            self._plan.refusals += [RefusedPart(name=planned.name, reason=_TOO_LARGE) for planned in large]
        self._plan.check()

    def begin(self) -> PromotionRecord:
        """
        Write down what is promoted: its list first, which hides it, then the record.

        Raises:
            Unavailable: It was not written, or that is not known.
        """
        request, promotion = self._request, new_id()
        record = PromotionRecord(
            id=promotion,
            source=request.source.name,
            target=request.target.name,
            releases=request.releases,
            by=request.by,
            yanked=request.yanked,
            moment=self._now_ns(),
            files=tuple(map(self._staged_file, self.new)),
        )
        names = "".join(f"{name}\n" for file in record.files for name in file.names)
        self._writes.put(key_of_list(promotion), names.encode())
        self._writes.put(key_of_record(promotion), record.to_bytes())
        self.record = record
        return record

    def _staged_file(self, planned: PlannedFile) -> StagedFile:
        facts, entry = planned.facts, planned.entry
        folder = os.path.relpath(planned.folder, self._request.target.path)
        origin = b"" if entry.folder == entry.root else os.path.relpath(entry.folder, entry.root)
        return StagedFile(
            project=planned.project,
            name=planned.name,
            sha256=facts.sha256,
            size=entry.key.size,
            metadata_sha256=facts.metadata_sha256,
            requires_python=facts.requires_python,
            folder=os.fsdecode(folder),
            sidecars=tuple(planned.sidecars),
            deleted=tuple(line.decode() for line in planned.deleted),
            origin=os.fsdecode(origin),
        )

    @property
    def is_shown(self) -> bool:
        """Whether all files of the record are there to be seen."""
        return read_list(self._target, self._begun().id) is None

    def mark(self) -> None:
        """Let those that list the folders of its files look for its list."""
        record = self._begun()
        for folder in sorted({file.folder for file in record.files}):
            self._writes.put(key_of_marker(folder, record.id), b"")

    # -- Each file

    def place(self, file: StagedFile) -> StoredObject | None:
        """
        Give a file its name, still hidden; of a large one no more than that.

        Returns:
            The object of a small file, if it was not there.

        Raises:
            PromotionRefused: Another file has taken its name, or it has changed. Nothing was promoted.
            Conflict: The promotion was completed, or taken back, by another node.
            Unavailable: It was not placed, or that is not known: to be repeated.
        """
        self._require_hidden()
        try:
            for suffix in file.sidecars:
                self._place_sidecar(file, suffix)
            if file.size > self._one_request:
                self._upload(file).take()
                return None
            return self._place_small(file)
        except (Occupied, Conflict) as error:
            reason = error.message if isinstance(error, Conflict) else _TAKEN
            self.undo()
            raise PromotionRefused([RefusedPart(name=file.name, reason=reason)]) from None

    def _place_sidecar(self, file: StagedFile, suffix: str) -> None:
        try:
            found = self._source.read(_origin(file) + suffix, limit=MAX_DOCUMENT)
        except ObjectChanged:
            raise Conflict(_CHANGED) from None
        if found is None:
            raise Conflict(_CHANGED)
        self._writes.create(_key(file) + suffix, found.content, metadata=self._metadata(file))

    def _place_small(self, file: StagedFile) -> StoredObject | None:
        try:
            found = self._source.read(_origin(file), limit=file.size)
        except ObjectChanged:
            raise Conflict(_CHANGED) from None
        if found is None or hashlib.sha256(found.content).hexdigest() != file.sha256:
            raise Conflict(_CHANGED)
        return self._writes.create(_key(file), found.content, metadata=self._metadata(file))

    def confirm(self) -> None:
        """
        Hold everything against the rules once more, now that all names are taken.

        Raises:
            PromotionRefused: Something has come in the way. Nothing was promoted.
            Conflict: So it has, and another node had completed the promotion before, or taken it back.
        """
        self._request.target.own = self._begun().id
        plan = self._rules.run()
        if plan.refusals:
            self.undo()
        plan.check()

    def copy(self, file: StagedFile) -> None:
        """
        Copy a large file under the name that it has, still hidden.

        Raises:
            Conflict, Unavailable: See `place`; it was not placed.
        """
        if file.size <= self._one_request:
            return
        self._require_hidden()
        upload = self._upload(file)
        if upload.take() is None:
            upload.copy(lambda: copy_object(self._source, _origin(file), self._target, _key(file)))

    def _upload(self, file: StagedFile) -> ClaimedUpload:
        claim = Claim(file.sha256, file.size)
        return ClaimedUpload(
            self._target, self._writes, _key(file), claim, self._metadata(file), self._now_ns()
        )

    def _metadata(self, file: StagedFile) -> dict[str, str]:
        record = self._begun()
        return {SHA256: file.sha256, MTIME: format_mtime(record.moment or 0), UPLOAD: record.id}

    # -- All of them

    def show(self) -> None:
        """
        Show all files of all releases: this one step is the last that can fail.

        Raises:
            Conflict, Unavailable: See `place`.
        """
        self._require_hidden()
        record = self._begun()
        for file in record.files:
            if file.deleted:
                distribution = parse_filename(file.name, file.project)
                self._changes_of(file.project).revive(distribution, _key(file))
        self._writes.delete(key_of_list(record.id))

    def finish(self) -> None:
        """Remove what was written down, once the audit log has it; the record last."""
        record = self._begun()
        for folder in sorted({file.folder for file in record.files}):
            self._writes.delete(key_of_marker(folder, record.id))
        self._writes.delete(key_of_record(record.id))

    def undo(self) -> None:
        """
        Remove what was placed, before any of it was shown; the list goes last.

        Raises:
            Conflict: See `place`: what another node has shown stays.
            Unavailable: Not all of it was removed, or that is not known.
        """
        self._require_hidden()
        record = self._begun()
        for file in record.files:
            for name in reversed(file.names):
                self._take_back(f"{file.folder}/{name}")
        self.finish()
        self._writes.delete(key_of_list(record.id))

    def _take_back(self, key: str) -> None:
        """Remove an object that this promotion has placed, and no other that has its name."""
        try:
            found = self._target.read(key, limit=self._one_request)
        except ObjectChanged:
            found = None
        if found is None:
            # A large file, which has the metadata of what it was copied from, or a name not taken yet: the
            # claim says whose it is.
            if self._has_claim(key):
                self._writes.delete(key)
                self._writes.delete(key + CLAIM)
        elif found.metadata.get(UPLOAD) == self._begun().id:
            self._writes.delete(key)
            if not found.content:
                self._writes.delete(key + CLAIM)

    def _has_claim(self, key: str) -> bool:
        """Return whether the claim of a file is this promotion's, and no upload was answered for the file."""
        try:
            found = self._target.read(key + CLAIM, limit=MAX_CLAIM)
        except ObjectChanged:
            return False
        if found is None or found.metadata.get(UPLOAD) != self._begun().id:
            return False
        claim = Claim.parse(found.content)
        return claim is None or claim.decision is not Decision.KEPT

    def _require_hidden(self) -> None:
        if self.is_shown:
            raise Conflict(
                f"The promotion {self._begun().id} was completed or taken back meanwhile."
                " Look, and repeat it."
            )

    def _begun(self) -> PromotionRecord:
        assert self.record is not None
        return self.record


def _key(file: StagedFile) -> str:
    return f"{file.folder}/{file.name}"


def _origin(file: StagedFile) -> str:
    return f"{file.origin}/{file.name}" if file.origin else file.name


_CHANGED = "It was changed or removed while it was promoted; promote it again."
_TOO_LARGE = "It is too large to be promoted from another bucket; upload it there."
_TAKEN = "Other bytes have taken its name meanwhile."
