"""
The releases that were read last, in the cache on disk.

After a restart, too, what was listed is gone only if the API says so. Damage costs requests and nothing else.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted_index.backends.upstream.disk_cache import DiskCache
    from twisted_index.github.listing import ReleaseListing

_FORMAT = 1
_MAX_BYTES = 256 << 20
#: It lies among the pages, and no project has this name.
_NAME = "/releases"


class ListingMemory:
    """
    The listing of one upstream on disk. Its methods run in threads.

    Args:
        cache: The cache on disk; None remembers nothing.
        upstream: The key of the upstream.
    """

    def __init__(self, cache: DiskCache | None, upstream: str) -> None:
        self._cache = cache
        self._path = "" if cache is None else cache.page_path(upstream, _NAME)

    def load(self, listing: ReleaseListing) -> None:
        """Let a listing go on with what is remembered."""
        if self._cache is None:
            return
        content = self._cache.read(self._path, _MAX_BYTES)
        if content is None:
            return
        with contextlib.suppress(ValueError, TypeError, LookupError, RecursionError):
            document = json.loads(content)
            if document["format"] == _FORMAT:
                listing.restore(document["listing"])

    def save(self, listing: ReleaseListing) -> None:
        """Remember what a listing has read."""
        if self._cache is not None:
            document = {"format": _FORMAT, "listing": listing.record()}
            self._cache.replace_page(self._path, [json.dumps(document).encode()])
