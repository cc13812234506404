"""Words of pip and uv for a target, its markers, and the files that fit it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from packaging.markers import Marker
from packaging.tags import sys_tags

from twisted_index.errors import ConfigurationError
from twisted_index.resolution.targets import (
    Target,
    best_wheel,
    environment,
    fits,
    tags_of,
    target,
    targets,
    uv_words,
)
from twisted_index.resolution.uv import find_uv
from twisted_index.simple.model import File

WORDS = [
    ("win_amd64", "x86_64-pc-windows-msvc"),
    ("win32", "i686-pc-windows-msvc"),
    ("win_arm64", "aarch64-pc-windows-msvc"),
    ("manylinux2014_x86_64", "x86_64-manylinux_2_17"),
    ("manylinux_2_28_aarch64", "aarch64-manylinux_2_28"),
    ("manylinux_2_40_x86_64", "x86_64-manylinux_2_40"),
    ("musllinux_1_2_x86_64", "x86_64-unknown-linux-musl"),
    ("macosx_12_0_arm64", "aarch64-apple-darwin"),
    ("macosx_10_15_x86_64", "x86_64-apple-darwin"),
]


@pytest.mark.parametrize(("platform", "word"), WORDS)
def test_each_platform_of_pip_has_its_word_for_uv(platform, word):
    words, _environ = uv_words(target("3.12", platform))

    assert words == ["--python-version", "3.12", "--python-platform", word]


def test_uv_knows_each_of_these_words():
    uv = find_uv()
    assert uv is not None
    told = subprocess.run([uv, "pip", "compile", "--help"], capture_output=True, text=True, check=True).stdout
    words = {
        word
        for minor in (17, 28, *range(31, 41))
        for machine in ("x86_64", "aarch64")
        for word in uv_words(target("3.12", f"manylinux_2_{minor}_{machine}"))[0][3:]
    }

    assert [word for word in {*words, *dict(WORDS).values()} if word not in told] == []


def test_the_version_of_macos_is_passed_on_to_uv():
    assert uv_words(target("3.12", "macosx_12_0_arm64"))[1] == {"MACOSX_DEPLOYMENT_TARGET": "12.0"}


@pytest.mark.parametrize(
    "platform",
    [
        *("any", "linux_x86_64", "win64", "macosx_14_0_universal2", "manylinux_2_24_x86_64"),
        *("manylinux_2_28_s390x", "musllinux_1_1_x86_64", "manylinux1_x86_64", "win_amd64\n"),
    ],
)
def test_a_platform_without_an_equal_in_uv_is_refused_with_those_that_work(platform):
    with pytest.raises(ConfigurationError, match=r"win_amd64, win32.*manylinux_2_28_x86_64"):
        target("3.12", platform)


@pytest.mark.parametrize(("written", "python"), [("3.12", "3.12"), ("312", "3.12"), ("3.12.4", "3.12.4")])
def test_a_python_is_written_as_for_pip(written, python):
    assert target(written, "win32").python == python


@pytest.mark.parametrize("written", ["2.7", "three", "3", "3.12t", "3.x"])
def test_another_word_for_a_python_is_refused(written):
    with pytest.raises(ConfigurationError, match="write it as 3"):
        target(written, "win32")


def test_each_python_is_paired_with_each_platform_once():
    made = targets(["3.12", "3.13", "312"], ["win32", "win_amd64"])

    assert [str(one) for one in made] == [
        "Python 3.12 on win32",
        "Python 3.12 on win_amd64",
        "Python 3.13 on win32",
        "Python 3.13 on win_amd64",
    ]


def test_without_words_the_target_is_this_python_on_this_machine():
    (own,) = targets([], [])

    assert own.is_own
    assert not target("3.99", "").is_own
    assert not target("", "win32").is_own
    assert set(tags_of(own)) == set(sys_tags())
    assert environment(own)["sys_platform"] == sys.platform


@pytest.mark.parametrize(
    ("platform", "marker"),
    [
        ("win_amd64", "sys_platform == 'win32' and platform_machine == 'AMD64' and os_name == 'nt'"),
        ("macosx_12_0_arm64", "platform_system == 'Darwin' and platform_machine == 'arm64'"),
        ("musllinux_1_2_aarch64", "sys_platform == 'linux' and platform_machine == 'aarch64'"),
    ],
)
def test_markers_are_those_of_the_target(platform, marker):
    values = environment(target("3.9", platform))

    assert Marker(marker).evaluate(values)
    assert Marker("python_version == '3.9' and python_full_version == '3.9.0'").evaluate(values)
    assert Marker("implementation_name == 'cpython'").evaluate(values)


def wheel(tags: str, *, build: str = "", python: str | None = None) -> File:
    return File(filename=f"demo-1.0{build}-{tags}.whl", version="1.0", requires_python=python)


SDIST = File(filename="demo-1.0.tar.gz", version="1.0")
WHEELS = [
    wheel("py3-none-any"),
    wheel("cp312-cp312-win_amd64"),
    wheel("cp311-abi3-win_amd64"),
    wheel("cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64"),
    wheel("cp312-cp312-manylinux_2_28_x86_64"),
    wheel("cp312-cp312-manylinux_2_34_x86_64"),
    wheel("cp312-cp312-musllinux_1_1_x86_64"),
    wheel("cp312-cp312-macosx_11_0_arm64"),
    wheel("cp312-cp312-macosx_14_0_arm64"),
    wheel("cp312-cp312-macosx_10_9_universal2"),
    wheel("cp312-cp312t-win_amd64"),
    wheel("pp312-pypy312_pp73-win_amd64"),
    SDIST,
]


@pytest.mark.parametrize(
    ("python", "platform", "tags"),
    [
        ("3.12", "win_amd64", "cp312-cp312-win_amd64"),
        ("3.13", "win_amd64", "cp311-abi3-win_amd64"),
        ("3.10", "win_amd64", "py3-none-any"),
        ("3.12", "win32", "py3-none-any"),
        ("3.12", "manylinux_2_28_x86_64", "cp312-cp312-manylinux_2_28_x86_64"),
        ("3.12", "manylinux2014_x86_64", "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64"),
        ("3.12", "musllinux_1_2_x86_64", "cp312-cp312-musllinux_1_1_x86_64"),
        ("3.12", "macosx_13_0_arm64", "cp312-cp312-macosx_11_0_arm64"),
        ("3.12", "macosx_14_0_arm64", "cp312-cp312-macosx_14_0_arm64"),
        ("3.12", "macosx_11_0_x86_64", "cp312-cp312-macosx_10_9_universal2"),
    ],
)
def test_the_best_wheel_is_the_one_whose_tags_the_target_prefers(python, platform, tags):
    assert best_wheel(WHEELS, target(python, platform)) == wheel(tags)


def test_of_equal_wheels_the_one_with_the_higher_build_number_is_best():
    built = [wheel("py3-none-any", build=f"-{number}") for number in (9, 10, 2)]

    assert best_wheel([wheel("py3-none-any"), *built], target("3.12", "win32")) == built[1]


def test_a_file_for_another_python_does_not_fit():
    old, new = wheel("py3-none-any", python=">=3.9"), wheel("py3-none-any", python=">=3.13")

    assert fits(old, target("3.12", "win32"))
    assert not fits(new, target("3.12", "win32"))
    assert best_wheel([new], target("3.12", "win32")) is None


def test_an_sdist_fits_every_platform_and_is_no_wheel():
    assert fits(SDIST, target("3.12", "win32"))
    assert best_wheel([SDIST], target("3.12", "win32")) is None


def test_a_name_that_no_installer_understands_fits_nothing():
    assert not fits(wheel("nonsense"), target("3.12", "win32"))


def test_targets_compare_by_their_words():
    assert Target(python="3.12", platform="win32") == target("312", "win32")
