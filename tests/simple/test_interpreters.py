"""Whether a file can be installed is denied only where `packaging` denies it too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from packaging import tags as packaging_tags

from twisted_index.simple.interpreters import Interpreter, Offer, may_install, offers_of
from twisted_index.simple.model import File, ProjectPage

LINUX = Interpreter(
    implementation="cp",
    version=(3, 11, 7),
    system="linux",
    machine="x86_64",
    libc="glibc",
    libc_version=(2, 31),
)
ALPINE = Interpreter(
    implementation="cp",
    version=(3, 12, 1),
    system="linux",
    machine="aarch64",
    libc="musl",
    libc_version=(1, 2),
)
WINDOWS = Interpreter(implementation="cp", version=(3, 13, 0), system="windows", machine="x86_64")
MAC = Interpreter(
    implementation="cp", version=(3, 12, 0), system="macos", system_version=(13, 6), machine="arm64"
)
OLD_MAC = Interpreter(
    implementation="cp", version=(3, 9, 6), system="macos", system_version=(10, 15), machine="x86_64"
)
PYPY = Interpreter(implementation="pp", version=(3, 10, 14), system="linux", machine="x86_64")
UNKNOWN = Interpreter()


def may(tags: str, interpreter: Interpreter, requires: str = "") -> bool:
    return may_install((Offer(tags, requires),), interpreter)


@pytest.mark.parametrize(
    ("interpreter", "tags"),
    [
        (LINUX, "cp313-cp313-win_amd64"),
        (LINUX, "cp311-cp311-win_amd64.macosx_11_0_arm64"),
        (LINUX, "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64"),
        (LINUX, "cp312-abi3-manylinux_2_17_x86_64"),
        (LINUX, "cp310-cp310-linux_x86_64"),
        (LINUX, "cp310-none-any"),
        (LINUX, "cp311-cp311-manylinux_2_34_x86_64"),
        (LINUX, "cp311-cp311-manylinux_2_17_aarch64"),
        (LINUX, "cp311-cp311-musllinux_1_2_x86_64"),
        (LINUX, "pp310-pypy310_pp73-manylinux_2_17_x86_64"),
        (LINUX, "py2-none-any"),
        (LINUX, "py312-none-any"),
        (ALPINE, "cp312-cp312-manylinux_2_17_aarch64"),
        (ALPINE, "cp312-cp312-musllinux_1_3_aarch64"),
        (WINDOWS, "cp313-cp313-manylinux_2_17_x86_64"),
        (WINDOWS, "cp313-cp313-win_arm64"),
        (MAC, "cp312-cp312-macosx_14_0_arm64"),
        (MAC, "cp312-cp312-macosx_11_0_x86_64"),
        (OLD_MAC, "cp39-cp39-macosx_11_0_universal2"),
        (OLD_MAC, "cp39-cp39-macosx_10_16_x86_64"),
        (PYPY, "cp310-cp310-manylinux_2_17_x86_64"),
        (PYPY, "pp39-pypy39_pp73-manylinux_2_17_x86_64"),
    ],
)
def test_a_wheel_for_another_python_or_platform_does_not_fit(interpreter: Interpreter, tags: str):
    assert not may(tags, interpreter)


@pytest.mark.parametrize(
    ("interpreter", "tags"),
    [
        (LINUX, ""),
        (LINUX, "py3-none-any"),
        (LINUX, "py2.py3-none-any"),
        (LINUX, "cp36-abi3-manylinux1_x86_64"),
        (LINUX, "cp311-cp311t-linux_x86_64"),
        (LINUX, "cp311-cp311-manylinux1_i686"),
        (LINUX, "graalpy311-graalpy242_311_native-manylinux_2_17_x86_64"),
        (WINDOWS, "cp313-cp313-win32"),
        (MAC, "cp312-cp312-macosx_10_13_universal2"),
        (UNKNOWN, "cp313-cp313-win_amd64"),
        (Interpreter(implementation="cp", version=(3, 11)), "cp311-cp311-win_amd64"),
    ],
)
def test_what_may_fit_is_never_said_not_to(interpreter: Interpreter, tags: str):
    assert may(tags, interpreter)


def _supported(interpreter: Interpreter, platforms: list[str]) -> Iterator[packaging_tags.Tag]:
    version = interpreter.version[:2]
    yield from packaging_tags.cpython_tags(version, platforms=platforms)
    yield from packaging_tags.compatible_tags(version, f"cp{version[0]}{version[1]}", platforms)


@pytest.mark.parametrize(
    ("interpreter", "platforms"),
    [
        (LINUX, [f"manylinux_2_{minor}_x86_64" for minor in range(5, 32)]),
        (LINUX, ["manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64", "linux_x86_64"]),
        (ALPINE, ["musllinux_1_1_aarch64", "musllinux_1_2_aarch64", "linux_aarch64"]),
        (WINDOWS, ["win_amd64"]),
        (MAC, list(packaging_tags.mac_platforms((13, 6), "arm64"))),
        (OLD_MAC, list(packaging_tags.mac_platforms((10, 15), "x86_64"))),
    ],
)
def test_every_tag_that_installers_support_may_be_installed(interpreter: Interpreter, platforms: list[str]):
    supported = list(_supported(interpreter, platforms))
    assert supported
    assert [str(tag) for tag in supported if not may(str(tag), interpreter)] == []


@pytest.mark.parametrize(
    ("requires", "fits"),
    [
        (">=3.11.7", True),
        (">=3.12", False),
        ("<3.11", False),
        ("", True),
        ("nonsense", True),
        ("~=3.11", True),
    ],
)
def test_requires_python_excludes_wheels_and_sdists_alike(requires: str, fits: bool):
    assert may("", LINUX, requires) is fits
    assert may("py3-none-any", LINUX, requires) is fits


def test_a_python_without_its_third_number_is_excluded_by_no_requires_python():
    assert may("", Interpreter(version=(3, 11)), ">=3.12")


def test_a_page_offers_each_kind_of_file_once_and_sdists_first():
    page = ProjectPage(
        name="demo",
        files=(
            File(filename="demo-1.0-1-CP313-cp313-win_amd64.whl", version="1.0"),
            File(filename="demo-2.0-cp313-cp313-win_amd64.whl", version="2.0"),
            File(filename="demo-1.0.tar.gz", version="1.0", requires_python=">=3.8"),
        ),
    )
    offers = offers_of(page)
    assert [str(offer) for offer in offers] == ["sdist (Python >=3.8)", "cp313-cp313-win_amd64"]
    assert offers_of(page) is offers


def test_too_many_kinds_of_files_are_not_judged():
    offers = tuple(Offer(f"cp27-cp27mu-linux_m{number}", "") for number in range(1001))
    assert may_install(offers, LINUX)
    assert not may_install(offers[:1000], LINUX)


@pytest.mark.parametrize(
    ("interpreter", "name"),
    [
        (LINUX, "cp311 linux x86_64 glibc 2.31"),
        (WINDOWS, "cp313 windows x86_64"),
        (MAC, "cp312 macos13.6 arm64"),
        (Interpreter(version=(3, 11)), "py311"),
        (UNKNOWN, "unknown"),
    ],
)
def test_an_interpreter_is_named_by_what_is_known(interpreter: Interpreter, name: str):
    assert interpreter.name == name
