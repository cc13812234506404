"""A local server of the API, and our side of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kit.github_api import ReleasesClient
from tests.kit.github_server import GitHubServer
from twisted_index.testing.reactor_thread import BackgroundReactor


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    with GitHubServer() as server:
        yield server
        assert server.errors == []


@pytest.fixture
def connect(background: BackgroundReactor) -> Iterator[Callable[..., ReleasesClient]]:
    """Make a client of a repository's API."""
    made: list[ReleasesClient] = []

    def connect(word: str, *args: Any, **more: Any) -> ReleasesClient:
        made.append(ReleasesClient(background, word, *args, **more))
        return made[-1]

    yield connect
    for client in made:
        client.close()
