"""
Names of wheels whose releases show another: GitHub changes names at upload, and what is in a wheel stays.

`demo-1.0+cu118-py3-none-any.whl` may be shown as `demo-1.0.cu118-py3-none-any.whl`, which is no name of
a wheel, and `demo-1.0+1-…` as `demo-1.0.1-…`, which is one of another version. Out of scope: labels (see
`release_files`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.backends.upstream.lazy_wheel import read_remote_metadata
from twisted_index.backends.upstream.remote import RemoteFile
from twisted_index.concurrency.lru import LRU
from twisted_index.errors import BadGateway
from twisted_index.github.release_files import is_renamed
from twisted_index.simple.archives.limits import MAX_METADATA
from twisted_index.simple.core_metadata import parse_headers
from twisted_index.simple.model import File
from twisted_index.simple.names import InvalidFilename, is_valid_name, normal_form, normalize, parse_filename

if TYPE_CHECKING:
    from twisted_index.backends.upstream.lazy_wheel import RangeFetch
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.github.model import Asset
    from twisted_index.simple.core_metadata import CoreMetadata

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


def project_of(asset: Asset) -> str | None:
    """Return the project for which an asset can be a wheel: no upload changes that part of a name."""
    stem, _, rest = asset.name.partition("-")
    is_wheel = rest.lower().endswith(".whl") and is_valid_name(stem)
    return normalize(stem) if is_wheel else None


def name_inside(shown: str, headers: CoreMetadata) -> str | None:
    """
    Return the name of a wheel whose name was changed at upload.

    Args:
        shown: The name of the asset.
        headers: Those of the METADATA in the wheel, unchecked.

    Returns:
        The name that `shown` was made of; None if they give none.
    """
    project, *rest = shown.split("-")
    if len(rest) < 4 or headers.version is None or not _is_same(headers.name or "", project):
        return None
    for version in (headers.version, normal_form(headers.version)):
        name = "-".join((project, (version or "").replace("-", "_"), *rest[1:]))
        if is_renamed(shown, name) and _is_wheel(name):
            return name
    return None


def _is_same(one: str, other: str) -> bool:
    return is_valid_name(one) and is_valid_name(other) and normalize(one) == normalize(other)


def _is_wheel(name: str) -> bool:
    try:
        parse_filename(name)
    except InvalidFilename:
        return False
    return True
