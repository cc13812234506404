"""The metrics of the server, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from twisted.logger import globalLogPublisher

from twisted_index.backends.upstream.counters import UpstreamCounters
from twisted_index.metrics.counters import BOUNDS, KINDS, Counters, Kind, Outcome
from twisted_index.metrics.exposition import CollectorGroup, Exposition

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TEXT = "text/plain; version=0.0.4; charset=utf-8"

Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Given:
    """A collector of what it is given."""

    def __init__(self, *metrics: Metric) -> None:
        self.metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self.metrics


def parse(families: Iterable[Metric]) -> Numbers:
    """Read a page, and refuse one that has a family or a sample twice."""
    numbers: Numbers = {}
    seen: set[str] = set()
    for family in families:
        assert family.name not in seen, "a metric stands in two places"
        assert family.documentation
        seen.add(family.name)
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in numbers, "a number is there twice"
            numbers[key] = sample.value
    return numbers


def as_text(exposition: Exposition, projects: int | None = 0) -> Numbers:
    media_type, page = exposition.write("", connections=1, projects=projects)
    assert media_type.decode() == TEXT
    return parse(text_string_to_metric_families(page.decode()))


def of(numbers: Numbers, name: str, **labels: str) -> float:
    return numbers[name, frozenset(labels.items())]


def names(numbers: Numbers) -> set[str]:
    return {name for name, _labels in numbers}


def test_requests_are_counted_by_method_and_status_and_invented_methods_are_one():
    counters = Counters()
    for method, status in ((b"GET", 200), (b"GET", 200), (b"GET", 304), (b"BREW", 405), (b"SING", 405)):
        counters.count(method, status, 10, "other")
    numbers = as_text(Exposition(counters))
    assert of(numbers, "twisted_index_http_requests_total", method="GET", status="200") == 2
    assert of(numbers, "twisted_index_http_requests_total", method="GET", status="304") == 1
    assert of(numbers, "twisted_index_http_requests_total", method="other", status="405") == 2
    assert of(numbers, "twisted_index_http_response_bytes_total") == 50


def test_invented_methods_take_no_memory():
    counters = Counters()
    for number in range(1000):
        counters.count(b"M%d" % number, 405, 0, "other")
    assert len(counters.requests) == 1


def test_only_accepted_uploads_count_with_their_bytes():
    counters = Counters()
    counters.count_upload(Outcome.ACCEPTED, 100)
    counters.count_upload(Outcome.UNCHANGED, 100)
    counters.count_upload(Outcome.REFUSED)
    numbers = as_text(Exposition(counters))
    assert of(numbers, "twisted_index_uploads_total", outcome="accepted") == 1
    assert of(numbers, "twisted_index_uploads_total", outcome="refused") == 1
    assert of(numbers, "twisted_index_uploads_total", outcome="failed") == 0
    assert of(numbers, "twisted_index_upload_bytes_total") == 100


def test_a_scrape_tells_what_holds_now():
    counters = Counters()
    exposition = Exposition(counters)
    assert of(as_text(exposition, projects=3), "twisted_index_projects") == 3
    counters.count(b"GET", 200, 7, "page")
    numbers = as_text(exposition, projects=4)
    assert of(numbers, "twisted_index_projects") == 4
    assert of(numbers, "twisted_index_http_connections") == 1
    assert of(numbers, "twisted_index_http_response_bytes_total") == 7


def test_what_cannot_be_told_now_is_left_out_and_not_zero():
    exposition = Exposition(Counters())
    assert "twisted_index_projects" in names(as_text(exposition, projects=0))
    assert "twisted_index_projects" not in names(as_text(exposition, projects=None))


def test_the_build_is_told_as_labels():
    (labels,) = [
        labels for name, labels in as_text(Exposition(Counters())) if name == "twisted_index_build_info"
    ]
    assert {label for label, _value in labels} == {"version", "twisted", "python"}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no proc file system")
def test_the_process_tells_when_it_began_and_what_it_takes():
    numbers = as_text(Exposition(Counters()))
    assert of(numbers, "process_start_time_seconds") > 1.7e9
    assert of(numbers, "process_resident_memory_bytes") > 1 << 20
    assert 3 <= of(numbers, "process_open_fds") <= of(numbers, "process_max_fds")
    assert of(numbers, "process_cpu_seconds_total") >= 0


def test_without_a_proc_file_system_the_process_has_no_numbers(tmp_path: Path):
    assert list(CollectorGroup([ProcessCollector(proc=str(tmp_path), registry=None)]).collect()) == []


def test_both_formats_tell_the_same_without_the_time_of_creation():
    counters = Counters()
    counters.count(b"GET", 200, 7, "page")
    exposition = Exposition(counters, [UpstreamCounters(page_hits=3)])
    media_type, page = exposition.write(OPENMETRICS, connections=1, projects=2)
    assert media_type.decode().startswith(OPENMETRICS)
    told = parse(openmetrics.text_string_to_metric_families(page.decode()))
    assert of(told, "twisted_index_upstream_page_hits_total") == 3
    assert names(told) == names(as_text(exposition))
    assert not any(name.endswith("_created") for name in names(told))


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html", TEXT),
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", TEXT),
        ("application/openmetrics-text", f"{OPENMETRICS}; charset=utf-8"),
        ("application/openmetrics-text;=;;version", f"{OPENMETRICS}; charset=utf-8"),
    ],
)
def test_a_format_is_chosen_by_accept(accept: str, media_type: str):
    chosen, page = Exposition(Counters()).write(accept, connections=1, projects=0)
    assert chosen.decode() == media_type
    assert page.endswith(b"# EOF\n") is media_type.startswith(OPENMETRICS)


@pytest.mark.parametrize("version", ["x", "1.x", "٢.0.0", "2.<script>", "2.\x01", "9" * 5000])
def test_a_version_that_makes_no_sense_is_not_repeated(version: str):
    accept = f"application/openmetrics-text;version={version}"
    chosen, _page = Exposition(Counters()).write(accept, connections=1, projects=0)
    assert chosen.decode() in (TEXT, f"{OPENMETRICS}; charset=utf-8")


_ACCEPTS = st.lists(
    st.sampled_from(["application/openmetrics-text", "text/plain", ";", ",", "=", "version=", "escaping="])
    | st.sampled_from(["1.0.0", "2", ".", "allow-utf-8", "dots", "values"])
    | st.text(st.characters(max_codepoint=255), max_size=3)
).map("".join)


@given(_ACCEPTS)
def test_no_accept_makes_a_scrape_fail(accept: str):
    media_type, page = Exposition(Counters()).write(accept, connections=1, projects=0)
    assert media_type.startswith((b"text/plain; ", b"application/openmetrics-text; "))
    assert media_type.decode().isprintable()
    assert b"twisted_index_projects 0.0\n" in page


_LABELS = st.dictionaries(
    st.sampled_from(["a", "b"]), st.text(st.characters(exclude_categories=["Cs"])), max_size=2
)


@given(
    st.lists(
        st.tuples(st.sampled_from(["demo_one", "demo_two"]), st.lists(st.tuples(_LABELS, st.integers(0, 99))))
    )
)
def test_equal_samples_of_several_parts_are_added_up_and_stand_together(
    parts: list[tuple[str, list[tuple[dict[str, str], int]]]],
):
    expected: Numbers = {}
    collectors = []
    for name, samples in parts:
        metric = GaugeMetricFamily(name, "x")
        collectors += [Given(metric)]
        once = {frozenset(labels.items()): (labels, value) for labels, value in samples}
        for labels, value in once.values():
            metric.add_sample(name, labels, value)
            key = (name, frozenset(labels.items()))
            expected[key] = expected.get(key, 0) + value
    for _again in range(2):
        told = as_text(Exposition(Counters(), collectors))
        assert {key: told[key] for key in expected} == expected


def test_the_counters_of_two_upstreams_are_added_up():
    told = as_text(
        Exposition(
            Counters(), [UpstreamCounters(page_hits=3), UpstreamCounters(page_hits=4, bytes_in_cache=10)]
        )
    )
    assert of(told, "twisted_index_upstream_page_hits_total") == 7
    assert of(told, "twisted_index_cache_bytes") == 10


def test_a_part_that_fails_is_logged_and_the_others_are_told():
    class Broken:
        def collect(self) -> Iterator[Metric]:
            yield CounterMetricFamily("demo", "x", 1)
            raise ZeroDivisionError

    events: list[dict[str, object]] = []
    globalLogPublisher.addObserver(events.append)
    try:
        told = as_text(Exposition(Counters(), [Broken(), UpstreamCounters()]))
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert of(told, "twisted_index_upload_bytes_total") == 0
    assert of(told, "twisted_index_upstream_page_hits_total") == 0
    assert len([event for event in events if "log_failure" in event]) == 1


def test_two_servers_of_one_program_have_their_own_numbers(monkeypatch: pytest.MonkeyPatch):
    def forbidden(*_: object) -> None:
        raise AssertionError("the global registry was used")

    monkeypatch.setattr(prometheus_client.REGISTRY, "register", forbidden)
    monkeypatch.setattr(prometheus_client.REGISTRY, "collect", forbidden)
    one, other = Counters(), Counters()
    first, second = Exposition(one), Exposition(other)
    one.count(b"GET", 200, 5, "page")
    assert of(as_text(first), "twisted_index_http_response_bytes_total") == 5
    assert of(as_text(second), "twisted_index_http_response_bytes_total") == 0


def test_what_the_fast_path_answered_counts_as_the_shortest():
    counters = Counters()
    for _ in range(3):
        counters.count(b"GET", 200, 7, "page")
    counters.measure("page", 0.7)
    numbers = as_text(Exposition(counters))
    name = "twisted_index_http_request_duration_seconds"
    assert of(numbers, f"{name}_bucket", route="page", le="0.005") == 2
    assert of(numbers, f"{name}_bucket", route="page", le="0.5") == 2
    assert of(numbers, f"{name}_bucket", route="page", le="2.5") == 3
    assert of(numbers, f"{name}_count", route="page") == 3
    assert of(numbers, f"{name}_sum", route="page") == 0.7


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.floats(0, 1e6)), max_size=20))
def test_buckets_never_fall_and_end_with_the_count(durations: list[tuple[Kind, float]]):
    counters = Counters()
    for kind, seconds in durations:
        counters.count(b"GET", 200, 0, kind)
        counters.measure(kind, seconds)
    numbers = as_text(Exposition(counters))
    name = "twisted_index_http_request_duration_seconds"
    for kind in KINDS:
        bounds = (*map(str, BOUNDS), "+Inf")
        values = [of(numbers, f"{name}_bucket", route=kind, le=bound) for bound in bounds]
        assert values == sorted(values)
        assert values[-1] == of(numbers, f"{name}_count", route=kind) == [k for k, _ in durations].count(kind)
