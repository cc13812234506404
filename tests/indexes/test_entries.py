"""Which entries an index has for replicas: those of its own folder."""

from __future__ import annotations

from tests.kit.at_once import answer
from tests.kit.named_indexes import Indexes
from twisted_index.indexes.change_feed import ChangeFeed
from twisted_index.indexes.composite import change_parts, close_body
from twisted_index.interfaces import ISource
from twisted_index.simple.entry_listing import parse_listing


def feed_of(source: ISource) -> ChangeFeed:
    return ChangeFeed(change_parts(source), None)


def paths(source: ISource, project: str) -> list[str] | None:
    text = answer(feed_of(source).entries, project, 0)
    return None if text is None else [entry.path for entry in parse_listing(text).entries]


def test_an_index_has_the_entries_of_its_own_folder_and_neither_of_its_bases_nor_of_upstreams(
    indexes: Indexes,
):
    indexes.make("prod", "", "base-lib", "both-lib")
    indexes.make("dev", "bases = ['prod']\nupstream = 'public'", "own-lib", "both-lib")
    source = indexes.find("dev").source
    assert paths(source, "own-lib") == ["own-lib/own_lib-1.0-py3-none-any.whl"]
    assert paths(source, "both-lib") == ["both-lib/both_lib-1.0-py3-none-any.whl"]
    assert paths(source, "base-lib") == []
    assert paths(source, "no-lib") is None
    assert all(upstream.asked == [] for upstream in indexes.upstreams.values())
    path = b"base-lib/base_lib-1.0-py3-none-any.whl"
    assert answer(feed_of(source).open_entry, "base-lib", path) is None
    body = answer(feed_of(indexes.find("prod").source).open_entry, "base-lib", path)
    assert body is not None
    close_body(body)
