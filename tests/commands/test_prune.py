"""Old releases are deleted, the newest stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
    assert (console.path / "acme-tool" / "acme_tool-1.0.tar.gz.deleted").is_file()


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
