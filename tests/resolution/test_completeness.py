"""Is all here that a target needs?"""

from __future__ import annotations

from pathlib import Path

import pytest

from twisted_index.resolution import completeness
from twisted_index.resolution.completeness import unmet
from twisted_index.resolution.pins import Pin
from twisted_index.resolution.targets import target
from twisted_index.testing import make_sdist, make_wheel

WINDOWS, LINUX = target("3.12", "win_amd64"), target("3.12", "manylinux_2_28_x86_64")


@pytest.fixture(params=["with uv", "without uv"])
def lacking(request, monkeypatch, tmp_path):
    """What a folder of one wheel, whose dependency is compiled for Windows, lacks for a target."""
    if request.param == "without uv":
        monkeypatch.setattr(completeness, "find_uv", lambda: None)
    put(tmp_path, make_wheel("demo", "1.0", requires=["needed"]))
    put(tmp_path, make_wheel("needed", "1.0", tag="cp312-cp312-win_amd64"))
    pins = [Pin(project="demo", version="1.0"), Pin(project="needed", version="1.0")]
    return lambda target, number=2: unmet(bytes(tmp_path), target, pins[:number], ["demo"])


def put(folder: Path, file) -> None:
    (folder / file.project).mkdir(exist_ok=True)
    file.write_to(folder / file.project)


def test_a_folder_that_has_everything_lacks_nothing(lacking):
    assert lacking(WINDOWS) == ()


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_missing_is_named(lacking, number):
    assert "needed" in " ".join(lacking(LINUX, number))


def test_sdists_are_judged_by_what_they_say_and_are_not_built(tmp_path):
    put(tmp_path, make_sdist("demo", "1.0", requires=["needed"]))

    (sentence,) = unmet(bytes(tmp_path), WINDOWS, [Pin(project="demo", version="1.0")], ["demo"])
    assert sentence.startswith("needed, needed by demo 1.0, for Python 3.12 on win_amd64: ")
