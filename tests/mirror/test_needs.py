"""What the requirements and lock files of rules need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from tests.mirror.pages import NOW
from twisted_index.errors import ConfigurationError
from twisted_index.mirror.needs import NeedsReader
from twisted_index.mirror.rules import Need, RuleSet, SelectRule
from twisted_index.simple.names import DistributionType
from twisted_index.testing import RunningIndex

LOCK = """
version = 1
requires-python = ">=3.11"

[[package]]
name = "ours"
version = "0.1"
source = { editable = "." }
dependencies = [{ name = "demo" }, { name = "for-windows", marker = "sys_platform == 'win32'" }]

[[package]]
name = "demo"
version = "1.0"
source = { registry = "https://index.example/simple" }
wheels = [{ url = "https://index.example/demo-1.0-py3-none-any.whl", hash = "sha256:AB" }]

[[package]]
name = "for-windows"
version = "2.0"
source = { registry = "https://index.example/simple" }
wheels = [{ url = "https://index.example/for_windows-2.0-py3-none-any.whl", hash = "sha256:cd" }]
"""
WINDOWS = {"pythons": ("3.12",), "platforms": ("win_amd64", "any")}
LINUX = {"pythons": ("3.12",), "platforms": ("manylinux_2_28_x86_64",)}


@pytest.fixture
def source() -> Iterator[RunningIndex]:
    with RunningIndex() as index:
        yield index


def needs(
    folder: Path, text: str, url: str = "", name: str = "requirements.txt", **rule: object
) -> dict[str, tuple[Need, ...]]:
    found, _sentences = read(folder, text, url, name, **rule)
    return dict(found.needs[1])


def read(folder: Path, text: str, url: str, name: str, **rule: object) -> tuple[RuleSet, tuple[str, ...]]:
    (folder / name).write_text(text, encoding="utf-8")
    rules = RuleSet(rules=(SelectRule(number=1, requirements=(str(folder / name),), **rule),))  # type: ignore[arg-type]
    return NeedsReader(source=url, environ=os.environ, now=NOW).complete(rules)


def versions(text: str) -> Need:
    return Need(versions=SpecifierSet(text))


def test_requirements_need_the_versions_that_they_allow(tmp_path: Path):
    assert needs(tmp_path, "Demo>=1,<3\nother[extra]==2.0\ndemo!=1.5\n") == {
        "demo": (versions(">=1,<3"), versions("!=1.5")),
        "other": (versions("==2.0"),),
    }


def test_constraints_narrow_requirements(tmp_path: Path):
    (tmp_path / "c.txt").write_text("demo<2\nother<1\n")
    assert needs(tmp_path, "demo>=1\n-c c.txt\n") == {"demo": (versions(">=1,<2"),)}


def test_hashes_are_those_of_the_only_files(tmp_path: Path):
    (need,) = needs(tmp_path, "demo==1.0 --hash=sha256:AB --hash=sha256:cd\n")["demo"]
    assert need.hashes == {"sha256:ab", "sha256:cd"}


def test_markers_count_where_the_rule_names_machines(tmp_path: Path):
    text = "demo\nfor-windows; sys_platform == 'win32'\n"
    assert needs(tmp_path, text).keys() == {"demo", "for-windows"}
    assert needs(tmp_path, text, **WINDOWS).keys() == {"demo", "for-windows"}
    assert needs(tmp_path, text, **LINUX).keys() == {"demo"}


def test_what_no_index_serves_is_a_sentence(tmp_path: Path):
    found, sentences = read(tmp_path, "-e .\ndemo\n", "", "requirements.txt")
    assert found.needs[1].keys() == {"demo"}
    (sentence,) = sentences
    assert "a project on this machine, and not in an index" in sentence


def test_a_lock_file_pins_what_the_machines_need_and_all_without_machines(tmp_path: Path):
    demo = (Need(versions=SpecifierSet("==1.0"), hashes=frozenset({"sha256:ab"})),)
    assert needs(tmp_path, LOCK, name="uv.lock", **LINUX) == {"demo": demo}
    assert needs(tmp_path, LOCK, name="uv.lock", **WINDOWS).keys() == {"demo", "for-windows"}
    assert needs(tmp_path, LOCK, name="uv.lock").keys() == {"demo", "for-windows"}


def test_dependencies_are_resolved_for_each_machine(tmp_path: Path, source: RunningIndex):
    source.add_wheel("demo", "1.0", requires=["needed<2", "for-windows; sys_platform == 'win32'"])
    for version in ("1.0", "1.1", "2.0"):
        source.add_wheel("needed", version)
    source.add_wheel("for-windows", "1.0")
    found = needs(tmp_path, "demo\n", source.url, dependencies=True, **WINDOWS)
    assert found == {
        name: (versions(f"=={pin}"),)
        for name, pin in (("demo", "1.0"), ("for-windows", "1.0"), ("needed", "1.1"))
    }
    assert needs(tmp_path, "demo\n", source.url, dependencies=True, **LINUX).keys() == {"demo", "needed"}


def test_wheels_alone_are_resolved_where_the_rule_takes_wheels_alone(tmp_path: Path, source: RunningIndex):
    source.add_wheel("demo", "1.0")
    source.add_sdist("demo", "2.0")
    only = {"kinds": frozenset({DistributionType.WHEEL}), "dependencies": True, **LINUX}
    assert needs(tmp_path, "demo\n", source.url, **only) == {"demo": (versions("==1.0"),)}


def test_dependencies_need_a_machine(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="rule 1: dependencies need a machine"):
        needs(tmp_path, "demo\n", dependencies=True, pythons=("3.12",), platforms=("any",))
