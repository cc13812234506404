"""Runs that fill folders, from sources that a test makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.hostile_upstream import HostileUpstream
from tests.kit.mounts import mounted
from tests.kit.pulls import Pulls
from twisted_index.testing import RunningIndex


@pytest.fixture
def pulls(tmp_path: Path) -> Iterator[Pulls]:
    """Runs over real connections, in a reactor of their own."""
    with Pulls(tmp_path) as made:
        yield made


@pytest.fixture
def source() -> Iterator[RunningIndex]:
    with RunningIndex() as index:
        yield index


__all__ = ["mounted"]
