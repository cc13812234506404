"""Which kind of upstream a word is, and which API gets the token that names none."""

from __future__ import annotations

import pytest

from twisted_index.backends.upstream.client import HTTPUpstream
from twisted_index.backends.upstream.github import GitHubUpstream
from twisted_index.backends.upstream.kinds import RepositoryOptions, common_origin, make_client
from twisted_index.config.settings import UpstreamSettings
from twisted_index.errors import ConfigurationError
from twisted_index.server.upstreams import describe_repositories
from twisted_index.testing.in_memory import SynchronousRunner

PUBLIC = "github:acme/tools"
ENTERPRISE = "github+https://ghe.example/api/v3:acme/tools"
FORGEJO = "forgejo+https://code.example/api/v1:acme/tools"


def make(word: str):
    from twisted.internet import reactor

    return make_client(
        word,
        reactor,
        options=RepositoryOptions(),
        worker=SynchronousRunner(),
        environ={},
        instance="test",
        absent_on_403=True,
    )


@pytest.mark.parametrize("word", [PUBLIC, f"{PUBLIC}/", ENTERPRISE, FORGEJO])
def test_a_repository_is_read_by_its_api(word):
    client = make(word)
    assert isinstance(client, GitHubUpstream)
    assert client.url == f"{word.rstrip('/')}/"
    assert client.is_immutable


def test_anything_else_is_an_index():
    client = make("https://example.org/simple/")
    assert isinstance(client, HTTPUpstream)
    assert not client.is_immutable


def test_the_page_of_a_repository_is_an_error_with_advice():
    with pytest.raises(ConfigurationError, match="write github:acme/tools"):
        make("https://github.com/acme/tools")


@pytest.mark.parametrize(
    ("words", "host"),
    [
        (["pip"], None),
        ([PUBLIC, "pip"], "api.github.com"),
        ([ENTERPRISE], "ghe.example"),
        ([ENTERPRISE, "github+https://ghe.example/api/v3:acme/more"], "ghe.example"),
        ([ENTERPRISE, PUBLIC], "api.github.com"),
        ([ENTERPRISE, FORGEJO], None),
    ],
)
def test_a_token_that_names_no_api_is_for_one_api_only(words, host):
    origin = common_origin(words)
    assert (None if origin is None else origin.host) == host


@pytest.fixture
def no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GH", "GITHUB", "GH_ENTERPRISE", "GITHUB_ENTERPRISE", "FORGEJO", "GITEA"):
        monkeypatch.delenv(f"{name}_TOKEN", raising=False)
    monkeypatch.setenv("NETRC", "/nothing/there")


def test_the_start_says_where_each_token_comes_from(no_tokens, monkeypatch, tmp_path):
    assert describe_repositories(UpstreamSettings(urls=("pip",))) == []
    assert describe_repositories(UpstreamSettings(urls=(PUBLIC, ENTERPRISE))) == [
        f"Releases of {PUBLIC} are read without a token: public ones only, and 60 requests an hour",
        f"Releases of {ENTERPRISE} are read without a token: public ones only",
    ]
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    monkeypatch.setenv("FORGEJO_TOKEN", "s3cret")
    (tmp_path / "token").write_text("s3cret\n")
    both = (PUBLIC, FORGEJO)
    assert describe_repositories(UpstreamSettings(urls=both)) == [
        f"Releases of {PUBLIC} are read with the token in GITHUB_TOKEN",
        f"Releases of {FORGEJO} are read with the token in FORGEJO_TOKEN",
    ]
    monkeypatch.setenv("GITHUB_API_URL", "https://ghe.example/api/v3")
    assert describe_repositories(UpstreamSettings(urls=both))[0] == (
        f"Releases of {PUBLIC} are read without a token: public ones only, and 60 requests an hour;"
        " GITHUB_TOKEN is that of https://ghe.example (GITHUB_API_URL)"
    )
    of_file = UpstreamSettings(urls=both, github_token_file=str(tmp_path / "token"))
    assert describe_repositories(of_file)[0].endswith(f"with the token in {tmp_path}/token")


def test_the_start_says_that_a_token_is_for_none_of_several_apis(no_tokens, monkeypatch):
    monkeypatch.setenv("GH_TOKEN", "s3cret")
    lines = describe_repositories(UpstreamSettings(urls=(ENTERPRISE, FORGEJO)))
    assert all("without a token" in line for line in lines[:2])
    assert "are not used: they are for one API" in lines[2]
