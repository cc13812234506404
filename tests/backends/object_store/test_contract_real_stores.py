"""The contracts of sources and stores, kept on real stores; one without conditions has a single writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.backends.object_store.test_contract_source import BucketHarness
from tests.backends.object_store.test_contract_store import ObjectStoreHarness
from twisted_index.backends.object_store.client import StoreBucket
from twisted_index.backends.object_store.conditions import Conditions, probe_conditions
from twisted_index.config.bucket_location import parse_location
from twisted_index.testing import SourceContract, StoreContract


class _OnRealStores:
    @pytest.fixture(autouse=True)
    def _bucket(self, any_store: str, tmp_path: Path) -> None:
        self.bucket, self.path = StoreBucket(parse_location(any_store)), tmp_path


class TestSource(_OnRealStores, SourceContract):
    def harness(self) -> BucketHarness:
        return BucketHarness(self.bucket)


class TestStore(_OnRealStores, StoreContract):
    def harness(self) -> ObjectStoreHarness:
        ignored = probe_conditions(self.bucket) is Conditions.IGNORED
        return ObjectStoreHarness(self.path, self.bucket, single_writer=ignored)
