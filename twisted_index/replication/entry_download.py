"""The download of one entry: resumed where it broke off, and written in a thread, a piece at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from twisted_index.errors import BadGateway

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted_index.http_client.body import BoundedBody
    from twisted_index.http_client.client import HTTPResponse

#: Bytes that are held until a thread has written them.
_HELD = 1 << 20


class EntryDownload:
    """
    One download.

    Args:
        request: Requests the bytes from an offset on; raises SimpleIndexError.
        run: Calls a function, in a thread if so many bytes are worth it.
        size: Bytes of the entry.
        write: Called with one piece after the other, perhaps in a thread. Its errors end the download.

    Attributes:
        received: Bytes that have arrived.
    """

    def __init__(
        self,
        request: Callable[[int], Awaitable[HTTPResponse]],
        run: Callable[[int, Callable[[], object]], Awaitable[object]],
        size: int,
        write: Callable[[bytes], object],
    ) -> None:
        self._request = request
        self._run = run
        self._size = size
        self._write = write
        self.received = 0
        self._held: list[bytes] = []
        self._writing: Deferred[None] = succeed(None)
        self._is_writing = False
        self._error: BaseException | None = None
        self._body: BoundedBody | None = None
        self._asked = False

    @property
    def is_whole(self) -> bool:
        """Whether all bytes have been written."""
        return self._asked and self.received >= self._size

    async def read_on(self) -> None:
        """
        Request what is missing, and write it.

        Raises:
            TemporaryFailure: The response broke off; what has arrived is written.
            BadGateway: The primary sends no bytes of a file, or too many or too few.
            SimpleIndexError: The request fails.
        """
        response = await self._request(self.received)
        body = response.body
        body.limit = self._size
        # A primary that sends all of it again has no ranges, or another file: its digest will tell.
        skip = self.received if response.status == 200 else 0
        if response.status == 304 or response.header(b"Content-Type").startswith("text/html"):
            body.abort()
            raise BadGateway("The primary did not send the bytes of a file.")
        self._body = body

        def take(piece: bytes) -> None:
            nonlocal skip
            dropped, skip = min(skip, len(piece)), max(0, skip - len(piece))
            if piece := piece[dropped:]:
                self._hold(piece)

        try:
            await body.deliver(take)
        finally:
            await self._written()
        self._asked = True
        if self.received != self._size:
            raise BadGateway("The primary sent fewer bytes of a file than its listing says.")

    def _hold(self, piece: bytes) -> None:
        if self._error is not None:
            raise self._error
        self.received += len(piece)
        if self.received > self._size:
            raise BadGateway("The primary sent more bytes of a file than its listing says.")
        self._held.append(piece)
        if not self._is_writing:
            self._is_writing = True
            self._writing = Deferred.fromCoroutine(self._write_on())
        if sum(map(len, self._held)) > _HELD and self._body is not None:
            self._body.pause()

    async def _write_on(self) -> None:
        while self._held and self._error is None:
            pieces, self._held = b"".join(self._held), []
            try:
                await self._run(len(pieces), lambda data=pieces: self._write(data))  # type: ignore[misc]
            except Exception as error:
                self._error = error
            if self._body is not None:
                self._body.resume()
        self._is_writing = False

    async def _written(self) -> None:
        """Wait for what is written now."""
        await self._writing
        if self._error is not None:
            raise self._error
