"""
All releases of a repository with all their assets: polled by one request, consistent or an error.

What was listed and is not any more is gone only if the API says so for each: a shorter list alone is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.errors import BadGateway
from twisted_index.github.api import PAGE_SIZE
from twisted_index.github.listing_record import read_page, read_releases, write_page, write_releases
from twisted_index.github.model import parse_releases
from twisted_index.github.paging import may_be_cut, until_steady
from twisted_index.github.reading import Reading
from twisted_index.github.refusals import APIBusy
from twisted_index.github.repository import Forge
from twisted_index.http_client.body import TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted.internet.defer import Deferred

    from twisted_index.github.api import GitHubAPI
    from twisted_index.github.model import Release
    from twisted_index.github.paging import Page, PagedList

#: Seconds after which all pages are requested again, as the first one does not show each change.
_ALL_PAGES = 600.0
#: GitHub answers so if it takes too long to make a page of releases with many assets.
_TOO_HEAVY = (502, 504)
#: The default size, which is a round number that `may_be_cut` knows.
_SMALL_SIZE = 30
#: Things that were listed and are not any more, each of which costs a request: is it gone?
_MAX_QUESTIONS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """
    What was read.

    Attributes:
        first: The first page of releases.
        pages: All pages, by URL.
        releases: Those that are published, with all their assets.
        is_first_only: Whether the first page shows each change.
        read_at: When all pages were read, in monotonic seconds.
        checked_at: When the first page was.
    """

    first: Page[Release]
    pages: Mapping[str, Page[Any]]
    releases: tuple[Release, ...]
    is_first_only: bool
    read_at: float
    checked_at: float


class ReleaseListing:
    """
    The published releases of a repository.

    Args:
        api: The repository's API.
        reuse: Seconds for which they are not requested again; twice as many without a token of GitHub's.
    """

    def __init__(self, api: GitHubAPI, *, reuse: float) -> None:
        self._api = api
        self._url = f"{api.repository.url}/releases"
        self._now = api.seconds
        self._reuse = reuse
        self._size = PAGE_SIZE
        self._listed: _Listed | None = None
        self._flight = SingleFlight[None, tuple["Release", ...]](self._now)

    def current(self) -> Deferred[tuple[Release, ...]]:
        """
        Return the releases, all with all their assets.

        Returns:
            The very same object while nothing changed.

        Raises:
            BadGateway: The API does not have the repository, sent something that cannot be used, or left out
                what it still has.
            Unavailable: The API is unreachable or wants no requests now, or the releases changed each time
                that they were read.
        """
        return self._flight.run(None, self._current)

    @property
    def releases(self) -> tuple[Release, ...] | None:
        """What was read last; None before."""
        return None if self._listed is None else self._listed.releases

    def record(self) -> dict[str, Any] | None:
        """Return what was read, as JSON with which another process may go on; None if nothing was."""
        listed = self._listed
        if listed is None:
            return None
        return {
            "size": self._size,
            "first": listed.first.url,
            "pages": [write_page(page) for page in listed.pages.values()],
            "releases": write_releases(listed.releases),
            "is_first_only": listed.is_first_only,
        }

    def restore(self, record: Any) -> None:
        """
        Go on with what another process has read; all that may have changed is requested, conditionally.

        Args:
            record: From `record`.

        Raises:
            ValueError: It is damaged.
        """
        try:
            pages = [read_page(page, self._api.repository) for page in record["pages"]]
            by_url = {page.url: page for page in pages}
            listed = _Listed(
                first=by_url[record["first"]],
                pages=by_url,
                releases=read_releases(record["releases"], self._api.repository),
                is_first_only=bool(record["is_first_only"]),
                read_at=-math.inf,
                checked_at=-math.inf,
            )
            size = int(record["size"])
        except (LookupError, TypeError, ValueError, AttributeError, BadGateway):
            raise ValueError("a damaged record") from None
        self._listed, self._size = listed, size

    @property
    def _seconds_of_use(self) -> float:
        """Twice as many without a token, as GitHub then grants 60 requests an hour, and counts all."""
        is_limited = self._api.repository.forge is Forge.GITHUB and not self._api.has_token
        return self._reuse * 2 if is_limited else self._reuse

    async def _current(self) -> tuple[Release, ...]:
        listed = self._listed
        if listed is None or self._now() - listed.checked_at >= self._seconds_of_use:
            try:
                listed = await self._poll()
            except (APIBusy, TooLarge) as error:
                is_heavy = isinstance(error, TooLarge) or error.code in _TOO_HEAVY
                if self._size == _SMALL_SIZE or not is_heavy:
                    raise
                listed = await self._poll_small()
            self._listed = listed
        return listed.releases

    async def _poll_small(self) -> _Listed:
        self._size = _SMALL_SIZE
        try:
            return await self._poll()
        except BaseException:
            self._size = PAGE_SIZE
            raise

    async def _poll(self) -> _Listed:
        """Request the first page, and the others only if they may have changed."""
        known, now = self._listed, self._now()
        first = await self._first_page(known.pages if known else {})
        if known is not None and self._is_unchanged(first, known, now):
            return replace(known, first=first, checked_at=now, pages={**known.pages, first.url: first})
        reading = Reading(self._api, known.pages if known else {})

        async def read() -> tuple[PagedList[Release], tuple[Release, ...]]:
            page = first if not reading.pages else await self._first_page(reading.pages)
            return await reading.read(page)

        pages, releases = await until_steady(read)
        if known is not None:
            await self._require_gone(known.releases, releases)
            releases = known.releases if releases == known.releases else releases
        listed = pages.pages
        return _Listed(
            first=listed[0],
            pages=reading.pages,
            releases=releases,
            is_first_only=len(reading.pages) == 1 and not may_be_cut(len(listed[0].items)),
            read_at=now,
            checked_at=now,
        )

    async def _first_page(self, known: Mapping[str, Page[Any]]) -> Page[Release]:
        url = self._api.list_url(self._url, size=self._size)
        page = await self._api.page(
            url, partial(parse_releases, repository=self._api.repository), known.get(url)
        )
        if page is None:
            raise self._api.absent()
        return page

    def _is_unchanged(self, first: Page[Release], known: _Listed, now: float) -> bool:
        """Without an ETag, or with one that changes with each download, the releases themselves count."""
        before = known.first
        is_same = (first.url, first.total) == (before.url, before.total) and first.items == before.items
        is_recent = known.is_first_only or now - known.read_at < _ALL_PAGES
        return is_same and first.links == before.links and is_recent

    async def _require_gone(self, before: tuple[Release, ...], after: tuple[Release, ...]) -> None:
        """
        Check that what is not listed any more is gone.

        Raises:
            BadGateway: It is not.
        """
        for url in _missing(before, after)[-_MAX_QUESTIONS:]:
            document = await self._api.get(url)
            if document is not None and _is_published(document):
                raise BadGateway("The releases API left out releases or files that it still has.")


def _missing(before: Iterable[Release], after: Iterable[Release]) -> list[str]:
    """Return the URLs of releases and assets that were listed, and are not any more."""
    there = {release.id: release for release in after}
    urls = [release.url for release in before if release.id not in there]
    for release in before:
        now = there.get(release.id, release)
        if now.assets is not release.assets:
            ids = {asset.id for asset in now.assets}
            urls += [asset.url for asset in release.assets if asset.id not in ids]
    return urls


def _is_published(document: Mapping[str, Any]) -> bool:
    """Return whether a release or an asset would be listed."""
    return document.get("draft") is not True and document.get("state") in (None, "uploaded")
