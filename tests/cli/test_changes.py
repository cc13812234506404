"""yank, unyank, delete and status on the console: what they change and what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from twisted_index.simple.manifest import parse_line
from twisted_index.simple.model import ProjectStatus, Status
from twisted_index.testing import make_sdist, make_wheel

from .conftest import Console

WHEEL = make_wheel("demo", "1.0")
SDIST = make_sdist("demo", "1.0")
COMMANDS = ["yank", "unyank", "delete", "status", "prune"]


@pytest.fixture(autouse=True)
def _files(console: Console) -> None:
    WHEEL.write_to(console.path / "demo")
    SDIST.write_to(console.path)


def test_a_release_is_yanked_and_taken_back(console: Console):
    said = console.run("yank", "Demo==1", "--reason", "it breaks")
    assert set(said.splitlines()) == {f"Yanked {name}." for name in (WHEEL.filename, SDIST.filename)}
    page = console.page()
    assert page is not None
    assert [file.yanked.reason for file in page.files if file.yanked] == ["it breaks"] * 2

    assert len(console.run("unyank", "demo==1.0").splitlines()) == 2
    assert console.run("unyank", WHEEL.filename) == "No file of it was yanked.\n"
    assert [action for action, _ in console.events()] == ["yank", "yank", "unyank", "unyank"]


def test_one_file_is_named_by_its_name_or_path(console: Console):
    said = console.run("yank", str(console.path / "demo" / WHEEL.filename))
    assert said == f"Yanked {WHEEL.filename}.\n"
    assert console.events() == [("yank", WHEEL.filename)]


def test_a_release_is_deleted_after_a_look(console: Console):
    said = console.run("delete", "--dry-run", "demo==1.0")
    assert set(said.splitlines()) == {
        f"{name} would be deleted." for name in (WHEEL.filename, SDIST.filename)
    }
    assert len(console.files()) == 2
    assert console.events() == []

    console.run("delete", "demo==1.0", "--reason=leaked")
    assert console.files() == []
    lines = (console.path / "demo" / ".deleted").read_bytes().splitlines()
    assert {parse_line(line).name for line in lines} == {WHEEL.filename, SDIST.filename}
    assert all(line.endswith(b"(console): leaked") for line in lines)
    assert len(console.events()) == 2


def test_a_status_is_shown_and_set(console: Console):
    assert console.run("status", "demo") == "demo is active\n"
    assert (
        console.run("status", "Demo", "archived", "--reason", "use other") == "demo is archived: use other\n"
    )
    assert console.run("status", "demo") == "demo is archived: use other\n"
    page = console.page()
    assert page is not None
    assert page.status == ProjectStatus(status=Status.ARCHIVED, reason="use other")
    assert console.run("status", "demo", "active") == "demo is active\n"
    assert console.events() == [("status", "demo")] * 2


def test_folder_and_state_come_from_the_environment_too(console: Console, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TWISTED_INDEX_PATH", str(console.path))
    monkeypatch.setenv("TWISTED_INDEX_STATE", str(console.state))
    assert console.told("delete", WHEEL.filename) == (0, f"Deleted {WHEEL.filename}.\n", "")
    assert console.events() == [("delete", WHEEL.filename)]


def test_several_folders_are_changed_alike(console: Console, tmp_path: Path):
    WHEEL.write_to(tmp_path / "second")
    console.run("delete", WHEEL.filename, path=[console.path, tmp_path / "second"])
    assert [path.name for path in (tmp_path / "second").rglob("*")] == ["demo", ".deleted"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_has_a_help(console: Console, command: str):
    code, out, err = console.told(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: twisted-index {command} ")
    assert "--path=" in out


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("yank", "demo==9"), 1, "There is no demo==9 here."),
        (("unyank", "demo-9.tar.gz"), 1, "There is no demo-9.tar.gz here."),
        (("delete", "demo-9.tar.gz"), 1, "There is no demo-9.tar.gz here."),
        (("status", "other"), 1, "There is no project other here."),
        (("status", "other", "archived"), 1, "There is no project other."),
        (("prune", "--keep", "1", "other*"), 1, "No project or version here matches other*."),
        (("yank", "demo"), 64, "'demo' is neither PROJECT==VERSION nor the name of a wheel or an sdist."),
        (("status", "a b"), 64, "'a b' is not the name of a project."),
        (
            ("status", "demo", "gone"),
            64,
            "'gone' is not a status; write one of active|archived|quarantined|deprecated.",
        ),
        (("yank",), 64, "Usage: twisted-index yank [options] PROJECT==VERSION | FILENAME."),
        (("prune", "demo"), 64, "--keep is required: the number of the newest releases to keep, at least 1."),
        (
            ("prune", "--keep=0", "demo"),
            64,
            "--keep is required: the number of the newest releases to keep, at least 1.",
        ),
        (("delete", "--force", "demo==1.0"), 64, "--force is not an option; see --help."),
    ],
)
def test_what_cannot_be_done_is_one_line(console: Console, words, code: int, sentence: str):
    command, *rest = words
    given = console.told(command, f"--path={console.path}", "--state=none", *rest)
    assert given == (code, "", f"twisted-index: {sentence}\n")
    assert len(console.files()) == 2


def test_a_folder_that_is_not_there_is_told(console: Console, tmp_path: Path):
    code, out, err = console.told("yank", f"--path={tmp_path / 'nope'}", "demo==1.0")
    assert (code, out) == (64, "")
    assert err == f"twisted-index: There is no folder '{tmp_path / 'nope'}'.\n"


@pytest.mark.parametrize("command", ["yank", "unyank", "delete"])
def test_a_change_whose_audit_log_the_server_would_not_read_is_not_made(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    config = tmp_path / "index.toml"
    config.write_text(f"path = {str(console.path)!r}\n")
    code, out, err = console.told(command, f"--config={config}", WHEEL.filename)
    assert (code, out) == (64, "")
    assert f"{config} does not say where its server keeps its state" in err
    missing = tmp_path / "other"
    code, out, err = console.told(command, f"--config={config}", f"--state={missing}", WHEEL.filename)
    assert (code, out) == (64, "")
    assert f"There is no state folder '{missing}'" in err
    assert not missing.exists()
    assert len(console.files()) == 2


def test_a_change_with_the_configuration_of_the_server_is_in_its_audit_log(console: Console, tmp_path: Path):
    config = tmp_path / "index.toml"
    config.write_text(f"path = {str(console.path)!r}\nstate = {str(console.state)!r}\n")
    assert console.told("yank", f"--config={config}", WHEEL.filename)[0] == 0
    assert console.events() == [("yank", WHEEL.filename)]
