"""Listings that hold for a while from the moment on at which they were sent: until then they were true."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred

from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.single_flight import FreshSingleFlight, SharedResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Hashable, Iterable

    from twisted.internet.interfaces import IReactorTime


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


class IHeld(Protocol):
    """A listing with its hold."""

    @property
    def hold(self) -> Hold:
        """Since when, and for how long."""


K = TypeVar("K", bound="Hashable")
ListingT = TypeVar("ListingT", bound=IHeld)


class HeldListings(Generic[K, ListingT]):
    """
    Listings by key. Who asks gets one that was sent no earlier than `seconds` before that.

    One that takes longer than that still serves those who asked for it in time, and the next is sent for
    all others together.

    Args:
        read: Lists what a key names; may move its hold to an earlier moment.
        clock: Provides `seconds()`.
        seconds: How old a listing may be when it is asked for.
        limit: The most that all kept listings may weigh.
        weigh: Returns the weight of one.
    """

    def __init__(
        self,
        read: Callable[[K, Hold], Awaitable[ListingT]],
        clock: IReactorTime,
        seconds: float,
        limit: int = 1,
        weigh: Callable[[ListingT], int] = lambda _listing: 1,
    ) -> None:
        self._read = read
        self._clock = clock
        self._seconds = seconds
        self._kept: LRU[K, ListingT] = LRU(limit, weigh)
        #: Those whose answer is not here yet.
        self._sent: dict[K, tuple[Hold, SharedResult[ListingT]]] = {}
        self._flight: FreshSingleFlight[K, ListingT] = FreshSingleFlight(self._list)
        #: Returns the last listing of a key, however old; None without one.
        self.last = self._kept.peek

    def held(self, key: K) -> ListingT | None:
        """Return the last listing of a key if it is young enough."""
        listing = self._kept.get(key)
        return listing if listing is not None and listing.hold.is_within(self._seconds) else None

    async def get(self, key: K) -> ListingT:
        """
        Return the last listing of a key if it is young enough, else list it.

        Raises:
            Unavailable: That failed.
        """
        asked_at = self._clock.seconds()
        held = self.held(key)
        if held is not None:
            return held
        sent = self._sent.get(key)
        if sent is not None and sent[0].is_within(self._seconds):
            listing = await sent[1].wait()
            # What it is made of may have been sent before.
            if asked_at - listing.hold.sent_at < self._seconds:
                return listing
        return await self._flight.run(key)

    def keep(self, key: K, listing: ListingT) -> None:
        """Keep a listing that was made elsewhere, after all that was written of its key."""
        self._kept.put(key, listing)

    def forget(self, key: K) -> None:
        """Let no listing of a key hold that was sent before now."""
        last = self._kept.peek(key)
        if last is not None:
            last.hold.revoke()
        if key in self._sent:
            self._sent[key][0].revoke()

    def clear(self) -> None:
        """Forget all."""
        for key in [*dict(self._kept.items()), *self._sent]:
            self.forget(key)
            self._kept.pop(key)

    async def _list(self, key: K) -> ListingT:
        held = self.held(key)
        if held is not None:
            return held
        hold = Hold(self._clock, self._clock.seconds(), self._seconds)
        shared = SharedResult(Deferred.fromCoroutine(self._begin(key, hold)))
        self._sent[key] = (hold, shared)
        try:
            listing = await shared.wait()
        finally:
            del self._sent[key]
        self._kept.put(key, listing)
        return listing

    async def _begin(self, key: K, hold: Hold) -> ListingT:
        return await self._read(key, hold)
