"""
Listings of a bucket: they are the truth, and no page is made of half of one.

A small bucket is listed whole, by one request. Of a large one each project is listed: the folders that the
root has for it, or where the root is long, all places where its name can be spelled. So no name is taken for
that of another because a listing is older than `rescan`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import DeferredSemaphore

from twisted_index.backends.object_store.bucket import Unlistable
from twisted_index.backends.object_store.held_listings import HeldListings, Hold
from twisted_index.backends.object_store.project_listing import (
    ProjectListing,
    RootListing,
    list_folders,
    root_of,
)
from twisted_index.backends.object_store.spellings import list_spellings
from twisted_index.backends.object_store.staged_objects import list_shown
from twisted_index.concurrency.single_flight import FreshSingleFlight

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from twisted_index.backends.object_store.bucket import Bucket, Listing
    from twisted_index.concurrency.thread_pool import IThreadRunner

#: Objects of a bucket that is listed whole: what one request returns.
_SMALL = 1000
#: Requests for a root that all pages wait for; to seek a name in a longer one takes a few for each page.
_SHORT = 8
#: Requests for nothing by which a name is sought, at least; if the root takes more, so many.
_SEEKS = 16
#: Seconds after which a large bucket may have become small.
_LARGE_SECONDS = 60.0
#: Objects of single projects whose listings are kept.
_MAX_OBJECTS = 20_000
#: Listings at once that clients make necessary by names which no listing has; threads are left for others.
_LATEST = 2


class ProjectLook(NamedTuple):
    """
    A listing of a project for a change of it, whatever held.

    Attributes:
        project: What the bucket has of the project.
        root: The listing of the whole bucket, or of its root, that was sent for it; None without any.
        changes: How many changes this node knew of when it was sent.
    """

    project: ProjectListing
    root: RootListing | None
    changes: int


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
        #: Until then the bucket counts as large.
        self._large_until = clock.seconds()
        self._whole: HeldListings[None, RootListing] = HeldListings(self._list_whole, clock, rescan)
        self._level: HeldListings[None, RootListing] = HeldListings(self._list_level, clock, rescan)
        self._projects: HeldListings[str, ProjectListing] = HeldListings(
            self._list_project, clock, rescan, _MAX_OBJECTS, lambda listing: len(listing.objects) + 1
        )

        #: Of this node, so far.
        self._changes = 0
        self._latest = DeferredSemaphore(_LATEST)
        self._latest_flight: FreshSingleFlight[str, ProjectListing] = FreshSingleFlight(self._list_latest)

    async def root(self) -> RootListing:
        """
        List the root, unless a listing of it holds.

        Raises:
            Unavailable: That failed; a part of a listing is none.
        """
        whole = await self._list_if_small()
        if whole is not None:
            return whole
        level = self._level.last(None)
        return level if level is not None and level.hold() else await self._level.get(None)

    async def project(self, project: str) -> ProjectListing:
        """
        List a project, unless a listing of it holds.

        Raises:
            Unavailable: That failed; a part of a listing is none.
        """
        whole = await self._list_if_small()
        if whole is not None:
            return _part_of(whole, project)
        return await self._projects.get(project)

    def latest(self, project: str) -> Deferred[ProjectListing]:
        """
        List a project, whatever holds, which goes on to hold.

        Raises:
            Unavailable: That failed.
        """
        return self._latest_flight.run(project)

    async def _list_latest(self, project: str) -> ProjectListing:
        return (await self._latest.run(self._worker.run, self.look, project)).project

    def look(self, project: str, *, again: bool = False) -> ProjectLook:
        """
        List a project now, whatever holds; blocks, in any thread. See `project`.

        Args:
            project: The project.
            again: Whether this is to show what became of it after a look: the root may be one that holds,
                since servers make no second folder for a project.
        """
        changes, hold = self._changes, self._new_hold()
        root = self._read_whole(hold) if self._clock.seconds() >= self._large_until else None
        if root is not None:
            return ProjectLook(_part_of(root, project), root, changes)
        found = self._seek(project, hold)
        if found is not None:
            return ProjectLook(found, None, changes)
        held = self._level.last(None) if again else None
        is_held = held is not None and held.hold.is_within(self._rescan)
        root = held if held is not None and is_held else _read_level(self._bucket, self._new_hold())
        hold.sent_at = min(hold.sent_at, root.hold.sent_at)
        known = root.projects.get(project)
        folders = {project.encode(), *(() if known is None else known.entries.folders)}
        listing = _list_folders(self._bucket, project, sorted(folders), known, hold)
        return ProjectLook(listing, None if is_held else root, changes)

    def _new_hold(self) -> Hold:
        """Return the hold of a listing that is sent now, and holds when it is kept."""
        return Hold(self._clock, self._clock.seconds(), 0.0)

    def held(self, project: str) -> ProjectListing | None:
        """Return the listing of a project that holds; None without one. In any thread."""
        if self._clock.seconds() >= self._large_until:
            whole = self._whole.last(None)
            listing = _part_of(whole, project) if whole is not None and whole.is_whole else None
        else:
            listing = self._projects.last(project)
        return listing if listing is not None and listing.hold() else None

    def keep(self, project: str, look: ProjectLook) -> None:
        """
        Let a look hold like any other listing, and no other listing of its project.

        Args:
            project: The project.
            look: It was sent when all that this node has written of the project was there.
        """
        is_last = look.changes == self._changes
        self.forget(project)
        if not is_last:
            # Another change may have come after it, of which it would show nothing.
            return
        look.project.hold.seconds = self._rescan
        root = look.root
        if root is not None and root.is_whole:
            self._whole.keep(None, root)
            return
        self._projects.keep(project, look.project)
        if root is not None:
            self._level.keep(None, self._with_time(root))

    def projects_now(self) -> list[str]:
        """List the names of all projects now, sorted; blocks, in any thread. See `project`."""
        hold = self._new_hold()
        return sorted((self._read_whole(hold) or _read_level(self._bucket, hold)).projects)

    def forget(self, project: str) -> None:
        """Let no listing hold that is without what was just written of a project."""
        self._changes += 1
        self._whole.forget(None)
        self._projects.forget(project)
        level = self._level.last(None)
        known = None if level is None else level.projects.get(project)
        # It shows no more of a project than that it has a folder.
        if known is None or known.entries.files:
            self._level.forget(None)

    def clear(self) -> None:
        """Forget everything."""
        self._whole.clear()
        self._level.clear()
        self._projects.clear()

    # -- A small bucket

    async def _list_if_small(self) -> RootListing | None:
        """List the whole bucket, unless it is known to be large."""
        if self._clock.seconds() < self._large_until:
            return None
        root = await self._whole.get(None)
        return root if root.is_whole else None

    async def _list_whole(self, _key: None, hold: Hold) -> RootListing:
        whole = await self._worker.run(self._read_whole, hold)
        return RootListing(hold=hold) if whole is None else whole

    def _read_whole(self, hold: Hold) -> RootListing | None:
        """Read the whole bucket; None if it is large. Called in a thread."""
        with suppress(Unlistable):
            listing, hidden = list_shown(
                self._bucket, partial(self._bucket.list_all, limit=_SMALL), _keys_of_small
            )
            if _is_small(listing):
                return root_of(listing, hold, is_whole=True, hidden=hidden)
        # Also of a bucket that cannot be listed whole, most folders can.
        self._large_until = self._clock.seconds() + _LARGE_SECONDS
        return None

    # -- A large bucket

    async def _list_level(self, _key: None, hold: Hold) -> RootListing:
        return self._with_time(await self._worker.run(_read_level, self._bucket, hold))

    def _with_time(self, level: RootListing) -> RootListing:
        """Let it hold for the list of all projects: on the average one request for each `rescan`."""
        level.hold.seconds = self._rescan * level.requests
        return level

    async def _list_project(self, project: str, hold: Hold) -> ProjectListing:
        """List a project; its hold begins when the first of its parts was sent."""
        if self._level.last(None) is None:
            await self._level.get(None)
        if self._is_sought:
            found = await self._worker.run(self._seek, project, hold)
            if found is not None:
                return found
        level = await self._level.get(None)
        hold.sent_at = min(hold.sent_at, level.hold.sent_at)
        known = level.projects.get(project)
        if known is None or not known.entries.folders:
            return replace(known or ProjectListing(hold=hold), hold=hold)
        return await self._worker.run(
            _list_folders, self._bucket, project, known.entries.folders, known, hold
        )

    @property
    def _is_sought(self) -> bool:
        """Whether names are sought, as the root is long; as long as nothing is known of it, it is not."""
        level = self._level.last(None)
        return level is not None and level.requests > _SHORT and self._bucket.can_seek

    def _seek(self, project: str, hold: Hold) -> ProjectListing | None:
        """Seek a name, if the root is too long to be listed; blocks."""
        level = self._level.last(None)
        if level is None or not self._is_sought:
            return None
        with suppress(Unlistable):
            seek = partial(list_spellings, self._bucket, project, hold, limit=max(_SEEKS, level.requests))
            found, hidden = list_shown(self._bucket, seek, _keys_of)
            return None if found is None else found.without(hidden.get(project, frozenset()))
        return None


def _list_folders(
    bucket: Bucket, project: str, folders: Iterable[bytes], flat: ProjectListing | None, hold: Hold
) -> ProjectListing:
    """List the folders of a project, without what is not to be seen yet."""
    listing, hidden = list_shown(bucket, partial(list_folders, bucket, folders, flat, hold), _keys_of)
    return listing.without(hidden.get(project, frozenset()))


def _part_of(whole: RootListing, project: str) -> ProjectListing:
    """Return what a whole bucket has of a project."""
    return whole.projects.get(project) or ProjectListing(hold=whole.hold)


def _keys_of(listing: ProjectListing | None) -> Iterable[str]:
    return () if listing is None else listing.objects


def _is_small(listing: Listing) -> bool:
    return listing.is_complete and len(listing.objects) <= _SMALL


def _keys_of_small(listing: Listing) -> Iterable[str]:
    """Return the keys of a whole bucket; none of a part of one, which is not used."""
    return listing.objects if _is_small(listing) else ()


def _read_level(bucket: Bucket, hold: Hold) -> RootListing:
    return root_of(bucket.list_level(), hold, is_whole=False)
