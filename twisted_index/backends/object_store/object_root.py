"""
What is known of one bucket: its listings, and what was learned of its objects.

All sources that read the bucket share it: those of an index, and of the indexes that inherit it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_index.backends.layout.entries import entry_project
from twisted_index.backends.layout.facts import FileFacts, Rejection
from twisted_index.backends.layout.project_scan import REASON_BYTES
from twisted_index.backends.object_store.learned import LearnedObject, object_id
from twisted_index.backends.object_store.learned_store import LearnedStore
from twisted_index.backends.object_store.listings import Listings
from twisted_index.backends.object_store.object_inspection import inspect_object, read_object
from twisted_index.backends.object_store.project_listing import CLAIM
from twisted_index.concurrency.lru import LRU
from twisted_index.simple.archives.limits import MAX_DOCUMENT
from twisted_index.simple.names import InvalidFilename, parse_filename

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.backends.object_store.learned import ObjectId
    from twisted_index.backends.object_store.project_listing import ProjectListing
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.simple.names import Distribution

_log = Logger()

#: Objects of which what was learned is kept in memory, over all projects.
_MAX_OBJECTS = 20_000
#: Bytes of a sidecar or mark that weigh as much as an object of which its facts are known.
_WEIGHT = 16 << 10
#: Bytes of a sidecar or mark that are kept; a larger one is odd, and is read again.
_MAX_KEPT = 64 << 10
#: Bytes of documents inside and beside files that are kept in memory.
_MAX_DOCUMENTS = 16 << 20
#: Objects of which something wrong was kept, and is not believed again.
_MAX_DISTRUSTED = 10_000
#: Inspections of one project at once, so that it leaves threads to others.
_LANES = 3
#: Inspections at once, each with up to 16 MB in memory.
_INSPECTIONS = 6


class _New(NamedTuple):
    """A distribution file of which nothing is known, with the claim that announced it."""

    stored: StoredObject
    distribution: Distribution
    claim: StoredObject | None


class ObjectRoot:
    """
    A bucket, for all sources that read it.

    Args:
        bucket: The bucket.
        worker: Threads that wait for it.
        reactor: Provides the clock.
        rescan: Seconds for which a listing holds; 0 to list for each answer.
        state: The folder for what was learned where the bucket takes no writes; None without one.

    Attributes:
        bucket: As given.
        path: Its URL, as bytes.
        listings: Those of the bucket.
        documents: Those inside and beside files that were read last, by the object that they are of.
    """

    def __init__(
        self,
        bucket: Bucket,
        *,
        worker: IThreadRunner,
        reactor: Any,
        rescan: float = 2.0,
        state: Path | None = None,
    ) -> None:
        self.bucket = bucket
        self.path = bucket.url.encode()
        self.listings = Listings(bucket, worker, reactor, rescan)
        self._worker = worker
        self._learned = LearnedStore(bucket, worker, reactor, state)
        #: What was learned of each project, also while its page is not complete.
        self._known: LRU[str, dict[ObjectId, LearnedObject]] = LRU(_MAX_OBJECTS, _weigh)
        #: All projects at once have so many, so that listings and downloads do not wait for them.
        self._inspections = DeferredSemaphore(_INSPECTIONS)
        self._distrusted: LRU[ObjectId, bool] = LRU(_MAX_DISTRUSTED)
        self.documents: LRU[ObjectId, bytes] = LRU(_MAX_DOCUMENTS, lambda document: len(document) + 500)

    async def stop(self) -> None:
        """Let no listing hold, and write what was learned, if that can be done in a moment."""
        self.listings.clear()
        await self._learned.stop()

    async def learn(self, project: str, listing: ProjectListing) -> dict[ObjectId, LearnedObject]:
        """Return what is known of the objects of a project, once that is all of them."""
        known = self._known_of(project)
        new = await self._worker.run(_find_new, project, listing, known)
        if new:
            # Another node may have learned it.
            theirs = await self._worker.run(self._learned.read, project, len(listing.objects))
            known = {one: found for one, found in theirs.items() if one not in self._distrusted} | known
            new = [one for one in new if object_id(one.stored) not in known]
        ids = set(map(object_id, listing.objects.values()))
        # Another source of this bucket may add to it meanwhile, in a thread.
        known = {stored: learned for stored, learned in list(known.items()) if stored in ids}
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

    def read_small(
        self, known: dict[ObjectId, LearnedObject], stored: StoredObject, *, whole: bool = False
    ) -> bytes:
        """
        Read a sidecar or mark, once for each state of it; called in a thread.

        Args:
            known: What is known of the project; what is read is added.
            stored: The object.
            whole: Whether all of its bytes have a meaning, however many. If not, those of what is larger than
                any document are a reason and more of it, which is not shown.
        """
        learned = known.get(object_id(stored))
        if learned is not None and learned.text is not None:
            return learned.text
        if whole or stored.size <= MAX_DOCUMENT:
            text = read_object(self.bucket, stored)
        else:
            text = self.bucket.read_range(stored.key, 0, REASON_BYTES, etag=stored.etag)
        if whole or len(text) <= _MAX_KEPT:
            known[object_id(stored)] = LearnedObject(text=text)
        return text

    def read_times(self, project: str) -> dict[ObjectId, LearnedObject]:
        """
        Read when the files of a project were uploaded, and nothing else; blocks.

        Raises:
            Unavailable: The bucket does not answer.
        """
        learned = self._learned.read(project, _MAX_OBJECTS)
        return {one: LearnedObject(uploaded_ns=known.uploaded_ns) for one, known in learned.items()}

    def seed(self, stored: StoredObject, facts: FileFacts, uploaded_ns: int | None = None) -> None:
        """Learn the facts of an object that this node has just written."""
        project = _project_of(stored)
        known = self._known_of(project)
        known[object_id(stored)] = LearnedObject(result=facts, uploaded_ns=uploaded_ns)
        self._known.put(project, known)
        self._learned.keep(project, known, is_whole=False)

    def known_facts(self, stored: StoredObject) -> FileFacts | None:
        """Return what is known in memory of a listed file; in any thread."""
        learned = (self._known.peek(_project_of(stored)) or {}).get(object_id(stored))
        result = None if learned is None else learned.result
        return result if isinstance(result, FileFacts) else None

    def known_sha256(self, stored: StoredObject) -> str | None:
        """Return the digest of an object if it is known in memory; in any thread."""
        facts = self.known_facts(stored)
        return None if facts is None else facts.sha256

    def distrust(self, project: str, stored: StoredObject) -> None:
        """Forget what was learned of an object whose bytes have another digest, wherever it is kept."""
        self._distrusted.put(object_id(stored), True)
        self.documents.pop(object_id(stored))
        (self._known.get(project) or {}).pop(object_id(stored), None)

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


def _weigh(known: Mapping[ObjectId, LearnedObject]) -> int:
    """Weigh what is known of a project: its objects, and the bytes of its sidecars and marks."""
    return 1 + sum(1 + len(learned.text or b"") // _WEIGHT for learned in list(known.values()))


def _project_of(stored: StoredObject) -> str:
    """Return the project that an object is named for; empty for none."""
    name, slash, _rest = stored.key.partition("/")
    return entry_project(name.encode(), bool(slash)) or ""


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
