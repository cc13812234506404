"""Names of wheels whose assets show another: read out of the wheels, and remembered; see `asset_names`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.backends.upstream.lazy_wheel import read_remote_metadata
from twisted_index.backends.upstream.remote import RemoteFile
from twisted_index.concurrency.lru import LRU
from twisted_index.errors import BadGateway
from twisted_index.github.asset_names import name_inside
from twisted_index.simple.archives.limits import MAX_METADATA
from twisted_index.simple.core_metadata import parse_headers
from twisted_index.simple.model import File

if TYPE_CHECKING:
    from twisted_index.backends.upstream.lazy_wheel import RangeFetch
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.github.model import Asset

#: As many wheels are remembered; a release has at most 1,000 files.
_MAX_NAMES = 10_000


class WheelNames:
    """
    The names that wheels have by their own METADATA; each wheel is read once.

    Args:
        fetch: Requests ranges of an asset.
        worker: Threads.
    """

    def __init__(self, fetch: RangeFetch, worker: IThreadRunner) -> None:
        self._fetch = fetch
        self._worker = worker
        self._names = LRU[tuple[str, str, int | None], str](_MAX_NAMES)

    def known(self, asset: Asset) -> str | None:
        """Return the name of a wheel that has been read, empty if it has none; None if it was not read."""
        return self._names.peek(_key(asset))

    async def read(self, asset: Asset) -> str:
        """
        Read the name of a wheel.

        Returns:
            The name; empty if the wheel does not tell it.

        Raises:
            Unavailable: The wheel cannot be read now, which says nothing about it.
        """
        name = self.known(asset)
        if name is not None:
            return name
        # Its version is what is looked for.
        remote = RemoteFile(file=File(filename=asset.name, version="", size=asset.size), url=asset.url)
        try:
            metadata = await read_remote_metadata(
                self._fetch, remote, MAX_METADATA, self._worker, may_fail=True
            )
        except BadGateway:
            metadata = None
        return await self.learn(asset, b"" if metadata is None else metadata)

    async def learn(self, asset: Asset, metadata: bytes) -> str:
        """Derive the name of a wheel from its METADATA, and remember it."""
        name = name_inside(asset.name, await self._worker.run(parse_headers, metadata)) or ""
        self._names.put(_key(asset), name)
        return name


def _key(asset: Asset) -> tuple[str, str, int | None]:
    return asset.url, asset.updated_at, asset.size
