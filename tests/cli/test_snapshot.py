"""`twisted-index snapshot`: taken and listed on folders, without a server."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from twisted_index.testing import make_sdist, make_wheel

from .conftest import Console

WHEEL, SDIST, BASE = make_wheel("demo", "1.0"), make_sdist("other", "1.0"), make_wheel("base", "1.0")


@pytest.fixture(autouse=True)
def _files(console: Console) -> None:
    WHEEL.write_to(console.path / "demo")
    SDIST.write_to(console.path)
    (console.path / "demo" / f"{WHEEL.filename}.asc").write_text("signed")
    (console.path / "demo" / f"{WHEEL.filename}.yanked").write_text("it is\nbroken")
    (console.path / "gone").mkdir()
    (console.path / "gone" / ".quarantined").write_text("it is bad")


def snapshot(console: Console, *words: str, more: tuple[Path, ...] = ()) -> str:
    folders = [f"--path={folder}" for folder in (console.path, *more)]
    code, out, err = console.told("snapshot", *words, *folders, f"--state={console.state}")
    assert (code, err) == (0, "")
    return out


def text_of(console: Console, name: str = "freeze") -> list[str]:
    return (console.path / ".snapshots" / name).read_text().splitlines()


def test_a_snapshot_names_what_the_pages_show_and_sha256sum_verifies_it(console: Console):
    said = snapshot(console, "create", "freeze")
    first, *lines = text_of(console)

    assert "freeze: 3 files of 3 projects." in said
    assert first.startswith("# snapshot 20")
    assert [line.partition("  ")[2] or line for line in lines] == [
        f"demo/{WHEEL.filename}",
        f"demo/{WHEEL.filename}.asc",
        f"# yanked demo/{WHEEL.filename} it is broken",
        "# quarantined gone it is bad",
        SDIST.filename,
    ]
    if shutil.which("sha256sum") is not None:
        command = ["sha256sum", "-c", "--strict", ".snapshots/freeze"]
        assert subprocess.run(command, cwd=console.path, capture_output=True, check=False).returncode == 0


def test_files_of_further_folders_have_paths_from_the_first(console: Console, tmp_path: Path):
    BASE.write_to(tmp_path / "more" / "base")
    snapshot(console, "create", "freeze", more=(tmp_path / "more",))

    assert any(line.endswith(f"  ../more/base/{BASE.filename}") for line in text_of(console))
    assert not (tmp_path / "more" / ".snapshots").exists()


def test_snapshots_are_listed_with_what_is_missing(console: Console):
    snapshot(console, "create", "freeze")
    assert snapshot(console, "list").endswith("Z  3 files\n")
    (console.path / SDIST.filename).unlink()
    (console.path / ".snapshots" / "broken").write_text("nonsense\n")

    code, out, _err = console.told("snapshot", "list", f"--path={console.path}", f"--state={console.state}")
    assert code == 1
    assert out.splitlines()[0] == "broken  Line 1 of the snapshot broken is not one of sha256sum."
    assert out.splitlines()[1].endswith("3 files, 1 missing")


def test_what_was_deleted_is_kept_and_not_missing(console: Console):
    snapshot(console, "create", "freeze")
    console.run("delete", WHEEL.filename)

    assert snapshot(console, "list").endswith("Z  3 files\n")
    assert (console.path / ".deleted" / "demo" / f"{WHEEL.filename}.asc").read_text() == "signed"


@pytest.mark.parametrize("name", ["2026-11-01", "../x", ".x", "a b", ""])
def test_a_name_that_a_url_cannot_have_is_refused(console: Console, name: str):
    code, _out, err = console.told("snapshot", "create", name, f"--path={console.path}")
    assert code == 64
    assert "cannot be the name of a snapshot" in err


def test_a_snapshot_of_that_name_is_not_replaced(console: Console):
    snapshot(console, "create", "freeze")
    before = text_of(console)
    code, _out, err = console.told("snapshot", "create", "freeze", f"--path={console.path}", "--state=none")

    assert (code, err) == (1, "twisted-index: There is a snapshot freeze already.\n")
    assert text_of(console) == before


def test_a_folder_that_cannot_be_read_gives_no_snapshot(console: Console):
    (console.path / "away").symlink_to("nowhere")
    code, _out, err = console.told("snapshot", "create", "freeze", f"--path={console.path}", "--state=none")

    assert code == 1
    assert "away" in err
    assert not (console.path / ".snapshots").exists()


def test_a_snapshot_of_an_index_has_the_files_of_its_bases(console: Console, tmp_path: Path):
    WHEEL.write_to(tmp_path / "indexes" / "dev" / "demo")
    BASE.write_to(tmp_path / "indexes" / "prod" / "base")
    (tmp_path / "indexes" / "dev" / ".index.toml").write_text('bases = ["prod"]\nupstream = "unknown"\n')
    where = (f"--indexes={tmp_path / 'indexes'}", "--index=dev", "--state=none")

    assert console.told("snapshot", "create", "freeze", *where)[0] == 0
    lines = (tmp_path / "indexes" / "dev" / ".snapshots" / "freeze").read_text().splitlines()
    assert [line.partition("  ")[2] for line in lines[1:]] == [
        f"../prod/base/{BASE.filename}",
        f"demo/{WHEEL.filename}",
    ]
    assert console.told("snapshot", "list", *where)[1].endswith("Z  2 files\n")
    assert console.told("snapshot", "list", "--index=dev", "--state=none")[0] == 64
