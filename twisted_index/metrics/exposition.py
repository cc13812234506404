"""
The Prometheus metrics of a server.

Imported by the first scrape: `prometheus_client` takes tens of milliseconds, and most servers are never
scraped. Sources bring collectors of their own.
"""

from __future__ import annotations

import copy
import platform
import re
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from twisted.logger import Logger

from twisted_index.metrics.counters import BOUNDS, KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client import Metric
    from prometheus_client.registry import Collector
    from prometheus_client.samples import Sample

    from twisted_index.files.reload_status import ReloadStatus
    from twisted_index.metrics.counters import Counters

_log = Logger()

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9 /;=._-]+")


class Exposition:
    """
    The metrics of one server.

    Args:
        counters: What the server counts.
        collectors: Of its sources and other parts.
    """

    def __init__(self, counters: Counters, collectors: Iterable[Collector] = ()) -> None:
        self._state = _State()
        # Not prometheus_client's global registry: a program may run several servers.
        self._registry = CollectorRegistry()
        ours: tuple[Collector, ...] = (_Build(), self._state, _Counted(counters), counters.wanted)
        self._registry.register(CollectorGroup((*ours, *collectors, ProcessCollector(registry=None))))
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def write(
        self, accept: str, *, connections: int, projects: int | None, files: Sequence[ReloadStatus] = ()
    ) -> tuple[bytes, bytes]:
        """
        Write all metrics. Call it in the reactor.

        Args:
            accept: The value of Accept; empty if the request has none.
            connections: Open ones.
            projects: In the project list; None if that is not known now, and then it is left out.
            files: Those that are read again when they change.

        Returns:
            Media type and body.
        """
        self._state.connections, self._state.projects, self._state.files = connections, projects, files
        encode, media_type = _encoder(accept)
        return media_type.encode("ascii"), encode(self._registry)


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """Choose OpenMetrics or text; text 0.0.4 for whatever `choose_encoder` cannot read."""
    try:
        encode, media_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is not made of numbers
        return choose_encoder("")
    # It repeats the version as the client wrote it.
    return (encode, media_type) if _MEDIA_TYPE.fullmatch(media_type) else choose_encoder("")


class CollectorGroup:
    """
    Several collectors as one. A collector that fails is left out and logged.

    Samples with equal names and labels, as two upstreams have them, are added up: Prometheus refuses
    a page that has a sample twice.
    """

    def __init__(self, collectors: Iterable[Collector]) -> None:
        self._collectors = tuple(collectors)

    def collect(self) -> Iterable[Metric]:
        """Collect the metrics of all, each family once."""
        families: dict[str, Metric] = {}
        for collector in self._collectors:
            try:
                found = list(collector.collect())
            except Exception:
                _log.failure("Some metrics could not be collected")
                continue
            for family in found:
                first = families.get(family.name)
                families[family.name] = family if first is None else _merged(first, family)
        return families.values()


def _merged(one: Metric, other: Metric) -> Metric:
    samples: dict[tuple[str, frozenset[tuple[str, str]]], Sample] = {}
    for sample in (*one.samples, *other.samples):
        key = (sample.name, frozenset(sample.labels.items()))
        known = samples.get(key)
        samples[key] = sample if known is None else known._replace(value=known.value + sample.value)
    merged = copy.copy(one)
    merged.samples = list(samples.values())
    return merged


class _Build:
    """The versions that run."""

    def __init__(self) -> None:
        self._versions = {
            "version": _version("twisted-index"),
            "twisted": _version("twisted"),
            "python": platform.python_version(),
        }

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("twisted_index_build", "Running versions; always 1.", self._versions)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


class _State:
    """What holds at this moment."""

    connections = 0
    projects: int | None = None
    files: Sequence[ReloadStatus] = ()

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("twisted_index_http_connections", "Open connections.", self.connections)
        if self.projects is not None:
            yield GaugeMetricFamily("twisted_index_projects", "Projects in the project list.", self.projects)
        if self.files:
            yield from self._reloads()

    def _reloads(self) -> Iterator[Metric]:
        text = "Whether the file could be used when it was read last."
        successful = GaugeMetricFamily("twisted_index_config_last_reload_successful", text, labels=["file"])
        text = "When the file could be used last, in seconds since the epoch."
        moment = GaugeMetricFamily(
            "twisted_index_config_last_reload_success_timestamp_seconds", text, labels=["file"]
        )
        # Files in several folders may have one name: then the worst counts.
        for name in sorted({status.name for status in self.files}):
            same = [status for status in self.files if status.name == name]
            successful.add_metric([name], all(status.error is None for status in same))
            moment.add_metric([name], min(status.loaded_at for status in same))
        yield from (successful, moment)


class _Counted:
    """What the server has counted."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        counters = self._counters
        text = "Requests answered."
        requests = CounterMetricFamily("twisted_index_http_requests", text, labels=["method", "status"])
        by_kind = Counter[str]()
        by_status = Counter[tuple[bytes, int]]()
        for (method, status, kind), number in counters.requests.items():
            by_kind[kind] += number
            by_status[method, status] += number
        for (method, status), number in sorted(by_status.items()):
            requests.add_metric([method.decode("ascii"), str(status)], number)
        yield requests
        yield self._durations(by_kind)
        text = "Bytes of response bodies that were sent."
        yield CounterMetricFamily("twisted_index_http_response_bytes", text, counters.body_bytes)
        text = "Uploads, by their outcome."
        uploads = CounterMetricFamily("twisted_index_uploads", text, labels=["outcome"])
        for outcome, number in counters.uploads.items():
            uploads.add_metric([outcome.value], number)
        yield uploads
        text = "Bytes of uploaded files that were accepted."
        yield CounterMetricFamily("twisted_index_upload_bytes", text, counters.upload_bytes)

    def _durations(self, requests: Mapping[str, int]) -> HistogramMetricFamily:
        text = (
            "Seconds from the first line of a request to the last byte of its response handed to the"
            " transport. Responses of the fast path are not measured: they count as the shortest, and"
            " add nothing to the sum."
        )
        histogram = HistogramMetricFamily(
            "twisted_index_http_request_duration_seconds", text, labels=["route"]
        )
        bounds = (*map(str, BOUNDS), "+Inf")
        for kind in KINDS:
            durations = self._counters.durations[kind]
            fast = requests.get(kind, 0) - sum(durations)
            cumulated = accumulate((fast + durations[0], *durations[1:]))
            buckets = list(zip(bounds, cumulated, strict=True))
            histogram.add_metric([kind], buckets, self._counters.seconds[kind])
        return histogram
