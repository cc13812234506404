"""What is found of a name in a bucket of many, however it is spelled, and what that costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.kit.memory_bucket import MemoryBucket
from tests.kit.properties import examples
from twisted_index.backends.object_store.bucket_view import BucketView
from twisted_index.backends.object_store.held_listings import Hold
from twisted_index.backends.object_store.project_listing import project_of_key
from twisted_index.backends.object_store.spellings import list_spellings

HOLD = Hold(Clock(), 0.0, 1.0)
PROJECTS = ("foo", "foo-bar", "f", "a1-2b", "acme-foo-bar")


@st.composite
def spelled(draw: st.DrawFn, project: str) -> str:
    """Spell a name in one of its ways, or almost."""
    text = ""
    for char in project:
        if char == "-":
            text += draw(st.text("-_.", min_size=1, max_size=3))
        else:
            text += draw(st.sampled_from([char, char.upper()]))
    return text


@st.composite
def keys(draw: st.DrawFn) -> str:
    """Make a key that is of a project, or lies beside one that could be."""
    name = draw(st.sampled_from(PROJECTS).flatmap(spelled))
    before = draw(st.sampled_from(["", "", "", "", ".", "._", "~", "#", "é", "[", "{", "a", ".syncthing."]))
    end = draw(
        st.sampled_from(
            [
                "/x-1.0.whl",
                "/.deleted",
                "",
                "-1.0.tar.gz",
                "-1.0-py3-none-any.whl",
                "-1.0.zip.yanked",
                ".whl",
                "-bar.tar.gz",
                "-bar/x",
                "0/x",
                " (1)-1.0.whl",
                "_-v1.zip.part",
                "K/x",
                "/\U0010ffffx",
            ]
        )
    )
    return before + name + end


ANY = st.one_of(keys(), st.text("aAfFoO-_./1", min_size=1, max_size=6), st.text(min_size=1, max_size=4))


@given(st.lists(ANY, max_size=40), st.sampled_from(PROJECTS), st.integers(1, 5))
@examples(600, deadline=None)
def test_every_spelling_of_a_name_is_found_and_nothing_else(
    names: list[str], project: str, page_size: int
) -> None:
    bucket = MemoryBucket(page_size=page_size)
    for key in names:
        bucket.place(key)
    found = list_spellings(bucket, project, HOLD, limit=1000)
    assert found is not None
    assert sorted(found.objects) == sorted(key for key in {*names} if project_of_key(key) == project)


def test_a_name_among_many_is_found_by_a_few_lists() -> None:
    bucket = MemoryBucket()
    for number in range(20_000):
        name = f"{chr(97 + number % 26)}{chr(97 + number // 26 % 26)}-project-{number}"
        bucket.place(f"{name}/{name}-1.0.tar.gz")
        bucket.place(f".learned/{name}")
    bucket.place("Ma_Project.12/other-1.0.tar.gz")
    found = list_spellings(bucket, "ma-project-12", HOLD, limit=1000)
    assert found is not None
    assert len(found.objects) == 2
    assert bucket.operations["list"] <= 6


def test_a_name_that_begins_those_of_many_is_given_up() -> None:
    bucket = MemoryBucket(page_size=2)
    for number in range(50):
        bucket.place(f"acme-{number}/x")
    assert list_spellings(bucket, "acme", HOLD, limit=10) is None


@pytest.mark.parametrize("project", PROJECTS)
def test_its_own_files_do_not_count_against_the_limit(project: str) -> None:
    bucket = MemoryBucket(page_size=2)
    for number in range(50):
        bucket.place(f"{project}/{number}")
    found = list_spellings(bucket, project, HOLD, limit=3)
    assert found is not None
    assert len(found.objects) == 50


def test_what_lies_beside_a_part_of_a_bucket_is_not_found() -> None:
    whole = MemoryBucket(page_size=2)
    for folder in ("a", "b", "c"):
        for name in ("bar/x", "foo/x", "zoo/x"):
            whole.place(f"{folder}/{name}")
    found = list_spellings(BucketView(whole, "b"), "foo", HOLD, limit=100)
    assert found is not None
    assert list(found.objects) == ["foo/x"]
    assert whole.calls[-1].key < "c"
