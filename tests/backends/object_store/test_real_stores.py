"""What the backend relies on, asked of real stores: each skips its tests where it is not installed."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.kit.object_stores import empty_place
from tests.kit.raw_objects import put_raw
from twisted_index.backends.object_store.bucket import ObjectChanged, ObjectExists
from twisted_index.backends.object_store.client import StoreBucket
from twisted_index.backends.object_store.conditions import Conditions, probe_conditions
from twisted_index.config.bucket_location import parse_location

WHEEL = "demo/demo-1.0-py3-none-any.whl"


@pytest.fixture
def bucket(any_store: str) -> StoreBucket:
    return StoreBucket(parse_location(any_store))


@pytest.fixture
def ceph_bucket(ceph: str) -> StoreBucket:
    return StoreBucket(parse_location(ceph))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ceph", Conditions.KEPT),
        ("rclone", Conditions.IGNORED),
        ("swift", Conditions.IGNORED),
        ("azurite", Conditions.KEPT),
    ],
)
def test_it_is_known_which_store_keeps_conditions(
    kind: str, expected: Conditions, stores_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    bucket = StoreBucket(parse_location(empty_place(kind, stores_folder, monkeypatch)))
    assert (probe_conditions(bucket), dict(bucket.list_all().objects)) == (expected, {})


def test_what_was_written_is_listed_and_read_at_once(bucket: StoreBucket):
    bucket.put(WHEEL, b"bytes", metadata={"sha256": "ab"})
    listed = bucket.list_all().objects[WHEEL]
    found = bucket.read(WHEEL, limit=100, etag=listed.etag)
    assert found is not None
    assert (found.content, found.metadata["sha256"]) == (b"bytes", "ab")
    assert (listed.size, found.object.etag) == (5, listed.etag)


def test_a_level_is_listed_with_its_folders(bucket: StoreBucket):
    for key in ("flat.whl", "a/x", "a/deep/y", "ab/z"):
        bucket.put(key, b"", metadata={})
    level, below = bucket.list_level(), bucket.list_level("a")
    assert (set(level.objects), level.folders) == ({"flat.whl"}, {"a", "ab"})
    assert (set(below.objects), below.folders) == ({"a/x"}, {"deep"})
    assert set(bucket.list_all("a").objects) == {"a/x", "a/deep/y"}


def test_names_that_urls_escape_are_kept(bucket: StoreBucket):
    names = {"a/a b+c.whl", "a/ü-名.whl", "a/per%2Fcent.whl", "a/epoch-1!2.0.whl"}
    for name in names:
        bucket.put(name, name.encode(), metadata={})
    assert set(bucket.list_all().objects) == names
    assert {found.content.decode() for name in names if (found := bucket.read(name, limit=99))} == names


def test_keys_that_no_folder_could_have_hide_no_others(ceph: str):
    odd = ("a/ta\tb", "a/new\nline", "a/../x", "a//y", "/lead", "a/\x01", "a/\x7f", "a/.", "a//")
    usual = ("a/b.whl", "ü-名", "x" * 900, "a/b.whl/below", "pack/x", "packages/x")
    for key in (*odd, *usual):
        put_raw(ceph, key, b"bytes")
    for marker in ("", "a/", "pack/", "a/folder.whl/"):
        put_raw(ceph, marker)
    bucket = StoreBucket(parse_location(ceph))
    found = bucket.list_all()
    assert (set(found.objects), len(found.unusable)) == (set(usual), len(odd))
    assert set(bucket.list_all("pack").objects) == {"pack/x"}
    level = bucket.list_level()
    assert (set(level.objects), level.folders) == ({"ü-名", "x" * 900}, {"a", "pack", "packages"})


def test_a_replaced_object_is_not_read_for_the_one_that_was_listed(ceph_bucket: StoreBucket):
    ceph_bucket.put(WHEEL, b"first", metadata={})
    listed = ceph_bucket.list_all().objects[WHEEL]
    ceph_bucket.put(WHEEL, b"other", metadata={})
    with pytest.raises(ObjectChanged):
        list(ceph_bucket.stream(WHEEL, 0, 5, etag=listed.etag))


def test_ranges_are_read_even_where_the_store_has_none(bucket: StoreBucket):
    bucket.put(WHEEL, b"0123456789", metadata={})
    etag = bucket.list_all().objects[WHEEL].etag
    assert [bucket.read_range(WHEEL, *ends, etag=etag) for ends in ((0, 4), (3, 7))] == [b"0123", b"3456"]


def test_a_large_file_comes_back_as_it_went(bucket: StoreBucket):
    content = os.urandom(12_000_000)
    bucket.put_file(WHEEL, io.BytesIO(content), len(content), metadata={"sha256": "ab"})
    listed = bucket.list_all().objects[WHEEL]
    assert listed.size == len(content)
    assert b"".join(bucket.stream(WHEEL, 0, len(content), etag=listed.etag)) == content


def test_one_of_many_who_create_a_name_succeeds(ceph_bucket: StoreBucket):
    start, won = threading.Barrier(8), []

    def create(content: bytes) -> None:
        start.wait()
        try:
            ceph_bucket.create(WHEEL, content, metadata={})
        except ObjectExists:
            return
        won.append(content)

    threads = [threading.Thread(target=create, args=(b"%d" % number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = ceph_bucket.read(WHEEL, limit=10)
    assert found is not None
    assert won == [found.content]


def test_a_signed_url_gives_the_object_to_a_client_without_credentials(ceph_bucket: StoreBucket):
    ceph_bucket.put(WHEEL, b"bytes", metadata={})
    with urlopen(ceph_bucket.presigned_url(WHEEL, seconds=60), timeout=20) as answer:
        assert answer.read() == b"bytes"


def test_what_is_deleted_is_gone_at_once(bucket: StoreBucket):
    bucket.put(WHEEL, b"bytes", metadata={})
    bucket.delete(WHEEL)
    assert (bucket.read(WHEEL, limit=9), dict(bucket.list_all().objects)) == (None, {})
