"""
One reading of all releases with all their assets.

Out of scope: when it is due, and whether to believe it (see `listing`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted_index.github.api import PAGE_SIZE
from twisted_index.github.model import parse_assets, parse_releases
from twisted_index.github.paging import MAX_REQUESTS, SMALLEST_PAGE, ListChanged, PagedList

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted_index.github.api import GitHubAPI
    from twisted_index.github.model import Asset, Release
    from twisted_index.github.paging import Page


class Reading:
    """
    One reading of all pages.

    Args:
        api: The repository's API.
        known: Pages of an earlier reading, by URL.

    Attributes:
        pages: Those that were read, by URL.
    """

    def __init__(self, api: GitHubAPI, known: Mapping[str, Page[Any]]) -> None:
        self._api = api
        self._known = known
        self.pages: dict[str, Page[Any]] = {}

    async def read(self, first: Page[Release]) -> tuple[PagedList[Release], tuple[Release, ...]]:
        """
        Read all releases with all their assets.

        Raises:
            ListChanged: They changed meanwhile.
            SimpleIndexError: They cannot be read.
        """
        self._known = {**self._known, **self.pages}
        self.pages = {first.url: first}
        listed = PagedList(partial(self._page, parse_releases), first, _key)
        await listed.read()
        longest = max((release.listed or 0 for release in listed.items), default=0)
        is_confirmed, releases = False, []
        for release in listed.items:
            if release.is_draft:
                continue
            # A server that cuts such lists cuts all of them at the same length.
            if release.listed is None or (release.listed >= SMALLEST_PAGE and release.listed == longest):
                assets = await self._assets(release)
                is_confirmed |= assets is None
                release = release if assets is None else replace(release, assets=assets)
            releases.append(release)
        if is_confirmed or not listed.is_certain:
            await listed.verify(MAX_REQUESTS - len(self.pages))
        return listed, tuple(releases)

    async def _assets(self, release: Release) -> tuple[Asset, ...] | None:
        """Return the assets of a release; None if they are those that are listed with it."""
        number = (release.listed or 0) // PAGE_SIZE + 1
        read = partial(self._page, partial(parse_assets, release_id=release.id))
        first = await read(self._api.list_url(f"{release.url}/assets", number=number))
        if first is None:
            raise ListChanged
        if number > 1 and not first.items:
            return None
        listed = PagedList(read, first, _key, number, self._api.sends_links)
        await listed.read()
        if not listed.is_certain:
            await listed.verify(MAX_REQUESTS - 1 - len(listed.pages))
        return tuple(asset for asset in listed.items if asset.is_whole)

    async def _page(self, parse: Callable[..., tuple[Any, ...]], url: str) -> Page[Any] | None:
        known = self.pages.get(url) or self._known.get(url)
        page = await self._api.page(url, partial(parse, repository=self._api.repository), known)
        if page is not None:
            self.pages[url] = page
        return page


def _key(item: Asset | Release) -> int:
    return item.id
