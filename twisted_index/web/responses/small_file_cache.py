"""Recently requested small files and documents, which can be opened again without asking the source."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.interfaces import SMALL_CONTENT, FileBody
from twisted_index.web.responses.serialized import SerializedResponse, serialize

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.web.responses.response import Headers, Response

#: How many are remembered, and of how many bytes in all, as what opens them may keep their content.
_MAX_FILES = 4096
_MAX_CACHED_BYTES = 16 << 20


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
        self._files: OrderedDict[bytes, SmallFile] = OrderedDict()
        self._bytes = 0

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
        self.drop(path)
        wire = serialize(response, self._common_headers, body.size)
        reopen = body.reopen if allowed is None else _only_while(allowed, body.reopen)
        self._files[path] = SmallFile(reopen, wire, body.size)
        self._bytes += body.size
        while len(self._files) > _MAX_FILES or self._bytes > _MAX_CACHED_BYTES:
            self.drop(next(iter(self._files)))

    def get(self, path: bytes) -> SmallFile | None:
        """Give a file by its path."""
        return self._files.get(path)

    def drop(self, path: bytes) -> None:
        """Forget a file."""
        ready = self._files.pop(path, None)
        if ready is not None:
            self._bytes -= ready.weight


def _only_while(
    allowed: Callable[[], bool], reopen: Callable[[], FileBody | None]
) -> Callable[[], FileBody | None]:
    return lambda: reopen() if allowed() else None
