"""Releases and assets as values, parsed strictly from the JSON of a releases API. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twisted_index.errors import BadGateway
from twisted_index.github.repository import Forge
from twisted_index.http_client.urls import InvalidURL, normalize_url

if TYPE_CHECKING:
    from twisted_index.github.repository import Repository

_SHA256 = re.compile(r"sha256:([0-9a-f]{64})", re.IGNORECASE)
_TEMPLATE = re.compile(r"\{[^}]*\}")  # RFC 6570, which GitHub uses for `upload_url`


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """
    A file of a release.

    Attributes:
        id: Never used again for another file, not even under the same name.
        name: As the server renamed it at upload (see `asset_names.mangled`).
        label: What its page shows in place of the name; empty without one.
        size: In bytes; None if not stated.
        sha256: 64 hexadecimal digits in lower case; None for assets from before June 2025, and at Forgejo.
        created_at: When the upload began, in UTC; None if not stated.
        updated_at: Changes with the asset's content and name; unparsed, empty if not stated.
        url: The API's URL of it, which names it for ever.
        download_url: The URL for browsers, normalized; empty without a valid one.
        is_whole: Whether its upload has ended; an upload that failed leaves it so.
    """

    id: int
    name: str
    label: str = ""
    size: int | None = None
    sha256: str | None = None
    created_at: datetime | None = None
    updated_at: str = ""
    url: str
    download_url: str = ""
    is_whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """
    A release. What changes without anything having changed, such as counts of downloads, is left out.

    Attributes:
        id: Never used again.
        tag: The name of its tag.
        name: Its title.
        is_draft: Only those who may write to the repository see it.
        is_prerelease: Marked so by its author; the versions of its files say it on their own.
        assets: In the order of the server, without those whose upload has not ended.
        listed: Number of assets in the answer, with those whose upload has not ended; None if it has no list
            of them.
        url: The API's URL of it.
        upload_url: Where assets are posted to, as stated; empty if it is not.
        html_url: Its page, normalized; empty without a valid one.
    """

    id: int
    tag: str
    name: str = ""
    is_draft: bool = False
    is_prerelease: bool = False
    assets: tuple[Asset, ...] = ()
    listed: int | None = field(default=None, compare=False)
    url: str
    upload_url: str = ""
    html_url: str = ""


def parse_releases(content: bytes, repository: Repository) -> tuple[Release, ...]:
    """
    Parse a list of releases.

    Raises:
        BadGateway: It is no such list.
    """
    return tuple(read_release(item, repository) for item in parse_items(content))


def parse_assets(content: bytes, repository: Repository, release_id: int) -> tuple[Asset, ...]:
    """
    Parse a list of the assets of a release.

    Raises:
        BadGateway: It is no such list.
    """
    return tuple(read_asset(item, repository, release_id) for item in parse_items(content))


def parse_json(content: bytes) -> Any:
    """
    Parse JSON.

    Raises:
        BadGateway: It is not JSON.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise BadGateway("The releases API sent something other than JSON.") from None


def parse_object(content: bytes) -> dict[str, Any]:
    """
    Parse an object of anything.

    Raises:
        BadGateway: It is no object.
    """
    return _object(parse_json(content))


def parse_items(content: bytes) -> tuple[Any, ...]:
    """
    Parse a list of anything.

    Raises:
        BadGateway: It is no list.
    """
    return tuple(_items(parse_json(content)))


def read_release(value: object, repository: Repository) -> Release:
    """
    Read a release.

    Raises:
        BadGateway: It is none.
    """
    item = _object(value)
    number = _id(item)
    inline = item.get("assets")
    assets = () if inline is None else tuple(read_asset(one, repository, number) for one in _items(inline))
    return Release(
        id=number,
        tag=_text(item, "tag_name"),
        name=_text(item, "name"),
        is_draft=item.get("draft") is True,
        is_prerelease=item.get("prerelease") is True,
        assets=tuple(asset for asset in assets if asset.is_whole),
        listed=None if inline is None else len(assets),
        url=f"{repository.url}/releases/{number}",
        upload_url=_TEMPLATE.sub("", _text(item, "upload_url")),
        html_url=_url(_text(item, "html_url")),
    )


def read_asset(value: object, repository: Repository, release_id: int) -> Asset:
    """
    Read an asset of a release.

    Its URL is made, not taken from the answer: the token is sent there.

    Raises:
        BadGateway: It is none.
    """
    item = _object(value)
    # Of a file at another server, which Forgejo only links to, it states 0 bytes.
    size = None if item.get("type") == "external" else item.get("size")
    number, name = _id(item), _text(item, "name")
    is_whole = item.get("state") in (None, "uploaded")
    if is_whole and not name:
        raise BadGateway("The releases API sent an asset without a name.")
    digest = _SHA256.fullmatch(_text(item, "digest"))
    parent = f"/{release_id}" if repository.forge is Forge.FORGEJO else ""
    return Asset(
        id=number,
        name=name,
        label=_text(item, "label"),
        size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        sha256=None if digest is None else digest[1].lower(),
        created_at=_time(_text(item, "created_at")),
        updated_at=_text(item, "updated_at"),
        url=f"{repository.url}/releases{parent}/assets/{number}",
        download_url=_url(_text(item, "browser_download_url")),
        is_whole=is_whole,
    )


def _items(value: object) -> list[object]:
    if not isinstance(value, list):
        raise BadGateway("The releases API sent something other than a list.")
    return value


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadGateway("The releases API sent something other than an object.")
    return value


def _id(item: dict[str, Any]) -> int:
    number = item.get("id")
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise BadGateway("The releases API sent an object without an id.")
    return number


def _text(item: dict[str, Any], key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""


def _time(text: str) -> datetime | None:
    """Read a time of RFC 3339, as both servers write it; without an offset it is UTC."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _url(text: str) -> str:
    try:
        return normalize_url(text)
    except InvalidURL:
        return ""
