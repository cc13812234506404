"""
One download: from the upstream to disk, and from there to all waiting readers.

Each reader reads from disk at its own pace, so memory is bounded by the bytes not yet written, whatever
the number of clients. The last bytes are withheld until length and digests are verified: no client ever
holds a complete wrong file. A download that has begun finishes even without readers, so that the next
client finds the file.

Without a cache on disk (none configured, no space, a file larger than the cache) the bytes pass through
memory, at the pace of the slowest reader, and the download ends with its last reader.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from twisted_index.backends.upstream.download_buffer import DownloadBuffer
from twisted_index.errors import BadGateway, NotImplementedHere, SimpleIndexError, Unavailable
from twisted_index.simple.archives.limits import MAX_UNPACKED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted.python.failure import Failure

    from twisted_index.backends.upstream.expected_file import ExpectedFile
    from twisted_index.backends.upstream.remote import ResponseStream
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.files.anonymous_file import AnonymousFile

_log = Logger()

#: Bytes of a file whose size the upstream does not state: a response without an end would fill the disk.
MAX_UNSIZED = MAX_UNPACKED
#: Bytes that are withheld until the whole file is verified.
WITHHELD_TAIL = 64 << 10
#: Bytes in memory at which the upstream response is paused, and at which it is resumed.
HIGH_WATER, LOW_WATER = 1 << 20, 256 << 10
#: Seconds before a broken download is resumed.
_RETRY_DELAYS = (0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadTarget:
    """
    Where a file is stored. All three functions block.

    Attributes:
        create: Opens a file for so many bytes (None: unknown size); None if there is no room.
        write: Writes at a position; returns how many bytes were written: fewer on a full disk.
        commit: Names a complete file by its sha256; returns whether it is now in the cache.
    """

    create: Callable[[int | None], AnonymousFile | None]
    write: Callable[[AnonymousFile, bytes, int], int]
    commit: Callable[[AnonymousFile, str], bool]


class _Waiter(NamedTuple):
    position: int
    deferred: Deferred[int]


class Download:
    """
    A file that is fetched once, for all readers. The first reader starts the request.

    Args:
        fetch: Requests the file from the upstream, from a position on; None for the whole.
        expected: The properties that the file must have.
        target: Where the file is stored.
        on_complete: Awaited after the file is complete and stored, before the download ends.
        worker: Threads.
        clock: Schedules retries.

    Attributes:
        total: Size of the whole file in bytes; None while unknown.
        sha256: Digest of the whole file, once it is complete.
        received: Bytes received from the upstream.
        is_cached: Whether the file is in the cache under its final name.
        error: Why the download failed; None if it has not.
        is_rejected: Whether the file contradicted its promised size or digest.
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
        self._on_complete = on_complete
        self._fetch = fetch
        self._expected = expected
        self._target = target
        self._worker = worker
        self._clock = clock
        self.total = expected.size
        self.sha256: str | None = None
        self.received = 0
        self.is_cached = False
        self.error: SimpleIndexError | None = None
        self.is_rejected = False
        self._buffer = DownloadBuffer(
            worker,
            ("sha256", *expected.hashes),
            write=target.write,
            on_change=self._bytes_written,
            on_failure=self._write_failed,
        )
        self._temporary: AnonymousFile | None = None
        self._incoming: ResponseStream | None = None
        self._requesting: Deferred[ResponseStream | None] | None = None
        self._paused = False
        #: Bytes still to be dropped: an upstream without range support starts again from byte 0.
        self._skip = 0
        #: Whether the length is known by other means than the end of the connection.
        self._is_delimited = True
        self._begun = False
        self._body_requested: Deferred[None] = Deferred()
        #: Ends the delay before a retry early; called by `abort`.
        self._end_delay: Callable[[], None] | None = None
        self._complete = False
        self._ended = False
        self._readers: set[DownloadReader] = set()
        self._waiters: list[_Waiter] = []
        self._whole_waiters: list[Deferred[None]] = []
        self._size_waiters: list[Deferred[int | None]] = []
        self._end_waiters: list[Deferred[None]] = []

    # -- Readers

    @property
    def joinable(self) -> bool:
        """Whether a new reader can still read from the first byte."""
        return self.error is None and not self._ended and self._buffer.is_complete

    def join(self) -> DownloadReader:
        """Add a reader; the caller must close it."""
        reader = DownloadReader(self)
        self._readers.add(reader)
        return reader

    def leave(self, reader: DownloadReader) -> None:
        """
        Release a reader.

        Without readers, a download ends if its body was never requested or is not being written to disk.
        """
        self._readers.discard(reader)
        if not self._begun and not self._readers:
            self._end()
        elif not self._body_requested.called or self._buffer.pass_through:
            self._abort_without_readers()
        self._trim()
        self._close_file()

    def determine_size(self) -> Deferred[int | None]:
        """
        Return the size of the file; if need be, send the request and read only the response head.

        Returns:
            Bytes; None if the upstream does not declare it. Fails like `wait_for`.
        """
        if self.error is not None:
            return fail(self.error)
        if self._incoming is not None or self.total is not None:
            return succeed(self.total)
        deferred: Deferred[int | None] = Deferred()
        self._size_waiters.append(deferred)
        self._begin()
        return deferred

    def wait_for(self, position: int) -> Deferred[int]:
        """See `StreamingContent`."""
        self._request_body()
        self._trim()
        if self.error is not None:
            return fail(self.error)
        if self._complete or self._readable() > position:
            return succeed(self._readable())
        deferred: Deferred[int] = Deferred()
        self._waiters.append(_Waiter(position, deferred))
        return deferred

    def wait_complete(self) -> Deferred[None]:
        """See `StreamingContent`. Fails in pass-through mode: the file is never stored whole."""
        self._request_body()
        if self.error is not None:
            return fail(self.error)
        if self._complete and self._buffer.is_complete:
            return succeed(None)
        if self._buffer.pass_through:
            return fail(_never_whole())
        deferred: Deferred[None] = Deferred()
        self._whole_waiters.append(deferred)
        return deferred

    def wait_finished(self) -> Deferred[None]:
        """Wait for the end of the download, successful or not."""
        if self._ended:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._end_waiters.append(deferred)
        return deferred

    def read(self, position: int, size: int) -> bytes:
        """See `StreamingContent`."""
        size = min(size, self._readable() - position)
        return self._buffer.read(position, size) if size > 0 and self.error is None else b""

    def dup(self) -> int | None:
        """Duplicate the descriptor of the file; None if it was not written to disk."""
        if self._temporary is None or self._temporary.descriptor < 0 or self._buffer.pass_through:
            return None
        return os.dup(self._temporary.descriptor)

    # -- Fetching

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            Deferred.fromCoroutine(self._run())

    def _request_body(self) -> None:
        """Request the body."""
        if not self._body_requested.called:
            self._body_requested.callback(None)
        self._begin()

    async def _run(self) -> None:
        try:
            await self._open(None)
            await self._body_requested
            await self._receive()
            await self._buffer.wait_idle()
            await self._check_archive()
            self._verify()
        except SimpleIndexError as error:
            self.abort(error)
        except Exception:
            if self.error is None:
                _log.failure("A file of an upstream could not be fetched")
            self.abort(_unavailable())
        await self._buffer.wait_idle()
        await self._store()
        self._end()

    async def _open(self, first: int | None) -> None:
        """Request the file, and check the response head."""
        incoming = await self._request(first)
        if first is not None and not self._can_continue(incoming):
            _abort(incoming)
            first, incoming = None, await self._request(None)
        if incoming is None:
            raise BadGateway("The upstream lists this file, but does not have it.")
        self._incoming = incoming
        if incoming.status != 200 and first is None:
            raise BadGateway("The upstream sent a partial response to a full request.")
        if not self._expected.accepts_coding(incoming.coding):
            raise BadGateway("The upstream sent an unrequested content coding.")
        length = incoming.length if incoming.status == 200 else incoming.total
        if None not in (length, self.total) and length != self.total:
            raise self._refusal(f"has {length} bytes instead of {self.total}")
        self.total = length if self.total is None else self.total
        self._skip = self.received if incoming.status == 200 else 0
        waiters, self._size_waiters = self._size_waiters, []
        for deferred in waiters:
            deferred.callback(self.total)

    async def _request(self, first: int | None) -> ResponseStream | None:
        """Request the file; None if it does not exist, or if the upstream refuses the range."""
        self._requesting = self._fetch(first)
        try:
            incoming = await self._requesting
        except Unavailable:
            # A range is only an optimisation, and servers refuse it with all kinds of errors.
            if first is None or self.error is not None:
                raise
            incoming = None
        finally:
            self._requesting = None
        if self.error is not None:
            _abort(incoming)
            raise self.error
        return incoming

    def _can_continue(self, incoming: ResponseStream | None) -> bool:
        """Return whether the response to a range request is usable: the rest of the file, or all of it."""
        return incoming is not None and (incoming.status == 200 or incoming.total in (None, self.total))

    async def _receive(self) -> None:
        self._temporary = await self._worker.run(self._target.create, self.total)
        self._buffer.set_file(self._temporary)
        self._check_pass_through()
        for delay in (*_RETRY_DELAYS, None):
            problem = await self._deliver()
            if self.error is not None or (problem is None and not self._is_short()):
                return
            # Without a known length, there is no way to tell that bytes are missing.
            if delay is None or not self._is_short():
                raise problem or _truncated()
            await self._wait(delay)
            if self.error is None:
                await self._reopen()

    def _is_short(self) -> bool:
        return self.total is not None and self.received < self.total

    async def _deliver(self) -> Unavailable | None:
        """
        Receive the body of this response.

        Returns:
            An error worth a retry; None if there was none.
        """
        incoming, self._paused = self._incoming, False
        if incoming is None or self.error is not None:
            return _truncated()
        try:
            await incoming.deliver(self._take)
        except Unavailable as error:
            return error
        finally:
            self._is_delimited = incoming.is_delimited or self.total is not None
            self._incoming = None
        return None

    async def _reopen(self) -> None:
        """Request the missing bytes; do nothing if the upstream is unavailable."""
        try:
            await self._open(self.received or None)
        except BadGateway:
            raise
        except Unavailable:
            return

    async def _wait(self, seconds: float) -> None:
        elapsed: Deferred[None] = Deferred()
        timer = self._clock.callLater(seconds, elapsed.callback, None)

        def end_delay() -> None:
            if timer.active():
                timer.cancel()
                elapsed.callback(None)

        self._end_delay = end_delay
        await elapsed

    def _take(self, data: bytes) -> None:
        if self.error is not None:
            return
        if not self.received and not self._skip and self._expected.looks_like_html(data):
            self.abort(BadGateway("The upstream sent a page instead of this file."))
            return
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self.received += len(data) - skipped
        limit = MAX_UNSIZED if self.total is None else self.total
        if self.received > limit:
            self.abort(self._refusal(f"has more than {limit} bytes"))
        elif skipped < len(data):
            self._buffer.feed(data[skipped:])
            self._pace()

    def _pace(self) -> None:
        """Pause the upstream response when memory holds too much, and resume it when there is room."""
        backlog, incoming = self._buffer.backlog, self._incoming
        if incoming is None:
            return
        if not self._paused and backlog >= HIGH_WATER:
            self._paused = True
            incoming.pause()
        elif self._paused and backlog <= LOW_WATER:
            self._paused = False
            incoming.resume()

    # -- Received bytes

    def _readable(self) -> int:
        """Return how many bytes from the start may be read."""
        end = self._buffer.end
        if self._complete:
            return end
        return 0 if self.total is None else min(end, max(0, self.total - WITHHELD_TAIL))

    def _bytes_written(self) -> None:
        self._check_pass_through()
        self._trim()
        self._notify()
        self._pace()

    def _write_failed(self, _failure: Failure) -> None:
        self.abort(_unavailable())

    def _check_pass_through(self) -> None:
        """Handle the switch to pass-through mode, where bytes are no longer written to disk."""
        if not self._buffer.pass_through or self.error is not None:
            return
        if self.total is None:
            self.abort(
                BadGateway(
                    "The upstream does not send the length of this file, and the file cannot be cached."
                )
            )
            return
        waiters, self._whole_waiters = self._whole_waiters, []
        for deferred in waiters:
            deferred.errback(_never_whole())
        self._abort_without_readers()

    def _abort_without_readers(self) -> None:
        if not self._readers:
            self.abort(Unavailable("All clients of this file have disconnected."))

    def _trim(self) -> None:
        """Free the bytes in memory that every reader has read."""
        if self._buffer.pass_through and self._readers:
            self._buffer.trim(min(reader.position for reader in self._readers))
            self._pace()

    def _notify(self) -> None:
        """Fire the Deferreds of readers whose bytes have arrived."""
        waiters, self._waiters = self._waiters, []
        readable = self._readable()
        ready = [waiter for waiter in waiters if self._complete or self.error or readable > waiter.position]
        self._waiters = [waiter for waiter in waiters if waiter not in ready]
        for waiter in ready:
            waiter.deferred.callback(readable) if self.error is None else waiter.deferred.errback(self.error)
        if self._complete or self.error is not None:
            whole_waiters, self._whole_waiters = self._whole_waiters, []
            for deferred in whole_waiters:
                deferred.callback(None) if self.error is None else deferred.errback(self.error)

    # -- Ends

    async def _check_archive(self) -> None:
        """Check the archive if neither digest nor length proves it: a truncated file would be pinned."""
        if self._expected.is_promised or self._is_delimited or self.error is not None:
            return
        descriptor = self.dup()
        assert descriptor is not None  # pass-through mode requires a length
        if not await self._worker.run(self._expected.is_complete, descriptor):
            raise _truncated()

    def _verify(self) -> None:
        """Verify length and digests, then release the withheld bytes."""
        if self.error is not None:
            raise self.error
        if self.total not in (None, self._buffer.end):
            raise _truncated()
        digests = self._buffer.digests()
        for name, digest in digests.items():
            if self._expected.hashes.get(name, digest) != digest:
                raise self._refusal(f"has a different {name} than promised")
        self.sha256, self.total = digests["sha256"], self._buffer.end
        self._complete = True
        self._notify()

    def _refusal(self, what: str) -> BadGateway:
        self.is_rejected = True
        _log.error(
            "{filename} of {upstream} {what}: it is neither cached nor served.",
            filename=self._expected.filename,
            upstream=self._expected.upstream,
            what=what,
        )
        return BadGateway(
            "The upstream sent content that differs from what it promised, or from what was fixed when the"
            " file was first fetched. If the change is intended, run twisted-index refresh PROJECT."
        )

    def abort(self, error: SimpleIndexError) -> None:
        """End with an error, for all readers; no-op if already complete or failed."""
        if self.error is not None or self._complete:
            return
        self.error = error
        self._buffer.stop_writing()
        _abort(self._incoming)
        if self._requesting is not None:
            self._requesting.cancel()
        if self._end_delay is not None:
            self._end_delay()
        if not self._body_requested.called:
            self._body_requested.callback(None)
        waiters, self._size_waiters = self._size_waiters, []
        for deferred in waiters:
            deferred.errback(error)
        self._notify()

    async def _store(self) -> None:
        """Store a verified file in the cache; its last bytes have already been released."""
        try:
            if self._temporary is not None and self._complete and not self._buffer.pass_through:
                assert self.sha256 is not None
                self.is_cached = await self._worker.run(self._target.commit, self._temporary, self.sha256)
            if self._complete:
                await self._on_complete(self)
        except Exception:
            _log.failure("A file of an upstream could not be stored")
        finally:
            if self._temporary is not None:
                self._temporary.discard()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            waiters, self._end_waiters = self._end_waiters, []
            for deferred in waiters:
                deferred.callback(None)
        self._close_file()

    def _close_file(self) -> None:
        if self._ended and not self._readers and self._temporary is not None:
            self._temporary.close()


class DownloadReader:
    """
    One reader of a download; a `StreamingContent`.

    Args:
        download: The download to read from.

    Attributes:
        position: Offset of the next byte to read.
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
        """See `StreamingContent`; idempotent."""
        self._download.leave(self)


def _abort(incoming: ResponseStream | None) -> None:
    if incoming is not None:
        incoming.abort()


def _unavailable() -> Unavailable:
    return Unavailable("This file cannot be fetched right now.")


def _truncated() -> Unavailable:
    return Unavailable("The upstream closed the connection before the end of this file.")


def _never_whole() -> NotImplementedHere:
    return NotImplementedHere(
        "This file is passed through without being cached, so ranges are not available."
    )
