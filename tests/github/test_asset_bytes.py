"""Where the bytes of an asset are requested."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.web.http_headers import Headers

from tests.kit.github_api import ReleasesClient
from twisted_index.errors import BadGateway
from twisted_index.github.asset_bytes import request_asset
from twisted_index.github.model import Asset

API = "https://code.example/api/v1"


def test_a_file_whose_url_is_without_tls_is_refused_with_both_places(connect: Callable[..., ReleasesClient]):
    client = connect(f"forgejo+{API}:octo/wheels")
    url, download_url = f"{API}/repos/octo/wheels/releases/1/assets/2", "http://code.example/octo/a.whl"
    asset = Asset(id=2, name="a.whl", url=url, download_url=download_url)

    with pytest.raises(BadGateway, match=r"names http://code\.example for .* is not https://code\.example:"):
        client.run(lambda: request_asset(client.api, asset, Headers()))
