"""Cache hits and disk use on the page of the statistics, for those who operate the server."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from tests.kit.rights import GuardedIndex, as_user
from tests.web.test_statistics import HTML, JSON, in_memory
from twisted_index.backends.upstream.counters import UpstreamCounters
from twisted_index.concurrency.thread_pool import SynchronousRunner
from twisted_index.metrics.disk_use import CacheCounters, DiskUse
from twisted_index.statistics.downloads import Downloads
from twisted_index.testing import MemorySource, SiteInMemory
from twisted_index.web.pages.server_numbers import in_units
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.site import IndexSite


def serving(counters: UpstreamCounters, disk_use: DiskUse) -> SiteInMemory:
    clock = Clock()
    resource = IndexResource(
        MemorySource(),
        collectors=[counters],
        downloads=Downloads(None, SynchronousRunner(), clock),
        disk_use=disk_use,
    )
    return SiteInMemory(IndexSite(resource, reactor=clock), clock)


def measured(disk_use: DiskUse) -> Any:
    disk_use.look()
    assert disk_use._thread is not None
    disk_use._thread.join()
    return disk_use.look()


def test_upstreams_count_what_the_page_shows():
    assert isinstance(UpstreamCounters(), CacheCounters)


def test_the_numbers_of_all_caches_are_shown(tmp_path: Path):
    counters = UpstreamCounters(file_hits=3, file_misses=1, bytes_from_cache=5_300_000, page_misses=2)
    index = serving(counters, DiskUse([str(tmp_path)]))
    cache = json.loads(index.get("/-/stats", headers=JSON).body)["cache"]
    assert (cache["file_hits"], cache["file_misses"], cache["bytes_saved"]) == (3, 1, 5_300_000)
    page = index.get("/-/stats", headers=HTML).body.decode()
    assert '<td class="number" data-label="Share">75.0%</td>' in page
    assert "5.3 MB need not be fetched, 0 bytes were." in page


def test_folders_are_measured_without_being_waited_for(tmp_path: Path):
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "file").write_bytes(b"0" * 100_000)
    disk_use = DiskUse([str(tmp_path / "packages")])
    index = serving(UpstreamCounters(), disk_use)
    assert json.loads(index.get("/-/stats", headers=JSON).body)["disk"] is None
    measured(disk_use)
    disk = json.loads(index.get("/-/stats", headers=JSON).body)["disk"]
    assert 100_000 <= disk["packages"] < 200_000
    assert '<th scope="row">packages</th>' in index.get("/-/stats", headers=HTML).body.decode()


def test_a_folder_is_measured_once_in_an_hour(tmp_path: Path):
    now = [0.0]
    disk_use = DiskUse([str(tmp_path)], lambda: now[0])
    first = measured(disk_use)
    (tmp_path / "file").write_bytes(b"0" * 100_000)
    now[0] = 3600.0
    assert measured(disk_use) is first
    now[0] = 3601.0
    assert measured(disk_use).sizes[tmp_path.name] > first.sizes[tmp_path.name]


def test_a_folder_in_another_counts_by_itself(tmp_path: Path):
    (tmp_path / "state" / "cache").mkdir(parents=True)
    (tmp_path / "state" / "cache" / "file").write_bytes(os.urandom(100_000))
    paths = [str(tmp_path / "state"), str(tmp_path / "state" / "cache"), str(tmp_path / "absent")]
    sizes = measured(DiskUse(paths)).sizes
    assert sizes["cache"] >= 100_000 > sizes["state"]
    assert sizes["absent"] == 0


def test_only_operators_see_them(tmp_path: Path):
    clock, downloads = in_memory()
    index = GuardedIndex(tmp_path, clock=clock, downloads=downloads)
    assert "cache" in json.loads(index.get("/-/stats", headers=JSON | as_user("alice")).body)
    for fields in ({}, as_user("bob")):
        assert "cache" not in json.loads(index.get("/-/stats", headers=JSON | fields).body)
        assert "Disk use" not in index.get("/-/stats", headers=HTML | fields).body.decode()


def test_sizes_have_units():
    assert [in_units(size) for size in (0, 999, 1000, 1_250_000, 999_600, 42_000_000_000)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "1.2 MB",
        "1.0 MB",
        "42 GB",
    ]
