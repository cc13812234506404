"""The bytes of objects on their way to readers: whole and right, or cut off; no more than was wanted."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.backends.object_store.shelf import Node, place
from tests.kit.memory_bucket import MemoryBucket
from twisted_index.backends.object_store.streamed_object import StreamedObject
from twisted_index.errors import SimpleIndexError, Unavailable
from twisted_index.statistics.downloads import Downloads
from twisted_index.testing import IndexInMemory, SynchronousRunner, make_wheel

CONTENT = bytes(range(256)) * 12_000
LARGE = make_wheel("demo", "1.0", files={"demo/data.bin": CONTENT}, compress=False)
SMALL = make_wheel("demo", "1.1")
URL = f"/simple/demo/{LARGE.filename}"


class Turns:
    """Runs calls when a test lets it; counts those that wait."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []

    def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, function, args, kwargs))
        return done

    def stop(self) -> Any:
        raise NotImplementedError

    def go_on(self) -> None:
        while self.waiting:
            done, function, args, kwargs = self.waiting.pop(0)
            try:
                result = function(*args, **kwargs)
            except Exception:
                done.errback()
            else:
                done.callback(result)


def served(downloads: Any = None, **arguments: Any) -> tuple[MemoryBucket, IndexInMemory]:
    """A server on a bucket with two wheels, of which everything is known."""
    bucket = MemoryBucket()
    bucket.piece_size = 1 << 18
    place(bucket, LARGE, SMALL)
    node = Node(bucket, **arguments)
    index = IndexInMemory(node.source, downloads=downloads)
    assert index.get("/simple/demo/").status == 200
    bucket.forget_operations()
    return bucket, index


def stream(bucket: MemoryBucket, worker: Any, key: str = "large", sha256: str = "") -> StreamedObject:
    stored = bucket.list_all().objects[key]
    digest = sha256 or hashlib.sha256(bucket.content(key)).hexdigest()
    return StreamedObject(bucket, worker, stored, digest, on_change=lambda: None, on_mismatch=lambda: None)


class TestOperations:
    @pytest.mark.parametrize(
        ("method", "fields", "status", "reads"),
        [
            ("GET", {}, 200, 1),
            ("HEAD", {}, 200, 0),
            ("GET", {"Range": "bytes=5000-5999"}, 206, 1),
            ("GET", {"Range": "bytes=-1"}, 206, 1),
            ("GET", {"Range": "bytes=99999999-"}, 416, 0),
            ("GET", {"If-None-Match": f'"{LARGE.sha256}"'}, 304, 0),
            ("GET", {"If-Match": '"other"'}, 412, 0),
        ],
    )
    def test_no_more_is_read_than_the_response_has(
        self, method: str, fields: dict[str, str], status: int, reads: int
    ):
        bucket, index = served()
        response = index.get(URL, method=method, headers=fields)
        assert (response.status, sum(bucket.operations.values())) == (status, reads)

    def test_a_small_file_is_read_once(self):
        bucket, index = served()
        for _time in range(3):
            assert index.get(f"/simple/demo/{SMALL.filename}").body == SMALL.content
        assert dict(bucket.operations) == {"read": 1}


class TestRanges:
    @given(first=st.integers(0, LARGE.size - 1), length=st.integers(1, 1 << 19))
    def test_a_range_is_that_part_of_the_file(self, first: int, length: int):
        index = SERVED[1]
        response = index.get(URL, headers={"Range": f"bytes={first}-{first + length - 1}"})
        assert response.status == 206
        assert response.body == LARGE.content[first : first + length]


SERVED = served(rescan=1e9)


class TestRedirects:
    def test_a_whole_large_file_is_at_the_store(self):
        bucket, index = served(redirect=True)
        response = index.get(URL)
        assert response.status == 302
        assert "X-Amz-Expires=60" in response.headers["Location"]
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert not bucket.operations

    @pytest.mark.parametrize(
        ("method", "fields", "status"),
        [
            ("HEAD", {}, 200),
            ("GET", {"Range": "bytes=0-9"}, 206),
            ("GET", {"If-Range": '"other"'}, 200),
            ("GET", {"If-None-Match": f'"{LARGE.sha256}"'}, 304),
        ],
    )
    def test_everything_else_is_answered_here(self, method: str, fields: dict[str, str], status: int):
        response = served(redirect=True)[1].get(URL, method=method, headers=fields)
        assert response.status == status

    def test_a_redirect_counts_as_a_download(self):
        downloads = Downloads(None, SynchronousRunner(), Clock())
        index = served(downloads, redirect=True)[1]
        for method, fields in (
            ("GET", {}),
            ("GET", {}),
            ("HEAD", {}),
            ("GET", {"Range": "bytes=0-9"}),
            ("GET", {"If-None-Match": f'"{LARGE.sha256}"'}),
        ):
            index.get(URL, method=method, headers=fields)
        index.get(f"{URL}.metadata")
        counted = json.loads(index.get("/-/stats", headers={"Accept": "application/json"}).body)
        assert counted["projects"] == {"demo": 2}

    def test_a_small_file_is_sent_from_here(self):
        assert served(redirect=True)[1].get(f"/simple/demo/{SMALL.filename}").status == 200


class TestFailures:
    def test_a_store_that_fails_before_the_first_byte_is_an_error(self):
        bucket, index = served()
        bucket.fail("stream")
        assert index.get(URL).status == 503
        assert index.get(URL).body == LARGE.content

    @pytest.mark.parametrize("piece", range(1, 12))
    def test_a_store_that_fails_at_a_piece_is_asked_for_the_rest(self, piece: int):
        bucket, index = served()
        bucket.fail("piece", skip=piece)
        assert index.get(URL).body == LARGE.content

    def test_a_file_that_was_replaced_after_it_was_found_is_looked_for_again(self):
        bucket, index = served()
        other = make_wheel("demo", "1.0", files={"demo/data.bin": CONTENT[::-1]}, compress=False)
        place(bucket, other)
        assert index.get(URL).body == other.content

    def test_a_file_that_is_gone_is_not_found(self):
        bucket, index = served()
        bucket.remove(f"demo/{LARGE.filename}")
        assert index.get(URL).status == 404


def read_on(content: StreamedObject, worker: Turns, size: int) -> bytes:
    """Read to the end; the error of the content is raised."""
    data = b""
    while len(data) < size:
        results: list[Any] = []
        content.wait_for(len(data)).addBoth(results.append)
        worker.go_on()
        if not isinstance(results[0], int):
            results[0].raiseException()
        while piece := content.read(len(data), 1 << 16):
            data += piece
    return data


class TestReaders:
    def bucket(self) -> MemoryBucket:
        bucket = MemoryBucket()
        bucket.place("large", CONTENT * 3)
        bucket.piece_size = 1 << 18
        return bucket

    def test_one_that_does_not_read_holds_a_window_and_no_thread(self):
        bucket, worker = self.bucket(), Turns()
        content = stream(bucket, worker)
        content.wait_for(0)
        worker.go_on()
        held = sum(map(len, content._pieces))
        assert held <= (1 << 19) + (1 << 18)
        assert not worker.waiting
        assert read_on(content, worker, len(CONTENT) * 3) == CONTENT * 3
        content.close()

    def test_what_was_read_is_dropped(self):
        bucket, worker = self.bucket(), Turns()
        content = stream(bucket, worker)
        at = 0
        while at < len(CONTENT) * 3:
            content.wait_for(at)
            worker.go_on()
            at += len(content.read(at, 1 << 16))
            assert sum(map(len, content._pieces)) <= 1 << 20
        content.close()

    @pytest.mark.parametrize("turns", [0, 1])
    def test_one_that_leaves_ends_the_request_to_the_store(self, turns: int):
        """Also while a thread waits for a piece."""
        bucket, worker = self.bucket(), Turns()
        content = stream(bucket, worker)
        content.wait_for(0)
        if turns:
            worker.go_on()
        content.close()
        worker.go_on()
        assert content._stream is None
        assert not worker.waiting

    def test_wrong_bytes_never_come_whole(self):
        bucket, worker = self.bucket(), Turns()
        content = stream(bucket, worker, sha256="0" * 64)
        with pytest.raises(SimpleIndexError):
            read_on(content, worker, len(CONTENT) * 3)
        assert content._readable <= len(CONTENT) * 3 - (1 << 16)
        content.close()

    def test_a_file_that_is_replaced_in_the_middle_is_cut_off(self):
        bucket, worker = self.bucket(), Turns()
        content = stream(bucket, worker)
        content.wait_for(0)
        worker.go_on()
        bucket.place("large", CONTENT[::-1] * 3)
        with pytest.raises(Unavailable):
            read_on(content, worker, len(CONTENT) * 3)
        content.close()

    def test_a_store_that_brings_nothing_is_asked_no_further(self):
        bucket, worker = self.bucket(), Turns()
        bucket.fail("piece", times=2, skip=3)
        content = stream(bucket, worker)
        with pytest.raises(Unavailable):
            read_on(content, worker, len(CONTENT) * 3)
        assert bucket.operations["read"] == 2
        content.close()


def test_the_digest_of_a_range_is_not_asked_for():
    bucket = MemoryBucket()
    bucket.place("large", CONTENT)
    content = stream(bucket, SynchronousRunner(), sha256="0" * 64)
    content.narrow(10, 20)
    assert content.wait_for(10).result == 20
    assert content.read(10, 99) == CONTENT[10:20]
