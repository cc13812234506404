"""The bytes of an asset: where they can be had, what some servers send in their place, their digest."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from twisted.web.http_headers import Headers

from twisted_index.errors import BadGateway, Unavailable
from twisted_index.github.repository import Forge
from twisted_index.http_client.retry import retrying
from twisted_index.http_client.urls import is_downgrade, origin_of

if TYPE_CHECKING:
    from twisted_index.github.api import GitHubAPI
    from twisted_index.github.model import Asset
    from twisted_index.http_client.client import HTTPResponse

#: Without it, GitHub's API describes an asset instead of sending it.
_BYTES = b"application/octet-stream"
#: Tries of a download that breaks off, and seconds before the second.
_TRIES, _BACK_OFF = 3, 1.0


async def request_asset(
    api: GitHubAPI, asset: Asset, headers: Headers, *, spares_limit: bool = False
) -> HTTPResponse | None:
    """
    Request the bytes of an asset, where they can be had.

    Args:
        api: The API of its repository.
        asset: The asset; only its URL has to be known.
        headers: As for `HTTPClient.stream`; gets an Accept field.
        spares_limit: Whether its URL for browsers is requested first: it counts for no rate limit, but has
            nothing of private repositories for clients without a cookie.

    Returns:
        None if the asset is gone.

    Raises:
        BadGateway: No response has the bytes.
        Unavailable: They cannot be had now; of several errors, the first is raised.
    """
    headers.setRawHeaders(b"Accept", [_BYTES])
    failure: Unavailable | None = None
    for place in _places(api, asset, spares_limit=spares_limit):
        try:
            response = await _request(api, asset, place, headers)
        except Unavailable as error:
            failure = failure or error
        else:
            if response is not None:
                return response
    if failure := failure or _without_token(api, asset):
        raise failure
    return None


async def digest_of(api: GitHubAPI, asset: Asset, reactor: Any) -> str:
    """
    Return the SHA-256 of an asset: the API's, or else that of its bytes, which are fetched and discarded.

    Raises:
        BadGateway: They cannot be fetched.
    """
    if asset.sha256 is not None:
        return asset.sha256
    return await retrying(lambda: _hash(api, asset), reactor, tries=_TRIES, back_off=_BACK_OFF)


async def _hash(api: GitHubAPI, asset: Asset) -> str:
    response = await request_asset(api, asset, Headers())
    if response is None:
        raise BadGateway(f"The releases API lists {asset.name}, which cannot be fetched.")
    digest = hashlib.sha256()
    await response.body.deliver(digest.update)
    return digest.hexdigest()


def _places(api: GitHubAPI, asset: Asset, *, spares_limit: bool) -> list[str]:
    """Return the URLs of an asset's bytes, the best one first. Forgejo's API has none, only descriptions."""
    download = "" if is_downgrade(asset.url, asset.download_url) else asset.download_url
    own = "" if api.repository.forge is Forge.FORGEJO else asset.url
    return list(filter(None, (download, own) if spares_limit else (own, download)))


async def _request(api: GitHubAPI, asset: Asset, place: str, headers: Headers) -> HTTPResponse | None:
    response = await api.stream(place, headers)
    if response is None or (place == asset.url and _is_description(response, place)):
        return None
    if _is_page(response, asset):
        response.body.abort()
        raise BadGateway("The releases API sent a page in place of this file; it may require a sign-in.")
    return response


def _is_description(response: HTTPResponse, url: str) -> bool:
    """Tell what an API says of an asset, as if no bytes were requested, from its bytes; drop the former."""
    media_type = response.header(b"Content-Type").partition(";")[0].strip().lower()
    is_description = response.url == url and media_type == "application/json"
    if is_description:
        response.body.abort()
    return is_description


def _is_page(response: HTTPResponse, asset: Asset) -> bool:
    """Tell a page, such as that of a sign-in, from an asset, which some servers call HTML too."""
    is_html = response.header(b"Content-Type").lower().startswith("text/html")
    length = response.body.length if response.status == 200 else None
    return is_html and None not in (length, asset.size) and length != asset.size


def _without_token(api: GitHubAPI, asset: Asset) -> BadGateway | None:
    """Return why a file cannot be had if Forgejo names another server than that of its API."""
    if api.repository.forge is not Forge.FORGEJO or not asset.download_url:
        return None
    own, other = api.repository.origins[0], origin_of(asset.download_url)
    if own == other or not (api.has_token or is_downgrade(asset.url, asset.download_url)):
        return None
    return BadGateway(
        f"The releases API names {other} for this file, which is not {own}: the token is not sent there."
    )
