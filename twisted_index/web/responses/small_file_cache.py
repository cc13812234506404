"""Recently requested small files and documents, which can be opened again without asking the source."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from twisted_index.concurrency.lru import LRU
from twisted_index.interfaces import SMALL_CONTENT, FileBody
from twisted_index.web.responses.serialized import SerializedResponse, serialize

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.web.responses.response import Headers, Response

#: Bytes of all files together, since what opens a file may keep its content, and about what the objects
#: around each take: at most 4,096 files.
_MAX_CACHED_BYTES, _OVERHEAD = 16 << 20, 4096


class SmallFile(NamedTuple):
    """
    A file that can be sent at once.

    Attributes:
        reopen: Opens it if it is still what is listed, else gives None.
        serialized: Its answer but for the body.
        weight: Bytes that may be kept in memory for it.
    """

    reopen: Callable[[], FileBody | None]
    serialized: SerializedResponse
    weight: int


class SmallFileCache:
    """
    Remembers small files by the path under which they were asked for: each index has its own.

    Args:
        common_headers: Fields that every answer has.
    """

    def __init__(self, common_headers: Headers) -> None:
        self._common_headers = common_headers
        self._files = LRU[bytes, SmallFile](_MAX_CACHED_BYTES, lambda file: file.weight)

    def put(self, path: bytes, response: Response, allowed: Callable[[], bool] | None = None) -> None:
        """
        Remember a file, if it is small and its source can open it again.

        Args:
            path: Under which it was asked for.
            response: With the file.
            allowed: Says whether it is still everyone's; None if it always is.
        """
        body = response.body
        if not isinstance(body, FileBody) or body.reopen is None or body.size > SMALL_CONTENT:
            return
        wire = serialize(response, self._common_headers, body.size)
        reopen = body.reopen if allowed is None else _only_while(allowed, body.reopen)
        self._files.put(path, SmallFile(reopen, wire, body.size + _OVERHEAD))

    def get(self, path: bytes) -> SmallFile | None:
        """Give a file by its path."""
        return self._files.get(path)

    def drop(self, path: bytes) -> None:
        """Forget a file."""
        self._files.pop(path)


def _only_while(
    allowed: Callable[[], bool], reopen: Callable[[], FileBody | None]
) -> Callable[[], FileBody | None]:
    return lambda: reopen() if allowed() else None
