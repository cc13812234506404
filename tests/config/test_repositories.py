"""Repositories among the upstreams: how they are written, and which names they need."""

from __future__ import annotations

import pytest

from tests.config.test_layers import read, refusal

WORD = "github:acme/tools"
ROUTE = {"route": [{"pattern": "acme-*", "upstream": WORD}]}
OWN = {"upstream": WORD, "upstream-only": "acme-*"}


@pytest.mark.parametrize(
    "word",
    [
        "github:acme/tools",
        "github+https://github.example.org/api/v3:acme/tools",
        "github+http://127.0.0.1:8000:acme/tools",
        "github+http://[::1]:8000/api/v3:acme/tools",
        "forgejo+https://code.example.org/api/v1:acme/tools",
    ],
)
def test_a_repository_is_an_upstream_wherever_one_is_named(word):
    route = [{"pattern": "a", "upstream": word}]
    read_back = read(
        {"upstream": [word, "pip"], "upstream-only": "a", "upstream-rebuilds": word, "route": route}
    )
    assert read_back.upstreams.urls == (word, "pip")
    assert read_back.upstreams.rebuilds == (word,)
    assert read_back.upstreams.routes[0].upstream == word


def test_a_slash_at_the_end_makes_no_other_repository():
    assert read({**OWN, "upstream-rebuilds": f"{WORD}/"}).upstreams.rebuilds == (WORD,)


@pytest.mark.parametrize(
    "word",
    [
        "github:acme",
        "github:acme/tools.git/x",
        "github:",
        "github:https://github.com/acme/tools",
        "github+ftp://a.example:acme/tools",
        "github+https://me:s3cret@a.example/api/v3:acme/tools",
        "github:s3cret@acme/tools",
    ],
)
def test_what_is_no_repository_is_refused_without_a_secret(word):
    said = refusal({"upstream": word, "upstream-only": "a"})
    assert said.startswith("--upstream: ")
    assert "s3cret" not in said


def test_a_repository_for_every_name_is_refused():
    said = refusal({"upstream": ["pip", WORD]})
    assert said.startswith(f"{WORD} is an upstream for every name")
    assert "upstream-only" in said
    assert "[[route]]" in said


def test_a_repository_with_names_of_its_own_is_not_refused():
    assert read(OWN)
    assert read({"upstream": "pip", **ROUTE})


@pytest.mark.parametrize("given", [OWN, ROUTE, {"upstream": "pip", **ROUTE}])
def test_clients_are_not_redirected_to_a_repository(given):
    assert refusal({**given, "upstream-mode": "redirect"}).startswith(f"{WORD} cannot be used with")
    assert read({**given, "upstream-mode": "proxy"})


def test_the_file_of_a_token_needs_a_repository():
    assert "has no effect" in refusal({"upstream": "pip", "github-token-file": "t"})
    assert read({**OWN, "github-token-file": "/t"}).upstreams.github_token_file == "/t"
