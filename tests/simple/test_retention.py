"""Which releases are old."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.properties import examples
from twisted_index.simple.names import is_prerelease, public_version, version_sort_key
from twisted_index.simple.retention import StoredFile, superseded


def stored(*versions: str, yanked: bool = False, uploaded: float = 0.0) -> list[StoredFile]:
    return [
        StoredFile(filename=f"demo-{version}.tar.gz", version=version, uploaded=uploaded, yanked=yanked)
        for version in versions
    ]


def old(files: list[StoredFile], keep: int, **options: bool) -> list[str]:
    return [file.version for file in superseded(files, keep, **options)]


def test_all_but_the_newest_are_old_and_the_oldest_come_first():
    assert old(stored("1.10", "1.2", "1.9", "1.1"), 2) == ["1.1", "1.2"]
    assert old(stored("1.0"), 1) == []
    assert old([], 1) == []


def test_what_differs_in_the_local_part_is_one_release():
    assert old(stored("1.0+cpu", "1.0+cu126", "1.0", "0.9+cpu"), 1) == ["0.9+cpu"]
    assert old(stored("1.0.0+cpu", "1.0+cu126"), 1) == []


def test_a_yanked_release_is_not_counted_and_goes_behind_enough_newer_ones():
    files = stored("3") + stored("4", "2", yanked=True) + stored("1")
    assert old(files, 1) == ["1", "2"]
    assert old(files, 2) == []
    assert old(stored("2", "1", yanked=True), 1) == []


def test_the_latest_uploads_can_be_kept_too():
    files = [
        *stored("3.dev1", "3.dev2", uploaded=10),
        *stored("1.dev1", "2.dev1", uploaded=20),
        *stored("1rc1"),
    ]
    assert old(files, 2) == ["1.dev1", "1rc1", "2.dev1"]
    assert old(files, 2, latest_uploads=True) == ["1rc1"]


@pytest.mark.parametrize(
    "version", ["1.0a1", "1b2", "1.0rc1", "1.0.dev1", "1.0.post1.dev1", "1.0a1.post1", "1a1+x"]
)
def test_pre_releases_are_those_of_pep_440(version: str):
    assert is_prerelease(version)


@pytest.mark.parametrize("version", ["1.0", "1.0.post1", "1.0+dev", "1!0.1", "not a version"])
def test_finals_are_all_others(version: str):
    assert not is_prerelease(version)


@examples(200)
@given(
    st.lists(
        st.builds(
            StoredFile,
            filename=st.text(max_size=5),
            version=st.sampled_from(
                ["1", "1.0", "1+a", "1a1", "1.dev2", "2rc1", "2rc01", "0.5", "3.post1", "x"]
            ),
            uploaded=st.floats(0, 100),
            yanked=st.booleans(),
        ),
        min_size=1,
    ),
    st.integers(1, 4),
    st.booleans(),
)
def test_something_always_stays_and_nothing_that_stays_is_older(files, keep: int, latest: bool):
    gone = superseded(files, keep, latest_uploads=latest)
    assert len(gone) < len(files)
    left = {public_version(file.version) for file in files if file not in gone}
    assert not left & {public_version(file.version) for file in gone}
    offered = {public_version(file.version) for file in files if not file.yanked}
    assert len(left & offered) >= min(keep, len(offered))
    if gone and not latest:
        assert max(version_sort_key(file.version) for file in gone) < min(map(version_sort_key, left))
