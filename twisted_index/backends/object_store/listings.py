"""
Listings of a bucket, each held for a while: they are the truth, and no page is made of half of one.

A small bucket is listed whole, by one request. Of a large one the root is listed, and each project by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted.internet.defer import DeferredSemaphore

from twisted_index.backends.layout.entries import ProjectEntries, entry_project
from twisted_index.backends.object_store.bucket import Unlistable
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.errors import SimpleIndexError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from twisted_index.backends.object_store.bucket import Bucket, Listing, StoredObject
    from twisted_index.concurrency.thread_pool import IThreadRunner

#: Objects of a bucket that is listed whole: what one request returns.
_SMALL = 1000
#: Objects of single projects whose listings are kept.
_MAX_OBJECTS = 20_000
#: Listings at once that clients make necessary by names which no listing has; threads are left for others.
_LATEST = 2
#: Ends the key of what says that a file is being uploaded, and which.
CLAIM = ".claim"


class Hold:
    """
    The time for which a listing holds; callable.

    Small, as cached responses keep it.

    Args:
        clock: Provides `seconds()`.
        sent_at: When its request was sent, by that clock.
        seconds: How long it holds from then on.
    """

    __slots__ = ("_clock", "_is_revoked", "seconds", "sent_at")

    def __init__(self, clock: IReactorTime, sent_at: float, seconds: float) -> None:
        self._clock = clock
        self._is_revoked = False
        self.sent_at = sent_at
        self.seconds = seconds

    def __call__(self) -> bool:
        """Return whether it still holds."""
        return self.is_within(self.seconds)

    def is_within(self, seconds: float) -> bool:
        """Return whether it was sent less than so many seconds ago, and nothing was written since."""
        return not self._is_revoked and self._clock.seconds() - self.sent_at < seconds

    def revoke(self) -> None:
        """Let it hold no more: something was written."""
        self._is_revoked = True


class _Holds(tuple[Callable[[], bool], ...]):
    """The time for which several listings hold: as long as each of them."""

    __slots__ = ()

    def __call__(self) -> bool:
        """Return whether they all hold still."""
        return all(hold() for hold in self)


def hold_of(holds: Iterable[Hold]) -> Callable[[], bool]:
    """Return the time for which listings hold together; that of a single one is its own."""
    together = _Holds(holds)
    return together[0] if len(together) == 1 else together


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectListing:
    """
    What a bucket has of a project.

    Attributes:
        entries: The folders and flat files that are named for it.
        objects: All objects in these folders, and those flat files, by key.
        unfinished: Claims of files that are not there, or have no bytes yet.
        unusable: Keys below these folders that no folder could have, escaped.
        hold: Whether it still holds.
    """

    entries: ProjectEntries = field(default_factory=ProjectEntries)
    objects: Mapping[str, StoredObject] = field(default_factory=dict)
    unfinished: tuple[StoredObject, ...] = ()
    unusable: tuple[str, ...] = ()
    hold: Hold

    def is_like(self, other: ProjectListing) -> bool:
        """Return whether the same is there."""
        return self.entries == other.entries and self.objects == other.objects


@dataclass(frozen=True, slots=True, kw_only=True)
class RootListing:
    """
    What a bucket has at its root.

    Attributes:
        projects: What it has of each project; in a large bucket without the objects in folders.
        unassigned: Flat objects that belong to no project, by name.
        unusable: Keys that no folder could have, escaped.
        is_whole: Whether this is all that the bucket has.
        hold: Whether it still holds.
    """

    projects: Mapping[str, ProjectListing]
    unassigned: Mapping[str, StoredObject]
    unusable: tuple[str, ...]
    is_whole: bool
    hold: Hold


class Listings:
    """
    Lists a bucket when that is needed, at most once at a time.

    Args:
        bucket: The bucket.
        worker: Threads that wait for it.
        clock: Provides `seconds()`.
        rescan: Seconds for which a listing holds from the moment on at which it was asked for.
    """

    def __init__(self, bucket: Bucket, worker: IThreadRunner, clock: IReactorTime, rescan: float) -> None:
        self._bucket = bucket
        self._worker = worker
        self._clock = clock
        self._rescan = rescan
        self._is_large = False
        self._root: RootListing | None = None
        self._projects: LRU[str, ProjectListing] = LRU(_MAX_OBJECTS, lambda listing: len(listing.objects) + 1)
        #: Those of requests that have not been answered yet.
        self._root_sent: Hold | None = None
        self._projects_sent: dict[str, Hold] = {}
        self._root_flight: FreshSingleFlight[None, RootListing] = FreshSingleFlight(self._list_root)
        self._project_flight: FreshSingleFlight[str, ProjectListing] = FreshSingleFlight(self._list_project)
        self._latest = DeferredSemaphore(_LATEST)
        self._latest_flight: FreshSingleFlight[str, ProjectListing] = FreshSingleFlight(self._list_latest)

    def root(self) -> Deferred[RootListing]:
        """
        List the root, unless a listing of it holds.

        Raises:
            Unavailable: That failed; a part of a listing is none.
        """
        return self._root_flight.run(None)

    async def project(self, project: str) -> ProjectListing:
        """
        List a project, unless a listing of it holds.

        Raises:
            Unavailable: That failed; a part of a listing is none.
        """
        root = self._root
        if root is None or not root.hold():
            root = await self._renewed_root(root)
        if root.is_whole:
            return root.projects.get(project) or ProjectListing(hold=root.hold)
        return await self._project_flight.run(project)

    def latest(self, project: str) -> Deferred[ProjectListing]:
        """
        List a project, whatever holds, which goes on to hold.

        Raises:
            Unavailable: That failed.
        """
        return self._latest_flight.run(project)

    async def _list_latest(self, project: str) -> ProjectListing:
        return await self._latest.run(self._worker.run, self.read_now, project)

    def read_now(self, project: str) -> ProjectListing:
        """List a project now, whatever holds; blocks, in any thread. See `project`."""
        hold = Hold(self._clock, self._clock.seconds(), 0.0)
        root = self._root
        if root is None or root.is_whole or not self._is_large:
            root = self._read_root(hold)
        known = root.projects.get(project)
        if root.is_whole:
            return known or ProjectListing(hold=hold)
        folders = {project.encode(), *(() if known is None else known.entries.folders)}
        return _list_folders(self._bucket, sorted(folders), known, hold)

    def projects_now(self) -> list[str]:
        """List the names of all projects now, sorted; blocks, in any thread. See `project`."""
        return sorted(self._read_root(Hold(self._clock, self._clock.seconds(), 0.0)).projects)

    def forget(self, project: str) -> None:
        """Let no listing hold that is without what was just written of a project."""
        held = self._projects.pop(project)
        for hold in (None if held is None else held.hold, self._projects_sent.get(project), self._root_sent):
            if hold is not None:
                hold.revoke()
        root = self._root
        if root is not None:
            known = root.projects.get(project)
            # A large root shows no more of a project than that it has a folder.
            if root.is_whole or known is None or known.entries.files:
                root.hold.revoke()

    def clear(self) -> None:
        """Forget everything."""
        holds = [listing.hold for listing in self._projects.values()]
        holds += [hold for hold in (self._root_sent, *self._projects_sent.values()) if hold is not None]
        if self._root is not None:
            holds.append(self._root.hold)
        for hold in holds:
            hold.revoke()
        self._root = None
        self._projects = LRU(_MAX_OBJECTS, lambda listing: len(listing.objects) + 1)

    # -- The root

    async def _renewed_root(self, root: RootListing | None) -> RootListing:
        """List the root; the pages of a large bucket do not wait for that while it is not very old."""
        if root is None or root.is_whole or not root.hold.is_within(2 * root.hold.seconds):
            return await self.root()
        if self._root_sent is None:
            self.root().addErrback(lambda failure: failure.trap(SimpleIndexError))
        return root

    async def _list_root(self, _key: None) -> RootListing:
        if self._root is not None and self._root.hold():
            return self._root
        hold = self._root_sent = Hold(self._clock, self._clock.seconds(), self._rescan)
        try:
            self._root = await self._worker.run(self._read_root, hold)
        finally:
            self._root_sent = None
        return self._root

    def _read_root(self, hold: Hold) -> RootListing:
        """Read the root; called in a thread."""
        if not self._is_large:
            with suppress(Unlistable):
                listing = self._bucket.list_all(limit=_SMALL)
                if listing.is_complete and len(listing.objects) <= _SMALL:
                    return _root_of(listing, hold, is_whole=True)
            # Also of a bucket that cannot be listed whole, most folders can.
            self._is_large = True
        listing = self._bucket.list_level()
        # On the average one request for each `rescan`, however many a listing takes.
        hold.seconds *= listing.requests
        return _root_of(listing, hold, is_whole=False)

    # -- A project of a large bucket

    async def _list_project(self, project: str) -> ProjectListing:
        held = self._projects.get(project)
        if held is not None and held.hold():
            return held
        root = self._root
        if root is None or root.is_whole:
            root = await self._renewed_root(None)
        known = root.projects.get(project)
        folders: Sequence[bytes] = () if known is None else known.entries.folders
        sent_at = self._clock.seconds()
        if not root.hold.is_within(self._rescan):
            # It may have come since.
            folders = sorted({*folders, project.encode()})
        elif not folders:
            sent_at = root.hold.sent_at
        hold = self._projects_sent[project] = Hold(self._clock, sent_at, self._rescan)
        try:
            listing = await self._worker.run(_list_folders, self._bucket, folders, known, hold)
        finally:
            del self._projects_sent[project]
        self._projects.put(project, listing)
        return listing


def _list_folders(
    bucket: Bucket, folders: Iterable[bytes], flat: ProjectListing | None, hold: Hold
) -> ProjectListing:
    """List the folders of a project, and add its flat files."""
    objects = {} if flat is None else dict(flat.objects)
    found: list[bytes] = []
    unusable: list[str] = []
    for folder in folders:
        listing = bucket.list_all(folder.decode())
        unusable += listing.unusable
        if listing.objects:
            found.append(folder)
            objects.update(listing.objects)
    return _listing_of(found, () if flat is None else flat.entries.files, objects, unusable, hold)


def _root_of(listing: Listing, hold: Hold, *, is_whole: bool) -> RootListing:
    """Sort a listing by projects."""
    names = {(folder, True) for folder in listing.folders}
    by_name: defaultdict[tuple[str, bool], dict[str, StoredObject]] = defaultdict(dict)
    for key, stored in listing.objects.items():
        name, slash, _rest = key.partition("/")
        by_name[name, bool(slash)][key] = stored
    by_project: defaultdict[str | None, list[tuple[str, bool]]] = defaultdict(list)
    for entry in sorted(names | by_name.keys()):
        by_project[entry_project(entry[0].encode(), entry[1])].append(entry)
    unassigned = by_project.pop(None, [])
    projects = {
        project: _listing_of(
            [name.encode() for name, is_folder in its_names if is_folder],
            [name.encode() for name, is_folder in its_names if not is_folder],
            {key: stored for name in its_names for key, stored in by_name.get(name, {}).items()},
            (),
            hold,
        )
        for project, its_names in by_project.items()
        if project is not None
    }
    return RootListing(
        projects=projects,
        unassigned={name: by_name[name, False][name] for name, is_folder in unassigned if not is_folder},
        unusable=listing.unusable,
        is_whole=is_whole,
        hold=hold,
    )


def _listing_of(
    folders: Iterable[bytes],
    files: Iterable[bytes],
    objects: Mapping[str, StoredObject],
    unusable: Iterable[str],
    hold: Hold,
) -> ProjectListing:
    """Make the listing of a project; claims, and what they announce, are not to be seen."""
    hidden, unfinished = set(), []
    for key, stored in objects.items():
        if not key.endswith(CLAIM) or key.count("/") != 1:
            continue
        announced = objects.get(key.removesuffix(CLAIM))
        hidden.add(key.partition("/")[2].encode())
        if announced is None or not announced.size:
            unfinished.append(stored)
            hidden.add(key.partition("/")[2].removesuffix(CLAIM).encode())
    return ProjectListing(
        entries=ProjectEntries(tuple(folders), tuple(files), frozenset(hidden)),
        objects=objects,
        unfinished=tuple(unfinished),
        unusable=tuple(unusable),
        hold=hold,
    )
