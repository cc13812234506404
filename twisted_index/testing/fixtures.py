"""
A fixture for pytest, enabled in a `conftest.py`:

    pytest_plugins = ["twisted_index.testing.fixtures"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from twisted_index.testing.live import RunningIndex

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def simple_index() -> Iterator[RunningIndex]:
    """Run a package index at `simple_index.url`, empty at first, for one test."""
    with RunningIndex() as index:
        yield index
