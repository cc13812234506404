"""Old releases are deleted, the newest stay."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from twisted_index.backends.folder import markers
from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.backends.layout.inventory import Inventory
from twisted_index.testing import make_sdist, make_wheel

from .conftest import Console

VERSIONS = ["1.0", "1.1", "1.10", "2.0a1", "2.0.dev1", "2.0.dev2"]


@pytest.fixture(autouse=True)
def _releases(console: Console, aged: Callable[[Path, float], None]) -> None:
    for days, version in zip((400, 300, 20, 1, 9, 8), VERSIONS, strict=True):
        for made in (make_wheel("acme.tool", version), make_sdist("acme-tool", version)):
            aged(made.write_to(console.path / "acme-tool"), days)
    aged(make_sdist("other", "1.0").write_to(console.path), 900)


def versions(console: Console, project: str = "acme-tool") -> list[str]:
    page = console.page(project)
    assert page is not None
    return list(page.versions)


def put(console: Console, project: str, *versions: str) -> None:
    for version in versions:
        make_sdist(project, version).write_to(console.path / project)


def test_nothing_is_deleted_without_yes(console: Console):
    said = console.run("prune", "--keep", "2", "acme*")
    assert said.splitlines()[-1] == "Nothing was deleted yet: add --yes to delete these 2."
    assert len(versions(console)) == 6
    assert console.events() == []


def test_old_pre_releases_go_and_finals_stay(console: Console):
    console.run("prune", "--keep", "1", "--yes", "Acme_*")
    assert versions(console) == ["1.0", "1.1", "1.10", "2.0a1"]
    assert console.files("other") == ["other-1.0.tar.gz"]
    assert [action for action, _ in console.events()] == ["delete"] * 4
    assert b"  acme_tool-2.0.dev1.tar.gz  by " in (console.path / "acme-tool" / ".deleted").read_bytes()


def test_finals_go_when_they_are_named_and_are_counted_apart(console: Console):
    console.run("prune", "--keep", "2", "--finals", "--yes", "acme-tool")
    assert versions(console) == ["1.1", "1.10", "2.0.dev2", "2.0a1"]


@pytest.mark.parametrize("pattern", ["acme-tool==*.dev*", "Acme.Tool==2.0.dev?", "*.dev*"])
def test_a_pattern_may_be_of_versions_which_are_counted_alone(console: Console, pattern: str):
    put(console, "other", "1.0.dev1")
    console.run("prune", "--keep", "1", "--yes", pattern)
    assert versions(console) == ["1.0", "1.1", "1.10", "2.0.dev2", "2.0a1"]
    assert versions(console, "other") == ["1.0.dev1", "1.0"]


def test_several_patterns_add_up(console: Console):
    put(console, "other", "1.0.dev1", "1.0.dev2")
    console.run("prune", "--keep", "1", "--yes", "acme-tool==2.0.dev*", "other")
    assert versions(console) == ["1.0", "1.1", "1.10", "2.0.dev2", "2.0a1"]
    assert versions(console, "other") == ["1.0.dev2", "1.0"]


def test_each_pattern_has_to_match(console: Console):
    words = (f"--path={console.path}", "--state=none", "--keep=1", "--yes")
    for pattern in ("other==*.dev*", "nothing==1.0", "9.*"):
        code, _, err = console.told("prune", *words, "acme-tool", pattern)
        what = "release" if "==" in pattern else "project or version"
        assert (code, err) == (1, f"twisted-index: No {what} here matches {pattern}.\n")
    assert len(versions(console)) == 6


def test_builds_of_one_version_are_one_release_and_post_releases_are_their_own(console: Console):
    built = [f"1.0.dev{day}+{kind}" for day in (1, 2, 3) for kind in ("cpu", "cu126")]
    put(console, "torch", *built, "1.0.post1", "1.0", "1.0.post1.dev1")
    console.run("prune", "--keep", "2", "--yes", "torch")
    assert versions(console, "torch") == [
        "1.0.dev3+cpu",
        "1.0.dev3+cu126",
        "1.0",
        "1.0.post1.dev1",
        "1.0.post1",
    ]


def test_a_yanked_release_is_not_one_of_those_that_are_kept(console: Console):
    for suffix in ("-py3-none-any.whl", ".tar.gz"):
        (console.path / "acme-tool" / f"acme_tool-2.0.dev2{suffix}.yanked").touch()
    console.run("prune", "--keep", "2", "--yes", "acme-tool")
    assert versions(console) == [*VERSIONS[:3], "2.0.dev1", "2.0.dev2", "2.0a1"]
    console.run("prune", "--keep", "1", "--yes", "acme-tool")
    assert versions(console) == [*VERSIONS[:3], "2.0a1"]


def test_a_release_that_is_not_whole_is_not_one_of_those_that_are_kept(console: Console):
    for suffix in ("-py3-none-any.whl", ".tar.gz"):
        path = console.path / "acme-tool" / f"acme_tool-2.0a1{suffix}"
        path.write_bytes(path.read_bytes()[:100])
    console.run("prune", "--keep", "1", "--yes", "acme-tool")
    assert versions(console) == [*VERSIONS[:3], "2.0.dev2"]
    assert len(list((console.path / "acme-tool").glob("acme_tool-2.0a1*"))) == 2


def test_a_file_that_a_tombstone_hides_is_not_one_of_those_that_are_kept(console: Console):
    hidden = "acme_tool-2.0a1.tar.gz", "acme_tool-2.0a1-py3-none-any.whl"
    lines = (f"-  -  2026-11-01T10:00:00Z  {name}  by hand\n" for name in hidden)
    (console.path / "acme-tool" / ".deleted").write_text("".join(lines))
    console.run("prune", "--keep", "1", "--yes", "acme-tool")
    assert versions(console) == [*VERSIONS[:3], "2.0.dev2"]


@pytest.mark.parametrize(("limit", "goes"), [("1", False), ("16%", False), ("17%", True), ("2", True)])
def test_beyond_max_delete_nothing_is_deleted(console: Console, limit: str, goes: bool):
    words = (f"--path={console.path}", "--state=none", "--keep=2", f"--max-delete={limit}", "--yes")
    code, out, err = console.told("prune", *words, "acme-tool")
    assert code == (not goes)
    assert len(versions(console)) == (5 if goes else 6)
    if not goes:
        assert out == ""
        assert err == (
            "twisted-index: nothing was deleted: 2 of 12 files are old, and --max-delete"
            f" {limit} allows fewer.\n"
        )


@pytest.mark.parametrize("limit", ["", "%", "-1", "5.5%", "half"])
def test_a_limit_is_a_number_or_a_percentage(console: Console, limit: str):
    words = (f"--path={console.path}", "--keep=1", f"--max-delete={limit}", "*")
    code, _, err = console.told("prune", *words)
    assert code == 64
    assert err == f"twisted-index: --max-delete: {limit!r} is neither a number nor a percentage such as 5%.\n"


def test_what_is_young_stays_too(console: Console):
    console.run("prune", "--keep", "1", "--finals", "--older", "30d", "-y", "*")
    assert versions(console) == ["1.10", "2.0.dev1", "2.0.dev2", "2.0a1"]
    console.run("prune", "--keep", "1", "--older", "8.5d", "-y", "*")
    assert versions(console) == ["1.10", "2.0.dev2", "2.0a1"]


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
    assert out.count("Deleted ") == 2
    assert err.startswith("twisted-index: backup is skipped: The folder backup/ cannot be read right now")
    assert len(err.splitlines()) == 1
    assert versions(console) == ["1.0", "1.1", "1.10", "2.0.dev2", "2.0a1"]


def test_a_file_that_cannot_be_deleted_keeps_no_other_from_it(
    console: Console, aged: Callable[[Path, float], None], monkeypatch: pytest.MonkeyPatch
):
    for version in ("1.0a1", "1.0a2"):
        aged(make_sdist("aaa", version).write_to(console.path / "aaa"), 900)
    stuck = os.fsencode(console.path / "aaa")
    monkeypatch.setattr(markers, "_writable", lambda folder: folder != stuck)
    words = (f"--path={console.path}", f"--state={console.state}", "--keep=1", "--yes", "a*")
    code, out, err = console.told("prune", *words)
    assert code == 1
    assert out.count("Deleted ") == 4
    assert err.startswith("twisted-index: aaa-1.0a1.tar.gz: It is in a folder that the server cannot change")


def test_a_file_that_another_process_has_deleted_meanwhile_is_no_failure(
    console: Console, monkeypatch: pytest.MonkeyPatch
):
    read = BlockingStore.inventory

    def raced(store: BlockingStore, project: str) -> Inventory:
        inventory = read(store, project)
        monkeypatch.setattr(BlockingStore, "inventory", read)
        console.run("prune", "--keep", "2", "--yes", "acme-tool")
        return inventory

    monkeypatch.setattr(BlockingStore, "inventory", raced)
    code, out, err = console.told(
        "prune", f"--path={console.path}", "--state=none", "--keep=1", "-y", "acme*"
    )
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == [
        "acme_tool-2.0.dev1-py3-none-any.whl has been deleted meanwhile.",
        "acme_tool-2.0.dev1.tar.gz has been deleted meanwhile.",
    ]
    assert versions(console) == ["1.0", "1.1", "1.10", "2.0a1"]
