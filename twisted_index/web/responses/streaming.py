"""
Sends files that are still being fetched.

The length is promised before the last bytes are verified, so if they never come the connection is cut:
only that tells a client that its file is incomplete.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from twisted_index._twisted.server import waits_for_transport
from twisted_index.concurrency.deadline import FILE_DEADLINE, wait_at_most
from twisted_index.errors import NotImplementedHere, SimpleIndexError
from twisted_index.interfaces import FileBody, StreamingContent
from twisted_index.web.responses.producers import CHUNK_SIZE, Producer

if TYPE_CHECKING:
    from twisted.python.failure import Failure
    from twisted.web.http import Request

    from twisted_index.web.responses.response import Headers

_log = Logger()


class StreamingProducer(Producer):
    """
    Sends a body as it comes, as fast as the connection takes it, then finishes the request.

    Args:
        request: Its head has been set up and its length promised.
        body: Closed at the end, exactly once.
        first: The offset of the first byte.
        length: How many bytes to send; more than none.
    """

    def __init__(self, request: Request, body: StreamingContent, first: int, length: int) -> None:
        super().__init__(request, length)
        self._body = body
        self._at = first
        self._readable = 0
        self._waiting = False

    def start(self) -> None:
        """Send the head, and begin to wait."""
        self._request.notifyFinish().addErrback(lambda _gone: self.stopProducing())
        self._request.registerProducer(self, True)
        # An empty write makes the Request write its head: a client that sees it waits for longer.
        self._request.write(b"")
        if not waits_for_transport(self._request.channel):
            self.resumeProducing()

    def resumeProducing(self) -> None:
        """Write what has come until the connection asks for a pause."""
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
        self._body.wait_for(self._at).addCallbacks(self._go_on, self._failed)

    def _go_on(self, readable: int) -> None:
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
    A body every byte of which may be read; an `StreamingContent` of which parts may be sent.

    Args:
        body: Has come.
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


async def until_sendable(body: FileBody, wants_range: bool, clock: Any) -> FileBody:
    """
    Make a body that can be sent: one that has begun to come, or one of which a part may be sent.

    The head waits for the first bytes: what fails until then is an answer that says so, which installers
    know how to repeat; after the head there is only the cut connection.

    A part cannot be compared with anything by who gets it, so it is given only of a file that is
    known to be right.

    Args:
        body: Of any kind, for a GET that is not conditional. Closed if this fails.
        wants_range: Whether the request has a Range field.
        clock: Tells when the wait is over.

    Returns:
        The same, if no part is requested, or if the file is passed on without being kept: then it is
        sent whole, as RFC 9110 section 14.2 allows.

    Raises:
        SimpleIndexError: It takes longer than a client waits (`NotReady`), or never comes.
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
    """Say whether a part of a body may be sent."""
    return not isinstance(body.content, StreamingContent) or isinstance(body.content, CompleteContent)


def send_streaming(request: Request, body: StreamingContent, first: int, length: int) -> None:
    """
    Send a part of a body that is coming on a request whose head has been set up, and close it.

    Args:
        request: Not begun to be written.
        body: Where it comes from.
        first: The offset of the first byte.
        length: How many bytes to send; more than none.
    """
    StreamingProducer(request, body, first, length).start()


def cache_status_field(cache_status: str) -> Headers:
    """Make the field that tells how a cache came by an answer (RFC 9211); none without a cache."""
    if not cache_status:
        return ()
    return ((b"Cache-Status", b"twisted-index; " + cache_status.encode("ascii", "replace")),)
