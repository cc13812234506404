"""The space that folders take, measured in a thread at a look, once in an hour at most."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

#: Seconds for which what was measured is shown.
_KEPT = 3600.0


@runtime_checkable
class CacheCounters(Protocol):
    """
    What a cache of an upstream counts since the start.

    Attributes:
        file_hits: Files and documents that were in the cache.
        file_misses: Those that had to be fetched.
        bytes_from_cache: Bytes of files that were in the cache.
        bytes_from_upstream: Bytes of files that came from upstreams.
        page_hits: Pages that were sent without a request.
        page_misses: Pages that had to be fetched.
    """

    file_hits: int
    file_misses: int
    bytes_from_cache: int
    bytes_from_upstream: int
    page_hits: int
    page_misses: int


@dataclass(frozen=True, slots=True)
class FolderSizes:
    """
    What was measured.

    Attributes:
        sizes: Bytes on disk, by the last part of the path of a folder.
        at: When, in seconds since the epoch.
    """

    sizes: dict[str, int]
    at: float


class DiskUse:
    """
    The space that folders take.

    Measuring walks through all of a folder, and a dead mount keeps a thread for ever: so there is one thread,
    which delays neither anything else nor the end of the process.

    Args:
        paths: Absolute. One that lies in another is not a part of that.
        now: Returns seconds since the epoch.
    """

    def __init__(self, paths: Sequence[str], now: Callable[[], float] = time.time) -> None:
        self._paths = tuple(dict.fromkeys(paths))
        self._now = now
        self._measured: FolderSizes | None = None
        self._thread: threading.Thread | None = None

    def look(self) -> FolderSizes | None:
        """Return what was measured last, and measure anew if that is old; None before the first time."""
        measured = self._measured
        is_old = measured is None or self._now() - measured.at > _KEPT
        if is_old and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._measure, name="index-disk-use", daemon=True)
            self._thread.start()
        return measured

    def _measure(self) -> None:
        sizes: dict[str, int] = {}
        for path in self._paths:
            name = printable(os.path.basename(path) or path)
            sizes[name] = sizes.get(name, 0) + _size_of(path, {*self._paths} - {path})
        self._measured = FolderSizes(sizes, self._now())


def _size_of(path: str, others: Collection[str]) -> int:
    """Return the bytes on disk of all files in a folder; what cannot be read is left out."""
    total = 0
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in others]
        for name in files:
            try:
                status = os.lstat(os.path.join(folder, name))
            except OSError:
                continue
            # A file may have holes; Windows knows no blocks.
            blocks: int | None = getattr(status, "st_blocks", None)
            total += status.st_size if blocks is None else blocks * 512
    return total
