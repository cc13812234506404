"""
The folder store without a reactor, for the console and for the threads of a server.

Blocking, but it never waits for a lock: `LockHeld` asks the caller to retry.
"""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from twisted_index.backends.folder.inventory import InventoryReader
from twisted_index.backends.folder.markers import (
    plan_delete,
    plan_status,
    plan_unyank,
    plan_yank,
)
from twisted_index.backends.folder.publish import Publication, add_signature, has_bytes, own_copies, revive
from twisted_index.backends.folder.root_set import owners_by_root
from twisted_index.backends.folder.snapshots import held_names
from twisted_index.backends.layout.change_result import ChangeResult
from twisted_index.backends.layout.publishing_rules import check_publishable, check_routed_here, named
from twisted_index.backends.layout.selection import find_equivalents
from twisted_index.errors import Conflict, NotFound, SimpleIndexError, Unavailable
from twisted_index.files.locks import LockHeld, project_lock
from twisted_index.files.os_errors import translate_os_errors
from twisted_index.files.safe_open import sha256_of
from twisted_index.interfaces import AuditEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.backends.folder.inventory import FolderInventory
    from twisted_index.backends.folder.markers import Plan
    from twisted_index.backends.layout.candidate import Candidate
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.interfaces import Draft
    from twisted_index.simple.model import ProjectStatus

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds: how long to wait for another change, and the retry interval.
LOCK_TIMEOUT, LOCK_RETRY_DELAY = 30.0, 0.02


def lock_timeout_error() -> Unavailable:
    """Return the error for a lock that stayed held until the time-out."""
    return Unavailable("Another change to this project is in progress. Retry in a moment.")


class BlockingStore:
    """
    Changes files in the roots.

    Args:
        roots: Absolute paths, in order; new files go into the first.
        owners: For each root the index that it belongs to, or None for this one; by default None for all.
            Roots of other indexes are looked at when publishing, and never changed.
        overwrite: Patterns of versions whose files may be overwritten.
        keep_deleted: Seconds for which deleted files are kept out of sight, for views of the past.
        keep_prereleases: How many pre-releases of a project to keep after an upload; None for all.
        min_free: See the attribute.
        routed_away: Returns True for a normalized name that is routed to another source, so that a file
            published here would not be served.
        index: The name of the index that serves these folders, for the audit log; empty for the only one.
        draft: The draft that the first root is; None for an index that is public.
        now: Returns the current time, aware, in UTC.

    Attributes:
        min_free: Bytes that an upload has to leave on the file system of the first root; may be replaced.
        overwrite: May be replaced; applies from the next change on.
        keep_deleted: May be replaced; applies from the next deletion on.
        keep_prereleases: May be replaced; applies from the next upload on.
        routed_away: May be replaced; applies from the next change on.
    """

    def __init__(
        self,
        roots: Sequence[bytes],
        *,
        owners: Sequence[str | None] = (),
        overwrite: Sequence[str] = (),
        keep_deleted: float = 0.0,
        keep_prereleases: int | None = None,
        min_free: int = 0,
        routed_away: Callable[[str], bool] = lambda _project: False,
        index: str = "",
        draft: Draft | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._owners = owners_by_root(roots, owners or (None,) * len(roots))
        self._reader = InventoryReader(roots, owners=self._owners)
        own = [root for root in roots if root not in self._owners]
        # What is not to be seen yet takes its names, and is not changed.
        self._own_reader = InventoryReader(own, shown_only=True)
        self.min_free = min_free
        self.overwrite = tuple(overwrite)
        self.keep_deleted = keep_deleted
        self.keep_prereleases = keep_prereleases
        self.routed_away = routed_away
        self.index = index
        self.draft = draft
        self.now = now

    @property
    def root(self) -> bytes:
        """The first root."""
        return self._reader.roots[0]

    @property
    def own_roots(self) -> Sequence[bytes]:
        """The roots that it changes."""
        return self._own_reader.roots

    def projects(self) -> list[str]:
        """Return the names of all projects of this index itself."""
        return self._own_reader.projects()

    def inventory(self, project: str) -> FolderInventory:
        """Read what this index itself has of a project."""
        return self._own_reader.read(project)

    def is_published(self, candidate: Candidate) -> bool:
        """
        Check the publishing rules before the file is inspected; `publish` checks them again under the lock.

        Returns:
            True if a file with the same bytes is already published.

        Raises:
            Conflict, Forbidden: The file may not be published.
        """
        with translate_os_errors():
            inventory = self._reader.read(candidate.distribution.project)
            return self._find_replaced(candidate, inventory) is None

    def publish(self, candidate: Candidate) -> Publication | None:
        """
        Link a prepared file under its name.

        Returns:
            None if a file with the same bytes is already published.

        Raises:
            LockHeld: Another change of this project is running.
            Conflict, Forbidden, InsufficientStorage, Unavailable: See `IStore.publish`.
        """
        project = candidate.distribution.project
        with translate_os_errors(), project_lock(self.root, lambda: self._reader.folder_of(project)):
            inventory = self._reader.read(project)
            replaced = self._find_replaced(candidate, inventory)
            if replaced is None:
                return None
            publication = Publication(candidate, inventory, replaced)
            try:
                for step in publication.steps:
                    step()
            except (OSError, SimpleIndexError):
                # Report the first error, not one from the clean-up.
                with contextlib.suppress(OSError):
                    publication.withdraw()
                publication.close()
                raise
            return publication

    def _find_replaced(self, candidate: Candidate, inventory: FolderInventory) -> list[ScannedFile] | None:
        check_routed_here(candidate.distribution.project, self.routed_away)
        return check_publishable(
            candidate, inventory, self.overwrite, has_bytes=lambda entry: has_bytes(entry, candidate)
        )

    def publish_event(self, candidate: Candidate, publication: Publication, *, by: str) -> AuditEvent:
        """Make the audit event of a published file."""
        action = "overwrite" if publication.overwrites else "upload"
        distribution = candidate.distribution
        detail = f"sha256={candidate.sha256}"
        return self._event(by, action, distribution.project, distribution.filename, detail)

    def complete(self, candidate: Candidate, *, by: str) -> ChangeResult:
        """
        Complete a file that is there with the same bytes; may raise LockHeld.

        Its signature is added if it has none. If it is recorded as a copy, it no longer is one; nor is it
        deleted if an upload that brought it back died before it said so.
        """
        distribution = candidate.distribution
        project = distribution.project
        done = []
        with translate_os_errors(), project_lock(self.root, lambda: self._reader.folder_of(project)):
            inventory = self._reader.read(project)
            if add_signature(candidate, inventory):
                done.append("signature")
            for step in own_copies(candidate, inventory):
                step()
                done.append("no longer a copy")
            for step in revive(candidate, inventory):
                step()
                done.append("no longer deleted")
        events = (self._event(by, "upload", project, distribution.filename, detail) for detail in done)
        return ChangeResult(names=(distribution.filename,) * bool(done), events=tuple(events))

    def delete(
        self,
        project: str,
        filename: str,
        *,
        by: str,
        reason: str = "",
        digest_of: Callable[[ScannedFile], str | None] = lambda _entry: None,
    ) -> ChangeResult:
        """See `IStore.delete`; `digest_of` returns what is known of a file. May raise LockHeld."""
        when = self.now()
        # Before the lock: the digest of a large file takes seconds.
        known = self._digests(project, filename, digest_of)
        return self._change(
            project,
            lambda inventory: plan_delete(
                inventory,
                filename,
                by=by,
                when=when,
                reason=reason,
                digest_of=known.get,
                keeps=self._keeps,
                # In a draft nothing is published, so that no name is taken for ever.
                remembers=self.draft is None,
            ),
            by,
            "delete",
            reason,
        )

    def _keeps(self, entry: ScannedFile) -> bool:
        """Return whether a deleted file is moved out of sight: for views of the past, or for a snapshot."""
        return self.keep_deleted > 0 or bool(held_names(self._own_reader.roots, entry.root, {entry.name}))

    def _digests(
        self, project: str, filename: str, digest_of: Callable[[ScannedFile], str | None]
    ) -> dict[ScannedFile, str]:
        """Return the digests of the files that installers treat as one, by which they may return."""
        with translate_os_errors():
            entries = find_equivalents(self._reader.read(project), filename)
            digests = {entry: digest_of(entry) or sha256_of(entry.path) for entry in entries}
        return {entry: digest for entry, digest in digests.items() if digest is not None}

    def yank(
        self, project: str, *, version: str | None = None, filename: str | None = None, reason: str, by: str
    ) -> ChangeResult:
        """See `IStore.yank`; may raise LockHeld."""
        return self._change(
            project,
            lambda inventory: plan_yank(inventory, version=version, filename=filename, reason=reason),
            by,
            "yank",
            reason,
        )

    def unyank(
        self, project: str, *, version: str | None = None, filename: str | None = None, by: str
    ) -> ChangeResult:
        """See `IStore.unyank`; may raise LockHeld."""
        return self._change(
            project,
            lambda inventory: plan_unyank(inventory, version=version, filename=filename),
            by,
            "unyank",
        )

    def set_status(self, project: str, status: ProjectStatus, *, by: str) -> ChangeResult:
        """See `IStore.set_status`; may raise LockHeld."""
        detail = f"{status.status.value}: {status.reason}" if status.reason else status.status.value
        self._change(project, lambda inventory: plan_status(inventory, status), by, "status", detail)
        return ChangeResult(names=(), events=(self._event(by, "status", project, "", detail),))

    def _change(
        self, project: str, plan: Callable[[FolderInventory], Plan], by: str, action: str, detail: str = ""
    ) -> ChangeResult:
        with translate_os_errors(), project_lock(self.root):
            try:
                planned = plan(self._own_reader.read(project))
            except NotFound:
                self._check_not_inherited(project, plan)
                raise
            planned.carry_out()
        events = (self._event(by, action, project, name, detail) for name in planned.names)
        return ChangeResult(names=planned.names, events=tuple(events))

    def _check_not_inherited(self, project: str, plan: Callable[[FolderInventory], Plan]) -> None:
        """
        Check that no other index has what a change is about.

        Raises:
            Conflict: One has it.
        """
        for root, owner in self._owners.items():
            inventory = InventoryReader([root], shown_only=True).read(project)
            try:
                plan(inventory)
            except NotFound:
                continue
            except SimpleIndexError:
                # It is there, though it could not be changed.
                pass
            raise Conflict(f"It lies in {named(owner)}, which {self._shown} inherits; do it there.")

    @property
    def _shown(self) -> str:
        return self.draft.shown if self.draft is not None else self.index or "this one"

    def draft_event(self, action: str, draft: Draft, *, by: str, reason: str = "") -> AuditEvent:
        """Make the audit event of a draft; its token is not known here."""
        return self._event(by, action, "", "", f"{draft.name}: {reason}" if reason else draft.name)

    def _event(self, by: str, action: str, project: str, filename: str, detail: str) -> AuditEvent:
        if self.draft is not None:
            detail = f"{detail} in {self.draft.shown}".lstrip()
        return AuditEvent(
            time=self.now(),
            by=by,
            action=action,
            project=project,
            filename=filename,
            detail=detail,
            index=self.index,
        )


def retry_while_locked(change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Run a change, retrying while the lock is held. Blocks; not for the threads of a server.

    Raises:
        Unavailable: The lock stayed held for LOCK_TIMEOUT seconds.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            return change(*args, **kwargs)
        except LockHeld:
            if time.monotonic() > deadline:
                raise lock_timeout_error() from None
            time.sleep(LOCK_RETRY_DELAY)
