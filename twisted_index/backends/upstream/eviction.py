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

#: Seconds between two updates of a file's time on disk; in between, its use is recorded in memory only.
_TOUCH_INTERVAL = 3600.0
#: Number of files whose use is recorded in memory.
_MAX_TOUCHED = 100_000
#: Fraction of the cache size that may be added before it is measured again: other processes write too.
_FRACTION = 0.1


class LruEviction:
    """
    Bounds the size of the cached files.

    Args:
        cache: The cache on disk.
        worker: Threads.
        wall: Returns seconds since the epoch.
        counters: Counters to update.
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
        self._open_files: WeakKeyDictionary[io.FileIO, str] = WeakKeyDictionary()
        self._added = 0
        self._busy = False

    def touch(self, sha256: str, file: io.FileIO | None = None) -> None:
        """
        Record the use of a file.

        Args:
            sha256: The file's digest.
            file: The open file; it is not evicted before it is closed.
        """
        path, now = self._cache.file_path(sha256), self._wall()
        if file is not None:
            self._open_files[file] = path
        if len(self._used) >= _MAX_TOUCHED:
            self._used.clear()
            self._touched.clear()
        self._used[path] = now
        if not 0 <= now - self._touched.get(path, 0.0) < _TOUCH_INTERVAL:
            self._touched[path] = now
            self._cache.touch(sha256, now)

    def record_added(self, size: int) -> None:
        """Record that so many bytes have been added, and evict if the cache is too large."""
        self._added += size
        self._counters.bytes_in_cache += size
        if self._counters.bytes_in_cache > self._cache.size or self._added > self._cache.size * _FRACTION:
            self.check_size()

    def check_size(self) -> None:
        """Measure the cache, and evict if it is too large; in a thread, one run at a time."""
        if not self._busy:
            self._busy = True
            self._added = 0
            in_use = frozenset(path for file, path in self._open_files.items() if not file.closed)
            evicting = self._worker.run(self._cache.evict, dict(self._used), in_use)
            evicting.addCallbacks(self._evicted, lambda _failure: None)
            evicting.addBoth(self._end)

    def _evicted(self, result: tuple[int, int]) -> None:
        remaining, removed = result
        self._counters.bytes_in_cache = remaining + self._added
        if removed:
            _log.info("Removed {bytes} bytes of least recently used files from the cache.", bytes=removed)

    def _end(self, _result: object) -> None:
        self._busy = False
