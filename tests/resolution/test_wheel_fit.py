"""Which files a Python can use, and which a machine."""

from __future__ import annotations

import pytest

from twisted_index.resolution.wheel_fit import fits_platforms, fits_pythons, platform_word, python_word
from twisted_index.simple.names import parse_filename


def on_python(tags: str, *pythons: str, requires: str | None = None) -> bool:
    return fits_pythons(parse_filename(f"demo-1.0-{tags}.whl"), requires, pythons)


def on_platform(tag: str, *platforms: str) -> bool:
    return fits_platforms(parse_filename(f"demo-1.0-cp312-cp312-{tag}.whl"), platforms)


def test_a_python_takes_wheels_for_it_and_with_an_older_stable_abi():
    assert on_python("cp312-cp312-win_amd64", "3.12")
    assert on_python("cp39-abi3-win_amd64", "3.12")
    assert on_python("py3-none-any", "3.12")
    assert on_python("py2.py3-none-any", "3.12")
    assert on_python("cp311-cp311-win_amd64", "3.12", "3.11")
    assert not on_python("cp313-abi3-win_amd64", "3.12")
    assert not on_python("cp311-cp311-win_amd64", "3.12")
    assert not on_python("pp310-pypy310_pp73-win_amd64", "3.10")


def test_a_python_without_the_gil_has_wheels_of_its_own():
    assert on_python("cp313-cp313t-win_amd64", "3.13t")
    assert not on_python("cp313-cp313t-win_amd64", "3.13")
    assert not on_python("cp313-cp313-win_amd64", "3.13t")


def test_a_python_of_two_numbers_meets_what_one_of_its_releases_meets():
    assert on_python("py3-none-any", "3.9", requires=">=3.8,!=3.9.0,!=3.9.1")
    assert on_python("py3-none-any", "3.9", requires=">=3.9.2")
    assert not on_python("py3-none-any", "3.9.1", requires=">=3.9.2")
    assert not on_python("py3-none-any", "3.9", requires=">=3.10")


def test_an_sdist_is_for_all_pythons_that_it_does_not_exclude_and_for_all_machines():
    sdist = parse_filename("demo-1.0.tar.gz", "demo")
    assert fits_pythons(sdist, ">=3.9", ["3.12"])
    assert not fits_pythons(sdist, "<3.12", ["3.12"])
    assert fits_platforms(sdist, ["win_amd64"])


def test_a_machine_takes_what_is_built_for_older_systems():
    for tag in ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64", "linux_x86_64", "any"):
        assert on_platform(tag, "manylinux_2_28_x86_64")
    for tag in (
        "manylinux_2_31_x86_64",
        "manylinux_2_17_aarch64",
        "musllinux_1_1_x86_64",
        "manylinux_2_17_i686",
    ):
        assert not on_platform(tag, "manylinux_2_28_x86_64")
    assert on_platform("manylinux_2_12_x86_64.manylinux2010_x86_64", "manylinux2014_x86_64")
    assert not on_platform("manylinux_2_28_x86_64", "manylinux2014_x86_64")
    assert on_platform("musllinux_1_1_aarch64", "musllinux_1_2_aarch64")
    assert on_platform("macosx_11_0_universal2", "macosx_14_0_arm64")
    assert not on_platform("macosx_15_0_arm64", "macosx_14_0_arm64")


def test_other_words_are_tags():
    assert on_platform("win_amd64", "win_amd64")
    assert not on_platform("win32", "win_amd64")
    assert on_platform("any", "any")
    assert not on_platform("win_amd64", "any")


@pytest.mark.parametrize("word", ["312", "3", "py3", 3.12, "3.12-dev"])
def test_what_is_no_python_is_refused(word: object):
    with pytest.raises(ValueError, match="is not a version of Python"):
        python_word(word)


@pytest.mark.parametrize(
    "word",
    [
        *("any", "win32", "win_arm64", "linux_x86_64", "manylinux1_i686", "manylinux2014_x86_64"),
        *("manylinux_2_28_x86_64", "musllinux_1_2_aarch64", "macosx_14_0_arm64", "android_21_x86_64"),
    ],
)
def test_platforms_are_words_of_pip(word: str):
    assert platform_word(word) == word


@pytest.mark.parametrize(
    "word", ["", "Windows 11", "win-amd64", "windows", "linux", "macosx_arm64", "manylinux_x86_64", 7]
)
def test_what_is_no_platform_is_refused(word: object):
    with pytest.raises(ValueError, match="is not a platform"):
        platform_word(word)
