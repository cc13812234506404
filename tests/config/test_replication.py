"""What a replica and its peers can be configured with, and what is refused."""

from __future__ import annotations

import pytest

from twisted_index.config.layers import load
from twisted_index.config.settings import ReplicationSettings
from twisted_index.errors import ConfigurationError

PRIMARY = "https://__token__:secret@a.example.org/packages"


def read(**given):
    return load({"state": "state", **given}, environ={"HOME": "/home/me"}, folder="/here")


def refusal(**given):
    with pytest.raises(ConfigurationError) as caught:
        read(**given)
    return caught.value.message


def test_a_replica_needs_no_more_than_the_url_of_its_primary():
    assert read(replica_of=PRIMARY).replication == ReplicationSettings(replica_of=PRIMARY)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"upstream": ["https://pypi.example.org/simple/"]}, "upstream"),
        ({"as_of": "2026-11-01"}, "as-of"),
        ({"state": "none"}, "state"),
        ({"path": ["one", "two"]}, "path"),
        ({"path": ["s3://bucket/prefix"]}, "s3://bucket/prefix"),
        ({"indexes": "s3://bucket/prefix"}, "s3://bucket/prefix"),
    ],
)
def test_what_cannot_be_combined_with_a_primary_is_named(given, name):
    message = refusal(replica_of=PRIMARY, **given)

    assert "replica-of" in message
    assert name in message
    assert "secret" not in message


def test_routes_belong_to_the_primary(tmp_path):
    file = tmp_path / "index.toml"
    file.write_text('[[route]]\npattern = "torch*"\nupstream = "https://example.org/whl"\n')

    assert "route cannot be combined with replica-of" in refusal(replica_of=PRIMARY, config=str(file))


def test_a_replica_is_told_where_it_keeps_the_index_without_a_name(tmp_path):
    file = tmp_path / "index.toml"
    file.write_text('default-index = "prod"\n')
    message = refusal(replica_of=PRIMARY, indexes=str(tmp_path), config=str(file))

    assert message.startswith("default-index cannot be combined with replica-of")
    assert "give a path of its own" in message


@pytest.mark.parametrize(
    "url", ["https://a.example.org/simple/", "https://a.example.org/?q", "a.example.org"]
)
def test_the_url_of_a_primary_is_that_of_the_server(url):
    assert refusal(replica_of=url).startswith("--replica-of: ")


def test_the_cache_may_be_set_as_the_primary_is_an_upstream():
    assert read(replica_of=PRIMARY, cache="/var/cache/packages").upstreams.cache == "/var/cache/packages"


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("1", 1)])
def test_one_peer_at_most_can_be_needed(text, number):
    environ = {"TWISTED_INDEX_PEERS": "https://b.example.org", "TWISTED_INDEX_PEERS_NEEDED": text}

    assert load({"state": "state"}, environ=environ, folder="/here").replication.peers_needed == number


def test_peers_that_are_needed_have_to_be_named(tmp_path):
    file = tmp_path / "index.toml"
    file.write_text("peers-needed = 1\n")

    assert refusal(config=str(file)) == "peers-needed has no effect without peers."


def test_more_peers_cannot_be_needed(tmp_path):
    file = tmp_path / "index.toml"
    file.write_text('peers = ["https://b.example.org"]\npeers-needed = 2\n')

    assert refusal(config=str(file)).endswith("peers-needed: 2 is neither 0 nor 1.")
