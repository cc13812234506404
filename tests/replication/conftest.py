"""What several tests of replication share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.hostile_upstream import HostileUpstream
from tests.kit.log_lines import log
from twisted_index.testing.reactor_thread import BackgroundReactor


@pytest.fixture(scope="module")
def background() -> Iterator[BackgroundReactor]:
    background = BackgroundReactor()
    yield background
    background.stop(10)


@pytest.fixture
def hostile() -> Iterator[HostileUpstream]:
    made = HostileUpstream()
    yield made
    made.close()
