"""
Changes of the roots without a reactor: for the console, and in the threads of a server.

Blocking, except that nothing here waits for others who change the same: `Busy` says to try again.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from twisted_index.errors import Forbidden, SimpleIndexError, Unavailable
from twisted_index.interfaces import Event
from twisted_index.store.faults import telling
from twisted_index.store.holdings import HoldingsReader
from twisted_index.store.locking import Busy, holding
from twisted_index.store.marks import plan_delete, plan_status, plan_unyank, plan_yank
from twisted_index.store.publish import Publication, add_signature, find_replaced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.simple.model import ProjectStatus
    from twisted_index.sources.listing import Entry
    from twisted_index.store.holdings import Holdings
    from twisted_index.store.marks import Plan
    from twisted_index.store.publish import Candidate

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds: how long somebody else may take, and how often it is looked whether they are done.
PATIENCE, PAUSE = 30.0, 0.02


def too_busy() -> Unavailable:
    """Make the error of having waited long enough."""
    return Unavailable("Somebody else is changing this project. Ask again in a moment.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """
    What was changed.

    Attributes:
        names: Of the files.
        events: For the history.
    """

    names: tuple[str, ...]
    events: tuple[Event, ...]


class Editor:
    """
    Changes what lies in the roots.

    Args:
        roots: Absolute paths, in order.
        overwrite: Patterns of versions whose files may get other bytes.
        elsewhere: Says of a normalized name that what is published here would not be served, since
            its project comes from another place.
        now: The time, aware, in UTC.

    Attributes:
        overwrite: As given; others hold from the next change on.
        elsewhere: Likewise.
    """

    def __init__(
        self,
        roots: Sequence[bytes],
        *,
        overwrite: Sequence[str] = (),
        elsewhere: Callable[[str], bool] = lambda _project: False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._reader = HoldingsReader(roots)
        self.overwrite = tuple(overwrite)
        self.elsewhere = elsewhere
        self._now = now

    @property
    def root(self) -> bytes:
        """The first root."""
        return self._reader.roots[0]

    def projects(self) -> list[str]:
        """Name all projects."""
        return self._reader.projects()

    def holdings(self, project: str) -> Holdings:
        """Say what there is for a project."""
        return self._reader.read(project)

    def is_there(self, candidate: Candidate) -> bool:
        """
        Apply the rules for the first time, before a file is looked at; they are applied again by `publish`.

        Returns:
            True if the very same bytes are there already.

        Raises:
            Conflict, Forbidden: It may not be published.
        """
        with telling():
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
        with telling(), holding(self.root, lambda: self._reader.folder_of(project)):
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

    def _find_replaced(self, candidate: Candidate, holdings: Holdings) -> list[Entry] | None:
        project = candidate.distribution.project
        if self.elsewhere(project):
            raise Forbidden(
                f"This server's configuration says that {project} comes from another place, so a file that"
                " is uploaded here would not be served; publish it there, or have that rule changed."
            )
        return find_replaced(candidate, holdings, self.overwrite)

    def published(self, candidate: Candidate, publication: Publication, *, by: str) -> Event:
        """Say for the history that a file was published."""
        action = "overwrite" if publication.overwrites else "upload"
        distribution = candidate.distribution
        detail = f"sha256={candidate.sha256}"
        return self._event(by, action, distribution.project, distribution.filename, detail)

    def sign(self, candidate: Candidate, *, by: str) -> Done:
        """Add the signature of a file that is there already without one; may raise Busy."""
        distribution = candidate.distribution
        with telling(), holding(self.root):
            added = add_signature(candidate, self._reader.read(distribution.project))
        if not added:
            return Done(names=(), events=())
        event = self._event(by, "upload", distribution.project, distribution.filename, "signature")
        return Done(names=(distribution.filename,), events=(event,))

    def delete(self, project: str, filename: str, *, by: str, reason: str = "") -> Done:
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
    ) -> Done:
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
    ) -> Done:
        """See `IStore.unyank`; may raise Busy."""
        return self._change(
            project, lambda holdings: plan_unyank(holdings, version=version, filename=filename), by, "unyank"
        )

    def set_status(self, project: str, status: ProjectStatus, *, by: str) -> Done:
        """See `IStore.set_status`; may raise Busy."""
        detail = f"{status.status.value}: {status.reason}" if status.reason else status.status.value
        self._change(project, lambda holdings: plan_status(holdings, status), by, "status", detail)
        return Done(names=(), events=(self._event(by, "status", project, "", detail),))

    def _change(
        self, project: str, plan: Callable[[Holdings], Plan], by: str, action: str, detail: str = ""
    ) -> Done:
        with telling(), holding(self.root):
            planned = plan(self._reader.read(project))
            planned.carry_out()
        events = (self._event(by, action, project, name, detail) for name in planned.names)
        return Done(names=planned.names, events=tuple(events))

    def _event(self, by: str, action: str, project: str, filename: str, detail: str) -> Event:
        return Event(
            time=self._now(), by=by, action=action, project=project, filename=filename, detail=detail
        )


def patiently(change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Try a change until it is its turn. Blocks; not for the threads of a server.

    Raises:
        Unavailable: Others have been at it for too long.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return change(*args, **kwargs)
        except Busy:
            if time.monotonic() > until:
                raise too_busy() from None
            time.sleep(PAUSE)
