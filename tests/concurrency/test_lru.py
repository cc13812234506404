"""The bounded mapping behind every cache in memory."""

from __future__ import annotations

from twisted_index.concurrency.lru import LRU


def filled(limit: int, **weights: int) -> LRU[str, int]:
    cache = LRU[str, int](limit, lambda weight: weight)
    for key, weight in weights.items():
        cache.put(key, weight)
    return cache


def test_the_least_recently_used_is_evicted():
    cache = filled(3, a=1, b=1, c=1)
    assert cache.get("a") == 1
    cache.touch("b")
    cache.put("d", 1)
    assert dict(cache.items()) == {"a": 1, "b": 1, "d": 1}


def test_a_peek_is_no_use():
    cache = filled(2, a=1, b=1)
    assert cache.peek("a") == 1
    cache.put("c", 1)
    assert "a" not in cache


def test_one_heavy_value_evicts_as_many_as_it_needs():
    assert dict(filled(10, a=4, b=4, c=9).items()) == {"c": 9}
    assert dict(filled(10, a=4, b=4, c=6).items()) == {"b": 4, "c": 6}


def test_the_newest_is_kept_however_heavy():
    cache = filled(10, a=4, b=99)
    assert dict(cache.items()) == {"b": 99}
    cache.put("c", 1)
    assert dict(cache.items()) == {"c": 1}


def test_a_value_that_is_put_again_has_its_new_weight():
    cache = filled(10, a=9)
    cache.put("a", 2)
    cache.put("b", 8)
    assert len(cache) == 2
    cache.put("a", 3)
    assert dict(cache.items()) == {"a": 3}


def test_what_is_popped_weighs_nothing():
    cache = filled(10, a=9)
    assert cache.pop("a") == 9
    assert cache.pop("a") is None
    cache.put("b", 1)
    cache.put("c", 9)
    assert list(cache.values()) == [1, 9]
