"""Which stores keep conditions."""

import pytest

from tests.kit.memory_bucket import MemoryBucket
from twisted_index.backends.object_store.conditions import Conditions, probe_conditions
from twisted_index.errors import Unavailable


@pytest.mark.parametrize(("keeps", "expected"), [(True, Conditions.KEPT), (False, Conditions.IGNORED)])
def test_it_is_tried_and_leaves_nothing(keeps: bool, expected: Conditions):
    bucket = MemoryBucket()
    bucket.keeps_conditions = keeps
    assert probe_conditions(bucket) is expected
    assert bucket.keys() == []


def test_a_store_that_creates_once_and_cannot_replace_does_not_keep_them():
    bucket = MemoryBucket()
    bucket.fail("replace", times=9, error=Unavailable("501"))
    assert probe_conditions(bucket) is Conditions.IGNORED


def test_a_store_that_does_not_answer_says_nothing():
    bucket = MemoryBucket()
    bucket.fail("create", times=9)
    with pytest.raises(Unavailable):
        probe_conditions(bucket)
