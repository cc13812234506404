"""The store of a bucket keeps the contract of stores."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from tests.kit.memory_bucket import MemoryBucket
from twisted_index.backends.object_store.bucket import Bucket
from twisted_index.backends.object_store.object_editor import ObjectEditor
from twisted_index.backends.object_store.source import ObjectSource
from twisted_index.backends.object_store.store import ObjectStore
from twisted_index.events.audit_log import AuditLog
from twisted_index.testing import StoreContract, StoreHarness, SynchronousRunner, make_wheel


class ObjectStoreHarness(StoreHarness):
    """A bucket, in memory or a real one, and a history on the disk."""

    def __init__(self, path: Path, bucket: Bucket | None = None, *, single_writer: bool = False) -> None:
        at_once = SynchronousRunner()
        self.clock = Clock()
        self.source = source = ObjectSource(bucket or MemoryBucket(), worker=at_once, reactor=self.clock)
        self.audit_log = AuditLog(str(path / "state"), at_once)
        editor = ObjectEditor(source.bucket, source.reader, single_writer=single_writer)
        self.store = ObjectStore(source, worker=at_once, audit_log=self.audit_log, editor=editor)


class TestObjectStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path

    def harness(self) -> ObjectStoreHarness:
        return ObjectStoreHarness(self.path)

    def test_the_writer_shows_the_upload_time_that_others_read(self):
        wheel = make_wheel("demo", "1.0")
        with self.harness() as world:
            bucket = world.source.bucket
            assert isinstance(bucket, MemoryBucket)
            bucket.now_ns = time.time_ns() + 10**9  # a store has an upload after the server that sends it
            world.publish(wheel)
            kept = float(bucket.metadata(f"demo/{wheel.filename}")["mtime"])
            shown = world.files_of("demo")[wheel.filename].upload_time
            assert shown is not None
            assert abs(shown.timestamp() - kept) < 1e-5
