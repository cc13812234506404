"""The file of rights: read again when it changes, and never made use of when it is wrong."""

from __future__ import annotations

import os

import pytest
from twisted.logger import LogLevel, globalLogPublisher

from twisted_index.access.rights_file import RightsFile
from twisted_index.errors import ConfigurationError
from twisted_index.interfaces import ANONYMOUS, Action

CLOSED = '[[rule]]\nprojects = "*"\nallow = "read"\nto = "users"\n'


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "rights.toml"
    path.write_text(CLOSED)
    return path


@pytest.fixture
def events():
    found = []
    globalLogPublisher.addObserver(found.append)
    yield found
    globalLogPublisher.removeObserver(found.append)


@pytest.fixture
def file(path, clock):
    return RightsFile.at(str(path), clock)


def open_to_all(file: RightsFile) -> bool:
    return file.current().permits(ANONYMOUS, Action.READ, "numpy")


def critical(events):
    return [event for event in events if event["log_level"] is LogLevel.critical]


def test_a_change_is_heeded_a_second_later(file, path, clock):
    path.write_text("")

    assert not open_to_all(file)
    clock.advance(1)
    assert open_to_all(file)


def test_the_generation_changes_with_the_rights_and_only_then(file, path, clock):
    before = file.generation
    clock.advance(1)
    assert file.generation == before
    path.write_text(CLOSED)
    clock.advance(1)
    assert file.generation == before
    path.write_text("")
    clock.advance(1)
    assert file.generation != before


def test_a_file_put_in_its_place_is_a_change(file, path, clock):
    other = path.with_name("new")
    other.write_text(CLOSED.replace("users", "everyone"))
    os.replace(other, path)
    clock.advance(1)

    assert open_to_all(file)


@pytest.mark.parametrize("broken", [b"rule = [", b"\xff", b'[[rule]]\nallow = "raed"\nto = "users"'])
def test_a_broken_file_keeps_the_rights_and_is_told_of_once(file, path, clock, events, broken):
    before = file.generation
    path.write_bytes(broken)
    for _ in range(3):
        clock.advance(1)
        assert not open_to_all(file)

    assert file.generation == before
    (event,) = critical(events)
    assert "The rights are unchanged." in event["log_format"]


def test_a_file_that_is_gone_keeps_the_rights(file, path, clock, events):
    path.unlink()
    for _ in range(3):
        clock.advance(1)
        assert not open_to_all(file)

    assert len(critical(events)) == 1


def test_a_file_that_is_mended_counts_again(file, path, clock, events):
    path.write_text("rule = [")
    clock.advance(1)
    assert not open_to_all(file)
    path.write_text("")
    clock.advance(1)

    assert open_to_all(file)


@pytest.mark.parametrize("content", [None, "rule = ["])
def test_at_the_start_a_file_that_cannot_be_used_is_an_error(tmp_path, clock, content):
    path = tmp_path / "rights.toml"
    if content is not None:
        path.write_text(content)

    with pytest.raises(ConfigurationError) as caught:
        RightsFile.at(str(path), clock)
    assert caught.value.message.startswith(f"{path}: ")
