"""The body of an upstream's answer: paused and resumed, given up when nothing comes, unpacked in bounds."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Self

from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from twisted_index.errors import BadGateway, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.web.iweb import IResponse

#: Bytes of a body that nobody wants which are let come, so that its connection can be used again.
_WORTH_WAITING = 64 * 1024
#: Bytes.
_UNPACKED_AT_ONCE = 1024 * 1024


class BrokenOff(Unavailable):
    """A body did not come whole; another try may go well."""

    def __init__(self, sentence: str = "The upstream broke its answer off.") -> None:
        super().__init__(sentence)


class Body(Protocol):
    """
    The body of one answer; provides `Incoming`.

    Args:
        response: The answer, of which nobody has taken the body.
        clock: For the time-out.
        idle: Seconds without a byte after which it is given up; not counted while it is paused.
        finished: Called once, when no more will come.
        total: Bytes of the whole file, if they are known.

    Attributes:
        whole: Whether something besides the end of the connection said that this was all.
    """

    def __init__(
        self,
        response: IResponse,
        clock: IReactorTime,
        idle: float,
        *,
        finished: Callable[[], None] = lambda: None,
        total: int | None = None,
    ) -> None:
        self.status: int = response.code
        self.length: int | None = response.length if isinstance(response.length, int) else None
        self.total: int | None = total
        self.whole = True
        self._response = response
        self._clock = clock
        self._idle = idle
        self._finished = finished
        self._receive: Callable[[bytes], None] = lambda data: None
        self._delivered: Deferred[None] = Deferred(lambda _: self._cancel())
        self._begun = False
        self._ended = False
        self._given_up: Exception | None = None
        self._paused = False
        self._timer: IDelayedCall | None = None
        self._last_seen = 0.0

    def deliver(self, receive: Callable[[bytes], None]) -> Deferred[None]:
        """Pass on what comes; what `receive` raises breaks it off, and is what this fails with."""
        if self._given_up is not None:
            return fail(self._given_up)
        self._receive = receive
        self._begin()
        return self._delivered

    def pause(self) -> None:
        """Let no more come for now."""
        self._paused = True
        self._stop_timer()
        if self._begun and not self._ended:
            self._producer.pauseProducing()

    def resume(self) -> None:
        """Let it come again."""
        self._paused = False
        if self._begun and not self._ended:
            self._last_seen = self._clock.seconds()
            self._start_timer()
            self._producer.resumeProducing()

    def abort(self) -> None:
        """Break it off."""
        self._fail(BrokenOff("The answer of the upstream was given up."))

    def _begin(self) -> None:
        self._begun = True
        self._last_seen = self._clock.seconds()
        self._response.deliverBody(self)
        if not self._ended:
            if self._paused:
                self.pause()
            else:
                self._start_timer()

    # -- What Twisted calls

    def dataReceived(self, data: bytes) -> None:
        """Pass it on."""
        if self._ended:
            return
        self._last_seen = self._clock.seconds()
        try:
            self._receive(data)
        except Exception as error:
            self._fail(error)

    def connectionLost(self, reason: Failure = Failure(ResponseDone())) -> None:  # noqa: B008
        """Hear that no more will come, and why."""
        if self._ended:
            return
        if reason.check(PotentialDataLoss) is not None:
            self.whole = False
        elif reason.check(ResponseDone) is None:
            self._end(BrokenOff())
            return
        self._end(None)

    # -- The end

    def _fail(self, error: Exception) -> None:
        if self._ended:
            return
        self._end(error)
        if not self._begun:
            self._begun = True
            self._response.deliverBody(self)
        self._break_connection()

    def _cancel(self) -> None:
        """End without a word: whoever cancelled it says what is to be said."""
        self._ended = True
        self._stop_timer()
        self._finished()
        self._break_connection()

    def _end(self, error: Exception | None) -> None:
        self._ended = True
        self._stop_timer()
        self._finished()
        if error is None:
            self._delivered.callback(None)
        elif self._begun:
            self._delivered.errback(error)
        else:  # nobody listens yet
            self._given_up = error

    def _break_connection(self) -> None:
        producer = getattr(self.transport, "_producer", None)
        # The proxy that a body gets for its transport can only be told to close in good order, for
        # which TLS waits for the other side.
        abort = getattr(producer, "abortConnection", None)
        if abort is not None:
            abort()
        elif self.transport is not None:
            self.transport.loseConnection()

    @property
    def _producer(self) -> Any:
        return self.transport

    # -- The time-out

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(self._idle, self._look)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Give up if nothing came since the timer was set; else set it to when that would be so."""
        self._timer = None
        left = self._last_seen + self._idle - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._look)
        else:
            self._fail(BrokenOff("The upstream stopped in the middle of its answer."))


def discard(response: IResponse, clock: IReactorTime, idle: float) -> None:
    """Let go of an answer: to its end if it is short, so that the connection can be used again."""
    left = _WORTH_WAITING

    def count(data: bytes) -> None:
        nonlocal left
        left -= len(data)
        if left < 0:
            raise BrokenOff

    Body(response, clock, idle).deliver(count).addErrback(lambda _: None)


class Memory:
    """
    What the pages of an upstream may take together while they are read.

    Args:
        left: Bytes.
    """

    def __init__(self, left: int) -> None:
        self.left = left


class Allowance:
    """
    What one page takes of it, given back at the end.

    Args:
        memory: Of all.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._taken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.left += self._taken

    def take(self, size: int) -> None:
        """
        Take so many bytes.

        Raises:
            Unavailable: Others have them.
        """
        if size > self._memory.left:
            raise Unavailable("Too many large pages come from the upstream at once.")
        self._memory.left -= size
        self._taken += size


async def read_whole(
    body: Body, limit: int, *, gzipped: bool = False, allowance: Allowance | None = None
) -> bytes:
    """
    Read a body to its end.

    Args:
        body: Not delivered yet.
        limit: In bytes, as they come and unpacked.
        gzipped: Whether it is to be unpacked.
        allowance: Where what is held in memory is taken from; None if it is little.

    Raises:
        BadGateway: It is larger, or no whole gzip.
        Unavailable: It did not come whole, or there is no memory for it.
    """
    if body.length is not None and body.length > limit:
        body.abort()
        raise _too_large(limit)
    unpacker = Gunzip(limit) if gzipped else None
    pieces: list[bytes] = []
    left = limit

    def take(data: bytes) -> None:
        nonlocal left
        left -= len(data)
        if left < 0:
            raise _too_large(limit)
        for piece in (data,) if unpacker is None else unpacker.pieces(data):
            if allowance is not None:
                allowance.take(len(piece))
            pieces.append(piece)

    await body.deliver(take)
    if unpacker is not None:
        unpacker.end()
    content = b"".join(pieces)
    pieces.clear()  # or it would be held twice for as long as the body is
    return content


def _too_large(limit: int) -> BadGateway:
    return BadGateway(f"The upstream's answer has more than {limit:,} bytes.")


class Gunzip:
    """
    Unpacks gzip (RFC 1952) piece by piece, never more than the limit in all.

    Twisted's decoder unpacks a piece at whatever size it has, and takes a stream that ends in its
    middle for whole.
    """

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit
        self._stream = _stream()
        self._is_open = False

    def feed(self, data: bytes) -> bytes:
        """Unpack a piece; see `pieces`."""
        return b"".join(self.pieces(data))

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """
        Unpack a piece, in smaller ones: some bytes of gzip may be a thousand times as many.

        Raises:
            BadGateway: It is no gzip, or too much.
        """
        while data:
            if self._stream.eof:  # another member follows (section 2.2)
                self._stream = _stream()
            self._is_open = True
            try:
                part = self._stream.decompress(data, min(self._left + 1, _UNPACKED_AT_ONCE))
            except zlib.error:
                raise BadGateway("The upstream's answer is no gzip, though it says so.") from None
            self._left -= len(part)
            if self._left < 0:
                raise _too_large(self._limit)
            yield part
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail

    def end(self) -> None:
        """
        Say that no more comes.

        Raises:
            BadGateway: More should have come.
        """
        if self._is_open and not self._stream.eof:
            raise BadGateway("The upstream's answer ends in its middle.")


def _stream() -> Any:
    return zlib.decompressobj(16 + zlib.MAX_WBITS)
