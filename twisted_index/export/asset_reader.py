"""
Finds out what pages say of assets: the digests of older ones, and the headers of wheels.

A wheel is read by range requests. What contradicts its name counts only if the whole of it, with the digest
that the API states, says so: an answer in place of the file must not shorten a page.
"""

from __future__ import annotations

import hashlib
import tempfile
from typing import IO, TYPE_CHECKING, cast

from twisted.internet.defer import Deferred

from twisted_index.backends.upstream.core_metadata import metadata_in
from twisted_index.backends.upstream.file_response import file_body, file_headers
from twisted_index.backends.upstream.lazy_wheel import read_remote_metadata
from twisted_index.backends.upstream.remote import RemoteFile
from twisted_index.concurrency.parallel import at_once
from twisted_index.errors import BadGateway, SimpleIndexError, Unavailable
from twisted_index.export.release_pages import ReadAsset, named_file
from twisted_index.github.asset_bytes import request_asset
from twisted_index.simple.archives.limits import MAX_METADATA
from twisted_index.simple.core_metadata import CoreMetadata, parse_headers
from twisted_index.simple.model import File

if TYPE_CHECKING:
    import io
    from collections.abc import Iterable, Sequence

    from twisted_index.backends.upstream.remote import ResponseStream
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.export.release_memory import ReleaseMemory
    from twisted_index.github.api import GitHubAPI
    from twisted_index.github.model import Asset
    from twisted_index.github.release_files import ReleaseFile

#: Files that are read at once.
_FILES = 8
#: What a file has that is no wheel.
_NO_HEADERS = CoreMetadata(name=None, version=None, requires_python=None)


class AssetReader:
    """
    Reads assets, each once.

    Args:
        api: Sends the requests.
        worker: Threads that unpack.
        memory: What is known of assets; is added to.
    """

    def __init__(self, api: GitHubAPI, worker: IThreadRunner, memory: ReleaseMemory) -> None:
        self._api = api
        self._worker = worker
        self._memory = memory

    async def read(self, files: Iterable[ReleaseFile], unnamed: Iterable[Asset] = ()) -> Sequence[ReadAsset]:
        """
        Read what is not known yet.

        Args:
            files: Distributions by their names or labels.
            unnamed: Wheels with neither.

        Raises:
            SimpleIndexError: An asset cannot be had, or is not what the API says.
        """
        failures: list[SimpleIndexError] = []

        async def work(pair: tuple[Asset, ReleaseFile | None]) -> ReadAsset | None:
            # After an error no other begins; those that have begun end, and need not be read again.
            if failures:
                return None
            try:
                return await self._read(*pair)
            except SimpleIndexError as error:
                failures.append(Unavailable(f"{pair[0].name} cannot be read: {error.message}"))
                return None

        assets = [*((file.asset, file) for file in files), *((asset, None) for asset in unnamed)]
        found = await at_once(_FILES, work, assets)
        if failures:
            raise failures[0]
        return [read for read in found if read is not None]

    async def _read(self, asset: Asset, file: ReleaseFile | None) -> ReadAsset:
        memory = self._memory
        if memory.digest(asset) is None:
            await self._read_whole(asset)
        sha256, headers, metadata = memory.digest(asset) or "", None, None
        is_wheel = file is None or file.filename.endswith(".whl")
        if is_wheel and file is not None and file.metadata is not None:
            headers = await self._read_document(file.metadata)
            metadata = memory.digest(file.metadata)
            if named_file(asset, file, headers) is not file:
                headers = metadata = None
        if is_wheel and headers is None:
            headers = await self._read_wheel(asset, file)
        return ReadAsset(asset=asset, file=file, sha256=sha256, headers=headers, metadata_sha256=metadata)

    async def _read_wheel(self, asset: Asset, file: ReleaseFile | None) -> CoreMetadata:
        """Read the headers of a wheel by ranges, or of the whole, where these do not suffice."""
        known = self._memory.headers_of(asset)
        if known is not None:
            return known
        document = await self._read_ranges(asset)
        headers = _NO_HEADERS if document is None else parse_headers(document)
        if named_file(asset, file, headers) is None:
            return await self._read_whole(asset)
        return self._memory.learn(asset, headers)

    async def _read_ranges(self, asset: Asset) -> bytes | None:
        def fetch(
            url: str, *, first: int | None = None, last: int | None = None
        ) -> Deferred[ResponseStream | None]:
            return Deferred.fromCoroutine(self._open(asset, first, last))

        remote = RemoteFile(
            file=File(filename=asset.name, version="", size=asset.size), url=asset.download_url
        )
        try:
            return await read_remote_metadata(fetch, remote, MAX_METADATA, self._worker)
        except BadGateway:
            return None

    async def _read_document(self, asset: Asset) -> CoreMetadata:
        """Read a `.metadata`, whole."""
        known = self._memory.headers_of(asset)
        if known is not None:
            return known
        if asset.size is not None and asset.size > MAX_METADATA:
            return _NO_HEADERS
        with tempfile.TemporaryFile() as file:
            await self._receive(asset, file)
            return self._memory.learn(asset, parse_headers(file.read(MAX_METADATA)))

    async def _read_whole(self, asset: Asset) -> CoreMetadata:
        """Learn the digest of a file, and its headers, which none but a wheel has."""
        with tempfile.TemporaryFile() as file:
            await self._receive(asset, file)
            document = await self._worker.run(metadata_in, cast("io.BufferedReader", file))
        headers = _NO_HEADERS if document is None else parse_headers(document)
        return self._memory.learn(asset, headers)

    async def _receive(self, asset: Asset, file: IO[bytes]) -> None:
        """Receive an asset into a file, and learn its digest."""
        stream = await self._open(asset)
        if stream is None:
            raise BadGateway(f"{asset.name} is listed by the API, and cannot be fetched.")
        digest = hashlib.sha256()

        def take(data: bytes) -> None:
            digest.update(data)
            file.write(data)

        await stream.deliver(take)
        if asset.size not in (None, file.tell()) or asset.sha256 not in (None, digest.hexdigest()):
            raise BadGateway(f"{asset.name} does not have the size and the digest that the API states.")
        file.seek(0)
        self._memory.learn_digest(asset, digest.hexdigest())

    async def _open(
        self, asset: Asset, first: int | None = None, last: int | None = None
    ) -> ResponseStream | None:
        """Request an asset, first where installers do."""
        response = await request_asset(self._api, asset, file_headers(first, last), spares_limit=True)
        return None if response is None else file_body(response, first, last)
