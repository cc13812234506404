"""Small files and documents that were asked for lately, ready to be opened again without a question."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.interfaces import SMALL, FileBody
from twisted_index.web.wire import Wire, compose

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.web.response import Headers, Response

#: How many are remembered, and of how many bytes in all, as what opens them may keep their content.
_MOST = 4096
_MOST_BYTES = 16 << 20


class ReadyFile(NamedTuple):
    """
    A file that can be sent at once.

    Attributes:
        reopen: Opens it if it is still what is listed, else gives None.
        wire: Its answer but for the body.
        weight: Bytes that may be kept in memory for it.
    """

    reopen: Callable[[], FileBody | None]
    wire: Wire
    weight: int


class ReadyFiles:
    """
    Remembers small files by the path under which they were asked for.

    Args:
        always: Fields that every answer has.
    """

    def __init__(self, always: Headers) -> None:
        self._always = always
        self._files: OrderedDict[bytes, ReadyFile] = OrderedDict()
        self._bytes = 0

    def keep(self, path: bytes, response: Response, allowed: Callable[[], bool] | None = None) -> None:
        """
        Remember a file, if it is small and its source can open it again.

        Args:
            path: Under which it was asked for.
            response: With the file.
            allowed: Says whether it is still everyone's; None if it always is.
        """
        body = response.body
        if not isinstance(body, FileBody) or body.reopen is None or body.size > SMALL:
            return
        self.drop(path)
        wire = compose(response, self._always, body.size)
        reopen = body.reopen if allowed is None else _only_while(allowed, body.reopen)
        self._files[path] = ReadyFile(reopen, wire, body.size)
        self._bytes += body.size
        while len(self._files) > _MOST or self._bytes > _MOST_BYTES:
            self.drop(next(iter(self._files)))

    def find(self, path: bytes) -> ReadyFile | None:
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
