"""The command that reads all files, or finds what is missing of what they need."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from twisted_index.cli._progress import Progress
from twisted_index.server.state_folder import inspection_cache_path
from twisted_index.testing import make_sdist, make_wheel

from .conftest import Console

WHEEL = make_wheel("acme", "1.0", requires=["demo; sys_platform == 'win32'"])
BAD = f"acme/{WHEEL.filename}: The file is not a zip archive, or was copied only in part."
WINDOWS = ("--python-version=3.12", "--platform=win_amd64")


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all files be old, so that nothing has to settle."""
    monkeypatch.setattr("twisted_index.files.stamps.RACY_SECONDS", -1e9)


def check(console: Console, *words: str) -> tuple[int, str, str]:
    return console.told("check", f"--path={console.path}", f"--state={console.state}", *words)


def damage(console: Console) -> None:
    (console.path / "acme").mkdir(exist_ok=True)
    (console.path / "acme" / WHEEL.filename).write_bytes(WHEEL.content[:100])


def test_a_whole_folder_has_status_0_and_one_sentence(console: Console):
    WHEEL.write_to(console.path)
    make_sdist("other", "1.0").write_to(console.path)
    size = WHEEL.size + make_sdist("other", "1.0").size
    assert check(console) == (0, "", f"No problem in 2 files of 2 projects, {size / 1000:.1f} kB.\n")


def test_what_is_found_is_one_line_and_status_1(console: Console, old: None):
    damage(console)
    code, out, err = check(console)
    assert (code, out.count("\n"), out[: len(BAD)]) == (1, 1, BAD)
    assert err == "1 problem in 1 file of 1 project, 100 bytes.\n"


def test_quiet_prints_only_what_is_found(console: Console, old: None):
    WHEEL.write_to(console.path)
    assert check(console, "--quiet") == (0, "", "")
    damage(console)
    code, out, err = check(console, "-q")
    assert (code, out.count("\n"), err) == (1, 1, "")


def test_json_is_one_object(console: Console, old: None):
    damage(console)
    code, out, err = check(console, "--json", "acme")
    document: dict[str, Any] = json.loads(out)
    (problem,) = document.pop("problems")
    assert (code, err) == (1, "")
    assert document == {"complete": True, "projects": 1, "files": 1, "size": 100, "unsettled": []}
    assert sorted(problem) == ["advice", "path", "reason"]
    assert f"{problem['path']}: {problem['reason']}" == BAD


def test_what_was_learned_is_kept_in_the_state_of_the_server(console: Console, old: None):
    WHEEL.write_to(console.path)
    check(console)
    path = inspection_cache_path(str(console.state))
    assert path is not None
    assert os.path.getsize(path)


def test_a_project_that_is_not_there_could_not_be_looked_at(console: Console):
    WHEEL.write_to(console.path)
    code, out, err = check(console, "acme", "gone", "--quiet")
    assert (code, out, err) == (2, "", "twisted-index: There is no project gone here.\n")


def test_a_folder_of_a_route_is_checked_too(console: Console, tmp_path: Path, old: None):
    damage(console)
    config = tmp_path / "index.toml"
    config.write_text(
        f'path = "{tmp_path}/empty"\nstate = "{console.state}"\n\n'
        f'[[route]]\npattern = "acme"\nfolder = "{console.path}"\n'
    )
    (tmp_path / "empty").mkdir()
    code, out, _err = console.told("check", f"--config={config}")
    assert (code, out[: len(BAD)]) == (1, BAD)


def test_a_state_that_cannot_be_used_is_said(console: Console, tmp_path: Path):
    WHEEL.write_to(console.path)
    (console.state / "cache").write_text("no folder")
    code, _out, err = check(console)
    assert code == 0
    assert "The state cannot be kept" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--path=missing"], "There is no folder"),
        (["--platform=win_amd64"], "--python-version and --platform are for --dependencies."),
        (["a b"], "'a b' is not the name of a project."),
        (["--dependencies", "a b"], "Expected"),
        (["--dependencies", "--platform=amiga"], "--platform amiga: "),
        (["--dependencies", "--python-version=two"], "--python-version two: "),
    ],
)
def test_a_wrong_command_line_is_one_sentence(console: Console, words: list[str], sentence: str):
    code, out, err = console.told("check", "--state=none", *words)
    assert (code, out) == (64, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_an_interrupt_ends_it_with_what_was_found(
    console: Console, old: None, monkeypatch: pytest.MonkeyPatch
):
    # A reactor of an earlier test may have left a handler of its own.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    damage(console)
    make_wheel("later", "1.0").write_to(console.path)

    def interrupt(_progress: Progress, name: str, _size: int) -> None:
        if name.startswith("later"):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "done", interrupt)
    code, out, _err = check(console, "-q")
    signal.signal(signal.SIGINT, before)
    assert (code, out[: len(BAD)]) == (130, BAD)


# -- Dependencies

NO_UV = "uv is not installed, so versions that contradict each other are not found.\n"


@pytest.fixture
def no_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twisted_index.resolution.uv.find_uv", lambda: None)


def test_what_is_missing_is_one_line_and_status_1(console: Console, no_uv: None):
    WHEEL.write_to(console.path)
    code, out, err = check(console, "--dependencies", *WINDOWS)
    assert code == 1
    assert out == (
        'demo; sys_platform == "win32", needed by acme 1.0, for Python 3.12 on win_amd64:'
        " No file of it is here.\n"
    )
    assert err == f"{NO_UV}1 is missing for Python 3.12 on win_amd64.\n"


def test_nothing_is_missing_has_status_0(console: Console, no_uv: None):
    WHEEL.write_to(console.path)
    code, out, err = check(console, "--dependencies", "--python-version=3.12", "--platform=macosx_14_0_arm64")
    assert (code, out) == (0, "")
    assert err == f"{NO_UV}Nothing is missing for Python 3.12 on macosx_14_0_arm64.\n"


def test_what_is_named_is_asked_for(console: Console, no_uv: None):
    WHEEL.write_to(console.path)
    assert check(console, "--dependencies", "acme==1.0", "-q") == (0, "", "")
    code, out, _err = check(console, "--dependencies", "acme==2.0", "-q")
    assert (code, out.partition(":")[0]) == (
        1,
        "acme==2.0, for Python 3.11.7 on this machine".replace(
            "3.11.7", ".".join(map(str, sys.version_info[:3]))
        ),
    )


def test_what_is_missing_as_json(console: Console, no_uv: None):
    WHEEL.write_to(console.path)
    code, out, err = check(console, "--dependencies", "--json", *WINDOWS)
    assert (code, err) == (1, "")
    (missing,) = json.loads(out)["missing"]
    assert missing["project"] == "demo"
    assert missing["target"] == {"python": "3.12", "platform": "win_amd64"}
    assert missing["needed_by"] == ["acme 1.0"]
