"""
The folder store without a reactor, for the console and for the threads of a server.

Blocking, but it never waits for a lock: `LockHeld` asks the caller to retry.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from twisted_index.backends.folder.inventory import InventoryReader
from twisted_index.backends.folder.markers import plan_delete, plan_status, plan_unyank, plan_yank
from twisted_index.backends.folder.publish import Publication, add_signature, find_replaced
from twisted_index.errors import Forbidden, SimpleIndexError, Unavailable
from twisted_index.files.locks import LockHeld, project_lock
from twisted_index.files.os_errors import translate_os_errors
from twisted_index.interfaces import AuditEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.backends.folder.inventory import Inventory
    from twisted_index.backends.folder.listing import ListingEntry
    from twisted_index.backends.folder.markers import Plan
    from twisted_index.backends.folder.publish import Candidate
    from twisted_index.simple.model import ProjectStatus

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds: how long another change may take, and the interval of retries.
LOCK_TIMEOUT, LOCK_RETRY_DELAY = 30.0, 0.02


def lock_timeout_error() -> Unavailable:
    """Make the error of having waited long enough."""
    return Unavailable("Another change of this project is running. Try again in a moment.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeResult:
    """
    What was changed.

    Attributes:
        names: Of the files.
        events: For the history.
    """

    names: tuple[str, ...]
    events: tuple[AuditEvent, ...]


class BlockingStore:
    """
    Changes what lies in the roots.

    Args:
        roots: Absolute paths, in order.
        overwrite: Patterns of versions whose files may get other bytes.
        routed_away: Says of a normalized name that what is published here would not be served, since
            its project comes from another place.
        index: The name of the index whose folders these are, for the history; empty for the only one.
        now: The time, aware, in UTC.

    Attributes:
        overwrite: As given; others hold from the next change on.
        routed_away: Likewise.
        index: As given.
    """

    def __init__(
        self,
        roots: Sequence[bytes],
        *,
        overwrite: Sequence[str] = (),
        routed_away: Callable[[str], bool] = lambda _project: False,
        index: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._reader = InventoryReader(roots)
        self.overwrite = tuple(overwrite)
        self.routed_away = routed_away
        self.index = index
        self._now = now

    @property
    def root(self) -> bytes:
        """The first root."""
        return self._reader.roots[0]

    def projects(self) -> list[str]:
        """Name all projects."""
        return self._reader.projects()

    def inventory(self, project: str) -> Inventory:
        """Say what there is for a project."""
        return self._reader.read(project)

    def is_published(self, candidate: Candidate) -> bool:
        """
        Apply the rules for the first time, before a file is looked at; they are applied again by `publish`.

        Returns:
            True if the very same bytes are there already.

        Raises:
            Conflict, Forbidden: It may not be published.
        """
        with translate_os_errors():
            holdings = self._reader.read(candidate.distribution.project)
            return self._find_replaced(candidate, holdings) is None

    def publish(self, candidate: Candidate) -> Publication | None:
        """
        Give a prepared file its name.

        Returns:
            None if the very same bytes are there already.

        Raises:
            Busy: Try again.
            Conflict, Forbidden, InsufficientStorage, Unavailable: See `IStore.publish`.
        """
        project = candidate.distribution.project
        with translate_os_errors(), project_lock(self.root, lambda: self._reader.folder_of(project)):
            holdings = self._reader.read(project)
            replaced = self._find_replaced(candidate, holdings)
            if replaced is None:
                return None
            publication = Publication(candidate, holdings, replaced)
            try:
                for step in publication.steps:
                    step()
            except (OSError, SimpleIndexError):
                # What a disk says that fails once more is not what the client should hear.
                with contextlib.suppress(OSError):
                    publication.withdraw()
                publication.close()
                raise
            return publication

    def _find_replaced(self, candidate: Candidate, holdings: Inventory) -> list[ListingEntry] | None:
        project = candidate.distribution.project
        if self.routed_away(project):
            raise Forbidden(
                f"This server's configuration says that {project} comes from another place, so a file that"
                " is uploaded here would not be served; publish it there, or have that rule changed."
            )
        return find_replaced(candidate, holdings, self.overwrite)

    def publish_event(self, candidate: Candidate, publication: Publication, *, by: str) -> AuditEvent:
        """Say for the history that a file was published."""
        action = "overwrite" if publication.overwrites else "upload"
        distribution = candidate.distribution
        detail = f"sha256={candidate.sha256}"
        return self._event(by, action, distribution.project, distribution.filename, detail)

    def sign(self, candidate: Candidate, *, by: str) -> ChangeResult:
        """Add the signature of a file that is there already without one; may raise Busy."""
        distribution = candidate.distribution
        with translate_os_errors(), project_lock(self.root):
            added = add_signature(candidate, self._reader.read(distribution.project))
        if not added:
            return ChangeResult(names=(), events=())
        event = self._event(by, "upload", distribution.project, distribution.filename, "signature")
        return ChangeResult(names=(distribution.filename,), events=(event,))

    def delete(self, project: str, filename: str, *, by: str, reason: str = "") -> ChangeResult:
        """See `IStore.delete`; may raise Busy."""
        when = self._now()
        return self._change(
            project,
            lambda holdings: plan_delete(holdings, filename, by=by, when=when, reason=reason),
            by,
            "delete",
            reason,
        )

    def yank(
        self, project: str, *, version: str | None = None, filename: str | None = None, reason: str, by: str
    ) -> ChangeResult:
        """See `IStore.yank`; may raise Busy."""
        return self._change(
            project,
            lambda holdings: plan_yank(holdings, version=version, filename=filename, reason=reason),
            by,
            "yank",
            reason,
        )

    def unyank(
        self, project: str, *, version: str | None = None, filename: str | None = None, by: str
    ) -> ChangeResult:
        """See `IStore.unyank`; may raise Busy."""
        return self._change(
            project, lambda holdings: plan_unyank(holdings, version=version, filename=filename), by, "unyank"
        )

    def set_status(self, project: str, status: ProjectStatus, *, by: str) -> ChangeResult:
        """See `IStore.set_status`; may raise Busy."""
        detail = f"{status.status.value}: {status.reason}" if status.reason else status.status.value
        self._change(project, lambda holdings: plan_status(holdings, status), by, "status", detail)
        return ChangeResult(names=(), events=(self._event(by, "status", project, "", detail),))

    def _change(
        self, project: str, plan: Callable[[Inventory], Plan], by: str, action: str, detail: str = ""
    ) -> ChangeResult:
        with translate_os_errors(), project_lock(self.root):
            planned = plan(self._reader.read(project))
            planned.carry_out()
        events = (self._event(by, action, project, name, detail) for name in planned.names)
        return ChangeResult(names=planned.names, events=tuple(events))

    def _event(self, by: str, action: str, project: str, filename: str, detail: str) -> AuditEvent:
        return AuditEvent(
            time=self._now(),
            by=by,
            action=action,
            project=project,
            filename=filename,
            detail=detail,
            index=self.index,
        )


def retry_while_locked(change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Try a change until it is its turn. Blocks; not for the threads of a server.

    Raises:
        Unavailable: Others have been at it for too long.
    """
    until = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            return change(*args, **kwargs)
        except LockHeld:
            if time.monotonic() > until:
                raise lock_timeout_error() from None
            time.sleep(LOCK_RETRY_DELAY)
