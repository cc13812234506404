"""What a folder lacks for a Python and a platform, and who needs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from twisted_index.resolution.dependencies import Missing, find_missing
from twisted_index.resolution.local_projects import LocalProjects
from twisted_index.resolution.targets import Target
from twisted_index.testing import make_sdist, make_wheel

LINUX = Target(python="3.12", platform="manylinux_2_28_x86_64")
WINDOWS = Target(python="3.12", platform="win_amd64")

PYPROJECT = """[build-system]
requires = ["hatchling>=1.20", "tomli; python_version < '3.11'"]
build-backend = "hatchling.build"
"""


def missing(folder: Path, *wanted: str, target: Target = LINUX) -> list[Missing]:
    projects = LocalProjects([os.fsencode(folder)])
    asked = [Requirement(word) for word in wanted] or None
    return list(find_missing(projects, [target], asked))


def told(folder: Path, *wanted: str, target: Target = LINUX) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.requirement, one.reason, one.needed_by) for one in missing(folder, *wanted, target=target)]


def with_build(folder: Path, name: str, document: str) -> None:
    """Write an sdist with a pyproject.toml of its own."""
    from twisted_index.testing.archives import SDIST_WRITERS

    members = {
        f"{name}-1.0/PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: 1.0\n".encode(),
        f"{name}-1.0/pyproject.toml": document.encode(),
    }
    (folder / f"{name}-1.0.tar.gz").write_bytes(SDIST_WRITERS[".tar.gz"](members))


def test_a_folder_with_all_that_its_projects_need_is_enough(tmp_path: Path):
    make_wheel("acme", "1.0", requires=["demo>=2", "tool[fast]"]).write_to(tmp_path)
    make_wheel("demo", "2.1").write_to(tmp_path)
    make_wheel("tool", "1.0", requires=["speed; extra == 'fast'"]).write_to(tmp_path)
    make_sdist("speed", "1.0").write_to(tmp_path)
    assert missing(tmp_path) == []


def test_what_is_missing_names_who_needs_it(tmp_path: Path):
    for name in ("acme", "other"):
        make_wheel(name, "1.0", requires=["demo>=2"]).write_to(tmp_path)
    assert told(tmp_path) == [("demo>=2", "No file of it is here.", ("acme 1.0", "other 1.0"))]
    assert str(missing(tmp_path)[0]) == (
        "demo>=2, needed by acme 1.0, other 1.0, for Python 3.12 on manylinux_2_28_x86_64:"
        " No file of it is here."
    )


def test_what_is_asked_for_is_missing_for_itself(tmp_path: Path):
    assert told(tmp_path, "Acme.Tool==1.0") == [("Acme.Tool==1.0", "No file of it is here.", ())]


def test_what_needs_it_may_be_needed_itself(tmp_path: Path):
    make_wheel("acme", "1.0", requires=["demo"]).write_to(tmp_path)
    make_wheel("demo", "2.1", requires=["deep"]).write_to(tmp_path)
    assert told(tmp_path, "acme") == [("deep", "No file of it is here.", ("demo 2.1",))]


def test_a_version_that_does_not_fit_is_no_help(tmp_path: Path):
    make_wheel("acme", "1.0", requires=["demo>=2,<3"]).write_to(tmp_path)
    for version in ("0.9", "1.0", "1.1", "3.0"):
        make_wheel("demo", version).write_to(tmp_path)
    assert told(tmp_path) == [("demo<3,>=2", "No version here fits; there is 3.0, 1.1, 1.0.", ("acme 1.0",))]


def test_a_wheel_for_another_platform_is_no_help(tmp_path: Path):
    make_wheel("acme", "1.0", requires=["demo"]).write_to(tmp_path)
    make_wheel("demo", "1.0", tag="cp312-cp312-win_amd64").write_to(tmp_path)
    reason = "No file of it here fits this Python and platform; there is 1.0."
    assert told(tmp_path) == [("demo", reason, ("acme 1.0",))]
    assert missing(tmp_path, target=WINDOWS) == []


def test_a_wheel_for_an_older_python_is_no_help_unless_it_uses_the_stable_abi(tmp_path: Path):
    make_wheel("acme", "1.0", requires=["demo", "stable"]).write_to(tmp_path)
    make_wheel("demo", "1.0", tag="cp311-cp311-manylinux_2_17_x86_64").write_to(tmp_path)
    make_wheel("stable", "1.0", tag="cp38-abi3-manylinux_2_17_x86_64").write_to(tmp_path)
    assert [one.project for one in missing(tmp_path)] == ["demo"]


def test_a_file_that_needs_another_python_is_no_help_and_an_older_version_may_be(tmp_path: Path):
    make_wheel("acme", "1.0", requires=["demo", "tool"]).write_to(tmp_path)
    make_wheel("demo", "2.0", requires_python=">=3.13").write_to(tmp_path)
    make_wheel("tool", "2.0", requires_python=">=3.13").write_to(tmp_path)
    make_wheel("tool", "1.0", requires_python=">=3.8").write_to(tmp_path)
    reason = "demo-2.0-py3-none-any.whl needs Python >=3.13."
    assert told(tmp_path) == [("demo", reason, ("acme 1.0",))]


def test_a_project_for_other_platforms_is_missing_only_if_it_is_needed_or_asked_for(tmp_path: Path):
    make_wheel("pywin", "1.0", tag="cp312-cp312-win_amd64", requires=["nowhere"]).write_to(tmp_path)
    assert missing(tmp_path) == []
    assert [one.project for one in missing(tmp_path, "pywin")] == ["pywin"]
    assert [one.project for one in missing(tmp_path, target=WINDOWS)] == ["nowhere"]


def test_a_marker_is_judged_for_the_target_and_not_for_this_machine(tmp_path: Path):
    make_wheel("acme", "1.0", requires=["ctypes-win; sys_platform == 'win32'"]).write_to(tmp_path)
    assert missing(tmp_path) == []
    assert told(tmp_path, target=WINDOWS) == [
        ('ctypes-win; sys_platform == "win32"', "No file of it is here.", ("acme 1.0",))
    ]


def test_an_extra_counts_only_where_it_is_asked_for(tmp_path: Path):
    requires = ["base", "speed; extra == 'fast'", "more; extra == 'all'"]
    make_wheel("acme", "1.0", requires=requires).write_to(tmp_path)
    make_wheel("base", "1.0").write_to(tmp_path)
    assert missing(tmp_path, "acme") == []
    assert told(tmp_path, "acme[fast]") == [
        ('speed; extra == "fast"', "No file of it is here.", ("acme 1.0[fast]",))
    ]


def test_an_extra_that_names_another_extra_of_its_project_is_followed(tmp_path: Path):
    requires = ["acme[fast]; extra == 'all'", "speed; extra == 'fast'"]
    make_wheel("acme", "1.0", requires=requires).write_to(tmp_path)
    assert [one.project for one in missing(tmp_path, "acme[all]")] == ["speed"]


def test_a_cycle_ends(tmp_path: Path):
    make_wheel("acme", "1.0", requires=["demo"]).write_to(tmp_path)
    make_wheel("demo", "1.0", requires=["acme", "gone"]).write_to(tmp_path)
    assert told(tmp_path, "acme") == [("gone", "No file of it is here.", ("demo 1.0",))]


def test_pre_releases_alone_satisfy_and_finals_go_first(tmp_path: Path):
    make_wheel("acme", "1.0", requires=["demo", "tool"]).write_to(tmp_path)
    make_wheel("demo", "2.0a1").write_to(tmp_path)
    make_wheel("tool", "1.0").write_to(tmp_path)
    make_wheel("tool", "2.0a1", requires=["nowhere"]).write_to(tmp_path)
    assert missing(tmp_path) == []


def test_yanked_versions_satisfy_only_who_names_one(tmp_path: Path):
    make_wheel("acme", "1.0", requires=["demo>=1"]).write_to(tmp_path)
    made = make_wheel("demo", "1.0")
    made.write_to(tmp_path)
    (tmp_path / f"{made.filename}.yanked").touch()
    assert told(tmp_path) == [("demo>=1", "What fits is yanked: 1.0.", ("acme 1.0",))]
    assert missing(tmp_path, "demo==1.0") == []
    assert [one.project for one in missing(tmp_path, "demo==1.*")] == ["demo"]


def test_quarantined_and_deleted_files_are_not_here(tmp_path: Path):
    make_wheel("acme", "1.0", requires=["demo", "tool"]).write_to(tmp_path)
    make_wheel("demo", "1.0").write_to(tmp_path / "demo")
    (tmp_path / "demo" / ".quarantined").touch()
    gone = make_wheel("tool", "1.0")
    gone.write_to(tmp_path / "tool")
    (tmp_path / "tool" / f"{gone.filename}.deleted").touch()
    assert [one.project for one in missing(tmp_path)] == ["demo", "tool"]


@pytest.mark.parametrize("requirement", ["not a requirement!", "demo>=one"])
def test_a_requirement_that_cannot_be_understood_is_named(tmp_path: Path, requirement: str):
    make_wheel("acme", "1.0", requires=[requirement]).write_to(tmp_path)
    [one] = missing(tmp_path)
    assert one.project == "acme"
    assert one.reason.startswith("acme-1.0-py3-none-any.whl: One of its requirements cannot be understood:")


MANY = "9" * 5000


@pytest.mark.parametrize(
    "requirement",
    [
        f"x>={MANY}",
        f"x; python_version < '{MANY}'",
        f"x; {'(' * 1000}os_name == 'nt'{')' * 1000}",
        "x; os_name ~= 'nt'",
        "x; 'a' in extras",
        "x===\x1b[31m",
    ],
)
def test_hostile_requirements_end_nothing_and_write_nothing_to_a_terminal(tmp_path: Path, requirement: str):
    make_wheel("acme", "1.0", requires=[requirement]).write_to(tmp_path)
    (one,) = missing(tmp_path)
    assert str(one).isprintable()


def test_a_hostile_requires_python_ends_nothing(tmp_path: Path):
    make_wheel("acme", "1.0", requires_python=f">={MANY}").write_to(tmp_path)
    assert missing(tmp_path) == []


def test_a_damaged_file_is_passed_over_for_an_older_version(tmp_path: Path):
    make_wheel("acme", "1.0").write_to(tmp_path)
    (tmp_path / "acme-2.0-py3-none-any.whl").write_bytes(b"PK half a wheel")
    assert missing(tmp_path, "acme") == []
    [one] = missing(tmp_path, "acme>=2")
    assert one.reason.startswith("acme-2.0-py3-none-any.whl: ")


def test_a_requirement_by_url_is_no_index_business(tmp_path: Path):
    make_wheel("acme", "1.0", requires=["demo @ https://example.com/demo-1.0.tar.gz"]).write_to(tmp_path)
    assert [one.reason for one in missing(tmp_path)] == ["It names a URL, which no index serves."]


def test_what_builds_an_sdist_is_needed_where_only_the_sdist_fits(tmp_path: Path):
    with_build(tmp_path, "acme", PYPROJECT)
    make_wheel("acme", "1.0", tag="cp312-cp312-win_amd64").write_to(tmp_path)
    assert told(tmp_path) == [("hatchling>=1.20", "No file of it is here.", ("the build of acme 1.0",))]
    assert missing(tmp_path, target=WINDOWS) == []


def test_an_sdist_that_does_not_say_what_builds_it_needs_setuptools_and_wheel(tmp_path: Path):
    with_build(tmp_path, "acme", "[project]\n")
    assert [one.requirement for one in missing(tmp_path)] == ["setuptools>=40.8.0", "wheel"]


@pytest.mark.parametrize(
    "document",
    [
        "[build-system]\nrequires = 'x'\n",
        "[build-system]\n",
        "build-system = 1\n",
        "= \n",
        "a = " + "[" * 9999,
    ],
)
def test_an_sdist_whose_build_cannot_be_known_is_named(tmp_path: Path, document: str):
    with_build(tmp_path, "acme", document)
    assert [one.reason for one in missing(tmp_path)] == [
        "acme-1.0.tar.gz: Its pyproject.toml does not say what builds it."
    ]


def test_the_sdist_of_a_zip_says_what_builds_it_too(tmp_path: Path):
    make_sdist("acme", "1.0", extension=".zip", requires=["demo"]).write_to(tmp_path)
    assert [one.project for one in missing(tmp_path)] == ["demo"]


def test_each_target_is_judged_for_itself(tmp_path: Path):
    make_wheel("acme", "1.0", requires=["demo"]).write_to(tmp_path)
    make_wheel("demo", "1.0", tag="cp312-cp312-win_amd64").write_to(tmp_path)
    projects = LocalProjects([os.fsencode(tmp_path)])
    assert [one.target for one in find_missing(projects, [LINUX, WINDOWS])] == [LINUX]


def test_of_several_roots_the_first_wins(tmp_path: Path):
    make_wheel("acme", "1.0", requires=["demo"]).write_to(tmp_path / "a")
    make_wheel("acme", "1.0", requires=["other"]).write_to(tmp_path / "b")
    projects = LocalProjects([os.fsencode(tmp_path / "b"), os.fsencode(tmp_path / "a")])
    assert [one.project for one in find_missing(projects, [LINUX])] == ["other"]


def test_an_unreadable_folder_is_no_proof_that_a_project_is_absent(tmp_path: Path):
    make_wheel("acme", "1.0", requires=["demo"]).write_to(tmp_path)
    (tmp_path / "demo").symlink_to(tmp_path / "unmounted")
    [one] = missing(tmp_path, "acme")
    assert "cannot be read" in one.reason
