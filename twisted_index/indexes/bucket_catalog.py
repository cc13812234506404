"""
Which indexes there are in a bucket: its first parts of keys, listed while requests come.

Names and settings are those that were read last, so that nothing in the reactor thread waits for the store;
what responds to requests looks again before, see `BucketLines.look`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.backends.object_store.held_listings import HeldListings, Hold
from twisted_index.errors import NotFound, Unavailable
from twisted_index.indexes.catalog import MAX_MISNAMED, misnamed
from twisted_index.simple.name_patterns import is_index_name

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from twisted_index.backends.object_store.bucket import Bucket
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class _FirstParts:
    """The first parts of keys: those that are indexes, sorted, and some that are none."""

    hold: Hold
    names: tuple[str, ...]
    misnamed: tuple[str, ...]


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
        self._listings: HeldListings[None, _FirstParts] = HeldListings(self._list, clock, rescan)

    def names(self) -> tuple[str, ...]:
        """
        Return the names of all indexes, sorted: the same object while they are the same.

        Raises:
            Unavailable: They were never listed.
        """
        last = self._listings.last(None)
        if last is None:
            raise Unavailable("The indexes have not been listed yet. Retry in a moment.", retry_after=1)
        return last.names

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
        last = self._listings.last(None)
        return [] if last is None else [misnamed(name) for name in last.misnamed]

    async def hold(self) -> Hold:
        """
        List the bucket, unless a listing of it holds.

        Returns:
            The time for which the listing holds.

        Raises:
            Unavailable: That failed.
        """
        last = self._listings.last(None)
        return last.hold if last is not None and last.hold() else (await self._listings.get(None)).hold

    def forget(self) -> None:
        """Let no listing hold that is without an index that was just made."""
        self._listings.forget(None)

    def read_now(self) -> list[str]:
        """List the names of all indexes now; blocks, in any thread."""
        return sorted(filter(is_index_name, self.bucket.list_level().folders))

    async def _list(self, _key: None, hold: Hold) -> _FirstParts:
        listing = await self._worker.run(self.bucket.list_level)
        hold.seconds *= listing.requests
        names = tuple(sorted(filter(is_index_name, listing.folders)))
        others = sorted(name for name in listing.folders.difference(names) if not name.startswith("."))
        last = self._listings.last(None)
        return _FirstParts(
            hold=hold,
            names=last.names if last is not None and last.names == names else names,
            misnamed=tuple(others[:MAX_MISNAMED]),
        )
