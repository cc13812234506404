"""
A fixture for pytest. It is there for whoever says so in a `conftest.py`, and for nobody else:

    pytest_plugins = ["twisted_index.testing.fixtures"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from twisted_index.testing.running import RunningIndex

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def simple_index() -> Iterator[RunningIndex]:
    """Run a package index at `simple_index.url`, empty at first, for one test."""
    with RunningIndex() as index:
        yield index
