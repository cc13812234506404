"""
A bucket of wheels and sdists as a source. What is listed is the truth.

A request for a page goes through four steps, each skipped while its result holds: list the project
(`listings`), learn what is new (`learned_store`, `object_inspection`), scan it, build the page.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_index.backends.layout.entries import entry_project
from twisted_index.backends.layout.facts import FileFacts, KnownFile, Rejection
from twisted_index.backends.layout.page_builder import (
    build_page,
    claims_name,
    is_copy,
    problems_of,
    select_files,
)
from twisted_index.backends.layout.project_scan import CLAIMING, QUARANTINE, ProjectScan, scan_project
from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.content import (
    mismatch_error,
    open_document,
    open_metadata,
    open_object,
)
from twisted_index.backends.object_store.learned import LearnedObject, object_id
from twisted_index.backends.object_store.learned_store import LearnedStore
from twisted_index.backends.object_store.listings import CLAIM, Listings
from twisted_index.backends.object_store.object_inspection import inspect_object, read_object
from twisted_index.backends.object_store.object_problems import ObjectProblems, too_deep, unusable_key
from twisted_index.backends.object_store.object_reader import ObjectReader
from twisted_index.backends.object_store.object_tree import ObjectTree
from twisted_index.concurrency.deadline import wait_at_most
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.errors import Unavailable
from twisted_index.events.observers import diff_pages
from twisted_index.interfaces import ILifecycle, IProblemSource, ISource, Snapshot
from twisted_index.simple.model import ProjectList, Sidecar
from twisted_index.simple.names import (
    InvalidFilename,
    claimed_project,
    looks_like_distribution,
    parse_filename,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from twisted_index.backends.layout.page_builder import ListedFile
    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.backends.object_store.learned import ObjectId
    from twisted_index.backends.object_store.listings import ProjectListing, RootListing
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import FileBody, IIndexObserver, MaybeAwaitable, Problem, ProblemReport
    from twisted_index.simple.model import ProjectPage
    from twisted_index.simple.names import Distribution

T = TypeVar("T")
_log = Logger()

#: Objects whose state is kept in memory, over all projects.
_MAX_OBJECTS = 20_000
#: Looks at a project whose objects are replaced while they are read, before the request fails with 503.
_ATTEMPTS = 3
#: Inspections of one project at once, so that it leaves threads to others.
_LANES = 3
#: Inspections at once, each with up to 16 MB in memory.
_INSPECTIONS = 6


class _New(NamedTuple):
    """A distribution file of which nothing is known, with the claim that announced it."""

    stored: StoredObject
    distribution: Distribution
    claim: StoredObject | None


@dataclass(slots=True, eq=False, kw_only=True)
class _State:
    """A project as it was listed once; `page` is None if nothing is named for it."""

    listing: ProjectListing
    snapshot: Snapshot[ProjectPage | None]
    scan: ProjectScan = field(default_factory=ProjectScan)
    known_files: dict[bytes, KnownFile] = field(default_factory=dict)
    listed_files: Mapping[str, ListedFile] = field(default_factory=dict)
    problems: Sequence[Problem] = ()


@implementer(ISource, IProblemSource, ILifecycle)
class ObjectSource:
    """
    A source that reads a bucket.

    Args:
        bucket: The bucket.
        worker: Threads that wait for it; they are stopped with the source.
        reactor: Provides the clock.
        rescan: Seconds for which a listing holds; 0 to list for each answer.
        response_timeout: Seconds that a request waits.
        state: The folder for what was learned where the bucket takes no writes; None without one.
        observer: Provides `IIndexObserver`; None without one.
        redirect: Whether clients are sent to the store for large files.

    Attributes:
        paths: The URL of the bucket, as bytes.
        listings: Those of the bucket.
    """

    def __init__(
        self,
        bucket: Bucket,
        *,
        worker: IThreadRunner,
        reactor: Any,
        rescan: float = 2.0,
        response_timeout: float = 10.0,
        state: Path | None = None,
        observer: IIndexObserver | None = None,
        redirect: bool = False,
    ) -> None:
        self.bucket = bucket
        self.paths = (bucket.url.encode(),)
        self.listings = Listings(bucket, worker, reactor, rescan)
        self._worker = worker
        self._reactor = reactor
        self._response_timeout = response_timeout
        self._observer = observer
        self._redirect = redirect
        self._learned = LearnedStore(bucket, worker, reactor, state)
        self._problems = ObjectProblems(self.listings, self._load)
        self._states: LRU[str, _State] = LRU(_MAX_OBJECTS, lambda state: len(state.listing.objects) + 1)
        #: What was learned of each project, also while its page is not complete.
        self._known: LRU[str, dict[ObjectId, LearnedObject]] = LRU(_MAX_OBJECTS, lambda known: len(known) + 1)
        self._flight: FreshSingleFlight[str, _State] = FreshSingleFlight(self._renew)
        #: All projects at once have so many, so that listings and downloads do not wait for them.
        self._inspections = DeferredSemaphore(_INSPECTIONS)
        #: Objects of which something wrong was kept.
        self._distrusted: set[ObjectId] = set()
        self._list: Snapshot[ProjectList] | None = None

    def start(self) -> None:
        """Do nothing: the bucket is not asked before a request."""

    async def stop(self) -> None:
        """Stop its scans and threads, and forget everything."""
        self._problems.stop()
        self._learned.stop()
        self.listings.clear()
        for project in list(dict(self._states.items())):
            self._states.pop(project)
        self._list = None
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
        root = await self.listings.root()
        return len(root.projects), sum(map(looks_like_distribution, root.unassigned))

    def project_page(self, project: str) -> MaybeAwaitable[Snapshot[ProjectPage | None]]:
        """See `ISource`. Returns without a Deferred while the last listing holds."""
        state = self._states.get(project)
        if state is not None and state.snapshot.is_current():
            return state.snapshot
        return self._load(project).addCallback(lambda loaded: loaded.snapshot)

    async def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """See `ISource`. Opens the very object that is listed."""
        for _attempt in range(_ATTEMPTS):
            state = self._states.get(project)
            if state is None or not state.snapshot.is_current():
                state = await self._load(project)
            listed = state.listed_files.get(filename)
            if listed is None:
                return None
            try:
                body = await self._open(state, listed, sidecar)
            except ObjectChanged:
                self.listings.forget(project)
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

    # -- What this node writes

    def note_change(self, project: str) -> None:
        """Show what was just written of a project in the next answer."""
        self.listings.forget(project)

    @property
    def reader(self) -> ObjectReader:
        """Reads a project in a thread, whatever holds."""
        return ObjectReader(self.bucket, self.listings, self._learned.read)

    def seed(self, stored: StoredObject, facts: FileFacts, uploaded_ns: int | None = None) -> None:
        """Learn the facts of an object that this node has just written."""
        project = _project_of(stored)
        known = self._known_of(project)
        known[object_id(stored)] = LearnedObject(result=facts, uploaded_ns=uploaded_ns)
        self._known.put(project, known)
        self._learned.keep(project, known, is_whole=False)

    def known_sha256(self, stored: StoredObject) -> str | None:
        """Return the digest of an object if it is known in memory; in any thread."""
        learned = (self._known.peek(_project_of(stored)) or {}).get(object_id(stored))
        result = None if learned is None else learned.result
        return result.sha256 if isinstance(result, FileFacts) else None

    # -- The list of projects

    async def _read_list(self) -> Snapshot[ProjectList]:
        root = await self._with_deadline(self.listings.root())
        value = ProjectList(names=await self._worker.run(_names_of, root))
        if self._list is not None and self._list.value == value:
            value = self._list.value
        self._list = Snapshot(value=value, is_current=root.hold)
        return self._list

    # -- The page of a project

    def _load(self, project: str) -> Deferred[_State]:
        return self._with_deadline(self._flight.run(project))

    def _with_deadline(self, work: Deferred[T]) -> Deferred[T]:
        return wait_at_most(self._reactor, self._response_timeout, work, lambda: "The bucket is being read.")

    async def _renew(self, project: str) -> _State:
        """List a project, and build its page if anything has changed. Single flight for each project."""
        for _attempt in range(_ATTEMPTS):
            listing = await self.listings.project(project)
            before = self._states.get(project)
            try:
                state = await self._state_of(project, listing, before)
            except ObjectChanged:
                # It was listed, and replaced or removed before it was read.
                self.listings.forget(project)
                continue
            self._states.put(project, state)
            return state
        raise Unavailable("This project is being changed. Retry in a moment.", retry_after=2)

    async def _state_of(self, project: str, listing: ProjectListing, before: _State | None) -> _State:
        if before is not None and before.listing.is_like(listing):
            snapshot = before.snapshot
            if snapshot.is_current is not listing.hold:
                snapshot = Snapshot(value=snapshot.value, is_current=listing.hold)
            return replace(before, listing=listing, snapshot=snapshot)
        if not listing.objects:
            state = _State(listing=listing, snapshot=Snapshot(value=None, is_current=listing.hold))
        else:
            known = await self._learn(project, listing)
            state = await self._worker.run(self._build, project, listing, known, before)
        self._problems.set_problems(project, state.problems, listing.unfinished)
        if before is not None and self._observer is not None:
            changes = diff_pages(before.snapshot.value, state.snapshot.value, before.problems, state.problems)
            changes.notify(project, self._observer)
        return state

    async def _learn(self, project: str, listing: ProjectListing) -> dict[ObjectId, LearnedObject]:
        """Return what is known of the objects of a project, once that is all of them."""
        known = self._known_of(project)
        new = await self._worker.run(_find_new, project, listing, known)
        if new:
            # Another node may have learned it.
            theirs = await self._worker.run(self._learned.read, project)
            known = {one: theirs[one] for one in theirs.keys() - self._distrusted} | known
            new = [one for one in new if object_id(one.stored) not in known]
        ids = set(map(object_id, listing.objects.values()))
        known = {stored: learned for stored, learned in known.items() if stored in ids}
        self._known.put(project, known)
        if new:
            queue = iter(new)
            lanes = [Deferred.fromCoroutine(self._run_lane(queue, known)) for _ in range(_LANES)]
            outcomes = await DeferredList(lanes, consumeErrors=True)
            self._learned.keep(project, known, is_whole=True)
            for _is_success, outcome in outcomes:
                if isinstance(outcome, Failure):
                    outcome.raiseException()
        return known

    def _known_of(self, project: str) -> dict[ObjectId, LearnedObject]:
        known = self._known.get(project)
        if known is None:
            known = {}
            self._known.put(project, known)
        return known

    async def _run_lane(self, queue: Iterator[_New], known: dict[ObjectId, LearnedObject]) -> None:
        for new in queue:
            # What has misled before is not believed again.
            claim = None if object_id(new.stored) in self._distrusted else new.claim
            learned: LearnedObject = await self._inspections.run(
                self._worker.run, inspect_object, self.bucket, new.stored, new.distribution, claim
            )
            known[object_id(new.stored)] = learned
            if isinstance(learned.result, Rejection):
                _log.warn("{file} is not listed: {reason}", file=new.stored.key, reason=learned.result.reason)

    def _build(
        self,
        project: str,
        listing: ProjectListing,
        known: dict[ObjectId, LearnedObject],
        before: _State | None,
    ) -> _State:
        """Scan a project and build its page; called in a thread."""
        root = self.paths[0]
        tree = ObjectTree(root, listing, partial(self._read_small, known), partial(_uploaded, known))
        scan = scan_project(project, [(root, listing.entries)], tree)
        if listing.unfinished:
            scan.claimed = True
            scan.owned_by = scan.owned_by or (root, listing.unfinished[0].key)
        known_files = {}
        for entry in scan.entries:
            learned = known.get(object_id(listing.objects[tree.key(entry.path)]))
            if learned is not None and learned.result is not None:
                known_files[entry.path] = KnownFile(entry.key, learned.result, True, 0.0)
        listed_files = select_files(scan.entries, scan, known_files)
        page = None
        if scan.claimed:
            claims = claims_name(scan, known_files)
            page = build_page(project, scan, listed_files.values(), claims=claims)
        last = None if before is None else before.snapshot.value
        problems = [
            *problems_of(scan, listed_files, known_files),
            *map(unusable_key, listing.unusable),
            *too_deep(project, listing.objects),
        ]
        return _State(
            listing=listing,
            snapshot=Snapshot(value=last if last == page else page, is_current=listing.hold),
            scan=scan,
            known_files=known_files,
            listed_files=listed_files,
            problems=problems,
        )

    def _read_small(self, known: dict[ObjectId, LearnedObject], stored: StoredObject) -> bytes:
        """Read a sidecar or mark, once for each state of it; called in a thread."""
        learned = known.get(object_id(stored))
        if learned is not None and learned.text is not None:
            return learned.text
        text = read_object(self.bucket, stored)
        known[object_id(stored)] = LearnedObject(text=text)
        return text

    async def _open(self, state: _State, listed: ListedFile, sidecar: Sidecar | None) -> FileBody | None:
        """Open a listed file, or a document inside or beside it."""
        objects = state.listing.objects
        filename = listed.entry.distribution.filename
        stored = objects[self._key(listed.entry.path)]
        is_current = state.snapshot.is_current
        if sidecar is None:
            forget = partial(self._distrust, listed.entry.distribution.project, stored)
            return open_object(
                self.bucket,
                self._worker,
                stored,
                listed,
                is_current,
                on_change=partial(self.listings.forget, listed.entry.distribution.project),
                on_mismatch=forget,
                redirect=self._redirect,
            )
        if sidecar is Sidecar.METADATA:
            if listed.facts.metadata_sha256 is None:
                return None
            body = await self._worker.run(open_metadata, self.bucket, stored, listed, is_current)
            if body is None:
                self._distrust(listed.entry.distribution.project, stored)
                raise mismatch_error()
            return body
        path = state.scan.documents.get(filename, {}).get(sidecar)
        if path is None:
            return None
        return await self._worker.run(open_document, self.bucket, objects[self._key(path)], is_current)

    def _key(self, path: bytes) -> str:
        return os.fsdecode(path[len(self.paths[0]) + 1 :])

    def _distrust(self, project: str, stored: StoredObject) -> None:
        """Forget what was learned of an object whose bytes have another digest, wherever it is kept."""
        self._distrusted.add(object_id(stored))
        self._states.pop(project)
        (self._known.get(project) or {}).pop(object_id(stored), None)


def _project_of(stored: StoredObject) -> str:
    """Return the project that an object is named for; empty for none."""
    name, slash, _rest = stored.key.partition("/")
    return entry_project(name.encode(), bool(slash)) or ""


def _uploaded(known: Mapping[ObjectId, LearnedObject], stored: StoredObject) -> int | None:
    learned = known.get(object_id(stored))
    return None if learned is None else learned.uploaded_ns


def _find_new(project: str, listing: ProjectListing, known: Mapping[ObjectId, LearnedObject]) -> list[_New]:
    """Find the distribution files of which nothing is known; called in a thread."""
    found = []
    for key, stored in listing.objects.items():
        folder, _slash, name = key.rpartition("/")
        if "/" in folder or name.encode() in listing.entries.hidden or object_id(stored) in known:
            continue
        try:
            distribution = parse_filename(name, project)
        except InvalidFilename:
            continue
        if distribution.project == project:
            found.append(_New(stored, distribution, listing.objects.get(key + CLAIM)))
    return found


def _names_of(root: RootListing) -> tuple[str, ...]:
    """Return the names to list, sorted: of what is not known from within, a folder is enough."""
    return tuple(sorted(name for name, listing in root.projects.items() if _is_listed(name, listing, root)))


def _is_listed(project: str, listing: ProjectListing, root: RootListing) -> bool:
    if not root.is_whole and listing.entries.folders:
        return True
    names = {key.split("/")[1] for key in listing.objects if "/" in key}
    if QUARANTINE in names:
        return False
    return (
        any(not name.startswith(b".") for name in listing.entries.files)
        or bool(listing.unfinished)
        or any(name in CLAIMING or claimed_project(name) == project for name in names)
    )
