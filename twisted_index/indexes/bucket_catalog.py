"""
Which indexes there are in a bucket: its first parts of keys, listed while requests come.

Names and settings are those that were read last, so that nothing in the reactor thread waits for the store;
what responds to requests looks again before, see `BucketLines.look`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.backends.object_store.held_listings import Hold
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.errors import NotFound, Unavailable
from twisted_index.indexes.catalog import MAX_MISNAMED, misnamed
from twisted_index.simple.name_patterns import is_index_name

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from twisted_index.backends.object_store.bucket import Bucket
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import Problem


class BucketCatalog:
    """
    The indexes of a bucket; see `IndexCatalog`.

    Args:
        bucket: The bucket.
        worker: Threads that wait for it.
        clock: Provides `seconds()`.
        rescan: Seconds for which a listing holds from the moment on at which it was asked for.

    Attributes:
        folder: Its URL, as bytes.
    """

    def __init__(self, bucket: Bucket, worker: IThreadRunner, clock: IReactorTime, rescan: float) -> None:
        self.bucket = bucket
        self.folder = bucket.url.encode()
        self._worker = worker
        self._clock = clock
        self._rescan = rescan
        self._names: tuple[str, ...] | None = None
        self._misnamed: tuple[str, ...] = ()
        self._hold: Hold | None = None
        #: That of the last listing that was sent, which may not be here yet.
        self._sent: Hold | None = None
        self._flight: FreshSingleFlight[None, Hold] = FreshSingleFlight(self._list)

    def names(self) -> tuple[str, ...]:
        """
        Return the names of all indexes, sorted: the same object while they are the same.

        Raises:
            Unavailable: They were never listed.
        """
        if self._names is None:
            raise Unavailable("The indexes have not been listed yet. Retry in a moment.", retry_after=1)
        return self._names

    def path(self, name: str) -> bytes:
        """
        Return the URL of an index, as bytes.

        Raises:
            NotFound: There is none of that name.
            Unavailable: They were never listed.
        """
        if name not in self.names():
            raise NotFound("There is no index of that name on this server; /+ lists its indexes.")
        return self.folder + b"/" + name.encode()

    def problems(self) -> list[Problem]:
        """List the first parts of keys that are no indexes."""
        return [misnamed(name) for name in self._misnamed]

    def hold(self) -> Deferred[Hold]:
        """
        List the bucket, unless a listing of it holds.

        Returns:
            The time for which the listing holds.

        Raises:
            Unavailable: That failed.
        """
        return self._flight.run(None)

    def forget(self) -> None:
        """Let no listing hold that is without an index that was just made."""
        for hold in (self._hold, self._sent):
            if hold is not None:
                hold.revoke()

    def read_now(self) -> list[str]:
        """List the names of all indexes now; blocks, in any thread."""
        return sorted(filter(is_index_name, self.bucket.list_level().folders))

    async def _list(self, _key: None) -> Hold:
        if self._hold is None or not self._hold():
            hold = self._sent = Hold(self._clock, self._clock.seconds(), self._rescan)
            listing = await self._worker.run(self.bucket.list_level)
            hold.seconds *= listing.requests
            names = tuple(sorted(filter(is_index_name, listing.folders)))
            if names != self._names:
                self._names = names
            others = sorted(listing.folders.difference(names))
            self._misnamed = tuple(name for name in others if not name.startswith("."))[:MAX_MISNAMED]
            self._hold = hold
        return self._hold
