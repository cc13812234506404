"""
Sends files that are still being fetched.

Content-Length is sent before the last bytes are verified. If they never arrive, the connection is closed:
only that shows the client that its file is incomplete.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from twisted_index._twisted.server import waits_for_transport
from twisted_index.concurrency.deadline import FILE_DEADLINE, wait_at_most
from twisted_index.errors import NotImplementedHere, SimpleIndexError
from twisted_index.interfaces import FileBody, RangedContent, StreamingContent
from twisted_index.web.responses.producers import CHUNK_SIZE, Producer

if TYPE_CHECKING:
    from twisted.python.failure import Failure
    from twisted.web.http import Request

    from twisted_index.web.responses.response import Headers

_log = Logger()


class StreamingProducer(Producer):
    """
    Sends a body while it is fetched, as fast as the connection accepts it, then finishes the request.

    Args:
        request: As for `Producer`.
        body: Closed at the end, exactly once.
        first: The offset of the first byte.
        length: Bytes to send; at least one.
    """

    def __init__(self, request: Request, body: StreamingContent, first: int, length: int) -> None:
        super().__init__(request, length)
        self._body = body
        self._at = first
        self._readable = 0
        self._waiting = False

    def start(self) -> None:
        """Send the head, and wait for the body."""
        self._request.notifyFinish().addErrback(lambda _gone: self.stopProducing())
        self._request.registerProducer(self, True)
        # An empty write makes the Request write its head: clients wait longer once they have it.
        self._request.write(b"")
        if not waits_for_transport(self._request.channel):
            self.resumeProducing()

    def resumeProducing(self) -> None:
        """Write the bytes that have arrived, until the connection pauses this producer."""
        self._paused = False
        while not self._paused and not self._done and not self._waiting:
            if self._at >= self._readable:
                self._wait()
                continue
            piece = self._body.read(self._at, min(CHUNK_SIZE, self._left, self._readable - self._at))
            if not piece:
                self._cut_off()
                return
            self._at += len(piece)
            self._left -= len(piece)
            self._request.write(piece)
            if not self._left:
                self._finish()

    def _wait(self) -> None:
        self._waiting = True
        self._body.wait_for(self._at).addCallbacks(self._arrived, self._failed)

    def _arrived(self, readable: int) -> None:
        self._waiting = False
        self._readable = readable
        if not self._paused and not self._done:
            self.resumeProducing()

    def _failed(self, failure: Failure) -> None:
        if failure.check(SimpleIndexError) is None:
            _log.failure("A streamed response body failed", failure=failure)
        self._waiting = False
        if not self._done:
            self._cut_off()

    def _release(self) -> None:
        self._body.close()


class CompleteContent:
    """
    A complete body; the `StreamingContent` of which ranges may be sent.

    Args:
        body: Completely fetched.
        size: In bytes.
    """

    def __init__(self, body: StreamingContent, size: int) -> None:
        self._body = body
        self._size = size

    def wait_for(self, position: int) -> Deferred[int]:
        """See `StreamingContent`."""
        return succeed(self._size)

    def read(self, position: int, size: int) -> bytes:
        """See `StreamingContent`."""
        return self._body.read(position, size)

    def wait_complete(self) -> Deferred[None]:
        """See `StreamingContent`."""
        return succeed(None)

    def close(self) -> None:
        """See `StreamingContent`."""
        self._body.close()


async def wait_for_part(content: RangedContent, first: int, length: int, clock: Any) -> None:
    """
    Wait until the first bytes of a part can be sent; of a whole file that is all of it.

    Args:
        content: Closed if this fails.
        first: The offset of the first byte.
        length: Bytes to send; at least one.
        clock: Measures the deadline.

    Raises:
        SimpleIndexError: Fetching takes longer than clients wait (`NotReady`), or fails.
    """
    try:
        content.narrow(first, first + length)
        await wait_at_most(clock, FILE_DEADLINE, content.wait_for(first), _progress)
    except BaseException:
        content.close()
        raise


async def wait_until_sendable(body: FileBody, wants_range: bool, clock: Any) -> FileBody:
    """
    Wait until a body can be sent: until its first bytes, or for a range until it is complete.

    The head waits for the first bytes: until then, a failure becomes an error response, which installers
    retry; after the head, the connection can only be closed.

    Clients cannot verify the digest of a range, so ranges are sent of verified files only.

    Args:
        body: Of any kind, for a GET that is not conditional. Closed if this fails.
        wants_range: Whether the request has a Range field.
        clock: Measures the deadline.

    Returns:
        The same body, if no range is requested, or if the file is passed on without being stored: then it
        is sent whole, as RFC 9110 section 14.2 allows.

    Raises:
        SimpleIndexError: Fetching takes longer than clients wait (`NotReady`), or fails.
    """
    content = body.content
    if not isinstance(content, StreamingContent):
        return body
    try:
        if not wants_range:
            await wait_at_most(clock, FILE_DEADLINE, content.wait_for(0), _progress)
            return body
        await wait_at_most(clock, FILE_DEADLINE, content.wait_complete(), _progress)
    except NotImplementedHere:
        return body
    except BaseException:
        content.close()
        raise
    return replace(body, content=CompleteContent(content, body.size))


def _progress() -> str:
    return "The file is being fetched."


def accepts_ranges(body: FileBody) -> bool:
    """Whether ranges of a body may be sent."""
    return not isinstance(body.content, StreamingContent) or isinstance(
        body.content, (CompleteContent, RangedContent)
    )


def send_streaming(request: Request, body: StreamingContent, first: int, length: int) -> None:
    """
    Send a part of a body that is being fetched, and close it.

    Args:
        request: With its status and header fields set, and nothing written.
        body: Provides the bytes.
        first: The offset of the first byte.
        length: Bytes to send; at least one.
    """
    StreamingProducer(request, body, first, length).start()


def cache_status_field(cache_status: str) -> Headers:
    """Return the Cache-Status field (RFC 9211); nothing for a response without a cache."""
    if not cache_status:
        return ()
    return ((b"Cache-Status", b"twisted-index; " + cache_status.encode("ascii", "replace")),)
