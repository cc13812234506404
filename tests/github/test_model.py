"""Releases and assets, read from JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from twisted_index.errors import BadGateway
from twisted_index.github.model import parse_assets, parse_releases
from twisted_index.github.repository import parse_repository

GITHUB = parse_repository("github:o/r")
FORGEJO = parse_repository("forgejo+https://code.example/api/v1:o/r")
ASSET: dict[str, Any] = {
    "id": 7,
    "name": "demo-1.0.tar.gz",
    "label": None,
    "state": "uploaded",
    "size": 12,
    "digest": "sha256:" + "Ab" * 32,
    "created_at": "2026-01-02T03:04:05Z",
    "updated_at": "2026-01-02T03:04:06Z",
    "url": "https://evil.example/steal",
    "browser_download_url": "https://github.com/o/r/releases/download/v1.0/demo-1.0.tar.gz",
    "download_count": 3,
}
RELEASE = {
    "id": 1,
    "tag_name": "v1.0",
    "name": "One",
    "draft": False,
    "prerelease": True,
    "assets": [ASSET],
    "upload_url": "https://uploads.github.com/repos/o/r/releases/1/assets{?name,label}",
    "html_url": "https://github.com/o/r/releases/tag/v1.0",
}


def dump(*items: object) -> bytes:
    return json.dumps(items).encode()


def test_a_release_and_its_assets_are_read():
    (release,) = parse_releases(dump(RELEASE), GITHUB)
    (asset,) = release.assets

    assert (release.id, release.tag, release.is_draft, release.is_prerelease) == (1, "v1.0", False, True)
    assert release.upload_url == "https://uploads.github.com/repos/o/r/releases/1/assets"
    assert (asset.name, asset.label, asset.size, asset.sha256) == ("demo-1.0.tar.gz", "", 12, "ab" * 32)
    assert asset.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert asset.download_url == ASSET["browser_download_url"]


@pytest.mark.parametrize(
    ("repository", "url"),
    [
        (GITHUB, "https://api.github.com/repos/o/r/releases/assets/7"),
        (FORGEJO, "https://code.example/api/v1/repos/o/r/releases/1/assets/7"),
    ],
)
def test_the_url_of_an_asset_is_not_taken_from_the_answer(repository: Any, url: str):
    assert parse_releases(dump(RELEASE), repository)[0].assets[0].url == url


def test_counts_of_downloads_change_nothing():
    more = {**RELEASE, "assets": [{**ASSET, "download_count": 4}]}
    assert parse_releases(dump(RELEASE), GITHUB) == parse_releases(dump(more), GITHUB)


def test_what_servers_leave_out_is_not_needed():
    (release,) = parse_releases(dump({"id": 1, "assets": [{"id": 7, "name": "a.whl"}]}), GITHUB)
    (asset,) = release.assets
    assert (asset.size, asset.sha256, asset.created_at, asset.download_url) == (None, None, None, "")


def test_the_size_of_a_file_that_is_only_linked_to_is_unknown():
    linked = ASSET | {"type": "external", "size": 0, "browser_download_url": "https://files.example/a.whl"}
    ((asset,),) = (
        release.assets for release in parse_releases(dump(RELEASE | {"assets": [linked]}), FORGEJO)
    )

    assert (asset.size, asset.download_url) == (None, "https://files.example/a.whl")


def test_an_unfinished_upload_is_no_asset_but_counts():
    (release,) = parse_releases(dump({**RELEASE, "assets": [{**ASSET, "state": "starter"}, ASSET]}), GITHUB)
    assert (len(release.assets), release.listed) == (1, 2)
    (asset,) = parse_assets(dump({**ASSET, "state": "starter"}), GITHUB, 1)
    assert not asset.is_whole


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "sha512:00"},
        {"digest": "sha256:0"},
        {"digest": 5},
        {"size": -1},
        {"size": True},
        {"created_at": "yesterday"},
        {"created_at": "0001-01-01T00:00:00+14:00"},
        {"browser_download_url": "javascript:alert(1)"},
        {"label": 5},
    ],
    ids=str,
)
def test_a_value_that_makes_no_sense_counts_as_absent(change: dict[str, object]):
    (asset,) = parse_assets(dump({**ASSET, **change}), GITHUB, 1)
    absent = {"digest": "sha256", "browser_download_url": "download_url"}
    assert getattr(asset, *[absent.get(key, key) for key in change]) in (None, "")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 100_000,
        b'[{"id": 1}',
        b'{"message": "no"}',
        b"[1]",
        b"[{}]",
        b'[{"id": true}]',
        b'[{"id": "1"}]',
        b'[{"id": 1, "assets": {}}]',
        b'[{"id": 1, "assets": [{"id": 2}]}]',
        b'[{"id": 1, "assets": [{"name": "a"}]}]',
        b"\xff",
    ],
    ids=range(12),
)
def test_anything_else_is_refused(content: bytes):
    with pytest.raises(BadGateway):
        parse_releases(content, GITHUB)
