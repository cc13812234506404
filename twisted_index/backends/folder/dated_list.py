"""
Which projects there were at a moment: one scan of all folders tells it for every moment.

As the list of now, it is exact for names that appear in and disappear from the roots; what changes inside the
folders shows within `rescan` seconds.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from twisted_index.backends.folder.history import ALWAYS, NEVER
from twisted_index.backends.folder.kept_files import KEPT, lives_in
from twisted_index.backends.folder.local_tree import list_names
from twisted_index.backends.folder.tombstones import tombstones_in
from twisted_index.backends.layout.page_builder import file_upload_time
from twisted_index.backends.layout.project_scan import CLAIMING, QUARANTINE
from twisted_index.backends.layout.tombstones import TOMBSTONES
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.interfaces import Snapshot
from twisted_index.simple.model import ProjectList
from twisted_index.simple.names import claimed_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from twisted.internet.defer import Deferred

    from twisted_index.backends.folder.history import FolderHistory
    from twisted_index.backends.layout.entries import ProjectEntries
    from twisted_index.files.stamps import StampedStat, StatValidator


#: A folder, and the names in it that are not to be seen yet.
_Place: TypeAlias = tuple[bytes, frozenset[bytes]]


class Presence(NamedTuple):
    """
    When a project's name was there.

    Attributes:
        since: Since when anything claims the name.
        quarantined: Since when it is quarantined, and not listed; NEVER if it is not.
    """

    since: datetime
    quarantined: datetime

    def and_(self, other: Presence) -> Presence:
        """Join what two folders say of one project."""
        return Presence(min(self.since, other.since), min(self.quarantined, other.quarantined))


_ABSENT = Presence(NEVER, NEVER)


class DatedNames:
    """
    The lists of projects, of all moments.

    Args:
        history: Says which folder, and how long deleted files are kept.
    """

    def __init__(self, history: FolderHistory) -> None:
        self.folder = history.folder
        self._seen: Mapping[_Place, tuple[StampedStat, Presence]] = {}
        self._projects: Mapping[str, Presence] = {}
        self._now: Snapshot[ProjectList] | None = None
        self._scanned_at = -math.inf
        self._flight: FreshSingleFlight[None, None] = FreshSingleFlight(self._scan)

    def project_list(self, moment: datetime) -> Snapshot[ProjectList] | Deferred[Snapshot[ProjectList]]:
        """Return the names of a moment; see `ISource`."""
        if self._is_current():
            return self._at(moment)
        return self._flight.run(None).addCallback(lambda _done: self._at(moment))

    def _is_current(self) -> bool:
        age = self.folder.validator.monotonic() - self._scanned_at
        return self._now is not None and age < self.folder.rescan and self._now.is_current()

    def _at(self, moment: datetime) -> Snapshot[ProjectList]:
        assert self._now is not None
        names = [name for name, seen in self._projects.items() if seen.since <= moment < seen.quarantined]
        value = ProjectList(names=tuple(sorted(names)), complete=self._now.value.complete)
        return Snapshot(value=value, is_current=self._still(self._scanned_at))

    def _still(self, scanned_at: float) -> Callable[[], bool]:
        return lambda: self._scanned_at == scanned_at and self._is_current()

    async def _scan(self, _key: None) -> None:
        if self._is_current():
            return
        scanned_at = self.folder.validator.monotonic()
        pending = self.folder.project_list()
        now = pending if isinstance(pending, Snapshot) else await pending
        readings = self.folder.readings
        self._seen, self._projects = await self.folder.reader.run(
            _scan_all,
            [(reading.path, reading.projects) for reading in readings],
            self.folder.validator,
            self._seen,
        )
        self._now, self._scanned_at = now, scanned_at


def _scan_all(
    roots: list[tuple[bytes, Mapping[str, ProjectEntries]]],
    validator: StatValidator,
    before: Mapping[_Place, tuple[StampedStat, Presence]],
) -> tuple[dict[_Place, tuple[StampedStat, Presence]], dict[str, Presence]]:
    """
    Look into the folders of all projects; called in a thread.

    Returns:
        What each folder says, to be used again while its stamp is the same, and what is known of each
        project.
    """
    seen: dict[_Place, tuple[StampedStat, Presence]] = {}
    projects: dict[str, Presence] = {}

    def add(project: str, presence: Presence) -> None:
        projects[project] = presence.and_(projects.get(project, _ABSENT))

    def look(path: bytes, read: Callable[[], Presence], hidden: frozenset[bytes] = frozenset()) -> Presence:
        place = path, hidden
        last = before.get(place)
        # A folder that cannot be read has no page, and is left out of the list of now too.
        with suppress(OSError):
            stamp = validator.stamp(path, None if last is None else last[0], fine=False)
            is_same = last is not None and last[0].settled and last[0].stamp == stamp.stamp
            seen[place] = stamp, last[1] if is_same and last is not None else read()
            return seen[place][1]
        return _ABSENT

    for root, entries_by_project in roots:
        for project, entries in entries_by_project.items():
            for name in entries.files:
                add(project, Presence(_time(os.path.join(root, name)), NEVER))
            for name in entries.folders:
                path = os.path.join(root, name)
                add(project, look(path, partial(_in_folder, path, project, entries.hidden), entries.hidden))
        for project, path in _kept(root):
            add(project, look(path, partial(_in_kept, path)))
    return seen, projects


def _kept(root: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the project and path of each folder of kept files."""
    folder = os.path.join(root, KEPT)
    with suppress(OSError):
        for name in os.listdir(folder):
            yield os.fsdecode(name), os.path.join(folder, name)


def _in_folder(path: bytes, project: str, hidden: frozenset[bytes]) -> Presence:
    since, quarantined = NEVER, NEVER
    for name in list_names(path):
        if name in hidden:
            continue
        text, entry = os.fsdecode(name), os.path.join(path, name)
        if name == TOMBSTONES:
            since = min(since, next((line.time for line in tombstones_in(entry)), NEVER))
        elif text in CLAIMING or claimed_project(text) == project:
            moment = _time(entry)
            since = min(since, moment)
            if text == QUARANTINE:
                quarantined = min(quarantined, moment)
    return Presence(since, quarantined)


def _in_kept(path: bytes) -> Presence:
    lives = [life for lived in lives_in(path).values() for life in lived]
    return Presence(min((life.uploaded for life in lives), default=NEVER), NEVER)


def _time(path: bytes) -> datetime:
    try:
        status = os.stat(path)
    except OSError:
        return ALWAYS
    return file_upload_time(status.st_mtime_ns, status.st_ctime_ns)
