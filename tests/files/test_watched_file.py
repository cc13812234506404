"""A file that people edit: what it means now, and whether that is still so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twisted_index.errors import ConfigurationError
from twisted_index.files.watched_file import WatchedFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    return path


def settled(path: Path, parse=bytes) -> WatchedFile:
    """Watch a file as if its times were old enough to show the next change."""
    return WatchedFile(str(path), parse, wall=lambda: 1e12)


def test_what_was_read_is_cached_until_the_file_changes(path: Path):
    file = settled(path)
    assert file.cached() is None
    value = file.read()
    assert file.cached() is value
    path.write_bytes(b"three")
    assert file.cached() is None


def test_nothing_is_cached_of_a_file_that_is_gone_or_means_nothing(path: Path):
    def parse(data: bytes) -> bytes:
        if data == b"broken":
            raise ConfigurationError("It means nothing.")
        return data

    file = settled(path, parse)
    file.read()
    path.write_bytes(b"broken")
    with pytest.raises(ConfigurationError):
        file.read()
    assert file.cached() is None
    path.unlink()
    with pytest.raises(FileNotFoundError):
        file.read()
    assert file.cached() is None


def test_nothing_is_cached_while_one_more_change_could_hide_in_the_times(path: Path):
    file = WatchedFile(str(path), bytes, wall=lambda: path.stat().st_ctime + 1)
    file.read()
    assert file.cached() is None


def test_the_old_meaning_is_not_taken_for_that_of_new_bytes_while_these_are_parsed(path: Path):
    """As another thread may ask in the meantime."""
    seen = []
    file: WatchedFile = settled(path, lambda data: seen.append((file.cached(), is_valid())) or data)
    is_valid = file.validity()
    file.read()
    is_valid = file.validity()
    path.write_bytes(b"three")
    file.read()
    assert seen == [(None, False), (None, False)]


def test_a_validity_ends_with_the_meaning_and_not_with_the_bytes(path: Path):
    file = settled(path)
    file.read()
    is_valid = file.validity()
    assert is_valid()
    path.touch()
    assert not is_valid()
    file.read()
    assert is_valid()
    path.write_bytes(b"three")
    file.read()
    assert not is_valid()
    path.write_bytes(b"one")
    file.read()
    assert not is_valid()


def test_a_validity_from_before_a_change_does_not_hold_for_what_is_read_after_it(path: Path):
    file = settled(path)
    file.read()
    path.write_bytes(b"three")
    is_valid = file.validity()
    file.read()
    assert not is_valid()
    assert file.validity()()


def test_a_pipe_without_a_writer_is_an_empty_file(tmp_path: Path):
    """The server reads in the reactor thread, so it must not wait until the pipe is opened to be written."""
    os.mkfifo(tmp_path / "pipe")
    assert WatchedFile(str(tmp_path / "pipe"), bytes).read() == b""


def test_a_pipe_with_a_silent_writer_is_an_empty_file(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        assert WatchedFile(str(tmp_path / "pipe"), bytes).read() == b""
    finally:
        os.close(writer)
