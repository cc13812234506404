"""
Reads the METADATA of a remote wheel by range requests: its end, its directory, that one member.

The zip reader works on a sparse file. When it needs a missing range, that range is fetched and the reader
starts again.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Protocol

from twisted_index.errors import BadGateway, Unavailable
from twisted_index.simple.core_metadata import BadArchive, read_wheel_metadata

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from twisted_index.backends.upstream.remote import RemoteFile, ResponseStream
    from twisted_index.concurrency.thread_pool import IThreadRunner

#: Bytes that are asked for at once, the first time and at least. Most wheels have their whole
#: directory in the last 64 KiB, and METADATA just before it.
_STEP = 64 * 1024
#: Requests for one wheel; three are usual for a large one.
_MAX_REQUESTS = 8
#: Bytes besides METADATA itself: the directory of the largest wheels has some million.
_MAX_BYTES = 8 * 1024 * 1024


class RangeFetch(Protocol):
    """As `IUpstreamClient.fetch`."""

    def __call__(
        self, url: str, *, first: int | None = None, last: int | None = None
    ) -> Deferred[ResponseStream | None]:
        """Ask for a part of a file."""


class MissingRange(BaseException):
    """
    A part of a file is not here.

    Deliberately a BaseException, so archive error handling doesn't swallow it.
    """

    def __init__(self, first: int, last: int) -> None:
        super().__init__(first, last)
        self.first = first
        self.last = last


class SparseFile(io.RawIOBase):
    """
    A file of which only parts are here.

    Args:
        size: Of all of it, in bytes.
        parts: Positions and bytes.
    """

    def __init__(self, size: int, parts: tuple[tuple[int, bytes], ...]) -> None:
        self._size = size
        self._parts = parts
        self._position = 0

    def seekable(self) -> bool:
        """Tell that it is."""
        return True

    def readable(self) -> bool:
        """Tell that it is."""
        return True

    def tell(self) -> int:
        """Give the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go somewhere."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("before the start")
        self._position = start + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """
        Read.

        Raises:
            Missing: Not all of that is here.
        """
        end = self._size if size < 0 else min(self._size, self._position + size)
        data = self._slice(self._position, end)
        self._position += len(data)
        return data

    def _slice(self, first: int, end: int) -> bytes:
        pieces = []
        while first < end:
            for start, part in self._parts:
                if start <= first < start + len(part):
                    pieces.append(part[first - start : end - start])
                    first += len(pieces[-1])
                    break
            else:
                raise MissingRange(first, end - 1)
        return b"".join(pieces)


class _NoRange(Exception):
    """The upstream does not send this part, whatever it does instead."""


async def read_remote_metadata(
    fetch: RangeFetch, file: RemoteFile, limit: int, worker: IThreadRunner
) -> bytes | None:
    """
    Read the METADATA of a remote wheel.

    Args:
        fetch: Asks for parts.
        file: The wheel.
        limit: Bytes of METADATA.
        worker: Where it is unpacked.

    Returns:
        None if the upstream gives no ranges that fit together, or this would take too many: how it
        fails here says nothing of the whole file. What the document says is not looked at.

    Raises:
        BadGateway: What came is no wheel.
    """
    reading = _RangeFetcher(fetch, file, limit)
    try:
        await reading.fetch_end()
        for _ in range(_MAX_REQUESTS - 1):
            found = await worker.run(_try, reading.sparse())
            if isinstance(found, bytes):
                return found if len(found) <= limit else None
            if not reading.may_fetch(found):
                return None
            await reading.fetch_part(found)
    except _NoRange:
        return None
    except BadArchive as error:
        raise BadGateway(f"{file.file.filename} of the upstream cannot be read: {error.reason}") from None
    return None


def _try(sparse: SparseFile) -> bytes | MissingRange:
    try:
        return read_wheel_metadata(sparse)  # type: ignore[arg-type]
    except MissingRange as missing:
        return missing


class _RangeFetcher:
    """The parts that are here so far."""

    def __init__(self, fetch: RangeFetch, file: RemoteFile, limit: int) -> None:
        self._fetch = fetch
        self._url = file.url
        self._size = file.file.size
        self._left = _MAX_BYTES + limit
        self._parts: tuple[tuple[int, bytes], ...] = ()

    def sparse(self) -> SparseFile:
        """Give the file as far as it is here."""
        assert self._size is not None
        return SparseFile(self._size, self._parts)

    def may_fetch(self, missing: MissingRange) -> bool:
        """Tell whether a part is small enough to be fetched."""
        return missing.last - missing.first < self._left

    async def fetch_end(self) -> None:
        """Fetch the end of the file."""
        if self._size is None:
            try:
                await self._receive(None, _STEP)
                return
            except _NoRange:
                # Some servers know no range that counts from the end. One from the start tells the size,
                # and is all of a small wheel.
                await self._receive(0, _STEP - 1)
        assert self._size is not None
        if not self._parts or self._size > _STEP:
            await self._receive(max(0, self._size - _STEP), max(0, self._size - 1))

    async def fetch_part(self, missing: MissingRange) -> None:
        """Fetch a part, and more of what follows the more there is already: members lie together."""
        assert self._size is not None
        least = missing.first + _STEP * 2 ** len(self._parts[1:]) - 1
        here = min((start for start, _ in self._parts if start > missing.first), default=self._size)
        last = min(here - 1, missing.first + self._left - 1, max(missing.last, least))
        await self._receive(missing.first, last)

    async def _receive(self, first: int | None, last: int) -> None:
        """
        Fetch one part.

        Raises:
            _NoRange: Something else came, or nothing. Servers answer 200, 400, 403, 404, 405, 416, 500
                and 501 to a range of a file that they have, send other parts, coded ones or several at
                once, lead elsewhere, and drop the connection.
        """
        try:
            data = await self._ask(first, last)
        except Unavailable:
            raise _NoRange from None
        assert self._size is not None
        self._parts += ((self._size - len(data) if first is None else first, data),)

    async def _ask(self, first: int | None, last: int) -> bytes:
        incoming = await self._fetch(self._url, first=first, last=last)
        if incoming is None:
            raise _NoRange
        wanted = last if first is None else last - first + 1
        is_part = incoming.status == 206 and incoming.total is not None and not incoming.coding
        if not is_part or (incoming.length or 0) > wanted or self._size not in (None, incoming.total):
            incoming.abort()
            raise _NoRange
        pieces: list[bytes] = []

        def take(data: bytes) -> None:
            self._left -= len(data)
            if self._left < 0:
                raise BadGateway("The upstream sends more than it was asked for.")
            pieces.append(data)

        await incoming.deliver(take)
        data = b"".join(pieces)
        if not data or len(data) > wanted:
            raise _NoRange
        self._size = incoming.total
        return data
