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
def file(path):
    return RightsFile.at(str(path))


def open_to_all(file: RightsFile) -> bool:
    return file.current().permits(ANONYMOUS, Action.READ, "numpy")


def critical(events):
    return [event for event in events if event["log_level"] is LogLevel.critical]


def test_a_change_is_heeded_at_once(file, path):
    path.write_text("")

    assert open_to_all(file)


def test_the_rights_are_the_same_object_until_they_change(file, path):
    before = file.current()
    assert file.current() is before
    path.write_text(CLOSED)
    assert file.current() is before
    path.write_text("")
    assert file.current() is not before


def test_a_file_put_in_its_place_is_a_change(file, path):
    other = path.with_name("new")
    other.write_text(CLOSED.replace("users", "everyone"))
    os.replace(other, path)

    assert open_to_all(file)


@pytest.mark.parametrize("broken", [b"rule = [", b"\xff", b'[[rule]]\nallow = "raed"\nto = "users"'])
def test_a_broken_file_keeps_the_rights_and_is_told_of_once(file, path, events, broken):
    before = file.current()
    path.write_bytes(broken)
    for _ in range(3):
        assert not open_to_all(file)

    assert file.current() is before
    (event,) = critical(events)
    assert event["effect"] == "The rights are unchanged."


def test_a_file_that_is_gone_keeps_the_rights(file, path, events):
    path.unlink()
    for _ in range(3):
        assert not open_to_all(file)

    assert len(critical(events)) == 1


def test_a_file_that_is_mended_counts_again(file, path, events):
    path.write_text("rule = [")
    assert not open_to_all(file)
    path.write_text("")

    assert open_to_all(file)


@pytest.mark.parametrize("content", [None, "rule = ["])
def test_at_the_start_a_file_that_cannot_be_used_is_an_error(tmp_path, content):
    path = tmp_path / "rights.toml"
    if content is not None:
        path.write_text(content)

    with pytest.raises(ConfigurationError) as caught:
        RightsFile.at(str(path))
    assert caught.value.message.startswith(f"{path}: ")
