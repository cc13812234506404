"""The settings of an index: what they may say, and what becomes of a file that is broken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kit.folder_source import LONG_AGO
from twisted_index.errors import ConfigurationError, Unavailable
from twisted_index.indexes.index_file import LARGEST_FILE, IndexFile, IndexSettings, parse_index_settings

ALL = b"""
title = "Staging"
bases = ["prod", "public"]
upload = true
overwrite = ["*.dev*"]
promote-to = []
reserve-names = true
upstream = "pip"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def file(folder: Path) -> IndexFile:
    return IndexFile("staging", os.fsencode(folder))


def write(folder: Path, text: str) -> None:
    (folder / ".index.toml").write_text(text)


def test_everything_that_an_index_may_say_of_itself_is_read():
    assert parse_index_settings(ALL) == IndexSettings(
        title="Staging",
        bases=("prod", "public"),
        upload=True,
        overwrite=("*.dev*",),
        promote_to=(),
        reserve_names=True,
        upstreams=("pip",),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("base = ['prod']", "base is not a setting; did you mean bases?"),
        ("cooldown = '7d'", "cooldown is not a setting"),
        ("upload = 'yes'", "upload: this is true or false, without quotes."),
        ("reserve-names = 1", "reserve-names: this is true or false"),
        ("bases = ['../etc']", "bases: '../etc' is not the name of an index"),
        ("bases = ['a', 'a']", "bases: 'a' is there twice."),
        (f"bases = {[f'i{number}' for number in range(101)]}", "bases: these are more than 100."),
        ('title = "a\\nb"', "title: a title is one line"),
        ("bases = [", "This is not TOML: "),
        ("x = " + "[" * 30_000, "This is not TOML: "),
        ("upstream = 7", "upstream: 7 is not text"),
    ],
)
def test_a_mistake_is_told(text: str, sentence: str):
    with pytest.raises(ConfigurationError) as refused:
        parse_index_settings(text.encode())
    assert refused.value.message.startswith(sentence)


def test_what_is_not_utf_8_is_told_with_the_byte():
    with pytest.raises(ConfigurationError, match="byte 9 is not"):
        parse_index_settings(b'title = "\xff"')


def test_a_folder_without_the_file_is_an_index_with_the_settings_of_the_server(file: IndexFile):
    assert file.settings() == IndexSettings()


def test_a_change_holds_from_the_next_look_on(folder: Path, file: IndexFile):
    write(folder, "bases = ['prod']")
    assert file.settings().bases == ("prod",)
    write(folder, "bases = ['other']")
    assert file.settings().bases == ("other",)
    (folder / ".index.toml").unlink()
    assert file.settings().bases == ()


def test_a_file_that_breaks_leaves_the_last_good_settings_and_is_a_problem(folder: Path, file: IndexFile):
    write(folder, "bases = ['prod']")
    file.settings()
    write(folder, "bases = [")
    assert file.settings().bases == ("prod",)
    assert "at line 1" in file.problem or "at end of document" in file.problem
    write(folder, "bases = ['prod', 'public']")
    assert file.settings().bases == ("prod", "public")
    assert file.problem == ""


def test_a_file_that_never_was_whole_is_unavailable_and_never_an_index_without_bases(
    folder: Path, file: IndexFile
):
    write(folder, "bases = [")
    with pytest.raises(Unavailable, match="The settings of the index staging cannot be used") as refused:
        file.settings()
    assert str(folder) not in refused.value.message


def test_a_file_that_is_empty_while_it_is_written_again_keeps_its_bases(folder: Path, file: IndexFile):
    write(folder, "bases = ['prod']")
    file.settings()
    write(folder, "")
    assert file.settings().bases == ("prod",)


def test_a_file_that_stays_empty_says_nothing(folder: Path, file: IndexFile):
    write(folder, "")
    os.utime(folder / ".index.toml", (LONG_AGO, LONG_AGO))
    assert file.settings() == IndexSettings()


def _link(path: Path) -> None:
    secret = path.with_name("secret")
    secret.write_text("bases = ['prod']")
    path.symlink_to(secret)


def _huge(path: Path) -> None:
    path.write_text("#" * (LARGEST_FILE + 1))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_link, "it is a link"),
        (lambda path: os.mkfifo(path), "it is not a file"),
        (lambda path: path.mkdir(), "it is not a file"),
        (_huge, "it is larger than"),
    ],
    ids=["link", "pipe", "folder", "huge"],
)
def test_what_is_no_file_of_that_name_is_refused_at_once(folder: Path, file: IndexFile, make, reason: str):
    make(folder / ".index.toml")
    with pytest.raises(Unavailable, match=reason) as refused:
        file.settings()
    assert str(folder) not in refused.value.message


def test_a_folder_that_is_away_has_unknown_settings(tmp_path: Path):
    with pytest.raises(Unavailable, match="The folder of the index far cannot be read"):
        IndexFile("far", os.fsencode(tmp_path / "mount")).settings()
