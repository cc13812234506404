"""
The METADATA of a wheel that lies elsewhere, read by ranges: its end, its directory, that one member.

The reader of wheels is the same as for files in the folder, over a file of which only parts are here.
Where it wants to read another part, that is fetched, and it begins anew.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Protocol

from twisted_index.errors import BadGateway
from twisted_index.simple.metadata import BadArchive, check_identity, parse_headers, read_wheel_metadata

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from twisted_index.upstream.remote import Incoming, RemoteFile
    from twisted_index.worker import Works

#: Bytes that are asked for at once, the first time and at least. Most wheels have their whole
#: directory in the last 64 KiB, and METADATA just before it.
_STEP = 64 * 1024
#: Requests for one wheel; three are usual for a large one.
_MAX_REQUESTS = 8
#: Bytes besides METADATA itself: the directory of the largest wheels has some million.
_MAX_BYTES = 8 * 1024 * 1024


class Fetch(Protocol):
    """As `Remote.fetch`."""

    def __call__(
        self, url: str, *, first: int | None = None, last: int | None = None
    ) -> Deferred[Incoming | None]:
        """Ask for a part of a file."""


class Missing(BaseException):
    """
    A part of a file is not here.

    No Exception, so that nobody takes it for what is wrong with the archive.
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
                raise Missing(first, end - 1)
        return b"".join(pieces)


class _NoRanges(Exception):
    """The upstream sends whole files only."""


async def read_metadata(fetch: Fetch, file: RemoteFile, limit: int, worker: Works) -> bytes | None:
    """
    Read the METADATA of a remote wheel.

    Args:
        fetch: Asks for parts.
        file: The wheel.
        limit: Bytes of METADATA.
        worker: Where it is unpacked.

    Returns:
        None if the upstream gives no ranges, or this would take too many.

    Raises:
        BadGateway: The file is no wheel, or not the one that it should be.
        Unavailable: The upstream cannot be reached.
    """
    reading = _Reading(fetch, file, limit)
    try:
        await reading.fetch_end()
        for _ in range(_MAX_REQUESTS - 1):
            found = await worker.run(_try, reading.sparse())
            if isinstance(found, bytes):
                _check(found, file, limit)
                return found
            if not reading.may_fetch(found):
                return None
            await reading.fetch_part(found)
    except _NoRanges:
        return None
    except BadArchive as error:
        raise BadGateway(f"{file.file.filename} of the upstream cannot be read: {error.reason}") from None
    return None


def _try(sparse: SparseFile) -> bytes | Missing:
    try:
        return read_wheel_metadata(sparse)  # type: ignore[arg-type]
    except Missing as missing:
        return missing


def _check(document: bytes, file: RemoteFile, limit: int) -> None:
    if len(document) > limit:
        raise BadGateway(f"The metadata of {file.file.filename} has more than {limit:,} bytes.")
    project = file.file.filename.partition("-")[0]
    check_identity(parse_headers(document), project=project, version=file.file.version)


class _Reading:
    """The parts that are here so far."""

    def __init__(self, fetch: Fetch, file: RemoteFile, limit: int) -> None:
        self._fetch = fetch
        self._url = file.url
        self._size = file.file.size
        self._left = _MAX_BYTES + limit
        self._parts: tuple[tuple[int, bytes], ...] = ()

    def sparse(self) -> SparseFile:
        """Give the file as far as it is here."""
        assert self._size is not None
        return SparseFile(self._size, self._parts)

    def may_fetch(self, missing: Missing) -> bool:
        """Tell whether a part is small enough to be fetched."""
        return missing.last - missing.first < self._left

    async def fetch_end(self) -> None:
        """Fetch the end of the file. Not every server knows what the last so many bytes are."""
        if self._size is None:
            await self._receive(None, _STEP)
        else:
            await self._receive(max(0, self._size - _STEP), max(0, self._size - 1))

    async def fetch_part(self, missing: Missing) -> None:
        """Fetch a part, and more of what follows the more there is already: members lie together."""
        assert self._size is not None
        least = missing.first + _STEP * 2 ** len(self._parts[1:]) - 1
        here = min((start for start, _ in self._parts if start > missing.first), default=self._size)
        last = min(here - 1, missing.first + self._left - 1, max(missing.last, least))
        await self._receive(missing.first, last)

    async def _receive(self, first: int | None, last: int) -> None:
        incoming = await self._fetch(self._url, first=first, last=last)
        if incoming is None:
            raise BadGateway("The upstream lists this file, but does not have it.")
        wanted = last if first is None else last - first + 1
        if incoming.status != 206 or incoming.total is None or (incoming.length or 0) > wanted:
            incoming.abort()
            raise _NoRanges
        if self._size is not None and incoming.total != self._size:
            incoming.abort()
            raise BadGateway("The upstream contradicts itself about the size of this file.")
        self._size = incoming.total
        pieces: list[bytes] = []

        def take(data: bytes) -> None:
            self._left -= len(data)
            if self._left < 0:
                raise BadGateway("The upstream sends more than it was asked for.")
            pieces.append(data)

        await incoming.deliver(take)
        data = b"".join(pieces)
        start = self._size - len(data) if first is None else first
        if not data or len(data) > wanted:
            raise BadGateway("The upstream sends another part of the file than it was asked for.")
        self._parts += ((start, data),)
