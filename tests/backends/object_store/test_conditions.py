"""Which stores keep conditions."""

import pytest

from tests.kit.memory_bucket import MemoryBucket
from twisted_index.backends.object_store.bucket import ObjectExists
from twisted_index.backends.object_store.conditions import Conditions, probe_conditions
from twisted_index.backends.object_store.store_errors import Unsupported
from twisted_index.errors import Unavailable


@pytest.mark.parametrize(("keeps", "expected"), [(True, Conditions.KEPT), (False, Conditions.IGNORED)])
def test_it_is_tried_and_leaves_nothing(keeps: bool, expected: Conditions):
    bucket = MemoryBucket()
    bucket.keeps_conditions = keeps
    assert probe_conditions(bucket) is expected
    assert bucket.keys() == []


def test_a_store_that_creates_once_and_cannot_replace_does_not_keep_them():
    bucket = MemoryBucket()
    bucket.fail("replace", times=9, error=Unsupported("501"))
    assert probe_conditions(bucket) is Conditions.IGNORED


def test_a_store_that_does_not_answer_says_nothing():
    bucket = MemoryBucket()
    bucket.fail("create", times=9)
    with pytest.raises(Unavailable):
        probe_conditions(bucket)


def test_a_store_that_refuses_the_condition_itself_does_not_keep_them():
    bucket = MemoryBucket()
    bucket.fail("create", times=9, error=Unsupported("501"))
    assert probe_conditions(bucket) is Conditions.IGNORED


def test_a_write_that_has_lost_its_answer_says_nothing_of_conditions():
    bucket = MemoryBucket()
    bucket.fail("create", effect="done", error=ObjectExists(""))
    assert probe_conditions(bucket) is Conditions.KEPT
    assert bucket.keys() == []


def test_a_store_that_fails_while_it_is_tried_says_nothing():
    bucket = MemoryBucket()
    bucket.fail("replace", times=9)
    with pytest.raises(Unavailable):
        probe_conditions(bucket)
