"""The bucket in memory is one that the rules can be tried on."""

from __future__ import annotations

import io
import sys

import pytest

from tests.kit.memory_bucket import MemoryBucket, Operation
from twisted_index.backends.object_store.bucket import Bucket, ObjectChanged, ObjectExists
from twisted_index.errors import Unavailable


def test_it_is_a_bucket() -> None:
    bucket: Bucket = MemoryBucket()
    written = bucket.create("foo/a.whl", b"abc", metadata={"sha256": "1"})
    found = bucket.read("foo/a.whl", limit=10)
    assert found is not None
    assert (found.content, found.object, found.metadata) == (b"abc", written, {"sha256": "1"})
    bucket.put_file("foo/b.whl", io.BytesIO(b"0123456789"), 10, metadata={})
    bucket.copy("foo/b.whl", "c.whl")
    level = bucket.list_level()
    assert (set(level.objects), level.folders) == ({"c.whl"}, {"foo"})
    assert bucket.read_range("c.whl", 2, 4, etag=level.objects["c.whl"].etag) == b"23"
    bucket.delete("foo/a.whl")
    assert set(bucket.list_all("foo").objects) == {"foo/b.whl"}
    assert bucket.list_all("fo").objects == {}


def test_one_of_two_creates_fails_unless_conditions_are_ignored() -> None:
    bucket = MemoryBucket()
    bucket.create("a", b"1", metadata={})
    with pytest.raises(ObjectExists):
        bucket.create("a", b"2", metadata={})
    bucket.keeps_conditions = False
    bucket.create("a", b"3", metadata={})
    assert bucket.content("a") == b"3"


def test_an_object_that_was_replaced_is_noticed() -> None:
    bucket = MemoryBucket()
    bucket.piece_size = 2
    etag = bucket.place("a", b"1234").etag
    pieces = bucket.stream("a", 0, 4, etag=etag)
    assert next(pieces) == b"12"
    bucket.place("a", b"5678")
    with pytest.raises(ObjectChanged):
        next(pieces)
    with pytest.raises(ObjectChanged):
        bucket.replace("a", b"9", etag=etag, metadata={})
    with pytest.raises(ObjectChanged):
        bucket.read("a", limit=9, etag=etag)


def test_a_write_that_fails_may_have_happened_or_happen_later() -> None:
    bucket = MemoryBucket()
    for effect in ("none", "done", "later"):
        bucket.fail("write", effect, effect=effect)  # type: ignore[arg-type]
        with pytest.raises(Unavailable):
            bucket.put(effect, b"1", metadata={})
    assert bucket.keys() == ["done"]
    bucket.land()
    assert bucket.keys() == ["done", "later"]


def test_a_list_takes_requests_each_of_which_may_fail() -> None:
    bucket = MemoryBucket(page_size=2)
    for key in "abcde":
        bucket.place(key)
    assert (bucket.list_all().requests, bucket.operations["list"]) == (3, 3)
    cut = bucket.list_all(limit=3)
    assert (len(cut.objects), cut.is_complete, cut.requests) == (4, False, 2)
    bucket.fail("list", skip=1, times=sys.maxsize)
    for _ in range(2):
        with pytest.raises(Unavailable):
            bucket.list_all()
    bucket.mend()
    assert bucket.list_all().is_complete


def test_the_hook_comes_before_each_call_and_may_use_the_bucket() -> None:
    bucket = MemoryBucket()

    def upload_elsewhere(operation: Operation) -> None:
        if operation == Operation("create", "a"):
            bucket.create("a", b"other", metadata={})

    bucket.before = upload_elsewhere
    with pytest.raises(ObjectExists):
        bucket.create("a", b"mine", metadata={})
    assert bucket.content("a") == b"other"
