"""
The index that a folder is filled from: its pages, requested again only if they may have changed, its files.

What it has sent is kept below the state folder, in the format of the server's cache; deleting that costs time
only. Out of scope: what of it is wanted (see `plan`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import DeferredSemaphore

from twisted_index.backends.upstream import page_format
from twisted_index.backends.upstream.page_merge import merge_page
from twisted_index.backends.upstream.remote import NOT_MODIFIED, IUpstreamClient
from twisted_index.errors import BadGateway

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from twisted_index.backends.upstream.disk_cache import DiskCache
    from twisted_index.backends.upstream.page_record import PageRecord
    from twisted_index.backends.upstream.remote import RemotePage, ResponseStream
    from twisted_index.concurrency.thread_pool import IThreadRunner

#: Pages that are requested at once.
_PAGES = 16


class IListingClient(IUpstreamClient, Protocol):
    """An upstream that can list its projects too; see `HTTPUpstream` and `GitHubUpstream`."""

    def projects(self) -> Deferred[Mapping[str, int | None]]:
        """Request the list of all projects."""


class SourceIndex:
    """
    One or several indexes in order: the first that has a project owns its name.

    Args:
        remotes: The indexes.
        cache: Where their pages are kept; None keeps none.
        worker: Reads and writes them.
        wall: Returns seconds since the epoch.
    """

    def __init__(
        self,
        remotes: Sequence[IListingClient],
        cache: DiskCache | None,
        worker: IThreadRunner,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._remotes = tuple(remotes)
        self._cache = cache
        self._worker = worker
        self._wall = wall
        self._slots = DeferredSemaphore(_PAGES)
        self._serials: dict[str, Mapping[str, int | None]] = {}
        self._owners: dict[str, IListingClient] = {}

    @property
    def url(self) -> str:
        """The URLs of the indexes, without users."""
        return ", ".join(remote.url for remote in self._remotes)

    async def projects(self) -> Mapping[str, int | None]:
        """
        Request the lists of projects. From now on, pages whose serial did not move are not requested.

        Returns:
            Normalized names, each with the serial that the first list with it states; None without one.

        Raises:
            SimpleIndexError: A list cannot be had.
        """
        for remote in self._remotes:
            self._serials[remote.url] = await remote.projects()
        names: dict[str, int | None] = {}
        for remote in reversed(self._remotes):
            names |= self._serials[remote.url]
        return names

    async def page(self, project: str) -> RemotePage | None:
        """
        Return the page of a project, by one conditional request.

        Args:
            project: A normalized name.

        Returns:
            None if the index says that there is no such project (404, 410).

        Raises:
            SimpleIndexError: It cannot be had, or is no page of a project.
        """
        record = await self.record(project)
        return None if record is None else record.page

    async def record(self, project: str) -> PageRecord | None:
        """Return a project's page with what earlier runs know of its files; see `page`."""
        for remote in self._remotes:
            record = await self._slots.run(self._record_of, remote, project)
            if record is not None:
                self._owners[project] = remote
                return record
        return None

    def fetch(self, project: str, url: str, first: int | None = None) -> Deferred[ResponseStream | None]:
        """Request a file of a project, from a position on; see `IUpstreamClient`."""
        return self._owner(project).fetch(url, first=first)

    def document(self, project: str, url: str, limit: int) -> Deferred[bytes | None]:
        """Request a small document of a project; see `IUpstreamClient`."""
        return self._owner(project).document(url, limit)

    def _owner(self, project: str) -> IListingClient:
        return self._owners.get(project, self._remotes[-1])

    async def _record_of(self, remote: IListingClient, project: str) -> PageRecord | None:
        before = await self._worker.run(self._load, remote.url, project)
        if before is not None and self._is_current(remote, before):
            return before
        etag = modified = None
        if before is not None and not before.is_absent:
            etag, modified = before.page.etag, before.page.modified
        page = await remote.page(project, etag=etag, modified=modified)
        if page is NOT_MODIFIED:
            if before is None:
                raise BadGateway("The upstream sent 304 to an unconditional request.")
            return before
        if page is None:
            if before is not None and not before.is_absent:
                await self._worker.run(self._store, remote.url, replace(before, is_absent=True))
            return None
        after = merge_page(before, page, self._wall())
        await self._worker.run(self._store, remote.url, after)
        return after

    def _is_current(self, remote: IListingClient, record: PageRecord) -> bool:
        """Return whether the list's serial proves that the page is as it was."""
        serial = self._serials.get(remote.url, {}).get(record.page.project)
        known = record.page.serial
        return not record.is_absent and None not in (serial, known) and known >= serial  # type: ignore[operator]

    def _load(self, url: str, project: str) -> PageRecord | None:
        if self._cache is None:
            return None
        document = self._cache.read(self._cache.page_path(url, project), page_format.MAX_RECORD_BYTES)
        return None if document is None else page_format.decode(document, url, project)

    def _store(self, url: str, record: PageRecord) -> None:
        if self._cache is not None:
            path = self._cache.page_path(url, record.page.project)
            self._cache.replace_page(path, page_format.encode(record, url))
