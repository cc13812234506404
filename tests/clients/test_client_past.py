"""pip and uv install what there was: at a moment, in a snapshot, from a frozen index."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from twisted_index.testing import BuiltFile, make_wheel


def put(folder: Path, made: BuiltFile, day: int) -> Path:
    path = made.write_to(folder / made.project)
    time = datetime(2026, 10, day, 12, tzinfo=UTC).timestamp()
    os.utime(path, (time, time))
    return path


@pytest.fixture
def history(folder: Path) -> list[BuiltFile]:
    """An application, and what it needs: each has newer versions from the 10th and the 20th on."""
    files = []
    for number, day in ((1, 1), (2, 10), (3, 20)):
        files += [make_wheel("app", f"{number}.0", requires=["leaf"]), make_wheel("leaf", f"{number}.5")]
        for made in files[-2:]:
            put(folder, made, day)
    return files


@pytest.mark.parametrize(
    ("moment", "found"),
    [
        ("2026-10-01", {"app-1.0", "leaf-1.5"}),
        ("2026-10-10T11:59Z", {"app-1.0", "leaf-1.5"}),
        ("2026-10-10T14:00+02:00", {"app-2.0", "leaf-2.5"}),
        ("2026-10-31", {"app-3.0", "leaf-3.5"}),
    ],
)
def test_an_installation_is_that_of_the_moment(installer, server, history, moment, found):
    assert installer.install("--index-url", f"{server.origin}/+at/{moment}/simple/", "app") == found


def test_a_moment_before_all_has_nothing(installer, server, history):
    outcome, found = installer.try_to_install("--index-url", f"{server.origin}/+at/2026-09-01/simple/", "app")
    assert outcome.code != 0
    assert found == set()


@pytest.mark.parametrize("day", [1, 9, 10, 19, 20, 31])
def test_uv_finds_the_same_by_its_own_option(uv, server, history, day):
    date = f"2026-10-{day:02}"
    at = uv.install("--index-url", f"{server.origin}/+at/{date}/simple/", "app")
    newer = uv.install("--index-url", server.simple, "--exclude-newer", f"{date}T23:59:59Z", "app")
    assert at == newer


def test_what_was_deleted_is_installed_from_the_past(installer, live_server, folder, history, shell):
    (folder.parent / "ti.toml").write_text('keep-deleted = "90d"\nstate = "none"\n')
    environment = {"TWISTED_INDEX_KEEP_DELETED": "90d"}
    command = [sys.executable, "-m", "twisted_index", "delete", "--path", folder, "--state", "none"]
    shell.must(*command, "app==1.0", env=environment)
    server = live_server(folder, options=["--config", str(folder.parent / "ti.toml"), "--state", "none"])

    url = f"{server.origin}/+at/2026-10-01/simple/"
    assert installer.install("--index-url", url, "app") == {"app-1.0", "leaf-1.5"}
    assert installer.install("--index-url", server.simple, "app") == {"app-3.0", "leaf-3.5"}
    outcome, _found = installer.try_to_install("--index-url", server.simple, "app==1.0")
    assert outcome.code != 0


def test_a_snapshot_is_installed_whatever_became_of_the_index(installer, live_server, tmp_path, shell):
    prod = tmp_path / "indexes" / "prod"
    put(prod, make_wheel("app", "1.0", requires=["leaf"]), 1)
    put(prod, make_wheel("leaf", "1.5"), 1)
    (tmp_path / "packages").mkdir()
    here = [sys.executable, "-m", "twisted_index"]
    where = ["--indexes", tmp_path / "indexes", "--index", "prod", "--state", "none"]
    shell.must(*here, "snapshot", "create", "freeze", *where)
    shell.must(*here, "delete", "--path", prod, "--state", "none", "leaf==1.5")
    put(prod, make_wheel("leaf", "2.0"), 2)
    put(prod, make_wheel("app", "2.0"), 2)
    server = live_server(tmp_path / "packages", options=["--indexes", str(tmp_path / "indexes")])

    url = f"{server.origin}/+prod/+at/freeze/simple/"
    assert installer.install("--index-url", url, "app") == {"app-1.0", "leaf-1.5"}
    assert installer.install("--index-url", f"{server.origin}/+prod/simple/", "app") == {"app-2.0"}
    (prod / ".as-of").write_text("freeze\n")
    assert installer.install("--index-url", f"{server.origin}/+prod/simple/", "app") == {
        "app-1.0",
        "leaf-1.5",
    }
    (prod / ".as-of").unlink()
    assert installer.install("--index-url", f"{server.origin}/+prod/simple/", "app") == {"app-2.0"}
