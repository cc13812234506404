"""The project list of a directory source: which names there are, without opening a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.errors import Unavailable
from twisted_index.interfaces import Snapshot
from twisted_index.simple.model import ProjectList
from twisted_index.simple.names import claimed_project
from twisted_index.sources.joint import Joint
from twisted_index.sources.listing import CLAIMING, QUARANTINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from twisted.internet.defer import Deferred

    from twisted_index.sources.rootset import RootSet
    from twisted_index.sources.stamps import Freshness, Seen
    from twisted_index.worker import Works


class FolderNames(NamedTuple):
    """
    What the names in a project's folder say.

    Attributes:
        seen: The folder's stamp.
        claims: Whether anything in it is named for the project.
        quarantined: Whether it says so.
    """

    seen: Seen
    claims: bool
    quarantined: bool


class ProjectNames:
    """
    Makes the project list.

    Exact for names that come and go in the roots. A folder that empties, or is quarantined,
    changes no stamp of the root, so all folders' stamps are looked at when the list is asked for.

    Args:
        roots: The roots.
        reader: Threads.
        freshness: Takes stamps.
        rescan: Seconds for which the look at the folders holds.
    """

    def __init__(self, roots: RootSet, reader: Works, freshness: Freshness, rescan: float) -> None:
        self._roots = roots
        self._reader = reader
        self._freshness = freshness
        self._rescan = rescan
        self._folders: Mapping[bytes, FolderNames] = {}
        self._snapshot: Snapshot[ProjectList] | None = None
        self._joint: Joint[None, Snapshot[ProjectList]] = Joint(self._look)

    def project_list(self) -> Snapshot[ProjectList] | Deferred[Snapshot[ProjectList]]:
        """Give the list, at once where it is known to hold."""
        if self._snapshot is not None and self._snapshot.still_true():
            return self._snapshot
        return self._joint.ask(None)

    async def _look(self, _key: None) -> Snapshot[ProjectList]:
        await self._roots.refresh()
        generation, now = self._roots.generation, self._freshness.monotonic()
        places = [
            (project, [os.path.join(reading.path, folder) for folder in part.folders], bool(part.files))
            for reading in self._roots.readings
            for project, part in reading.parts.items()
        ]
        try:
            names, self._folders = await self._reader.run(_names_of, places, self._freshness, self._folders)
        except OSError as error:
            raise Unavailable(f"A project's folder cannot be read right now ({error.strerror}).") from None
        value = ProjectList(names=names)
        if self._snapshot is not None and self._snapshot.value == value:
            value = self._snapshot.value
        self._snapshot = Snapshot(value=value, still_true=lambda: self._holds(generation, now))
        return self._snapshot

    def _holds(self, generation: int, looked_at: float) -> bool:
        recent = self._freshness.monotonic() - looked_at < self._rescan
        return recent and generation == self._roots.generation and self._roots.hold()


def _names_of(
    places: Iterable[tuple[str, list[bytes], bool]],
    freshness: Freshness,
    before: Mapping[bytes, FolderNames],
) -> tuple[tuple[str, ...], dict[bytes, FolderNames]]:
    folders: dict[bytes, FolderNames] = {}
    claimed: set[str] = set()
    quarantined: set[str] = set()
    for project, paths, has_files in places:
        if has_files:
            claimed.add(project)
        for path in paths:
            found = folders[path] = _look_at(project, path, freshness, before.get(path))
            if found.claims:
                claimed.add(project)
            if found.quarantined:
                quarantined.add(project)
    return tuple(sorted(claimed - quarantined)), folders


def _look_at(project: str, path: bytes, freshness: Freshness, before: FolderNames | None) -> FolderNames:
    seen = freshness.look(path, before.seen if before is not None else None)
    if before is not None and before.seen.clean and seen.stamp == before.seen.stamp:
        return before
    names = list(_entries(path, seen))
    return FolderNames(
        seen,
        any(name in CLAIMING or claimed_project(name) == project for name in names),
        QUARANTINE in names,
    )


def _entries(path: bytes, seen: Seen) -> Iterator[str]:
    if seen.stamp is not None:
        try:
            yield from map(os.fsdecode, os.listdir(path))
        except (FileNotFoundError, NotADirectoryError):
            return
