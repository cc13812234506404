"""What pip and uv are configured to use."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from twisted_index.errors import ConfigurationError
from twisted_index.upstream.pipindex import pip_index, run_quietly

HELP = "  -i, --index-url <url>  Base URL of the Index (default https://pypi.example/simple). This should"


def pip_that_says(*lines: str) -> object:
    """A pip that is configured so."""

    def run(command: Sequence[str], environ: Mapping[str, str]) -> str:
        return "\n".join(lines) if command[-2:] == ["config", "list"] else HELP

    return run


def no_pip(command: Sequence[str], environ: Mapping[str, str]) -> None:
    return None


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "xdg"), "PIP_CONFIG_FILE": "/dev/null"}


def test_the_environment_is_stronger_than_the_section_of_install_and_that_than_the_global_one() -> None:
    lines = ["global.index-url='https://a.example/'", "install.index-url='https://b.example/'"]

    assert pip_index({}, pip_that_says(lines[0])) == ("https://a.example/",)
    assert pip_index({}, pip_that_says(*lines)) == ("https://b.example/",)
    assert pip_index({}, pip_that_says(":env:.index-url='https://c.example/'", *lines)) == (
        "https://c.example/",
    )


def test_without_configuration_it_is_the_default_that_pip_states() -> None:
    assert pip_index({}, pip_that_says()) == ("https://pypi.example/simple",)


def test_further_indexes_are_asked_first_and_those_in_the_file_system_are_left_out() -> None:
    pip = pip_that_says("global.extra-index-url='https://a.example/ file:///srv https://b.example/\\n'")

    assert pip_index({}, pip) == ("https://a.example/", "https://b.example/", "https://pypi.example/simple")


@pytest.mark.parametrize("line", ["global.no-index='true'", "global.index-url='file:///srv/simple'"])
def test_a_pip_that_uses_no_index_is_told_of_in_a_sentence(line: str) -> None:
    with pytest.raises(ConfigurationError, match="no index is configured"):
        pip_index({}, pip_that_says(line))


def test_lines_that_are_none_are_passed_over() -> None:
    assert pip_index({}, pip_that_says("WARNING", "a=b", "=", "global.x=[")) == (
        "https://pypi.example/simple",
    )


def test_without_pip_its_files_are_read(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "pip" / "pip.conf").write_text("[global]\nindex_url = https://a.example/\n")
    del home["PIP_CONFIG_FILE"]
    named = tmp_path / "named.conf"
    named.write_text("[global]\nindex-url = https://b.example/\n")

    assert pip_index(home, no_pip)[-1] == "https://a.example/"
    assert pip_index(home | {"PIP_CONFIG_FILE": str(named)}, no_pip)[-1] == "https://b.example/"
    assert pip_index(home | {"PIP_INDEX_URL": "https://c.example/"}, no_pip)[-1] == "https://c.example/"


def test_without_pip_the_environment_of_uv_is_read(home: dict[str, str]) -> None:
    environ = {"UV_DEFAULT_INDEX": "main=https://a.example/", "UV_INDEX": "https://b.example/"}

    assert pip_index(home | environ, no_pip) == ("https://b.example/", "https://a.example/")
    assert pip_index(home | {"UV_INDEX_URL": "https://a.example/"}, no_pip) == ("https://a.example/",)


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ('index-url = "https://a.example/"', ("https://a.example/",)),
        ('[pip]\nindex-url = "https://a.example/"', ("https://a.example/",)),
        (
            '[[index]]\nurl = "https://b.example/"\n[[index]]\nurl = "https://a.example/"\ndefault = true\n'
            '[[index]]\nurl = "https://c.example/"\nexplicit = true',
            ("https://b.example/", "https://a.example/"),
        ),
    ],
)
def test_without_pip_the_files_of_uv_are_read(
    home: dict[str, str], tmp_path: Path, text: str, urls: tuple[str, ...]
) -> None:
    (tmp_path / ".config" / "uv").mkdir(parents=True)
    (tmp_path / ".config" / "uv" / "uv.toml").write_text(text)

    assert pip_index(home, no_pip) == urls


@pytest.mark.parametrize("text", ["index = 7", "index = [7]", "[[index]]\nurl = 7", "\x00", "index-url = 7"])
def test_files_that_are_wrong_say_nothing(home: dict[str, str], tmp_path: Path, text: str) -> None:
    path = tmp_path / "uv.toml"
    path.write_text(text)

    with pytest.raises(ConfigurationError):
        pip_index(home | {"UV_CONFIG_FILE": str(path)}, no_pip)


def test_the_pip_that_is_installed_here_is_understood(home: dict[str, str]) -> None:
    environ = home | {"PIP_INDEX_URL": "https://me:secret@a.example/simple"}

    assert pip_index(environ) == ("https://me:secret@a.example/simple",)
    assert pip_index(home)[0].startswith("http")


def test_a_command_that_fails_prints_nothing() -> None:
    assert run_quietly([sys.executable, "-c", "import sys; sys.exit(3)"], {}) is None
    assert run_quietly(["/no/such/program"], {}) is None
