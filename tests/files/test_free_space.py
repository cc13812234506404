"""What an upload has to leave free."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from twisted.logger import capturedLogs, formatEvent

from twisted_index.errors import InsufficientStorage
from twisted_index.files.free_space import free_bytes, require_space


def test_the_log_says_which_disk_is_too_full_for_an_upload(tmp_path: Path):
    """Clients are not told the path, and a server without Prometheus has nothing else that says it."""
    free = free_bytes(tmp_path)
    assert free is not None
    with capturedLogs() as events, pytest.raises(InsufficientStorage):
        require_space(os.fsencode(tmp_path), free * 4, 1000)

    (event,) = events
    assert f"Uploads are refused: {tmp_path} has " in formatEvent(event)
    assert formatEvent(event).endswith(f" bytes free, and one of {free * 4:,} has to leave 1,000.")


def test_an_upload_that_leaves_enough_is_not_logged(tmp_path: Path):
    with capturedLogs() as events:
        require_space(os.fsencode(tmp_path), 1, 1)
    assert events == []
