"""The numbers of the server, and the format in which Prometheus reads them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher

from twisted_index.exposition import (
    HasMetrics,
    Metric,
    Sample,
    counter,
    gauge,
    write_metrics,
)
from twisted_index.web.metrics import (
    Counters,
    Outcome,
    build_metrics,
    index_metrics,
    process_metrics,
    write_all,
)

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")
NUMBER = re.compile(r"NaN|[+-]Inf|-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?")

Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]


def unescape(value: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], value)


def parse(page: bytes) -> Numbers:
    """Read the format as its specification has it, and refuse all that it forbids or leaves open."""
    assert not page or page.endswith(b"\n")
    numbers: Numbers = {}
    seen: set[str] = set()
    name = ""
    lines = iter(page.decode("utf-8").split("\n")[:-1])
    for line in lines:
        if line.startswith("# HELP "):
            name, _blank, text = line.removeprefix("# HELP ").partition(" ")
            assert name not in seen, "a metric stands in two places"
            seen.add(name)
            assert text
            kind = re.fullmatch(rf"# TYPE {name} (counter|gauge)", next(lines))
            assert kind is not None
            assert (kind[1] == "counter") is name.endswith("_total")
            continue
        match = SAMPLE.fullmatch(line)
        assert match is not None, line
        assert match[1] == name
        number = match[match.re.groups]
        assert NUMBER.fullmatch(number)
        found = re.findall(LABEL, match[2] or "")
        labels = {label: unescape(value) for label, value in found}
        assert len(labels) == len(found)
        key = (name, frozenset(labels.items()))
        assert key not in numbers, "a number is there twice"
        numbers[key] = float(number)
    return numbers


def of(numbers: Numbers, name: str, **labels: str) -> float:
    return numbers[name, frozenset(labels.items())]


def names(metrics: Iterable[Metric]) -> set[str]:
    return {metric.name for metric in metrics}


@settings(derandomize=True)
@given(
    st.lists(
        st.builds(
            gauge,
            st.sampled_from(["demo_one", "demo_two"]),
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
            st.builds(
                Sample,
                st.floats() | st.integers(),
                st.lists(
                    st.tuples(st.sampled_from(["a", "b"]), st.text(st.characters(exclude_categories=["Cs"]))),
                    unique_by=lambda pair: pair[0],
                ).map(tuple),
            ),
        )
    )
)
def test_whatever_the_numbers_and_labels_are_the_page_can_be_read_and_means_the_same(metrics: list[Metric]):
    numbers = parse(write_metrics(metrics))
    assert {(metric.name, frozenset(metric.samples[0].labels)) for metric in metrics} == set(numbers)


def test_equal_numbers_of_two_parts_are_added_up_and_stand_together():
    def part(hits: int, held: int) -> list[Metric]:
        of_pages = (("cache", "page"),)
        return [counter("demo_total", "x", Sample(hits, of_pages)), gauge("demo_bytes", "y", Sample(held))]

    numbers = parse(write_metrics([*part(3, 0), *part(4, 10)]))
    assert of(numbers, "demo_total", cache="page") == 7
    assert of(numbers, "demo_bytes") == 10


def test_large_numbers_keep_every_digit():
    assert b"\ndemo_total 9007199254740993\n" in write_metrics(
        [counter("demo_total", "x", Sample(2**53 + 1))]
    )


def test_a_name_that_prometheus_does_not_take_is_an_error_at_once():
    with pytest.raises(ValueError, match="demo-one"):
        gauge("demo-one", "x", Sample(1))
    with pytest.raises(ValueError, match="a-b"):
        gauge("demo", "x", Sample(1, (("a-b", "c"),)))


def test_requests_are_counted_by_method_and_status_and_invented_methods_are_one():
    counters = Counters()
    for method, status in ((b"GET", 200), (b"GET", 200), (b"GET", 304), (b"BREW", 405), (b"SING", 405)):
        counters.count(method, status, 10)
    numbers = parse(write_metrics(counters.metrics()))
    assert of(numbers, "twisted_index_http_requests_total", method="GET", status="200") == 2
    assert of(numbers, "twisted_index_http_requests_total", method="GET", status="304") == 1
    assert of(numbers, "twisted_index_http_requests_total", method="other", status="405") == 2
    assert of(numbers, "twisted_index_http_response_bytes_total") == 50


def test_invented_methods_take_no_memory():
    counters = Counters()
    for number in range(1000):
        counters.count(b"M%d" % number, 405, 0)
    assert len(counters.requests) == 1


def test_only_accepted_uploads_count_with_their_bytes():
    counters = Counters()
    counters.count_upload(Outcome.ACCEPTED, 100)
    counters.count_upload(Outcome.UNCHANGED, 100)
    counters.count_upload(Outcome.REFUSED)
    numbers = parse(write_metrics(counters.metrics()))
    assert of(numbers, "twisted_index_uploads_total", outcome="accepted") == 1
    assert of(numbers, "twisted_index_uploads_total", outcome="refused") == 1
    assert of(numbers, "twisted_index_uploads_total", outcome="failed") == 0
    assert of(numbers, "twisted_index_upload_bytes_total") == 100


def test_what_cannot_be_told_now_is_left_out_and_not_zero():
    assert names(index_metrics(connections=1, projects=None)) == {"twisted_index_http_connections"}
    numbers = parse(write_metrics(index_metrics(connections=1, projects=0)))
    assert of(numbers, "twisted_index_projects") == 0


def test_the_build_is_told_as_labels():
    ((_name, labels),) = parse(write_metrics(build_metrics()))
    assert {label for label, _value in labels} == {"version", "twisted", "python"}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no proc file system")
def test_the_process_tells_when_it_began_and_what_it_takes():
    numbers = parse(write_metrics(process_metrics()))
    assert of(numbers, "process_start_time_seconds") > 1.7e9
    assert of(numbers, "process_resident_memory_bytes") > 1 << 20
    assert 3 <= of(numbers, "process_open_fds") <= of(numbers, "process_max_fds")
    assert of(numbers, "process_cpu_seconds_total") >= 0


def test_a_program_with_an_odd_name_does_not_move_the_numbers(tmp_path: Path):
    own = tmp_path / "self"
    (own / "fd").mkdir(parents=True)
    for number in range(4):
        (own / "fd" / str(number)).touch()
    fields = [b"S", *(b"%d" % number for number in range(4, 53))]
    fields[19], fields[21] = b"250", b"3"
    (own / "stat").write_bytes(b"1 (a) b (c) " + b" ".join(fields) + b"\n")
    (own / "limits").write_bytes(b"Limit  Soft Hard Units\nMax open files            unlimited  unlimited\n")
    (tmp_path / "stat").write_bytes(b"cpu  1 2 3\nbtime 1700000000\nprocesses 5\n")
    numbers = parse(write_metrics(process_metrics(str(tmp_path))))
    ticks = os.sysconf("SC_CLK_TCK")
    assert of(numbers, "process_start_time_seconds") == 1700000000 + 250 / ticks
    assert of(numbers, "process_resident_memory_bytes") == 3 * os.sysconf("SC_PAGE_SIZE")
    assert of(numbers, "process_open_fds") == 3
    assert of(numbers, "process_max_fds") == float("inf")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no proc file system")
def test_where_only_the_process_itself_is_shown_the_rest_is_told(tmp_path: Path):
    # As with ProcSubset=pid of systemd.
    (tmp_path / "self").symlink_to("/proc/self")
    told = names(process_metrics(str(tmp_path)))
    assert "process_resident_memory_bytes" in told
    assert "process_start_time_seconds" not in told


def test_without_a_proc_file_system_there_are_no_such_numbers(tmp_path: Path):
    assert process_metrics(str(tmp_path)) == ()


def test_a_part_that_fails_is_logged_and_the_others_are_told():
    events: list[dict[str, object]] = []
    globalLogPublisher.addObserver(events.append)
    try:
        page = write_all([lambda: 1 / 0, Counters().metrics])
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert of(parse(page), "twisted_index_upload_bytes_total") == 0
    assert len([event for event in events if "log_failure" in event]) == 1


def test_whatever_has_numbers_says_so_by_its_method():
    assert isinstance(Counters(), HasMetrics)
