"""Old releases are deleted, the newest stay."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from twisted_index.backends.folder import markers
from twisted_index.testing import make_sdist, make_wheel

from .conftest import Console

VERSIONS = ["1.0", "1.1", "1.10", "2.0a1"]


@pytest.fixture(autouse=True)
def _releases(console: Console, aged: Callable[[Path, float], None]) -> None:
    for days, version in zip((400, 300, 20, 1), VERSIONS, strict=True):
        for made in (make_wheel("acme.tool", version), make_sdist("acme-tool", version)):
            aged(made.write_to(console.path / "acme-tool"), days)
    aged(make_sdist("other", "1.0").write_to(console.path), 900)


def versions(console: Console) -> list[str]:
    page = console.page("acme-tool")
    assert page is not None
    return list(page.versions)


def test_nothing_is_deleted_without_yes(console: Console):
    said = console.run("prune", "--keep", "2", "acme*")
    assert said.splitlines()[-1] == "Nothing was deleted yet: add --yes to delete these 4."
    assert versions(console) == VERSIONS
    assert console.events() == []


def test_the_newest_releases_stay(console: Console):
    console.run("prune", "--keep", "2", "--yes", "Acme_*")
    assert versions(console) == ["1.10", "2.0a1"]
    assert console.files("other") == ["other-1.0.tar.gz"]
    assert [action for action, _ in console.events()] == ["delete"] * 4
    assert b"  acme_tool-1.0.tar.gz  by " in (console.path / "acme-tool" / ".deleted").read_bytes()


def test_what_is_young_stays_too(console: Console):
    console.run("prune", "--keep", "1", "--older", "30d", "-y", "*")
    assert versions(console) == ["1.10", "2.0a1"]
    console.run("prune", "--keep", "1", "--older", "10d", "-y", "*")
    assert versions(console) == ["2.0a1"]


def test_there_may_be_nothing_to_do(console: Console):
    assert console.run("prune", "--keep", "9", "*") == "There is nothing to delete.\n"


def test_an_age_that_is_none_is_told(console: Console):
    code, _, err = console.told("prune", f"--path={console.path}", "--keep=1", "--older=soon", "*")
    assert code == 64
    assert err.startswith("twisted-index: --older: 'soon' is not a duration")


def test_a_folder_that_cannot_be_read_keeps_no_other_from_being_thinned_out(console: Console):
    (console.path / "backup").symlink_to("backup")
    words = (f"--path={console.path}", f"--state={console.state}", "--keep=2", "--yes", "*")
    code, out, err = console.told("prune", *words)
    assert code == 1
    assert out.count("Deleted ") == 4
    assert err.startswith("twisted-index: backup is skipped: The folder backup/ cannot be read right now")
    assert len(err.splitlines()) == 1
    assert versions(console) == ["1.10", "2.0a1"]


def test_a_file_that_cannot_be_deleted_keeps_no_other_from_it(
    console: Console, aged: Callable[[Path, float], None], monkeypatch: pytest.MonkeyPatch
):
    for version in ("1.0", "2.0"):
        aged(make_sdist("aaa", version).write_to(console.path / "aaa"), 900)
    stuck = os.fsencode(console.path / "aaa")
    monkeypatch.setattr(markers, "_writable", lambda folder: folder != stuck)
    words = (f"--path={console.path}", f"--state={console.state}", "--keep=1", "--yes", "a*")
    code, out, err = console.told("prune", *words)
    assert code == 1
    assert out.count("Deleted ") == 6
    assert err.startswith("twisted-index: aaa-1.0.tar.gz: It is in a folder that the server cannot change")
