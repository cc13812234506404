"""Requirements that cannot be satisfied from a folder although nothing is missing there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from twisted_index.resolution.contradictions import find_contradictions
from twisted_index.resolution.dependencies import Missing
from twisted_index.resolution.local_projects import LocalProjects
from twisted_index.resolution.targets import target
from twisted_index.resolution.uv import find_uv
from twisted_index.testing import make_sdist, make_wheel

WINDOWS = target("3.12", "win_amd64")
LINUX = target("3.12", "manylinux_2_28_x86_64")


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    found = find_uv()
    if found is None:
        pytest.skip("uv is not installed here")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    for version in ("1.0", "2.0"):
        make_wheel("x", version).write_to(folder)
    make_wheel("demo", "1.0", requires=["x>=2"]).write_to(folder)
    return folder


def found(uv: str, folder: Path, *wanted: str, at=LINUX) -> list[Missing]:
    asked = [Requirement(word) for word in wanted] or None
    return list(find_contradictions(uv, LocalProjects([os.fsencode(folder)]), [at], asked))


def test_versions_that_contradict_each_other_are_found(uv: str, folder: Path):
    make_wheel("acme", "1.0", requires=["x<2", "demo"]).write_to(folder)
    (one,) = found(uv, folder)
    assert (one.requirement, one.project, one.target) == ("acme", "acme", LINUX)
    assert "x<2" in one.reason
    assert "\n" not in one.reason


def test_an_older_version_that_fits_is_enough(uv: str, folder: Path):
    make_wheel("acme", "1.0", requires=["x<2", "demo"]).write_to(folder)
    make_wheel("demo", "0.9", requires=["x"]).write_to(folder)
    assert found(uv, folder) == []


def test_projects_that_contradict_only_each_other_are_no_fault(uv: str, folder: Path):
    make_wheel("acme", "1.0", requires=["x<2"]).write_to(folder)
    assert found(uv, folder) == []


def test_markers_are_judged_for_the_target(uv: str, folder: Path):
    make_wheel("acme", "1.0", requires=["x<2", "demo; sys_platform == 'win32'"]).write_to(folder)
    assert found(uv, folder) == []
    assert [one.project for one in found(uv, folder, at=WINDOWS)] == ["acme"]


def test_what_an_sdist_needs_is_judged_without_building_it(uv: str, folder: Path):
    requires = ["x<2", "demo; extra == 'all'"]
    make_sdist("acme", "1.0", requires=requires, extra_metadata=["Provides-Extra: all"]).write_to(folder)
    assert found(uv, folder, "acme") == []
    assert [one.requirement for one in found(uv, folder, "acme[all]")] == ["acme[all]"]


def test_what_is_missing_is_not_said_twice(uv: str, folder: Path):
    make_wheel("acme", "1.0", requires=["gone"]).write_to(folder)
    assert found(uv, folder, "acme", "nowhere", "x") == []


def test_a_yanked_version_that_is_named_may_be_taken(uv: str, folder: Path):
    made = make_wheel("acme", "1.0", requires=["x"])
    made.write_to(folder)
    (folder / f"{made.filename}.yanked").touch()
    assert found(uv, folder, "acme==1.0") == []
