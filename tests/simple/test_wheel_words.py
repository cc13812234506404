"""Tags in words, and the grid of Pythons and platforms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.simple.wheel_words import tag_words, wheel_grid


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ("py3-none-any", ("any Python 3", "any platform")),
        ("py2.py3-none-any", ("any Python 2 or any Python 3", "any platform")),
        (
            "cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64",
            ("Python 3.12", "Linux x86_64 (glibc 2.17)"),
        ),
        ("cp38-abi3-win_amd64", ("Python 3.8 or later", "Windows x86_64")),
        ("cp313-cp313t-win_arm64", ("Python 3.13, free-threaded", "Windows ARM64")),
        ("pp311-pypy311_pp73-musllinux_1_2_aarch64", ("PyPy 3.11", "Linux aarch64, musl (musl 1.2)")),
        (
            "cp312-cp312-macosx_10_13_universal2",
            ("Python 3.12", "macOS arm64 (10.13), macOS x86_64 (10.13)"),
        ),
        ("zz9-none-plan9", ("zz9", "plan9")),
    ],
)
def test_tags_have_words(tags: str, words: tuple[str, str]):
    assert tag_words(tags) == words


def shown(*wheels: str) -> dict[str, list[str | None]]:
    grid = wheel_grid(wheels)
    return {python: [grid.cells.get((python, name)) for name in grid.platforms] for python in grid.pythons}


def test_a_pure_wheel_alone_is_for_any_python():
    assert shown("py3-none-any") == {"any Python 3": [""]}


def test_a_pure_wheel_covers_what_others_name():
    assert shown("cp312-cp312-win_amd64", "py3-none-any") == {"3.12 or later": [""]}
    assert shown("cp312-cp312-win32", "cp313-cp313-win_amd64", "py3-none-any") == {
        "3.12": ["", ""],
        "3.13 or later": ["", ""],
    }


def test_a_wheel_of_the_stable_abi_covers_later_pythons_but_no_free_threaded_one():
    assert shown("cp310-abi3-win32", "cp312-cp312t-win32", "cp312-cp312-win_amd64") == {
        "3.10": ["", None],
        "3.11": ["", None],
        "3.12 or later": ["", ""],
        "3.12t": ["", None],
    }


def test_a_cell_says_the_least_that_its_wheels_need():
    wheels = ("cp312-cp312-manylinux_2_28_x86_64", "cp312-cp312-manylinux2014_x86_64")
    assert shown(*wheels) == shown(*reversed(wheels)) == {"3.12": ["glibc 2.17"]}


def test_a_platform_without_a_wheel_for_a_python_has_no_cell():
    assert shown("cp311-cp311-win32", "cp312-cp312-win_amd64") == {"3.11": ["", None], "3.12": [None, ""]}


TAG = st.builds(
    "-".join,
    st.tuples(
        st.from_regex(r"(cp|py|pp|zz)\d{1,6}(\.py\d)?", fullmatch=True),
        st.sampled_from(["none", "abi3", "cp312", "cp313t", "abi3.cp39"]),
        st.from_regex(
            r"(any|win32|manylinux_\d{1,3}_\d{1,3}_x|macosx_1_2_[a-z]{1,3}|[a-z]{1,5})", fullmatch=True
        ),
    ),
)


@given(st.lists(TAG, max_size=80))
def test_any_tags_make_a_grid_that_is_bounded(wheels: list[str]):
    grid = wheel_grid(wheels)
    assert len(grid.pythons) <= 30
    assert len(grid.platforms) <= 30
    assert {(python, place) for python, place in grid.cells} <= {
        (python, place) for python in grid.pythons for place in grid.platforms
    }
    assert all(tag_words(tags) for tags in wheels)
