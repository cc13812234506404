"""What was read of releases goes on in another process: written as JSON, and read as it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.properties import examples
from twisted_index.errors import BadGateway
from twisted_index.github.listing_record import read_page, read_releases, write_page, write_releases
from twisted_index.github.model import Asset, Release
from twisted_index.github.paging import Page
from twisted_index.github.repository import Repository, parse_repository

REPOSITORY = parse_repository("github:octo/wheels")
FORGEJO = parse_repository("forgejo+https://forge.example/api/v1:octo/wheels")
EPOCH = datetime(2025, 6, 1, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
times = st.none() | st.timedeltas(timedelta(0), timedelta(days=999)).map(lambda delta: EPOCH + delta)


def assets(repository: Repository, release: int, *, may_be_partial: bool = False) -> st.SearchStrategy[Asset]:
    parent = f"/{release}" if repository is FORGEJO else ""
    return st.builds(
        lambda number, **fields: Asset(
            id=number, url=f"{repository.url}/releases{parent}/assets/{number}", **fields
        ),
        number=st.integers(1, 2**40),
        name=texts.filter(bool),
        label=texts,
        size=st.none() | st.integers(0, 2**40),
        sha256=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
        created_at=times,
        updated_at=texts,
        download_url=st.sampled_from(["", "https://forge.example/octo/wheels/releases/download/v1/a"]),
        is_whole=st.booleans() if may_be_partial else st.just(True),
    )


@st.composite
def releases(draw: st.DrawFn, repository: Repository) -> Release:
    number = draw(st.integers(1, 2**40))
    listed = draw(st.none() | st.lists(assets(repository, number), max_size=3))
    unfinished = draw(st.integers(0, 2))
    return Release(
        id=number,
        tag=draw(texts),
        name=draw(texts),
        is_draft=draw(st.booleans()),
        is_prerelease=draw(st.booleans()),
        assets=tuple(listed or ()),
        listed=None if listed is None else len(listed) + unfinished,
        url=f"{repository.url}/releases/{number}",
        upload_url=draw(st.sampled_from(["", "https://uploads.example/1/assets"])),
        html_url=draw(st.sampled_from(["", "https://forge.example/octo/wheels/releases/tag/v1"])),
    )


def again(value: Any) -> Any:
    return json.loads(json.dumps(value))


@given(st.data(), st.sampled_from([REPOSITORY, FORGEJO]))
@examples(60)
def test_a_page_of_releases_is_read_as_it_was_written(data: st.DataObject, repository: Repository):
    page = Page(
        url=f"{repository.url}/releases?per_page=100",
        items=tuple(data.draw(st.lists(releases(repository), max_size=3))),
        etag=data.draw(st.none() | texts),
        links=data.draw(st.dictionaries(st.sampled_from(["next", "last"]), texts)),
        is_linked=data.draw(st.booleans()),
        total=data.draw(st.none() | st.integers(0, 2000)),
    )
    read = read_page(again(write_page(page)), repository)
    assert read == page
    assert [item.listed for item in read.items] == [item.listed for item in page.items]


@given(st.data(), st.sampled_from([REPOSITORY, FORGEJO]))
@examples(60)
def test_a_page_of_assets_is_read_as_it_was_written(data: st.DataObject, repository: Repository):
    items = data.draw(st.lists(assets(repository, 7, may_be_partial=True), max_size=3))
    page = Page(url=f"{repository.url}/releases/7/assets?per_page=100&page=2", items=tuple(items), links={})
    assert read_page(again(write_page(page)), repository) == page


@given(st.data(), st.sampled_from([REPOSITORY, FORGEJO]))
@examples(60)
def test_releases_keep_all_their_assets(data: st.DataObject, repository: Repository):
    written = tuple(data.draw(st.lists(releases(repository), max_size=3)))
    assert read_releases(again(write_releases(written)), repository) == written


@pytest.mark.parametrize("record", [None, [], {}, {"url": "x", "items": 1, "etag": None, "links": {}}])
def test_a_damaged_record_is_no_page(record: Any):
    with pytest.raises((TypeError, KeyError, BadGateway)):
        read_page(record, REPOSITORY)
