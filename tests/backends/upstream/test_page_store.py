"""Pages in the cache take a bounded part of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kit.scripted_remote import Bench, remote_file
from twisted_index.backends.upstream.disk_cache import DiskCache
from twisted_index.backends.upstream.remote import NOT_MODIFIED

UPSTREAM = "https://one.example/simple/"


def write(cache: DiskCache, number: int, size: int = 4096) -> str:
    path = cache.page_path(UPSTREAM, f"project-{number}")
    assert cache.replace_page(path, [b"x" * size]) is not None
    os.utime(path, (number, number))
    return path


def test_the_pages_that_were_asked_for_longest_ago_make_room_for_others(tmp_path: Path):
    cache = DiskCache(str(tmp_path), 10 << 20)
    paths = [write(cache, number) for number in range(400)]

    there = [os.path.exists(path) for path in paths]
    assert sum(there) <= 256 + 26
    assert there == sorted(there)
    assert there[-1]


def test_small_pages_count_as_what_they_take_on_a_disk(tmp_path: Path):
    cache = DiskCache(str(tmp_path), 10 << 20)
    paths = [write(cache, number, 10) for number in range(400)]

    assert sum(map(os.path.exists, paths)) <= 256 + 26


def test_too_many_pages_are_removed_at_the_start(tmp_path: Path):
    large = DiskCache(str(tmp_path), 1 << 30)
    paths = [write(large, number) for number in range(400)]
    DiskCache(str(tmp_path), 10 << 20).sweep()

    assert 200 < sum(map(os.path.exists, paths)) <= 256
    assert os.path.exists(paths[-1])


def test_a_page_that_cannot_be_removed_keeps_no_younger_one_from_making_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    large = DiskCache(str(tmp_path), 1 << 30)
    paths = [write(large, number) for number in range(400)]
    unlink = os.unlink

    def refuse(path: str) -> None:
        if path == paths[0]:
            raise PermissionError(1, "Operation not permitted")
        unlink(path)

    monkeypatch.setattr(os, "unlink", refuse)
    DiskCache(str(tmp_path), 10 << 20).sweep()

    assert 200 < sum(map(os.path.exists, paths)) <= 257
    assert os.path.exists(paths[0])


def test_pages_take_nothing_from_files(tmp_path: Path):
    cache = DiskCache(str(tmp_path), 10 << 20)
    file = Path(cache.file_path("ab" * 32))
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x" * 1000)
    for number in range(400):
        write(cache, number)

    assert file.exists()
    assert sum(entry.size for entry in cache.entries()) == 1000


def test_a_page_that_made_room_is_kept_again_when_its_upstream_says_that_it_is_still_so(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.remote.offer(remote_file(b"wheel"))
    bench.snapshot()
    assert bench.cache is not None
    path = bench.cache.page_path(bench.remote.url, "demo")
    os.unlink(path)
    bench.remote.pages["demo"] = NOT_MODIFIED
    bench.clock.advance(600)
    bench.snapshot()

    assert os.path.exists(path)
