"""The console command `twisted-index`: which words it knows, and what it says to others."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from twisted_index import cli

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def told(capsys):
    """Run the command, and give exit code, standard output and standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main(words)
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_help_lists_every_subcommand(told, words):
    code, out, err = told(*words)

    assert (code, err) == (0, "")
    for name, summary in cli.SUBCOMMANDS.items():
        assert f"  {name}" in out
        assert summary in out


@pytest.mark.parametrize("name", sorted(cli.SUBCOMMANDS))
def test_each_subcommand_has_a_module(name):
    assert callable(importlib.import_module(f"twisted_index.cli.{name}").run)


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version_names_all_that_matters_in_a_report(told, word):
    code, out, err = told(word)

    assert (code, err) == (0, "")
    assert [part.split()[0] for part in out.split(", ")] == ["twisted-index", "Twisted", "Python"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("serv",), "'serv' is not a command; did you mean serve?"),
        (("frobnicate",), "'frobnicate' is not a command; see twisted-index --help."),
        (
            (os.sep, "-p", "9000"),
            f"'{os.sep}' is not a command; to serve a folder, type: twisted-index serve {os.sep} -p 9000",
        ),
        (
            ("--path", "a b"),
            "'--path' is not a command; to serve a folder, type: twisted-index serve --path 'a b'",
        ),
        (("version", "now"), "version takes no options."),
    ],
)
def test_a_word_that_is_no_command_is_one_line_and_exit_code_64(told, words, sentence):
    assert told(*words) == (64, "", f"twisted-index: {sentence}\n")


def test_serve_has_the_options_of_simpleindex(told):
    code, out, _ = told("serve", "--help")

    assert code == 0
    assert out.startswith("Usage: twisted-index serve [options] [DIR ...]")
    assert "--public-url=" in out


def test_serve_hands_its_options_to_twist_and_asks_for_a_log_that_people_can_read(monkeypatch):
    from twisted_index.cli import serve

    seen = []
    monkeypatch.setattr(serve.Twist, "main", seen.append)

    assert cli.main(["serve", "--path", "x"]) == 0
    assert seen == [["twisted-index", "--log-format=text", "simpleindex", "--path", "x"]]


def test_the_package_can_be_run_as_a_module(tmp_path):
    found = subprocess.run(
        [sys.executable, "-m", "twisted_index", "serve", "nope"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )

    assert found.returncode == 64
    assert found.stdout == ""
    assert found.stderr == (
        f"twisted-index: The folder '{tmp_path}/nope' cannot be read: No such file or directory."
        f" Create it (mkdir -p {tmp_path}/nope), or use another.\n"
    )
