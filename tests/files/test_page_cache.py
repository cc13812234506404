"""What was read for a check alone does not stay in memory; what was there before does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twisted_index.files.page_cache import not_kept

SIZE = 1 << 20


def _write(path: Path) -> Path:
    """Write a file, and let go of it."""
    path.write_bytes(os.urandom(SIZE))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return path


def _is_in_memory(path: Path) -> bool:
    """Return whether a file's middle is in memory; the question may bring it there."""
    with path.open("rb") as file:
        try:
            return os.preadv(file.fileno(), [bytearray(1)], SIZE // 2, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    """Make a file whose bytes are on disk alone; skip where the system cannot say so."""
    try:
        is_known = not _is_in_memory(_write(tmp_path / "other"))
    except (AttributeError, OSError):
        is_known = False
    if not is_known:
        pytest.skip("this system does not let go of a file, or cannot say so")
    return _write(tmp_path / "file")


def test_what_was_on_disk_alone_is_let_go(cold: Path):
    with not_kept(os.fsencode(cold)):
        cold.read_bytes()
    assert not _is_in_memory(cold)


def test_what_was_in_memory_stays_there(cold: Path):
    cold.read_bytes()
    with not_kept(os.fsencode(cold)):
        cold.read_bytes()
    assert _is_in_memory(cold)


def test_a_file_that_is_not_there_is_no_error_of_its_own(tmp_path: Path):
    with not_kept(os.fsencode(tmp_path / "gone")):
        reached = True
    assert reached
