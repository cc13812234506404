"""
The history of a project: what lies in the folders now with its times, and what is kept of deleted files.

Read once for all moments: a page of the past is made of it without another look at the folders
(see `dated_page`). Its times are those of the files and marks themselves; nothing else is recorded.
"""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.folder.kept_files import KEPT, Life, life_of, lives_in, purge
from twisted_index.backends.folder.local_tree import LocalTree
from twisted_index.backends.folder.root_set import owners_by_root
from twisted_index.backends.folder.snapshots import held_names
from twisted_index.backends.folder.tombstones import tombstones_in
from twisted_index.backends.layout.entries import ProjectEntries
from twisted_index.backends.layout.page_builder import file_upload_time
from twisted_index.backends.layout.project_scan import DELETED, ProjectScan, scan_project, unreadable_error
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.errors import Unavailable
from twisted_index.files.locks import LockHeld

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from twisted_index.backends.folder.project_cache import ProjectState
    from twisted_index.backends.folder.source import FolderSource
    from twisted_index.backends.layout.facts import KnownFiles
    from twisted_index.files.stamps import StampedStat, StatValidator

#: Files of the histories that are kept in memory, over all projects; those of live files are shared with the
#: folder's own states.
_MAX_FILES = 20_000
_ATTEMPTS = 3
ALWAYS = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)
_EPOCH = datetime.fromtimestamp(0, UTC)


class Deletions(NamedTuple):
    """
    What is known of a project's deleted files.

    Attributes:
        kept: The scan of what is kept.
        lives: When kept files were there, by path.
        tombstones: When files were deleted that still lie there, by name.
        since: The first deletion that is known; NEVER without one.
    """

    kept: ProjectScan
    lives: Mapping[bytes, Sequence[Life]]
    tombstones: Mapping[str, datetime]
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProjectHistory:
    """
    All that is known of a project's past.

    Attributes:
        project: Its normalized name.
        live: The scan of what lies there now; empty if there is nothing.
        known_files: The inspected files, live and kept.
        deletions: What is known of deleted files.
        listed: The names of the files that are listed now.
        owners: The index that each root belongs to, for roots of other indexes.
        claims: Whether the folders claim the name now, unless there is nothing.
        is_current: Whether all of it still holds.
        state: The state that the folder has of it; None if nothing lies there.
    """

    project: str
    live: ProjectScan
    known_files: KnownFiles
    deletions: Deletions
    listed: frozenset[str]
    owners: Mapping[bytes, str]
    claims: bool
    is_current: _Validity = field(repr=False)
    state: ProjectState | None = field(repr=False, default=None)

    @property
    def files(self) -> int:
        """How many files there are, live and kept."""
        return len(self.live.entries) + len(self.deletions.kept.entries)

    def time_of(self, path: bytes) -> datetime:
        """Return when a mark or document was set beside a file; ALWAYS if that cannot be known."""
        key = self.live.watched.get(path) or self.deletions.kept.watched.get(path)
        return ALWAYS if key is None else file_upload_time(key.mtime_ns, key.ctime_ns)

    def is_current_for_files(self) -> bool:
        """Return whether all of it still holds, and no file is so young that a change might not show."""
        return (self.state is None or self.state.settled) and self.is_current()


class FolderHistory:
    """
    The histories of the projects of a folder source.

    Args:
        folder: The source.
        now: Seconds since the epoch.

    Attributes:
        folder: The source.
        keep_deleted: Seconds after which a kept file goes, at the next look at its project; may be replaced.
    """

    def __init__(
        self, folder: FolderSource, *, keep_deleted: float = 0.0, now: Callable[[], float] = time.time
    ) -> None:
        self.folder = folder
        self.keep_deleted = keep_deleted
        self._now = now
        self._owners = owners_by_root(folder.paths, folder.owners)
        self._histories = LRU[str, ProjectHistory](_MAX_FILES, _weight)
        self._flight: FreshSingleFlight[str, ProjectHistory] = FreshSingleFlight(self._read)

    def recent(self, project: str) -> ProjectHistory | None:
        """Return a history if it is known, and current."""
        history = self._histories.get(project)
        if history is None or history.is_current():
            return history
        state = self.folder.current_state(project)
        return history if state is not None and state is history.state and history.is_current() else None

    def read(self, project: str) -> Deferred[ProjectHistory]:
        """
        Read a history.

        Raises:
            Unavailable: A folder cannot be read right now.
        """
        return self._flight.run(project)

    def forget(self, project: str) -> None:
        """Read a history anew, as one of its files is not as it was."""
        self._histories.pop(project)

    async def _read(self, project: str) -> ProjectHistory:
        folder = self.folder
        for _attempt in range(_ATTEMPTS):
            snapshot, state = await folder.read_state(project)
            if (snapshot.value is None) == (state is None or not state.scan.claimed):
                break
        else:
            raise Unavailable("The folder of this project is being changed. Retry in a moment.", 2)
        before = self._histories.get(project)
        if before is not None and before.state is state is not None and before.is_current.kept_is_current():
            return before
        live = ProjectScan() if state is None else state.scan
        deletions, until = await folder.reader.run(self._read_deletions, project, live)
        known: KnownFiles = {} if before is None else _known_of(before.deletions.kept, before.known_files)
        await folder.inspect(deletions.kept.entries, known)
        if state is not None:
            known |= _known_of(live, state.known_files)
        page = snapshot.value
        history = ProjectHistory(
            project=project,
            live=live,
            known_files=known,
            deletions=deletions,
            listed=frozenset(() if page is None else (file.filename for file in page.files)),
            owners=self._owners,
            claims=page is None or page.claims,
            is_current=_Validity(
                snapshot.is_current, folder.validator, deletions.kept.folders, self._now, until
            ),
            state=state,
        )
        self._histories.put(project, history)
        return history

    def _read_deletions(self, project: str, live: ProjectScan) -> tuple[Deletions, float]:
        """
        Read what is kept of a project, and remove what has been kept for long enough; called in a thread.

        Returns:
            What there is, and until when it holds: seconds since the epoch.
        """
        roots = self.folder.paths
        for root in roots:
            # What cannot be removed now is left out all the same.
            with suppress(OSError, LockHeld):
                purge(root, project, self._is_due, partial(held_names, roots, root))
        parts = [(os.path.join(root, KEPT), ProjectEntries((os.fsencode(project),))) for root in roots]
        kept = scan_project(project, parts, LocalTree(self.folder.validator))
        try:
            noted = {folder: lives_in(folder) for folder, _stamp in kept.folders}
            tombstones, since = _tombstones(live)
        except OSError as error:
            raise unreadable_error(error, os.fsencode(project)) from None
        lives = {}
        for entry in kept.entries:
            lived = noted[entry.folder].get(entry.distribution.filename) or life_of(entry.path)
            if self._ends(lived) > self._now():
                lives[entry.path] = lived
        until = min(map(self._ends, lives.values()), default=math.inf)
        return Deletions(kept, lives, tombstones, since), until

    def _is_due(self, lives: Sequence[Life]) -> bool:
        return self._ends(lives) <= self._now()

    def _ends(self, lives: Sequence[Life]) -> float:
        """Return the seconds since the epoch at which a kept file may go."""
        last = max((life.deleted for life in lives), default=ALWAYS)
        return self.keep_deleted + (last - _EPOCH).total_seconds()


class _Validity:
    """Whether a history is current; small, as cached responses hold it."""

    __slots__ = ("_folders", "_live", "_now", "_until", "_validator")

    def __init__(
        self,
        live: Callable[[], bool],
        validator: StatValidator,
        folders: Sequence[tuple[bytes, StampedStat]],
        now: Callable[[], float],
        until: float,
    ) -> None:
        self._live = live
        self._validator = validator
        self._folders = tuple(folders)
        self._now = now
        self._until = until

    def __call__(self) -> bool:
        return self._live() and self.kept_is_current()

    def kept_is_current(self) -> bool:
        """Return whether what is kept is as it was: one `stat` for each root."""
        is_current = self._validator.is_current
        return self._now() < self._until and all(is_current(path, stamp) for path, stamp in self._folders)


def _tombstones(live: ProjectScan) -> tuple[dict[str, datetime], datetime]:
    """
    Return when those files were deleted that still lie there, and the first deletion of all.

    Raises:
        OSError: A `.deleted` file cannot be read.
    """
    times: dict[str, datetime] = {}
    since = NEVER
    for path in live.tombstones:
        with suppress(FileNotFoundError):
            for line in tombstones_in(path):
                since = min(since, line.time)
                if not live.deleted:
                    break
                if line.name in live.deleted:
                    times[line.name] = line.time
    for path in live.sidecars:
        name, suffix = os.path.splitext(os.fsdecode(os.path.basename(path)))
        key = live.watched.get(path)
        if suffix == DELETED and name in live.deleted:
            moment = ALWAYS if key is None else file_upload_time(key.mtime_ns, key.ctime_ns)
            times.setdefault(name, moment)
            since = min(since, moment)
    return times, since


def _known_of(scan: ProjectScan, known_files: KnownFiles) -> KnownFiles:
    """Return what is known of the files of a scan."""
    return {entry.path: known_files[entry.path] for entry in scan.entries if entry.path in known_files}


def _weight(history: ProjectHistory) -> int:
    return history.files + 1
