"""
What was read of a list of releases, as JSON for the next process, in the terms of the API. Pure.

It is read as answers of the API are, so that nothing but releases can come of a damaged record.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted_index.github.model import Asset, Release, parse_assets, parse_releases
from twisted_index.github.paging import Page

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted_index.github.repository import Repository

#: In the URL of a page of assets.
_RELEASE_ID = re.compile(r"/releases/(\d+)/assets\?")
#: What stands for an asset whose upload has not ended: it only counts.
_UNFINISHED = {"id": 0, "state": "starter"}


def write_page(page: Page[Any]) -> dict[str, Any]:
    """Write a page of releases, or of the assets of one."""
    return {
        "url": page.url,
        "etag": page.etag,
        "links": dict(page.links),
        "is_linked": page.is_linked,
        "total": page.total,
        "items": [_release(item) if isinstance(item, Release) else _asset(item) for item in page.items],
    }


def read_page(record: Any, repository: Repository) -> Page[Any]:
    """
    Read a page that was written.

    Raises:
        ValueError, TypeError, KeyError: It is none.
        BadGateway: Its items are none.
    """
    url, content = str(record["url"]), json.dumps(record["items"]).encode()
    release = _RELEASE_ID.search(url)
    items: tuple[Any, ...]
    if release is None:
        items = parse_releases(content, repository)
    else:
        items = parse_assets(content, repository, int(release[1]))
    etag, total = record["etag"], record["total"]
    links = {str(name): str(link) for name, link in record["links"].items()}
    return Page(
        url=url,
        items=items,
        etag=None if etag is None else str(etag),
        links=links,
        is_linked=bool(record["is_linked"]),
        total=None if total is None else int(total),
    )


def write_releases(releases: Iterable[Release]) -> list[dict[str, Any]]:
    """Write releases with all their assets, however many of them were listed with each."""
    return [_release(replace(release, listed=len(release.assets))) for release in releases]


def read_releases(record: Any, repository: Repository) -> tuple[Release, ...]:
    """Read releases that were written; see `read_page`."""
    return parse_releases(json.dumps(record).encode(), repository)


def _release(release: Release) -> dict[str, Any]:
    number = release.listed
    unfinished = [_UNFINISHED] * (0 if number is None else max(0, number - len(release.assets)))
    return {
        "id": release.id,
        "tag_name": release.tag,
        "name": release.name,
        "draft": release.is_draft,
        "prerelease": release.is_prerelease,
        "assets": None if number is None else [*map(_asset, release.assets), *unfinished],
        "upload_url": release.upload_url,
        "html_url": release.html_url,
    }


def _asset(asset: Asset) -> dict[str, Any]:
    return {
        "id": asset.id,
        "name": asset.name,
        "label": asset.label,
        "state": "uploaded" if asset.is_whole else "starter",
        "size": asset.size,
        "digest": None if asset.sha256 is None else f"sha256:{asset.sha256}",
        "created_at": None if asset.created_at is None else asset.created_at.isoformat(),
        "updated_at": asset.updated_at,
        "browser_download_url": asset.download_url,
    }
