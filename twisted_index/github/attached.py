"""What hangs on a release, with what uploads that did not end have left there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.web.http_headers import Headers

from twisted_index.errors import BadGateway
from twisted_index.github.asset_bytes import request_asset
from twisted_index.github.asset_names import mangled
from twisted_index.github.model import read_asset
from twisted_index.http_client.retry import retrying

if TYPE_CHECKING:
    from collections.abc import Collection

    from twisted_index.github.api import GitHubAPI
    from twisted_index.github.model import Asset
    from twisted_index.github.repository import Repository

#: Tries of a download that breaks off, and seconds before the second.
_TRIES, _BACK_OFF = 3, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedFile:
    """
    An asset of a release, whole or not.

    Attributes:
        name: As the server has it.
        label: Empty without one.
        url: The API's URL of it.
        asset: None if its upload has not ended.
    """

    name: str
    label: str
    url: str
    asset: Asset | None

    def is_for(self, name: str, others: Collection[str]) -> bool:
        """Return whether it has the place of a file, among others of the release."""
        if self.name == name:
            return True
        return self.name not in others and (self.label == name or self.name == mangled(name))


def read_attached(value: object, repository: Repository, release_id: int) -> AttachedFile:
    """
    Read an asset from the JSON of a releases API.

    Raises:
        BadGateway: It is none.
    """
    asset = read_asset(value, repository, release_id)
    if asset is not None:
        return AttachedFile(name=asset.name, label=asset.label, url=asset.url, asset=asset)
    assert isinstance(value, dict)
    whole = read_asset({**value, "state": "uploaded"}, repository, release_id)
    assert whole is not None
    return AttachedFile(name=whole.name, label=whole.label, url=whole.url, asset=None)


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
