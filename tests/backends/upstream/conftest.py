"""What several tests of upstreams share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from twisted_index.testing.reactor_thread import BackgroundReactor


@pytest.fixture(scope="module")
def background() -> Iterator[BackgroundReactor]:
    background = BackgroundReactor()
    yield background
    background.stop(10)
