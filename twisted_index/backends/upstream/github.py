"""
The releases of a repository as an upstream: its projects are those that its files are named for.

Out of scope: requests and their errors (see `github.api`), which releases there are (see `listing`), which
asset is which file (see `release_files`), where its bytes are (see `asset_bytes`), digests of files for which
the API has none (see `page_cache`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_index.backends.upstream.core_metadata import contradicts_name
from twisted_index.backends.upstream.file_response import (
    file_body,
    file_headers,
    request_metrics,
    whole_document,
)
from twisted_index.backends.upstream.lazy_wheel import read_remote_metadata
from twisted_index.backends.upstream.listing_memory import ListingMemory
from twisted_index.backends.upstream.release_page import release_page, sidecar_of
from twisted_index.backends.upstream.remote import NOT_MODIFIED
from twisted_index.backends.upstream.wheel_name import WheelNames
from twisted_index.concurrency.parallel import at_once
from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.errors import ContradictingMetadata
from twisted_index.github.asset_bytes import request_asset
from twisted_index.github.listing import ReleaseListing
from twisted_index.github.model import Asset
from twisted_index.github.release_files import ReleaseFile, release_files, renamed_file
from twisted_index.github.repository import Forge
from twisted_index.interfaces import ILifecycle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric
    from twisted.web.http_headers import Headers

    from twisted_index.backends.upstream.disk_cache import DiskCache
    from twisted_index.backends.upstream.remote import (
        NotModified,
        RemoteFile,
        RemotePage,
        ResponseStream,
    )
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.github.api import GitHubAPI
    from twisted_index.github.model import Release
    from twisted_index.github.release_files import ReleaseFiles
    from twisted_index.http_client.body import BoundedBody
    from twisted_index.http_client.client import HTTPResponse

#: Wheels of one project that are read at once for their names.
_WHEELS = 8
_NO_NAME = "their names are not those of the wheels in them, and no label tells the right ones"


class _Released(NamedTuple):
    """The releases, the files in them, and these by the URL of their asset."""

    releases: tuple[Release, ...]
    files: ReleaseFiles
    by_url: Mapping[str, ReleaseFile]
    assets: Mapping[str, Asset]


@implementer(ILifecycle)
class GitHubUpstream:
    """
    The releases of a repository at GitHub, or at a Forgejo; provides `IListingClient`.

    Args:
        api: The API of the repository; is closed at the stop.
        reuse: Seconds for which the releases that were read for one project serve others.
        worker: Threads.
        cache: Where the releases are remembered, over a restart too; None remembers nothing.

    Attributes:
        url: The word of the repository and a slash; the key in caches.
        is_immutable: True: a file of a release means the same bytes for ever.
        lists_digests: True: no file is listed without one.
    """

    is_immutable = True
    lists_digests = True

    def __init__(
        self, api: GitHubAPI, *, reuse: float, worker: IThreadRunner, cache: DiskCache | None = None
    ) -> None:
        self.url = f"{api.repository.word}/"
        self._api = api
        self._listing = ReleaseListing(api, reuse=reuse)
        self._memory = ListingMemory(cache, self.url)
        self._loading = SingleFlight[None, None](api.seconds)
        self._is_loaded = False
        self._worker = worker
        self._released: _Released | None = None
        self._names = WheelNames(self.fetch, worker)

    # -- IUpstreamClient

    def page(
        self, project: str, *, etag: str | None = None, modified: str | None = None
    ) -> Deferred[RemotePage | NotModified | None]:
        """Make a project's page of the releases; see `IUpstreamClient`. Its ETag is our own."""
        return Deferred.fromCoroutine(self._page(project, etag))

    def projects(self) -> Deferred[Mapping[str, int | None]]:
        """
        List the projects that files are named for.

        Returns:
            Normalized names, each with None, as there are no serials.
        """
        return Deferred.fromCoroutine(self._projects())

    def document(self, url: str, limit: int) -> Deferred[bytes | None]:
        """Fetch the asset that belongs to a file; see `IUpstreamClient`."""
        return Deferred.fromCoroutine(self._document(url, limit))

    def fetch(
        self, url: str, *, first: int | None = None, last: int | None = None
    ) -> Deferred[ResponseStream | None]:
        """Request the bytes of an asset, by its URL in the API; see `IUpstreamClient`."""
        return Deferred.fromCoroutine(self._fetch(url, first, last))

    def metadata(self, file: RemoteFile, limit: int) -> Deferred[bytes | None]:
        """
        Read the metadata of a remote wheel; see `IUpstreamClient`.

        Raises:
            ContradictingMetadata: The wheel is not the one that its asset is named for. From now on it has
                the name that fits, or is left out.
        """
        return Deferred.fromCoroutine(self._metadata(file, limit))

    # -- Collector

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, see `prometheus_client.registry.Collector`."""
        return request_metrics(self._api.repository.word, self._api.outcomes)

    # -- ILifecycle

    def start(self) -> None:
        """Do nothing: the first request opens a connection."""

    def stop(self) -> Deferred[None]:
        """Close persistent connections."""
        return self._api.close()

    # -- Pages

    async def _current(self) -> _Released:
        if not self._is_loaded:
            await self._loading.run(None, self._load)
        before = self._listing.releases
        releases = await self._listing.current()
        if releases is not before:
            await self._worker.run(self._memory.save, self._listing)
        if self._released is None or self._released.releases is not releases:
            self._released = await self._worker.run(_read_releases, releases)
        return self._released

    async def _load(self) -> None:
        await self._worker.run(self._memory.load, self._listing)
        self._is_loaded = True

    async def _projects(self) -> Mapping[str, int | None]:
        files = (await self._current()).files
        return dict.fromkeys((*files.projects, *files.unnamed))

    async def _page(self, project: str, etag: str | None) -> RemotePage | NotModified | None:
        released = await self._current()
        files, left_out = await self._files(project, released.files)
        if not files and not left_out:
            return None
        page = await self._worker.run(release_page, project, files, left_out)
        return NOT_MODIFIED if etag is not None and page.etag == etag else page

    async def _files(
        self, project: str, released: ReleaseFiles
    ) -> tuple[list[ReleaseFile], Mapping[str, int]]:
        """Return a project's files, and the number of those left out, by reason."""
        left_out = Counter(released.left_out.get(project, {}))
        files, doubtful = [], list(released.unnamed.get(project, ()))
        for file in released.projects.get(project, ()):
            if self._names.known(file.asset) in (None, file.filename):
                files.append(file)
            else:
                doubtful.append(file.asset)
        names = await at_once(_WHEELS, self._names.read, doubtful)
        for asset, name in zip(doubtful, names, strict=True):
            if name:
                files.append(renamed_file(asset, name))
            else:
                left_out[_NO_NAME] += 1
        return files, left_out

    async def _document(self, url: str, limit: int) -> bytes | None:
        stem, dot, suffix = url.rpartition(".")
        released = self._released
        if released is None or stem not in released.by_url:
            released = await self._current()
        file = released.by_url.get(stem)
        asset = None if file is None else sidecar_of(file, dot + suffix)
        if asset is None:
            return None
        response = await self._request(asset, file_headers())
        return None if response is None else await whole_document(response, limit)

    # -- Files

    async def _fetch(self, url: str, first: int | None, last: int | None) -> BoundedBody | None:
        response = await self._request(await self._asset(url), file_headers(first, last))
        return None if response is None else file_body(response, first, last)

    async def _request(self, asset: Asset, headers: Headers) -> HTTPResponse | None:
        # Without a token, the limit is low; and what is read without one is public.
        return await request_asset(self._api, asset, headers, spares_limit=not self._api.has_token)

    async def _asset(self, url: str) -> Asset:
        """Return the asset with a URL; of one that is not among the releases, the URL is all that counts."""
        released = self._released
        if self._api.repository.forge is Forge.FORGEJO and (released is None or url not in released.assets):
            released = await self._current()
        asset = None if released is None else released.assets.get(url)
        return asset or Asset(id=0, name="", url=url)

    async def _metadata(self, file: RemoteFile, limit: int) -> bytes | None:
        document = await read_remote_metadata(self.fetch, file, limit, self._worker)
        entry = None if self._released is None else self._released.by_url.get(file.url)
        if document is None or entry is None or not contradicts_name(file, document):
            return document
        await self._names.learn(entry.asset, document)
        raise ContradictingMetadata(
            f"By its own metadata, {file.file.filename} is another project or version, so it is not listed"
            " any more; its name was probably changed at upload."
        )


def _read_releases(releases: tuple[Release, ...]) -> _Released:
    """Read all releases; in a thread."""
    files = release_files(releases)
    by_url = {file.asset.url: file for named in files.projects.values() for file in named}
    assets = {asset.url: asset for release in releases for asset in release.assets}
    return _Released(releases, files, by_url, assets)
