"""
Reads the METADATA of a remote wheel by range requests: the end, the central directory, the member.

The zip reader works on what has been fetched. When it needs a missing range, that range is fetched and the
reader starts again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from twisted_index.errors import BadGateway, Unavailable
from twisted_index.files.range_file import RangeFile
from twisted_index.simple.core_metadata import BadArchive, ZipArchive, read_wheel_metadata

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from twisted_index.backends.upstream.remote import RemoteFile, ResponseStream
    from twisted_index.concurrency.thread_pool import IThreadRunner

#: Bytes of the first request, and the minimum of the others. Most wheels have their whole directory in
#: the last 64 KiB, and METADATA just before it.
_STEP = 64 * 1024
#: Maximum of requests for one wheel; a large one usually takes three.
_MAX_REQUESTS = 8
#: Maximum of bytes without METADATA itself: the largest wheels have a directory of some million.
_MAX_BYTES = 8 * 1024 * 1024


class RangeFetch(Protocol):
    """The signature of `IUpstreamClient.fetch`."""

    def __call__(
        self, url: str, *, first: int | None = None, last: int | None = None
    ) -> Deferred[ResponseStream | None]:
        """Request a range of a file."""


class MissingRange(BaseException):
    """
    A range of a file has not been fetched yet.

    Deliberately a BaseException, so archive error handling doesn't swallow it.
    """

    def __init__(self, first: int, last: int) -> None:
        super().__init__(first, last)
        self.first = first
        self.last = last


class _NoRange(Exception):
    """The upstream did not send the requested range."""


async def read_remote_metadata(
    fetch: RangeFetch, file: RemoteFile, limit: int, worker: IThreadRunner, *, may_fail: bool = False
) -> bytes | None:
    """
    Read the METADATA of a remote wheel.

    Args:
        fetch: Requests ranges.
        file: The wheel.
        limit: Largest METADATA in bytes.
        worker: Threads that unpack it.
        may_fail: Whether a temporary failure is raised; otherwise it counts as a lack of ranges.

    Returns:
        The document, unchecked; None if the upstream sends no consistent ranges, or too many would be
        needed: such a failure says nothing about the whole file.

    Raises:
        BadGateway: The file is not a wheel.
        Unavailable: See `may_fail`.
    """
    fetcher = _RangeFetcher(fetch, file, limit)
    try:
        await fetcher.fetch_end()
        for _ in range(_MAX_REQUESTS - 1):
            result = await worker.run(_try_read, fetcher.sparse())
            if isinstance(result, bytes):
                return result if len(result) <= limit else None
            if not fetcher.may_fetch(result):
                return None
            await fetcher.fetch_part(result)
    except _NoRange as error:
        if may_fail and isinstance(error.__cause__, Unavailable) and error.__cause__.status == 503:
            raise error.__cause__ from None
        return None
    except BadArchive as error:
        raise BadGateway(f"{file.file.filename} of the upstream cannot be read: {error.reason}") from None
    return None


def _cut(parts: tuple[tuple[int, bytes], ...], first: int, end: int) -> bytes:
    """
    Cut a range out of what has been fetched: offset and bytes of each part.

    Raises:
        MissingRange: Not all of it has been fetched.
    """
    pieces = []
    while first < end:
        for start, part in parts:
            if start <= first < start + len(part):
                pieces.append(part[first - start : end - start])
                first += len(pieces[-1])
                break
        else:
            raise MissingRange(first, end - 1)
    return b"".join(pieces)


def _try_read(sparse: RangeFile) -> bytes | MissingRange:
    try:
        return read_wheel_metadata(ZipArchive(sparse))  # type: ignore[arg-type]
    except MissingRange as missing:
        return missing


class _RangeFetcher:
    """Fetches ranges of one wheel, and holds the parts fetched so far."""

    def __init__(self, fetch: RangeFetch, file: RemoteFile, limit: int) -> None:
        self._fetch = fetch
        self._url = file.url
        self._size = file.file.size
        self._bytes_left = _MAX_BYTES + limit
        self._parts: tuple[tuple[int, bytes], ...] = ()

    def sparse(self) -> RangeFile:
        """Return the file with the parts fetched so far."""
        assert self._size is not None
        return RangeFile(self._size, partial(_cut, self._parts))

    def may_fetch(self, missing: MissingRange) -> bool:
        """Return whether a missing range is within the byte limit."""
        return missing.last - missing.first < self._bytes_left

    async def fetch_end(self) -> None:
        """Fetch the end of the file."""
        if self._size is None:
            try:
                await self._receive(None, _STEP)
                return
            except _NoRange:
                # Some servers support no suffix ranges. A range from the start returns the size, and the
                # whole of a small wheel.
                await self._receive(0, _STEP - 1)
        assert self._size is not None
        if not self._parts or self._size > _STEP:
            await self._receive(max(0, self._size - _STEP), max(0, self._size - 1))

    async def fetch_part(self, missing: MissingRange) -> None:
        """Fetch a missing range; read-ahead doubles each time, because members lie together."""
        assert self._size is not None
        least = missing.first + _STEP * 2 ** len(self._parts[1:]) - 1
        next_part = min((start for start, _ in self._parts if start > missing.first), default=self._size)
        last = min(next_part - 1, missing.first + self._bytes_left - 1, max(missing.last, least))
        await self._receive(missing.first, last)

    async def _receive(self, first: int | None, last: int) -> None:
        """
        Fetch one part.

        Raises:
            _NoRange: The response is not that range. For ranges of existing files, servers respond with
                200, 400, 403, 404, 405, 416, 500 and 501, send other, encoded or multiple ranges,
                redirect, and drop the connection.
        """
        try:
            data = await self._request(first, last)
        except Unavailable as error:
            raise _NoRange from error
        assert self._size is not None
        self._parts += ((self._size - len(data) if first is None else first, data),)

    async def _request(self, first: int | None, last: int) -> bytes:
        incoming = await self._fetch(self._url, first=first, last=last)
        if incoming is None:
            raise _NoRange
        requested = last if first is None else last - first + 1
        is_part = incoming.status == 206 and incoming.total is not None and not incoming.coding
        if not is_part or (incoming.length or 0) > requested or self._size not in (None, incoming.total):
            incoming.abort()
            raise _NoRange
        pieces: list[bytes] = []

        def take(data: bytes) -> None:
            self._bytes_left -= len(data)
            if self._bytes_left < 0:
                raise BadGateway("The upstream sent more than requested.")
            pieces.append(data)

        await incoming.deliver(take)
        data = b"".join(pieces)
        if not data or len(data) > requested:
            raise _NoRange
        self._size = incoming.total
        return data
