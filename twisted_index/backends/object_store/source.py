"""
A bucket of wheels and sdists as a source. What is listed is the truth.

A request for a page goes through four steps, each skipped while its result holds: list the project
(`listings`), learn what is new (`object_root`), scan it, build the page. An index that inherits others has
a bucket for each of them, which are listed at once and scanned as one pile.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_index.backends.layout.explanation import Look, ProjectExplanation, root_names, unasked_roots
from twisted_index.backends.layout.page_builder import is_copy
from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.bucket_project import BucketProject, build_project
from twisted_index.backends.object_store.held_listings import hold_of
from twisted_index.backends.object_store.listed_objects import ListedObjects
from twisted_index.backends.object_store.object_explanation import explain_objects
from twisted_index.backends.object_store.object_problems import ObjectProblems
from twisted_index.backends.object_store.object_reader import ObjectReader
from twisted_index.backends.object_store.object_root import ObjectRoot
from twisted_index.backends.object_store.object_tree import ObjectPart
from twisted_index.backends.object_store.project_listing import ProjectListing, listed_names
from twisted_index.backends.object_store.unfinished_promotions import promotion_problems
from twisted_index.concurrency.deadline import wait_at_most
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.parallel import all_of
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.errors import SimpleIndexError, Unavailable
from twisted_index.events.observers import diff_pages
from twisted_index.interfaces import (
    IExplains,
    ILifecycle,
    ILocalSource,
    IProblemSource,
    ISource,
    Snapshot,
)
from twisted_index.simple.formatting import printable
from twisted_index.simple.model import ProjectList, Sidecar
from twisted_index.simple.names import looks_like_distribution

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from twisted_index.backends.layout.explanation import RootName
    from twisted_index.backends.layout.facts import FileFacts
    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.backends.object_store.listings import ProjectLook
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import (
        Explanation,
        FileBody,
        IIndexObserver,
        MaybeAwaitable,
        ProblemReport,
    )
    from twisted_index.simple.explanation import SourceAnswer
    from twisted_index.simple.model import ProjectPage

T = TypeVar("T")

#: Objects whose state is kept in memory, over all projects.
_MAX_OBJECTS = 20_000
#: Looks at a project whose objects are replaced while they are read, before the request fails with 503.
_ATTEMPTS = 3


class ObjectBase(NamedTuple):
    """
    An index that another one inherits.

    Attributes:
        owner: Its name.
        root: Its bucket.
    """

    owner: str
    root: ObjectRoot


@implementer(ISource, ILocalSource, IProblemSource, IExplains, ILifecycle)
class ObjectSource:
    """
    A source that reads a bucket.

    Args:
        bucket: The bucket, or what several sources know of it.
        bases: The buckets of the indexes that it inherits, in order.
        worker: Threads that wait for them.
        pieces: Threads that wait for the bytes of files, which so hold up no page; by default the same.
        reactor: Provides the clock.
        rescan: See `ObjectRoot`.
        response_timeout: Seconds that a request waits.
        state: See `ObjectRoot`.
        observer: Provides `IIndexObserver`; None without one.
        redirect: Whether clients are sent to the store for large files.

    Attributes:
        bucket: Where files are published.
        paths: The URLs of the buckets, as bytes, its own first.
        root: What is known of its own bucket.
    """

    def __init__(
        self,
        bucket: Bucket | ObjectRoot,
        *,
        bases: Sequence[ObjectBase] = (),
        worker: IThreadRunner,
        pieces: IThreadRunner | None = None,
        reactor: Any,
        rescan: float = 2.0,
        response_timeout: float = 10.0,
        state: Path | None = None,
        observer: IIndexObserver | None = None,
        redirect: bool = False,
    ) -> None:
        self._owns_root = not isinstance(bucket, ObjectRoot)
        if not isinstance(bucket, ObjectRoot):
            bucket = ObjectRoot(bucket, worker=worker, reactor=reactor, rescan=rescan, state=state)
        self.root = bucket
        self.bucket = bucket.bucket
        self._roots = (self.root, *(base.root for base in bases))
        self._owners = {base.root.path: base.owner for base in bases}
        self.paths = tuple(root.path for root in self._roots)
        self._worker = worker
        self._pieces = pieces or worker
        self._reactor = reactor
        self._response_timeout = response_timeout
        self._observer = observer
        self._problems = ObjectProblems(
            self.root.listings, self._load, lambda: worker.run(promotion_problems, self.bucket)
        )
        self._states: LRU[str, BucketProject] = LRU(_MAX_OBJECTS, BucketProject.count_objects)
        self._flight: FreshSingleFlight[str, BucketProject] = FreshSingleFlight(self._renew)
        self._objects = ListedObjects(self._roots, self._pieces, self._states.pop, redirect=redirect)
        self._list: Snapshot[ProjectList] | None = None

    def start(self) -> None:
        """Do nothing: the bucket is not asked before a request."""

    async def stop(self) -> None:
        """Stop its scans, and its threads if no other source has them, and forget everything."""
        self._problems.stop()
        if self._owns_root:
            # What is being read ends first, so that it is written with the rest.
            await self._pieces.stop()
            await self._worker.stop()
            await self.root.stop()
        for project in list(dict(self._states.items())):
            self._states.pop(project)
        self._list = None
        if self._owns_root:
            await self._worker.stop()

    # -- ISource

    def project_list(self) -> MaybeAwaitable[Snapshot[ProjectList]]:
        """See `ISource`. In a large bucket each folder with a project's name counts."""
        if self._list is not None and self._list.is_current():
            return self._list
        return Deferred.fromCoroutine(self._read_list())

    async def count(self) -> tuple[int, int]:
        """
        Count projects, and files at the root whose names keep them out.

        Raises:
            Unavailable: The bucket cannot be listed.
        """
        root = await self.root.listings.root()
        return len(root.projects), sum(map(looks_like_distribution, root.unassigned))

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """See `ISource`. Returns without a Deferred while the last listing holds."""
        state = self._states.get(project)
        if state is not None and state.snapshot.is_current():
            return state.snapshot
        return self._load(project).addCallback(lambda loaded: loaded.snapshot)

    async def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """See `ISource`. Opens the very object that is listed; what is not listed costs a listing."""
        for _attempt in range(_ATTEMPTS):
            state = self._states.get(project)
            if state is None or not state.snapshot.is_current():
                state = await self._load(project)
            listed = state.listed_files.get(filename)
            if listed is None:
                # The page of another node may have it, which has looked later.
                if await self._is_latest(project, state):
                    return None
                self._forget(project)
                continue
            try:
                body = await self._objects.open(state, listed, sidecar)
            except ObjectChanged:
                self._forget(project)
                continue
            if body is not None and is_copy(listed.entry, state.scan, state.known_files):
                return replace(body, is_copy=True)
            return body
        raise Unavailable("This file is being changed. Retry in a moment.", retry_after=2)

    def problems(self) -> Deferred[ProblemReport]:
        """See `IProblemSource`. After the time-out, the scan continues for the next report."""
        return self._problems.report(self._reactor, self._response_timeout)

    def known_problems(self) -> int:
        """See `IProblemSource`."""
        return self._problems.known_count

    # -- IExplains

    async def explain(self, project: str) -> Explanation:
        """See `IExplains`."""
        for _attempt in range(_ATTEMPTS):
            try:
                state = self._states.get(project)
                if state is None or not state.snapshot.is_current():
                    state = await self._load(project)
                parts = await self._parts(project, state.listings)
                look = Look(state.scan, state.known_files, state.listed_files, state.scan)
                found = explain_objects(project, self._names, look, parts)
                return await self._worker.run(found.read, state.snapshot, None)
            except ObjectChanged:
                self._forget(project)
            except SimpleIndexError as error:
                return ProjectExplanation(project, self._names, None).read(None, error)
        raise Unavailable("This project is being changed. Retry in a moment.", retry_after=2)

    def unasked(self, why: str) -> tuple[SourceAnswer, ...]:
        """See `IExplains`."""
        return unasked_roots(self._names, why)

    @property
    def _names(self) -> tuple[RootName, ...]:
        owners = [self._owners.get(path) for path in self.paths]
        return root_names(self.paths, owners, lambda path: f"bucket {printable(path.decode())}")

    # -- What this node writes

    def note_change(self, project: str, look: ProjectLook | None = None) -> None:
        """Show what was just written of a project in the next answer; a look that has it may hold."""
        if look is None:
            self.root.listings.forget(project)
        else:
            self.root.listings.keep(project, look)

    @property
    def reader(self) -> ObjectReader:
        """Reads a project in a thread, whatever holds."""
        return ObjectReader(self._roots, self._owners)

    def seed(self, stored: StoredObject, facts: FileFacts, uploaded_ns: int | None = None) -> None:
        """Learn the facts of an object that this node has just written."""
        self.root.seed(stored, facts, uploaded_ns)

    def known_sha256(self, stored: StoredObject) -> str | None:
        """Return the digest of an object if it is known in memory; in any thread."""
        return self.root.known_sha256(stored)

    async def _is_latest(self, project: str, state: BucketProject) -> bool:
        latest = all_of(root.listings.latest(project) for root in self._roots)
        listings = await self._with_deadline(Deferred.fromCoroutine(latest))
        return all(map(ProjectListing.is_like, state.listings, listings))

    def _forget(self, project: str) -> None:
        for root in self._roots:
            root.listings.forget(project)

    # -- The list of projects

    async def _read_list(self) -> Snapshot[ProjectList]:
        listings = (Deferred.fromCoroutine(root.listings.root()) for root in self._roots)
        listed = await self._with_deadline(Deferred.fromCoroutine(all_of(listings)))
        value = ProjectList(names=await self._worker.run(listed_names, listed))
        if self._list is not None and self._list.value == value:
            value = self._list.value
        self._list = Snapshot(value=value, is_current=hold_of(root.hold for root in listed))
        return self._list

    # -- The page of a project

    def _load(self, project: str) -> Deferred[BucketProject]:
        return self._with_deadline(self._flight.run(project))

    def _with_deadline(self, work: Deferred[T]) -> Deferred[T]:
        return wait_at_most(self._reactor, self._response_timeout, work, lambda: "The bucket is being read.")

    async def _renew(self, project: str) -> BucketProject:
        """List a project, and build its page if anything has changed. Single flight for each project."""
        for _attempt in range(_ATTEMPTS):
            listings = await all_of(
                Deferred.fromCoroutine(root.listings.project(project)) for root in self._roots
            )
            before = self._states.get(project)
            try:
                state = await self._state_of(project, listings, before)
            except ObjectChanged:
                # It was listed, and replaced or removed before it was read.
                self._forget(project)
                continue
            self._states.put(project, state)
            return state
        raise Unavailable("This project is being changed. Retry in a moment.", retry_after=2)

    async def _state_of(
        self, project: str, listings: Sequence[ProjectListing], before: BucketProject | None
    ) -> BucketProject:
        hold = hold_of(listing.hold for listing in listings)
        if before is not None and all(map(ProjectListing.is_like, before.listings, listings)):
            snapshot = before.snapshot
            if snapshot.is_current is not hold:
                snapshot = Snapshot(value=snapshot.value, is_current=hold)
            return replace(before, listings=listings, snapshot=snapshot)
        if not any(listing.objects for listing in listings):
            state = BucketProject(listings=listings, snapshot=Snapshot(value=None, is_current=hold))
        else:
            parts = await self._parts(project, listings)
            state = await self._worker.run(build_project, project, parts, self._owners, hold, before)
        self._problems.set_problems(project, state.problems, listings[0].unfinished)
        if before is not None and self._observer is not None:
            changes = diff_pages(before.snapshot.value, state.snapshot.value, before.problems, state.problems)
            changes.notify(project, self._observer)
        return state

    async def _parts(self, project: str, listings: Sequence[ProjectListing]) -> list[ObjectPart]:
        return [
            ObjectPart(root, listing, await root.learn(project, listing))
            for root, listing in zip(self._roots, listings, strict=True)
        ]
