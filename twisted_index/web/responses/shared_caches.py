"""The cached responses of all indexes of a resource, bounded once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from twisted_index.web.responses.response_cache import ResponseCache
from twisted_index.web.responses.small_file_cache import SmallFileCache

if TYPE_CHECKING:
    from twisted_index.web.responses.response import Headers

#: Bytes of cached 404 responses for absent projects.
_ABSENT_BYTES = 2 << 20


class SharedCaches(NamedTuple):
    """
    Pages, responses for absent projects, and small files.

    They hold what the sources returned, for all clients alike: an authorizer decides first.
    """

    pages: ResponseCache
    absent: ResponseCache
    files: SmallFileCache

    @classmethod
    def of_size(cls, page_cache: int, common_headers: Headers) -> SharedCaches:
        """
        Make them.

        Args:
            page_cache: Bytes of rendered pages.
            common_headers: Fields of every response.
        """
        return cls(
            ResponseCache(page_cache, common_headers),
            ResponseCache(_ABSENT_BYTES, common_headers),
            SmallFileCache(common_headers),
        )

    def beginning(self, prefix: str) -> SharedCaches:
        """Return the same caches for keys that begin so."""
        return SharedCaches(
            self.pages.beginning(prefix), self.absent.beginning(prefix), self.files.beginning(prefix)
        )
