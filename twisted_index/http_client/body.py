"""Response bodies: bounded, decoded piece by piece, paced by their reader, aborted when they stall."""

from __future__ import annotations

import sys
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import TimeoutMixin
from twisted.python.components import proxyForInterface
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse
from zope.interface import implementer

from twisted_index._twisted.client import producer_behind
from twisted_index.errors import BadGateway, Unavailable
from twisted_index.http_client.retry import TemporaryFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime

#: For bodies whose reader enforces its own limit.
UNLIMITED = sys.maxsize
#: Bytes of an unwanted body up to which it is read, so that its connection can be reused.
_DRAIN_LIMIT = 64 * 1024
#: Seconds for that: a slow body could hold its connection for days.
_DRAIN_TIMEOUT = 5.0
_GZIP_MAGIC = b"\x1f\x8b"
#: Bytes that are decoded at once.
_DECODE_LIMIT = 1024 * 1024


class TruncatedBody(TemporaryFailure):
    """A body that ended early, or was aborted."""


class TooLarge(BadGateway):
    """A body that exceeds its limit."""


@implementer(IPushProducer)
class BoundedBody(Protocol, TimeoutMixin):
    """
    The body of one response, between Twisted and its reader.

    It is complete or fails. A reader is a function, which `deliver` calls; or an `IProtocol`, of which
    this is the transport (`BoundedResponse.deliverBody`).

    Args:
        response: A response whose body has not been delivered yet.
        clock: Schedules the time-out.
        peer: Description of the server in errors.
        idle: Seconds without a byte before the body is aborted; not counted while it is paused.
        limit: Bytes.
        gzipped: Whether to decode gzip.

    Attributes:
        status: The status code of the response; 200 for 203.
        length: Its Content-Length in bytes; None without one.
        total: Bytes of the whole file if the response is a part of it; for callers to set.
        coding: A content coding that is not decoded here; empty without one.
        modified: The Last-Modified field; empty without one; for callers to set.
        is_delimited: Whether anything but the end of the connection marked the end of the body.
        limit: Bytes, both as they arrive and decoded; to be set before the body is read.
        on_finished: Called once, when the body has ended, failed or been cancelled.
        on_broken: Called once if the body breaks off or stalls.
    """

    transport: Any

    def __init__(
        self,
        response: IResponse,
        clock: IReactorTime,
        *,
        peer: str,
        idle: float,
        limit: int,
        gzipped: bool = False,
    ) -> None:
        # A proxy that has changed the content sends 203 instead of 200 (RFC 9110 section 15.3.4).
        self.status: int = 200 if response.code == 203 else response.code
        self.length: int | None = response.length if isinstance(response.length, int) else None
        self.total: int | None = None
        self.coding = ""
        self.modified = ""
        self.is_delimited = True
        self.limit = limit
        self.on_finished: Callable[[], None] = lambda: None
        self.on_broken: Callable[[], None] = lambda: None
        self.gzipped = gzipped
        self._gunzip = BoundedGunzip(peer) if gzipped else None
        self._response = response
        self._clock = clock
        self._peer = peer
        self._idle = idle
        self._received = self._decoded = 0
        self._receive: Callable[[bytes], None] = lambda data: None
        self._delivered: Deferred[None] = Deferred(lambda _: self._cancel())
        self._begun = False
        self._ended = False
        self._failed: Exception | None = None
        self._paused = False

    def deliver(self, receive: Callable[[bytes], None]) -> Deferred[None]:
        """
        Pass the decoded body on as it arrives.

        Args:
            receive: Called with each piece; an exception from it aborts the body and fails the Deferred.

        Returns:
            Fires at the end; fails with BadGateway (too large, or contradicting its Content-Encoding)
            or TruncatedBody. Cancelling it aborts the connection.
        """
        if self.length is not None and self.length > self.limit:
            self._fail(_too_large(self._peer, self.limit))
        if self._failed is not None:
            return fail(self._failed)
        self._receive = receive
        self._begin()
        return self._delivered

    async def read(self, reserve: Callable[[int], None] = lambda size: None) -> bytes:
        """
        Read the whole body into memory.

        Args:
            reserve: Called with the size of each piece (see `MemoryBudget`).
        """
        pieces: list[bytes] = []

        def take(piece: bytes) -> None:
            reserve(len(piece))
            pieces.append(piece)

        await self.deliver(take)
        content = b"".join(pieces)
        pieces.clear()  # otherwise the body would be in memory twice
        return content

    def drain(self) -> None:
        """Drop the body: read a short one, so that its connection can be reused, and abort a long one."""
        self.limit = _DRAIN_LIMIT
        reading = self.deliver(lambda _: None)
        reading.addTimeout(_DRAIN_TIMEOUT, self._clock).addErrback(lambda _: None)

    # -- What a reader calls

    def pause(self) -> None:
        """Stop the flow until `resume`."""
        self._paused = True
        self.setTimeout(None)
        if self._begun and not self._ended:
            self.transport.pauseProducing()

    def resume(self) -> None:
        """Let the body flow again."""
        self._paused = False
        if self._begun and not self._ended:
            self.setTimeout(self._idle)
            self.transport.resumeProducing()

    def abort(self) -> None:
        """Abort the connection; `deliver` fails."""
        self._fail(TruncatedBody(f"The response of the {self._peer} was aborted."))

    def stopProducing(self) -> None:
        """Abort the connection; the reader gets `connectionLost`, as from any transport."""
        producer = producer_behind(self.transport)
        # Twisted's transport proxy offers only an orderly close, for which TLS waits for the peer.
        abort = getattr(producer, "abortConnection", None)
        if abort is not None:
            abort()
        elif self.transport is not None:
            self.transport.loseConnection()

    pauseProducing, resumeProducing = pause, resume
    loseConnection = abortConnection = stopProducing

    # -- What Twisted calls

    def dataReceived(self, data: bytes) -> None:
        """Count and decode a piece, and pass it on."""
        if self._ended:
            return
        self.resetTimeout()
        try:
            self._received += len(data)
            for piece in (data,) if self._gunzip is None else self._gunzip.pieces(data):
                self._decoded += len(piece)
                if max(self._received, self._decoded) > self.limit:
                    raise _too_large(self._peer, self.limit)
                if not self._ended:
                    self._receive(piece)
        except Exception as error:
            self._fail(error)

    def connectionLost(self, reason: Failure = Failure(ResponseDone())) -> None:  # noqa: B008
        """Check that the body is complete, and end."""
        if self._ended:
            return
        if reason.check(PotentialDataLoss, ResponseDone) is None:
            self.on_broken()
            self._end(
                TruncatedBody(f"The {self._peer} closed the connection before the end of its response.")
            )
            return
        if self._gunzip is None:
            self.is_delimited = reason.check(PotentialDataLoss) is None
            self._end(None)
        else:
            cut = BadGateway(f"The {self._peer}'s response is truncated.")
            self._end(None if self._gunzip.is_whole else cut)

    def timeoutConnection(self) -> None:
        """Abort the body: no byte has arrived for `idle` seconds."""
        self.on_broken()
        self._fail(TruncatedBody(f"The {self._peer} stalled in the middle of its response."))

    def callLater(self, period: float, func: Callable[[], None]) -> IDelayedCall:
        """Use `clock` instead of the global reactor."""
        return self._clock.callLater(period, func)

    # -- Begin and end

    def _begin(self) -> None:
        self._begun = True
        self.setTimeout(self._idle)
        self._response.deliverBody(self)
        if self._paused:
            self.pause()

    def _fail(self, error: Exception) -> None:
        if self._ended:
            return
        self._end(error)
        if not self._begun:
            self._begun = True
            self._response.deliverBody(self)
        self.stopProducing()

    def _cancel(self) -> None:
        """Close the connection without firing the Deferred, which its canceller does."""
        self._close()
        self.stopProducing()

    def _end(self, error: Exception | None) -> None:
        self._close()
        if error is None:
            self._delivered.callback(None)
        elif self._begun:
            self._delivered.errback(error)
        else:  # there is no reader yet
            self._failed = error

    def _close(self) -> None:
        self._ended = True
        self.setTimeout(None)
        self.on_finished()


class BoundedResponse(proxyForInterface(IResponse)):  # type: ignore[misc]
    """
    A response whose body is bounded and decoded for every reader, including treq's `content`.

    Args:
        original: Twisted's response.
        body: Its bounded body.
    """

    def __init__(self, original: IResponse, body: BoundedBody) -> None:
        super().__init__(original)
        self.body = body

    @property
    def length(self) -> Any:
        """Bytes of the decoded body, or UNKNOWN_LENGTH."""
        return UNKNOWN_LENGTH if self.body.gzipped else self.original.length

    def deliverBody(self, protocol: IProtocol) -> None:
        """Deliver the body to a protocol; its `connectionLost` gets ResponseDone or the body's error."""
        protocol.makeConnection(self.body)  # type: ignore[arg-type]
        self.body.deliver(protocol.dataReceived).addCallbacks(
            lambda _: protocol.connectionLost(Failure(ResponseDone())), protocol.connectionLost
        )


class MemoryBudget:
    """
    Memory shared by all bodies that are being read.

    Args:
        available: Bytes.
    """

    def __init__(self, available: int) -> None:
        self.available = available

    @contextmanager
    def reserve(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that reserves bytes or raises Unavailable; all are released on exit."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if size > self.available:
                raise Unavailable("Too many large pages are being fetched at once.")
            self.available -= size
            taken += size

        try:
            yield take
        finally:
            self.available += taken


class BoundedGunzip:
    """
    Decodes gzip (RFC 1952) in pieces of bounded size.

    Twisted's decoder, which treq uses, decodes a piece of any size at once, and accepts truncated streams.

    Args:
        peer: Description of the server in errors.

    Attributes:
        is_whole: Whether the stream may end here.
    """

    def __init__(self, peer: str) -> None:
        self.is_whole = True
        self._peer = peer
        self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._trailer = b""
        self._is_over = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """
        Decode data, in pieces of bounded size: gzip compresses up to 1000:1.

        Raises:
            BadGateway: It is not gzip.
        """
        while data and not self._is_over:
            if self._stream.eof:
                data = self._trailer = self._trailer + data
                if not self._begins_a_member(data):
                    return
                self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
                self._trailer = b""
            try:
                part = self._stream.decompress(data, _DECODE_LIMIT)
            except zlib.error:
                raise BadGateway(
                    f"The {self._peer}'s response is not gzip, despite its Content-Encoding."
                ) from None
            self.is_whole = self._stream.eof
            if part:
                yield part
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail

    def _begins_a_member(self, data: bytes) -> bool:
        """Return whether another member follows (section 2.2); padding is ignored, as by gzip."""
        self._is_over = not _GZIP_MAGIC.startswith(data[:2])
        if self._is_over:
            self._trailer = b""
        return data.startswith(_GZIP_MAGIC)


def _too_large(peer: str, limit: int) -> TooLarge:
    return TooLarge(f"The {peer}'s response has more than {limit:,} bytes.")
