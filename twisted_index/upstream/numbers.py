"""What is counted of an upstream, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.exposition import Sample, counter, gauge

if TYPE_CHECKING:
    from twisted_index.exposition import Metric
    from twisted_index.upstream.source import UpstreamSource

_NUMBERS = {
    "page_hits": "Pages of upstreams that were given without a request.",
    "page_misses": "Pages that had to be fetched.",
    "page_revalidated": "Pages that the upstream said are still so.",
    "page_stale": "Old pages that were given since the upstream could not be asked.",
    "file_hits": "Files and documents of upstreams that were in the cache.",
    "file_misses": "Files and documents that had to be fetched.",
    "file_joined": "Files that somebody else was fetching already.",
    "files_refused": "Files that were not what the upstream had promised.",
    "bytes_from_upstream": "Bytes of files that came from upstreams.",
}


class UpstreamNumbers:
    """
    The numbers of an upstream as metrics.

    Args:
        source: Counts.
    """

    def __init__(self, source: UpstreamSource) -> None:
        self._source = source

    def metrics(self) -> tuple[Metric, ...]:
        """See `HasMetrics`."""
        numbers = self._source.metrics()
        held = numbers.pop("bytes_in_cache")
        return (
            gauge("twisted_index_cache_bytes", "Bytes that files in the cache take.", Sample(held)),
            *(
                counter(f"twisted_index_upstream_{name}_total", _NUMBERS[name], Sample(number))
                for name, number in numbers.items()
            ),
        )
