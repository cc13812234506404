"""Recently requested small files and documents, which can be opened again without asking the source."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.concurrency.lru import LRU
from twisted_index.interfaces import SMALL_CONTENT, FileBody
from twisted_index.web.responses.serialized import SerializedForms

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.web.responses.response import Headers, Response

#: Bytes of all files, since a `reopen` may hold the content of its file, and an estimate for the objects
#: around each: so there are at most 4,096 files.
_MAX_CACHED_BYTES, _OVERHEAD = 16 << 20, 4096


class SmallFile(NamedTuple):
    """
    A file that can be sent without the source.

    Attributes:
        reopen: Opens the file if it is still the listed one, else returns None.
        forms: The response without its body.
        weight: Bytes that `reopen` may hold in memory.
    """

    reopen: Callable[[], FileBody | None]
    forms: SerializedForms
    weight: int


class SmallFileCache:
    """
    Caches small files by the requested path.

    Args:
        common_headers: Fields of every response.
    """

    def __init__(self, common_headers: Headers) -> None:
        self._common_headers = common_headers
        self._files = LRU[bytes, SmallFile](_MAX_CACHED_BYTES, lambda file: file.weight)
        self._prefix = b""

    def beginning(self, prefix: str) -> SmallFileCache:
        """Return this cache, with the same bound, for what one dispatcher serves."""
        part = copy(self)
        part._prefix = prefix.encode("ascii")
        return part

    def get(self, path: bytes) -> SmallFile | None:
        """Return a file by the requested path, or None."""
        return self._files.get(self._prefix + path)

    def put(self, path: bytes, response: Response) -> None:
        """
        Cache a file, if it is small and its source can open it again.

        Args:
            path: The requested path.
            response: The response with the file.
        """
        body = response.body
        if not isinstance(body, FileBody) or body.reopen is None or body.size > SMALL_CONTENT:
            return
        forms = SerializedForms(response, self._common_headers, body.size)
        self._files.put(self._prefix + path, SmallFile(body.reopen, forms, body.size + _OVERHEAD))

    def drop(self, path: bytes) -> None:
        """Drop a file."""
        self._files.pop(self._prefix + path)
