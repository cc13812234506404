"""Buckets keep the contract of sources, small ones and large ones."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from twisted.internet.task import Clock

from tests.kit.memory_bucket import MemoryBucket
from twisted_index.backends.object_store.bucket import Bucket
from twisted_index.backends.object_store.source import ObjectSource
from twisted_index.testing import BuiltFile, SourceContract, SourceHarness, SynchronousRunner


class BucketHarness(SourceHarness):
    """A bucket, in memory or a real one, a clock that is moved, and no threads."""

    delay = rewrite_delay = 2.5

    def __init__(self, bucket: Bucket | None = None) -> None:
        self.bucket = bucket or MemoryBucket()
        self.clock = Clock()
        self.source = ObjectSource(self.bucket, worker=SynchronousRunner(), reactor=self.clock)

    def key(self, file: BuiltFile) -> str:
        return f"{file.project}/{file.filename}"

    def add(self, file: BuiltFile, *, signature: bytes | None = None) -> None:
        self.bucket.put(self.key(file), file.content, metadata={})
        if signature is not None:
            self.bucket.put(f"{self.key(file)}.asc", signature, metadata={})
        self.clock.advance(2.5)

    def remove(self, file: BuiltFile) -> None:
        self.bucket.delete(self.key(file))

    def add_empty(self, project: str) -> None:
        self.bucket.put(f"{project}/.claimed", b"", metadata={})

    def corrupt(self, file: BuiltFile) -> None:
        self.bucket.put(self.key(file), b"!" * len(file.content), metadata={})

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class MemoryHarness(BucketHarness):
    """A bucket in memory, which fails, and whose objects change without a trace."""

    bucket: MemoryBucket

    def corrupt(self, file: BuiltFile) -> None:
        stored = self.bucket._objects[self.key(file)]
        content = b"!" * len(stored.content)
        self.bucket._objects[self.key(file)] = replace(stored, content=content)

    def fail(self) -> None:
        self.bucket.fail(times=sys.maxsize)

    def recover(self) -> None:
        self.bucket.mend()


class TestBucket(SourceContract):
    def harness(self) -> MemoryHarness:
        return MemoryHarness()


class FlatHarness(MemoryHarness):
    """All objects at the root."""

    def key(self, file: BuiltFile) -> str:
        return file.filename


class TestFlatBucket(SourceContract):
    def harness(self) -> FlatHarness:
        return FlatHarness()


class TestLargeBucket(SourceContract):
    @pytest.fixture(autouse=True)
    def _small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("twisted_index.backends.object_store.listings._SMALL", 0)

    def harness(self) -> MemoryHarness:
        return MemoryHarness()
