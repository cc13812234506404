"""The commands that change files, on one index of a folder of indexes."""

from __future__ import annotations

from pathlib import Path

import pytest

from twisted_index.events.audit_log import AuditFile
from twisted_index.testing import make_wheel

from .conftest import Console

OWN, BASE = make_wheel("demo", "1.0"), make_wheel("base", "1.0")
COMMANDS = (
    ("yank", "demo==1.0"),
    ("unyank", "demo==1.0"),
    ("delete", "demo==1.0"),
    ("status", "demo", "archived"),
    ("prune", "demo", "--keep=1"),
)


@pytest.fixture
def indexes(tmp_path: Path) -> Path:
    indexes = tmp_path / "indexes"
    OWN.write_to(indexes / "dev" / "demo")
    BASE.write_to(indexes / "prod" / "base")
    (indexes / "dev" / ".index.toml").write_text('bases = ["prod"]\n')
    return indexes


def told(console: Console, indexes: Path, *words: str, index: str = "dev") -> tuple[int, str, str]:
    return console.told(*words, f"--indexes={indexes}", f"--index={index}", f"--state={console.state}")


def test_a_release_of_an_index_is_yanked_and_the_history_names_the_index(console: Console, indexes: Path):
    said = told(console, indexes, "yank", "demo==1.0")
    assert said == (0, f"Yanked {OWN.filename}.\n", "")
    assert (indexes / "dev" / "demo" / f"{OWN.filename}.yanked").exists()
    (event,) = AuditFile(str(console.state)).latest(100)
    assert (event.index, event.filename) == ("dev", OWN.filename)


def test_the_default_index_is_changed_without_its_name(console: Console, indexes: Path, tmp_path: Path):
    config = tmp_path / "server.toml"
    config.write_text(f'indexes = "{indexes.as_posix()}"\ndefault-index = "dev"\n')
    said = console.told("delete", OWN.filename, f"--config={config}", f"--state={console.state}")
    assert said == (0, f"Deleted {OWN.filename}.\n", "")


@pytest.mark.parametrize(
    "words",
    [("yank", "base==1.0"), ("delete", BASE.filename), ("status", "base")],
    ids=lambda words: words[0],
)
def test_what_lies_in_a_base_is_not_changed(console: Console, indexes: Path, words: tuple[str, ...]):
    code, out, err = told(console, indexes, *words)
    assert (code, out) == (1, "")
    assert err.startswith("twisted-index: ")
    assert sorted(path.name for path in (indexes / "prod" / "base").iterdir()) == [BASE.filename]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_an_index_that_is_not_there_is_said(console: Console, indexes: Path, words: tuple[str, ...]):
    code, out, err = told(console, indexes, *words, index="other")
    assert (code, out) == (1, "")
    assert "There is no index of that name" in err


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_an_index_needs_the_folder_of_indexes(console: Console, words: tuple[str, ...]):
    code, _out, err = console.told(*words, "--index=dev", f"--state={console.state}")
    assert (code, err) == (64, "twisted-index: --index is the name of an index; give --indexes DIR too.\n")
