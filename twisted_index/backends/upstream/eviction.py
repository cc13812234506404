"""Eviction: keeps the cache on disk below its size by removing the least recently used files."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from twisted.logger import Logger

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

    from twisted_index.backends.upstream.counters import UpstreamCounters
    from twisted_index.backends.upstream.disk_cache import DiskCache
    from twisted_index.concurrency.thread_pool import IThreadRunner

_log = Logger()

#: Seconds for which the use of a file is noted in memory only.
_TOUCH = 3600.0
#: Files whose use is noted.
_MAX_TOUCHED = 100_000
#: The part of the cache after which it is looked at again: other processes fill it too.
_PART = 0.1


class LruEviction:
    """
    Bounds what the files of a cache take.

    Args:
        cache: Whose files.
        worker: Threads.
        wall: Seconds since the epoch.
        counters: Told how much there is.
    """

    def __init__(
        self, cache: DiskCache, worker: IThreadRunner, wall: Callable[[], float], counters: UpstreamCounters
    ) -> None:
        self._cache = cache
        self._worker = worker
        self._wall = wall
        self._counters = counters
        self._used: dict[str, float] = {}
        self._touched: dict[str, float] = {}
        self._lent: WeakKeyDictionary[io.FileIO, str] = WeakKeyDictionary()
        self._added = 0
        self._busy = False

    def touch(self, sha256: str, file: io.FileIO | None = None) -> None:
        """
        Note that a file is used.

        Args:
            sha256: Of the file.
            file: It is not removed as long as this is open.
        """
        path, now = self._cache.file_path(sha256), self._wall()
        if file is not None:
            self._lent[file] = path
        if len(self._used) >= _MAX_TOUCHED:
            self._used.clear()
            self._touched.clear()
        self._used[path] = now
        if not 0 <= now - self._touched.get(path, 0.0) < _TOUCH:
            self._touched[path] = now
            self._cache.touch(sha256, now)

    def record_added(self, size: int) -> None:
        """Note that so many bytes have been added, and make room if that is too much."""
        self._added += size
        self._counters.bytes_in_cache += size
        if self._counters.bytes_in_cache > self._cache.size or self._added > self._cache.size * _PART:
            self.check_size()

    def check_size(self) -> None:
        """Look how much there is, and make room if it is too much: in a thread, once at a time."""
        if not self._busy:
            self._busy = True
            self._added = 0
            busy = frozenset(path for file, path in self._lent.items() if not file.closed)
            looking = self._worker.run(self._cache.evict, dict(self._used), busy)
            looking.addCallbacks(self._looked, lambda _failure: None)
            looking.addBoth(self._end)

    def _looked(self, found: tuple[int, int]) -> None:
        left, removed = found
        self._counters.bytes_in_cache = left + self._added
        if removed:
            _log.info("Removed {bytes} bytes from the cache, of files unused for longest.", bytes=removed)

    def _end(self, _result: object) -> None:
        self._busy = False
