"""Counters of an upstream source, collected by Prometheus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

_COUNTERS = {
    "page_hits": "Upstream pages that were served without a request.",
    "page_misses": "Upstream pages that had to be fetched.",
    "page_revalidated": "Upstream pages that were unchanged on revalidation.",
    "page_stale": "Stale pages that were served because the upstream was unavailable.",
    "file_hits": "Upstream files and documents that were in the cache.",
    "file_misses": "Upstream files and documents that had to be fetched.",
    "file_joined": "Upstream files that another request was already fetching.",
    "files_refused": "Upstream files that differed from what the upstream had promised or listed.",
    "bytes_from_cache": "Bytes of upstream files that were in the cache.",
    "bytes_from_upstream": "Bytes of files that came from upstreams.",
}


@dataclass(slots=True)
class UpstreamCounters:
    """
    Counts since the start, as `_COUNTERS` describes them.

    Attributes:
        bytes_in_cache: Size of the cached files in bytes, as last measured; a gauge.
    """

    page_hits: int = 0
    page_misses: int = 0
    page_revalidated: int = 0
    page_stale: int = 0
    file_hits: int = 0
    file_misses: int = 0
    file_joined: int = 0
    files_refused: int = 0
    bytes_from_cache: int = 0
    bytes_from_upstream: int = 0
    bytes_in_cache: int = 0

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, see `prometheus_client.registry.Collector`."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        yield GaugeMetricFamily(
            "twisted_index_cache_bytes", "Bytes used by cached files.", self.bytes_in_cache
        )
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"twisted_index_upstream_{name}", text, getattr(self, name))
