"""
One download: from the upstream to disk, and from there to all waiting readers.

Each reader reads what is on disk at its own pace, so memory is bounded by what waits to be written,
whatever the number of clients. The last bytes are withheld until length and digests are verified: no
client ever holds a complete wrong file. A download that has begun finishes even without readers, so
that the next client finds the file.

Without a cache on disk (none configured, no space, a file larger than the cache) the bytes pass through
memory, as fast as the slowest reader, for as long as there is one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from twisted_index.backends.upstream.download_buffer import DownloadBuffer
from twisted_index.errors import BadGateway, NotImplementedHere, SimpleIndexError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted.python.failure import Failure

    from twisted_index.backends.upstream.expected_file import ExpectedFile
    from twisted_index.backends.upstream.remote import ResponseStream
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.files.anonymous_file import AnonymousFile

_log = Logger()

#: Bytes that are withheld until the whole file is known to be right.
WITHHELD_TAIL = 64 << 10
#: Bytes in memory beyond which the upstream is paused, and below which it may go on.
HIGH_WATER, LOW_WATER = 1 << 20, 256 << 10
#: Seconds before a broken download is resumed.
_RETRY_DELAYS = (0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadTarget:
    """
    Where a file is put. All three block.

    Attributes:
        create: Opens a file for that many bytes (None: an unknown number); None if there is no place.
        write: Writes at a position, and returns how many bytes were written: fewer on a full disk.
        commit: Names a complete file by its sha256, and returns whether it was kept.
    """

    create: Callable[[int | None], AnonymousFile | None]
    write: Callable[[AnonymousFile, bytes, int], int]
    commit: Callable[[AnonymousFile, str], bool]


class _Waiter(NamedTuple):
    position: int
    answer: Deferred[int]


class Download:
    """
    A file that is fetched once, for all readers. The request starts with the first of them.

    Args:
        fetch: Asks the upstream for the file from a position on; None for the whole.
        expected: What it has to be.
        target: Where it is put.
        on_complete: Done when it is complete and put away, before it is over.
        worker: Threads.
        clock: For the time between attempts.

    Attributes:
        total: Bytes of the whole file; None while unknown.
        sha256: Of the whole file, when it is complete.
        received: Bytes that have come from the upstream.
        is_cached: Whether it has its name in the cache.
        error: Why it failed; None if it has not.
        is_rejected: Whether it was not what was promised.
    """

    def __init__(
        self,
        *,
        fetch: Callable[[int | None], Deferred[ResponseStream | None]],
        expected: ExpectedFile,
        target: DownloadTarget,
        on_complete: Callable[[Download], Awaitable[None]],
        worker: IThreadRunner,
        clock: Any,
    ) -> None:
        self._afterwards = on_complete
        self._fetch = fetch
        self._expected = expected
        self._places = target
        self._worker = worker
        self._clock = clock
        self.total = expected.size
        self.sha256: str | None = None
        self.received = 0
        self.is_cached = False
        self.error: SimpleIndexError | None = None
        self.is_rejected = False
        self._arrived = DownloadBuffer(
            worker,
            ("sha256", *expected.hashes),
            write=target.write,
            on_change=self._more_has_come,
            on_failure=self._not_written,
        )
        self._temporary: AnonymousFile | None = None
        self._incoming: ResponseStream | None = None
        self._asking: Deferred[ResponseStream | None] | None = None
        self._paused = False
        #: Bytes that are dropped, as an upstream that knows no ranges begins anew.
        self._skip = 0
        #: Whether something says where the end is, besides the end of the connection.
        self._end_is_told = True
        self._begun = False
        self._wanted: Deferred[None] = Deferred()
        #: Called early if it is broken off while it rests.
        self._end_rest: Callable[[], None] | None = None
        self._complete = False
        self._ended = False
        self._readers: set[DownloadReader] = set()
        self._waiters: list[_Waiter] = []
        self._wanting_whole: list[Deferred[None]] = []
        self._measuring: list[Deferred[int | None]] = []
        self._at_end: list[Deferred[None]] = []

    # -- Taking part

    @property
    def joinable(self) -> bool:
        """Whether a new reader can have it from its first byte on."""
        return self.error is None and not self._ended and self._arrived.is_complete

    def join(self) -> DownloadReader:
        """Take part; the reader has to be closed."""
        reader = DownloadReader(self)
        self._readers.add(reader)
        return reader

    def leave(self, reader: DownloadReader) -> None:
        """Release a reader. A download that no reader has wanted, or can complete, ends."""
        self._readers.discard(reader)
        if not self._begun and not self._readers:
            self._end()
        elif not self._wanted.called or self._arrived.pass_through:
            self._give_up_if_alone()
        self._trim()
        self._close_file()

    def determine_size(self) -> Deferred[int | None]:
        """
        Find out how long the file is; if need be, by asking for it without letting it come.

        Returns:
            In bytes; None if the upstream does not say. Fails like `wait`.
        """
        if self.error is not None:
            return fail(self.error)
        if self._incoming is not None or self.total is not None:
            return succeed(self.total)
        answer: Deferred[int | None] = Deferred()
        self._measuring.append(answer)
        self._begin()
        return answer

    def wait_for(self, position: int) -> Deferred[int]:
        """See `StreamingContent`."""
        self._want()
        self._trim()
        if self.error is not None:
            return fail(self.error)
        if self._complete or self._readable() > position:
            return succeed(self._readable())
        answer: Deferred[int] = Deferred()
        self._waiters.append(_Waiter(position, answer))
        return answer

    def wait_complete(self) -> Deferred[None]:
        """See `StreamingContent`. What is passed on without being kept is never whole."""
        self._want()
        if self.error is not None:
            return fail(self.error)
        if self._complete and self._arrived.is_complete:
            return succeed(None)
        if self._arrived.pass_through:
            return fail(_never_whole())
        answer: Deferred[None] = Deferred()
        self._wanting_whole.append(answer)
        return answer

    def wait_finished(self) -> Deferred[None]:
        """Wait until nothing more happens with it, whatever came of it."""
        if self._ended:
            return succeed(None)
        answer: Deferred[None] = Deferred()
        self._at_end.append(answer)
        return answer

    def read(self, position: int, size: int) -> bytes:
        """See `StreamingContent`."""
        size = min(size, self._readable() - position)
        return self._arrived.read(position, size) if size > 0 and self.error is None else b""

    def dup(self) -> int | None:
        """Open the whole file once more: a descriptor, or None if it was not written."""
        if self._temporary is None or self._temporary.descriptor < 0 or self._arrived.pass_through:
            return None
        return os.dup(self._temporary.descriptor)

    # -- Fetching

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            Deferred.fromCoroutine(self._run())

    def _want(self) -> None:
        """Let its bytes come."""
        if not self._wanted.called:
            self._wanted.callback(None)
        self._begin()

    async def _run(self) -> None:
        try:
            await self._open(None)
            await self._wanted
            await self._receive()
            await self._arrived.wait_idle()
            await self._look_whether_it_is_all()
            self._check()
        except SimpleIndexError as error:
            self.abort(error)
        except Exception:
            if self.error is None:
                _log.failure("A file of an upstream could not be fetched")
            self.abort(_not_now())
        await self._arrived.wait_idle()
        await self._put_away()
        self._end()

    async def _open(self, first: int | None) -> None:
        """Ask for the file, and look at the head of the answer."""
        incoming = await self._ask(first)
        if first is not None and not self._goes_on(incoming):
            _break_off(incoming)
            first, incoming = None, await self._ask(None)
        if incoming is None:
            raise BadGateway("The upstream lists this file, but does not have it.")
        self._incoming = incoming
        if incoming.status != 200 and first is None:
            raise BadGateway("The upstream sent a part of a file, and was not asked for one.")
        if not self._expected.accepts_coding(incoming.coding):
            raise BadGateway("The upstream sends this file coded in a way that it was not asked for.")
        length = incoming.length if incoming.status == 200 else incoming.total
        if None not in (length, self.total) and length != self.total:
            raise self._refusal(f"has {length} bytes instead of {self.total}")
        self.total = length if self.total is None else self.total
        self._skip = self.received if incoming.status == 200 else 0
        measuring, self._measuring = self._measuring, []
        for answer in measuring:
            answer.callback(self.total)

    async def _ask(self, first: int | None) -> ResponseStream | None:
        """Ask for the file; None if it is not there, or if the upstream refuses to begin within it."""
        self._asking = self._fetch(first)
        try:
            incoming = await self._asking
        except Unavailable:
            # Beginning within a file is a shortcut, which some servers refuse in any way there is.
            if first is None or self.error is not None:
                raise
            incoming = None
        finally:
            self._asking = None
        if self.error is not None:
            _break_off(incoming)
            raise self.error
        return incoming

    def _goes_on(self, incoming: ResponseStream | None) -> bool:
        """Say whether an answer to the request for the rest can be used: the rest, or the whole."""
        return incoming is not None and (incoming.status == 200 or incoming.total in (None, self.total))

    async def _receive(self) -> None:
        self._temporary = await self._worker.run(self._places.create, self.total)
        self._arrived.set_file(self._temporary)
        self._see_whether_it_passes()
        for delay in (*_RETRY_DELAYS, None):
            problem = await self._deliver()
            if self.error is not None or (problem is None and not self._lacks()):
                return
            # Only a known length tells that the rest can be had by asking for it.
            if delay is None or not self._lacks():
                raise problem or _broken_off()
            await self._rest(delay)
            if self.error is None:
                await self._reopen()

    def _lacks(self) -> bool:
        return self.total is not None and self.received < self.total

    async def _deliver(self) -> Unavailable | None:
        """
        Take what comes, to the end of this answer.

        Returns:
            What went wrong, if that may go better the next time.
        """
        incoming, self._paused = self._incoming, False
        if incoming is None or self.error is not None:
            return _broken_off()
        try:
            await incoming.deliver(self._take)
        except Unavailable as error:
            return error
        finally:
            self._end_is_told = incoming.is_delimited or self.total is not None
            self._incoming = None
        return None

    async def _reopen(self) -> None:
        """Ask for what is missing, or not at all if the upstream cannot be reached now."""
        try:
            await self._open(self.received or None)
        except BadGateway:
            raise
        except Unavailable:
            return

    async def _rest(self, seconds: float) -> None:
        rested: Deferred[None] = Deferred()
        timer = self._clock.callLater(seconds, rested.callback, None)

        def end_rest() -> None:
            if timer.active():
                timer.cancel()
                rested.callback(None)

        self._end_rest = end_rest
        await rested

    def _take(self, data: bytes) -> None:
        if self.error is not None:
            return
        if not self.received and not self._skip and self._expected.looks_like_html(data):
            self.abort(BadGateway("The upstream sent a page instead of this file."))
            return
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self.received += len(data) - skipped
        if self.total is not None and self.received > self.total:
            self.abort(self._refusal(f"has more than {self.total} bytes"))
        elif skipped < len(data):
            self._arrived.feed(data[skipped:])
            self._pace()

    def _pace(self) -> None:
        """Pause the upstream when too much waits in memory, and let it go on when there is room."""
        backlog, incoming = self._arrived.backlog, self._incoming
        if incoming is None:
            return
        if not self._paused and backlog >= HIGH_WATER:
            self._paused = True
            incoming.pause()
        elif self._paused and backlog <= LOW_WATER:
            self._paused = False
            incoming.resume()

    # -- What has come

    def _readable(self) -> int:
        """Say how many bytes from the start may be read."""
        end = self._arrived.end
        if self._complete:
            return end
        return 0 if self.total is None else min(end, max(0, self.total - WITHHELD_TAIL))

    def _more_has_come(self) -> None:
        self._see_whether_it_passes()
        self._trim()
        self._tell()
        self._pace()

    def _not_written(self, _failure: Failure) -> None:
        self.abort(_not_now())

    def _see_whether_it_passes(self) -> None:
        """Draw the consequences, if what comes is no longer written."""
        if not self._arrived.pass_through or self.error is not None:
            return
        if self.total is None:
            self.abort(BadGateway("The upstream does not say how long this file is, and it cannot be kept."))
            return
        wanting, self._wanting_whole = self._wanting_whole, []
        for answer in wanting:
            answer.errback(_never_whole())
        self._give_up_if_alone()

    def _give_up_if_alone(self) -> None:
        if not self._readers:
            self.abort(Unavailable("No client waits for this file any more."))

    def _trim(self) -> None:
        """Let go of what is in memory and everybody has had."""
        if self._arrived.pass_through and self._readers:
            self._arrived.trim(min(reader.position for reader in self._readers))
            self._pace()

    def _tell(self) -> None:
        """Answer all who have waited for what is here."""
        waiters, self._waiters = self._waiters, []
        readable = self._readable()
        ready = [one for one in waiters if self._complete or self.error or readable > one.position]
        self._waiters = [one for one in waiters if one not in ready]
        for one in ready:
            one.answer.callback(readable) if self.error is None else one.answer.errback(self.error)
        if self._complete or self.error is not None:
            wanting, self._wanting_whole = self._wanting_whole, []
            for answer in wanting:
                answer.callback(None) if self.error is None else answer.errback(self.error)

    # -- Ends

    async def _look_whether_it_is_all(self) -> None:
        """Look into a file that neither a digest nor a length proves: half of one would be pinned."""
        if self._expected.is_promised or self._end_is_told or self.error is not None:
            return
        descriptor = self.dup()
        assert descriptor is not None  # what is passed on has a length
        if not await self._worker.run(self._expected.is_complete, descriptor):
            raise _broken_off()

    def _check(self) -> None:
        """See whether it is what it has to be, and if so give out the last bytes."""
        if self.error is not None:
            raise self.error
        if self.total not in (None, self._arrived.end):
            raise _broken_off()
        digests = self._arrived.digests()
        for name, digest in digests.items():
            if self._expected.hashes.get(name, digest) != digest:
                raise self._refusal(f"has another {name} than was promised")
        self.sha256, self.total = digests["sha256"], self._arrived.end
        self._complete = True
        self._tell()

    def _refusal(self, what: str) -> BadGateway:
        self.is_rejected = True
        _log.error(
            "{filename} of {upstream} {what}: it is neither kept nor sent.",
            filename=self._expected.filename,
            upstream=self._expected.upstream,
            what=what,
        )
        return BadGateway(
            "The upstream sent something else than the file that it promised, or that was fixed when it"
            " was first fetched. If it is meant to be another: twisted-index refresh PROJECT."
        )

    def abort(self, error: SimpleIndexError) -> None:
        """End it without success, for all who wait; harmless when it is complete."""
        if self.error is not None or self._complete:
            return
        self.error = error
        self._arrived.stop_writing()
        _break_off(self._incoming)
        if self._asking is not None:
            self._asking.cancel()
        if self._end_rest is not None:
            self._end_rest()
        if not self._wanted.called:
            self._wanted.callback(None)
        measuring, self._measuring = self._measuring, []
        for answer in measuring:
            answer.errback(error)
        self._tell()

    async def _put_away(self) -> None:
        """Keep it, if it is right; its last bytes have been given out already."""
        try:
            if self._temporary is not None and self._complete and not self._arrived.pass_through:
                assert self.sha256 is not None
                self.is_cached = await self._worker.run(self._places.commit, self._temporary, self.sha256)
            if self._complete:
                await self._afterwards(self)
        except Exception:
            _log.failure("A file of an upstream could not be put away")
        finally:
            if self._temporary is not None:
                self._temporary.discard()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            at_end, self._at_end = self._at_end, []
            for answer in at_end:
                answer.callback(None)
        self._close_file()

    def _close_file(self) -> None:
        if self._ended and not self._readers and self._temporary is not None:
            self._temporary.close()


class DownloadReader:
    """
    One of those who wait for a file; an `StreamingContent`.

    Args:
        download: Of the file.

    Attributes:
        position: Up to where it has read.
    """

    def __init__(self, download: Download) -> None:
        self._download = download
        self.position = 0

    def wait_for(self, position: int) -> Deferred[int]:
        """See `StreamingContent`."""
        self.position = position
        return self._download.wait_for(position)

    def read(self, position: int, size: int) -> bytes:
        """See `StreamingContent`."""
        data = self._download.read(position, size)
        self.position = position + len(data)
        return data

    def wait_complete(self) -> Deferred[None]:
        """See `StreamingContent`."""
        return self._download.wait_complete()

    def close(self) -> None:
        """See `StreamingContent`; harmless twice."""
        self._download.leave(self)


def _break_off(incoming: ResponseStream | None) -> None:
    if incoming is not None:
        incoming.abort()


def _not_now() -> Unavailable:
    return Unavailable("This file cannot be fetched right now.")


def _broken_off() -> Unavailable:
    return Unavailable("The upstream broke off in the middle of this file.")


def _never_whole() -> NotImplementedHere:
    return NotImplementedHere("This file is passed on without being kept, so that only all of it can be had.")
