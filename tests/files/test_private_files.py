"""Locks of the server's own state."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from twisted_index.files import private_files


@pytest.mark.parametrize("has_file_locks", [True, False])
def test_threads_that_change_the_same_file_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_file_locks: bool
):
    if not has_file_locks:
        monkeypatch.setattr(private_files, "_fcntl", None)
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count() -> None:
        for _ in range(25):
            with private_files.private_lock(str(tmp_path / "lock")):
                private_files.replace_private(str(counter), b"%d" % (int(counter.read_text()) + 1))

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counter.read_text() == "100"


@pytest.mark.parametrize("has_file_locks", [True, False])
def test_a_lock_does_not_outlive_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_file_locks: bool
):
    if not has_file_locks:
        monkeypatch.setattr(private_files, "_fcntl", None)
    path = str(tmp_path / "lock")
    with pytest.raises(ValueError, match="wrong"), private_files.private_lock(path):
        raise ValueError("wrong")

    with private_files.private_lock(path):
        pass
