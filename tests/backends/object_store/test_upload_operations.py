"""How often a bucket is asked for an upload, and what an upload by what was held may not do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.backends.object_store.shelf import Node
from tests.backends.object_store.test_contract_store import ObjectStoreHarness
from tests.backends.object_store.writers import candidate_of, make_editor
from tests.kit.memory_bucket import MemoryBucket
from twisted_index.errors import Conflict, Forbidden
from twisted_index.simple.model import ProjectStatus, Status
from twisted_index.testing import make_sdist, make_wheel

FIRST, SECOND, THIRD, FOURTH = (make_wheel("demo", f"{number}.0") for number in range(1, 5))


@pytest.fixture(params=["small", "large"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if request.param == "large":
        monkeypatch.setattr("twisted_index.backends.object_store.listings._SMALL", 0)
    with ObjectStoreHarness(tmp_path) as harness:
        harness.publish(make_wheel("other", "1.0"))
        yield harness


@pytest.fixture
def bucket(world: ObjectStoreHarness) -> MemoryBucket:
    assert isinstance(world.source.bucket, MemoryBucket)
    return world.source.bucket


def test_an_upload_to_a_project_whose_listing_holds_takes_a_write_and_a_list(
    world: ObjectStoreHarness, bucket: MemoryBucket
):
    world.publish(FIRST)
    world.publish(SECOND)
    world.clock.advance(2.5)
    world.files_of("demo")
    bucket.forget_operations()
    world.publish(THIRD)
    assert bucket.operations == {"write": 1, "list": 1}


def test_uploads_in_a_row_and_the_page_after_them_use_the_list_of_the_last(
    world: ObjectStoreHarness, bucket: MemoryBucket
):
    world.publish(FIRST)
    world.publish(SECOND)
    bucket.forget_operations()
    world.publish(THIRD)
    world.publish(FOURTH)
    assert len(world.files_of("demo")) == 4
    assert bucket.operations == {"write": 2, "list": 2}


def test_a_change_that_came_after_the_list_of_an_upload_is_in_the_next_page(world: ObjectStoreHarness):
    listings = world.source.root.listings
    look = listings.look("demo")
    world.publish(FIRST)
    listings.keep("demo", look)
    assert set(world.files_of("demo")) == {FIRST.filename}
    look = listings.look("other")
    world.publish(SECOND)
    listings.keep("other", look)
    assert set(world.files_of("demo")) == {FIRST.filename, SECOND.filename}


def test_a_root_that_a_look_only_used_does_not_come_back(world: ObjectStoreHarness, bucket: MemoryBucket):
    world.publish(FIRST)
    world.project_list()
    listings = world.source.root.listings
    look = listings.look("demo", again=True)
    bucket.place("new/new-1.0.tar.gz", make_sdist("new", "1.0").content)
    # A whole minute later, if the root is long.
    world.clock.advance(100.0)
    assert "new" in world.project_list().value.names
    listings.keep("demo", look)
    assert "new" in world.project_list().value.names


def test_what_was_listed_for_an_upload_holds_no_longer_than_any_other_listing(
    world: ObjectStoreHarness, bucket: MemoryBucket
):
    world.publish(FIRST)
    bucket.place(f"demo/{SECOND.filename}", SECOND.content)
    assert set(world.files_of("demo")) == {FIRST.filename}
    world.clock.advance(2.5)
    assert set(world.files_of("demo")) == {FIRST.filename, SECOND.filename}


# -- What other nodes have done since what is held was listed


def test_a_file_is_refused_that_another_node_has_just_published_with_other_bytes():
    bucket = MemoryBucket()
    late = make_editor(bucket, holding="demo")
    other = make_wheel("demo", "1.0", files={"demo/x.py": "x = 1\n"})
    with candidate_of(FIRST) as first:
        make_editor(bucket).publish(first)
    with candidate_of(other) as received, pytest.raises(Conflict, match="different content"):
        late.publish(received)
    assert bucket.content(f"demo/{FIRST.filename}") == FIRST.content


def test_a_file_that_another_node_has_just_published_may_be_overwritten_where_that_is_allowed():
    bucket = MemoryBucket()
    late = make_editor(bucket, holding="demo", overwrite=("*",))
    other = make_wheel("demo", "1.0", files={"demo/x.py": "x = 1\n"})
    with candidate_of(FIRST) as first:
        make_editor(bucket).publish(first)
    with candidate_of(other) as received:
        published = late.publish(received)
    assert published is not None
    assert published.overwrites
    assert bucket.content(f"demo/{FIRST.filename}") == other.content


def test_another_spelling_of_a_file_that_another_node_has_just_published_leaves_nothing():
    bucket = MemoryBucket()
    waits: list[float] = []
    late = make_editor(bucket, holding="demo", pause=waits.append)
    spelled = make_sdist("demo", "1.0.0", filename="demo-1.0.0.tar.gz")
    with candidate_of(make_sdist("demo", "1.0", filename="demo-1.0.tar.gz")) as first:
        make_editor(bucket).publish(first)
    with candidate_of(spelled) as received, pytest.raises(Conflict, match="different content"):
        late.publish(received)
    assert bucket.keys() == ["demo/demo-1.0.tar.gz"]
    assert not waits


def test_an_upload_to_a_project_that_another_node_has_just_closed_is_refused_and_leaves_nothing():
    bucket = MemoryBucket()
    with candidate_of(FIRST) as first:
        make_editor(bucket).publish(first)
    late = make_editor(bucket, holding="demo")
    make_editor(bucket).set_status("demo", ProjectStatus(status=Status.QUARANTINED), by="alice")
    with candidate_of(SECOND) as received, pytest.raises(Forbidden, match="quarantined"):
        late.publish(received)
    assert f"demo/{SECOND.filename}" not in bucket.keys()  # noqa: SIM118


def test_an_upload_to_a_project_that_another_node_has_just_opened_is_taken():
    bucket = MemoryBucket()
    with candidate_of(FIRST) as first:
        make_editor(bucket).publish(first)
    make_editor(bucket).set_status("demo", ProjectStatus(status=Status.ARCHIVED), by="alice")
    late = make_editor(bucket, holding="demo")
    make_editor(bucket).set_status("demo", ProjectStatus(status=Status.ACTIVE), by="alice")
    with candidate_of(SECOND) as received:
        assert late.publish(received) is not None
    node = Node(bucket)
    assert set(node.files("demo")) == {FIRST.filename, SECOND.filename}


def test_the_only_writer_looks_before_it_writes():
    bucket = MemoryBucket()
    late = make_editor(bucket, holding="demo", single_writer=True)
    bucket.place(f"demo/{FIRST.filename}", b"put there by hand")
    with candidate_of(FIRST) as received, pytest.raises(Conflict):
        late.publish(received)
    assert bucket.content(f"demo/{FIRST.filename}") == b"put there by hand"
