"""One lock for each key, for as long as it is held or waited for."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred, DeferredLock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class KeyedLocks:
    """Locks by key, which serialize work on the reactor: what waits occupies no thread."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, DeferredLock] = WeakValueDictionary()

    @asynccontextmanager
    async def holding(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of a key."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = DeferredLock()
        acquired: Deferred[Any] = lock.acquire()
        await acquired
        try:
            yield
        finally:
            lock.release()
