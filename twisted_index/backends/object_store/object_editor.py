"""Changes a bucket: the rules by a fresh listing, then the steps. Blocking, for threads and the console."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from twisted_index.backends.layout.change_result import ChangeResult
from twisted_index.backends.layout.publishing_rules import check_publishable, check_routed_here, named
from twisted_index.backends.layout.selection import select_shown
from twisted_index.backends.object_store import marks
from twisted_index.backends.object_store.conditions import Conditions, ConditionsProbe
from twisted_index.backends.object_store.object_changes import ObjectChanges
from twisted_index.backends.object_store.promotion import ObjectPromotion
from twisted_index.backends.object_store.publish import (
    ONE_REQUEST,
    ObjectPublication,
    complete,
    keep_found,
)
from twisted_index.backends.object_store.settled_writes import SettledWrites
from twisted_index.errors import Conflict, Forbidden, NotFound, Unavailable
from twisted_index.files.os_errors import translate_os_errors
from twisted_index.interfaces import AuditAction, AuditEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from twisted_index.backends.layout.candidate import Candidate
    from twisted_index.backends.layout.inventory import Inventory
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.backends.layout.promotion_record import PromotionRecord
    from twisted_index.backends.layout.promotion_rules import PromotionRules
    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.backends.object_store.history import BucketHistory
    from twisted_index.backends.object_store.object_reader import ObjectInventory
    from twisted_index.backends.object_store.promotion import ObjectPromotionRequest
    from twisted_index.backends.object_store.publish import PublishedObject
    from twisted_index.simple.model import ProjectStatus


T = TypeVar("T")

#: Looks at a project that other nodes change, and the seconds between them.
_TRIES = 5
_PAUSE = 0.1
#: Within so long after it was written, an upload that is repeated makes sure that the history has it.
_RECENT = timedelta(hours=1)
#: Seconds in which a server that is alive has recorded what it has written.
_RECORDING = 2.0
_UPLOADS = (AuditAction.UPLOAD, AuditAction.OVERWRITE)


class IProjectReader(Protocol):
    """Reads projects for a change."""

    def projects(self) -> list[str]:
        """Return the names of all projects by a fresh listing."""

    def read(self, project: str, *, again: bool = False, with_times: bool = False) -> ObjectInventory:
        """Read a project by a fresh listing, perhaps after a change."""

    def read_held(self, project: str) -> ObjectInventory | None:
        """Read a project by a listing that holds; None without one."""


class ObjectEditor:
    """
    Changes the projects of a bucket.

    Args:
        bucket: The bucket.
        reader: Reads projects.
        known_sha256: Returns the digest of an object if it is known.
        single_writer: Whether nothing else writes, so that the store need not keep conditions.
        overwrite: Patterns of versions whose files may be overwritten.
        keep_prereleases: How many pre-releases of a project to keep after an upload; None for all.
        min_free: See the attribute.
        routed_away: Returns True for a normalized name that is routed to another source, so that a file
            published here would not be served.
        index: The name of the index, for the audit log; empty for the only one.
        one_request: Bytes of a file that is written in one request.
        now: Returns the current time, aware, in UTC.
        conditions: Returns whether the store keeps conditions; by default that is tried once.
        history: Where all uploads are recorded; None does not look whether they are.
        pause: Waits for so many seconds.

    Attributes:
        min_free: Bytes that an upload has to leave free where it is received; may be replaced.
        overwrite: May be replaced; applies from the next change on.
        keep_prereleases: May be replaced; applies from the next upload on.
        routed_away: May be replaced; applies from the next change on.
        single_writer: Whether nothing else writes.
        one_request: May be replaced; applies from the next change on.
    """

    def __init__(
        self,
        bucket: Bucket,
        reader: IProjectReader,
        *,
        known_sha256: Callable[[StoredObject], str | None] = lambda _stored: None,
        single_writer: bool = False,
        overwrite: Sequence[str] = (),
        keep_prereleases: int | None = None,
        min_free: int = 0,
        routed_away: Callable[[str], bool] = lambda _project: False,
        index: str = "",
        one_request: int = ONE_REQUEST,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        conditions: Callable[[], Conditions] | None = None,
        history: BucketHistory | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bucket = bucket
        self._reader = reader
        self._known_sha256 = known_sha256
        self.single_writer = single_writer
        self.one_request = one_request
        self.overwrite = tuple(overwrite)
        self.keep_prereleases = keep_prereleases
        self.min_free = min_free
        self.routed_away = routed_away
        self.index = index
        self.now = now
        self._history = history
        self._pause = pause
        self._conditions = conditions or ConditionsProbe(bucket)

    @property
    def conditions(self) -> Conditions:
        """
        Whether the store keeps conditions.

        Raises:
            Unavailable: The store does not say.
        """
        return self._conditions()

    def _writes(self) -> SettledWrites:
        conditional = self.conditions is Conditions.KEPT
        if not conditional and not self.single_writer:
            raise Unavailable(
                "This object store does not keep conditions on writes, so that two servers could publish"
                " different files under one name. If only this server writes to the bucket, set"
                " single-writer = true in its configuration."
            )
        return SettledWrites(self._bucket, conditional=conditional)

    def _changes(self, project: str, *, again: bool = False) -> ObjectChanges:
        # Reading first: a bucket that is not there says so at a listing, and not at the first write.
        return self._changes_of(self._reader.read(project, again=again))

    def _changes_of(self, inventory: ObjectInventory) -> ObjectChanges:
        return ObjectChanges(
            self._bucket,
            self._writes(),
            inventory,
            inventory.objects,
            self._known_sha256,
            look=partial(self._changes, inventory.project, again=True),
        )

    def projects(self) -> list[str]:
        """Return the names of all projects."""
        return self._reader.projects()

    def inventory(self, project: str) -> ObjectInventory:
        """Read what the bucket has of a project."""
        with translate_os_errors():
            return self._reader.read(project, with_times=True)

    def publish(self, candidate: Candidate) -> PublishedObject | None:
        """
        Publish an inspected file.

        Returns:
            None if a file with the same bytes is already published.

        Raises:
            Conflict, Forbidden, Unavailable: See `IStore.publish`.
        """
        with translate_os_errors():
            if (published := self._publish_by_held(candidate)) is not None:
                return published
            for _try in range(_TRIES):
                changes = self._changes(candidate.distribution.project)
                replaced = self._find_replaced(candidate, changes)
                if replaced is None:
                    if self._is_kept(candidate, changes):
                        return None
                    self._pause(_PAUSE)
                elif (published := self._publish(candidate, changes, replaced)) is not None:
                    return published
        raise Unavailable("Other uploads of this file are in progress. Retry in a moment.")

    def _publish_by_held(self, candidate: Candidate) -> PublishedObject | None:
        """
        Publish a small file to which a listing that holds has no objection; None if a look has to decide.

        The condition of the write and the look after it find what that listing was without.
        """
        if self.single_writer or candidate.size > self.one_request:
            return None
        held = self._reader.read_held(candidate.distribution.project)
        if held is None:
            return None
        changes = self._changes_of(held)
        try:
            if self._find_replaced(candidate, changes) != []:
                return None
        except (Conflict, Forbidden):
            return None
        return self._publish(candidate, changes, [])

    def _is_kept(self, candidate: Candidate, changes: ObjectChanges) -> bool:
        """Return whether a file that is there with the same bytes stays there."""
        if self.single_writer:
            return True
        if not keep_found(candidate, changes, self.now()):
            return False
        return self._find_replaced(candidate, changes.look()) is None

    def _publish(
        self, candidate: Candidate, changes: ObjectChanges, replaced: list[ScannedFile]
    ) -> PublishedObject | None:
        """Publish a file that is not there; return None if another look has to say why that was in vain."""
        publication = ObjectPublication(
            candidate, changes, replaced, self.now(), self.one_request, self.single_writer
        )
        stored = publication.write()
        if stored is None:
            return None
        settled = publication.settle(partial(self._pause, _PAUSE))
        if settled is None:
            publication.withdraw()
            return None
        return publication.finish(stored, settled)

    def _find_replaced(self, candidate: Candidate, changes: ObjectChanges) -> list[ScannedFile] | None:
        check_routed_here(candidate.distribution.project, self.routed_away)
        return check_publishable(
            candidate,
            changes.inventory.line,
            self.overwrite,
            has_bytes=lambda entry: changes.has_bytes(entry.path, candidate.sha256, candidate.size),
        )

    def promotion(
        self, request: ObjectPromotionRequest, rules: PromotionRules, record: PromotionRecord | None = None
    ) -> ObjectPromotion:
        """Return a promotion into this bucket: that of an unfinished one of the same, or a new one."""
        if record is None:
            records = request.target.unfinished()
            record = next((record for record in records if request.is_of(record)), None)
        return ObjectPromotion(
            request,
            rules,
            self._writes(),
            self._changes,
            self._now_ns,
            record=record,
            one_request=self.one_request,
        )

    def _now_ns(self) -> int:
        now = self.now()
        return int(now.timestamp()) * 10**9 + now.microsecond * 1000

    def publish_event(
        self, candidate: Candidate, published: PublishedObject | None = None, *, by: str
    ) -> AuditEvent:
        """Make the audit event of a published file, or of one that an earlier upload has published."""
        action = "overwrite" if published is not None and published.overwrites else "upload"
        distribution = candidate.distribution
        return self._event(
            by, action, distribution.project, distribution.filename, f"sha256={candidate.sha256}"
        )

    def complete(self, candidate: Candidate, *, by: str) -> ChangeResult:
        """Complete a file that is there with the same bytes; see `publish.complete`."""
        project, filename = candidate.distribution.project, candidate.distribution.filename
        with translate_os_errors():
            changes = self._changes(project)
            done = complete(candidate, changes)
        events = [self._event(by, "upload", project, filename, detail) for detail in done]
        upload = self.publish_event(candidate, by=by)
        if self._lacks(upload, _written(candidate, changes)):
            events.append(upload)
        return ChangeResult(names=(filename,) * bool(done), events=tuple(events))

    def _lacks(self, upload: AuditEvent, written: datetime) -> bool:
        """
        Return whether the history lacks an upload: its server has died, or the store failed, before it had.

        Args:
            upload: The event that it would have.
            written: When the object was, by the store's clock.
        """
        if self._history is None or self.now() - written > _RECENT:
            return False
        since = written - _RECENT
        if self._history.has(upload, actions=_UPLOADS, since=since):
            return False
        # The upload that wrote it may be about to record it.
        self._pause(_RECORDING)
        return not self._history.has(upload, actions=_UPLOADS, since=since)

    def delete(self, project: str, filename: str, *, by: str, reason: str = "") -> ChangeResult:
        """See `IStore.delete`."""
        delete = partial(marks.delete, filename=filename, by=by, reason=reason, when=self.now())
        name = self._apply(project, delete, filename=filename)
        return self._changed(project, (name,), by, "delete", reason)

    def yank(
        self, project: str, *, version: str | None, filename: str | None, reason: str, by: str
    ) -> ChangeResult:
        """See `IStore.yank`."""
        yank = partial(marks.yank, version=version, filename=filename, reason=reason)
        names = self._apply(project, yank, version=version, filename=filename)
        return self._changed(project, names, by, "yank", reason)

    def unyank(self, project: str, *, version: str | None, filename: str | None, by: str) -> ChangeResult:
        """See `IStore.unyank`."""
        unyank = partial(marks.unyank, version=version, filename=filename)
        names = self._apply(project, unyank, version=version, filename=filename)
        return self._changed(project, names, by, "unyank")

    def set_status(self, project: str, status: ProjectStatus, *, by: str) -> ChangeResult:
        """See `IStore.set_status`."""
        self._apply(project, partial(marks.set_status, status=status))
        detail = f"{status.status.value}: {status.reason}" if status.reason else status.status.value
        return ChangeResult(names=(), events=(self._event(by, "status", project, "", detail),))

    def _apply(
        self,
        project: str,
        change: Callable[[ObjectChanges], T],
        *,
        version: str | None = None,
        filename: str | None = None,
    ) -> T:
        """
        Change what lies there.

        Raises:
            Conflict: What the change is about lies in an index that is inherited.
        """
        with translate_os_errors():
            changes = self._changes(project)
            try:
                return change(changes)
            except NotFound:
                owner = _owner_of(changes.inventory.line, version, filename)
                if owner is None:
                    raise
        raise Conflict(f"It lies in {named(owner)}, which {self.index or 'this one'} inherits; do it there.")

    def _changed(
        self, project: str, names: tuple[str, ...], by: str, action: str, detail: str = ""
    ) -> ChangeResult:
        event = partial(self._event, by, action, project, detail=detail)
        return ChangeResult(names=names, events=tuple(event(filename=name) for name in names))

    def _event(self, by: str, action: str, project: str, filename: str, detail: str) -> AuditEvent:
        return AuditEvent(
            time=self.now(),
            by=by,
            action=action,
            project=project,
            filename=filename,
            detail=detail,
            index=self.index,
        )


def _owner_of(line: Inventory, version: str | None, filename: str | None) -> str | None:
    """Return the inherited index that has a file, a release or a project; None if none has it."""
    entries: Iterable[ScannedFile] = line.scan.entries
    if version is not None or filename is not None:
        try:
            entries = select_shown(line, version, filename).values()
        except NotFound:
            return None
    return next((owner for entry in entries if (owner := line.owners.get(entry.root)) is not None), None)


def _written(candidate: Candidate, changes: ObjectChanges) -> datetime:
    """Return when a file was written that is there; long ago if it no longer is."""
    for entry in changes.inventory.equivalents_of(candidate.distribution)[:1]:
        return datetime.fromtimestamp(changes.objects[changes.key(entry.path)].modified_ns / 10**9, UTC)
    return datetime.fromtimestamp(0, UTC)
