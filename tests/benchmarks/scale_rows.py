"""
Rows about large trees, and about what changes while they are read.

Not for: other package indexes (`peer_rows`).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from tests.benchmarks import trees
from tests.benchmarks.bench import Cell, Row
from tests.benchmarks.drops import drops
from tests.benchmarks.figures import Ratio
from tests.benchmarks.load import JSON, Ask, paced
from tests.benchmarks.servers import Nginx, TwistedIndex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.benchmarks.bench import Bench

_PAGE = f"/simple/{trees.DEMO}/"
_ACCEPT = {"Accept": JSON}
_FILES = 10
_READERS = 4
_OURS, _AUTOINDEX = TwistedIndex.name, "nginx autoindex"


def _name(number: int) -> str:
    return f"/simple/project-{number:05d}/"


def start(bench: Bench, folder: Path, state: Path | None, **more: object) -> dict[str, float]:
    """Start it, and wait for a whole page of a project in the middle."""
    with bench.running(TwistedIndex, folder, state=state, **more) as server:
        body = bench.await_page(server, _name(500))
        took = bench.since_start(server)
        files = json.loads(body)["files"]
        assert len(files) == _FILES
        assert all(file["hashes"]["sha256"] for file in files)
        return {"first_page": took, "memory": float(server.process.resident_bytes())}


def all_pages(
    bench: Bench, folder: Path, projects: int, state: Path | None = None, **more: object
) -> dict[str, float]:
    """Start it, ask for every page there is, and look at its memory."""
    with bench.running(TwistedIndex, folder, state=state, **more) as server:
        began, before = time.monotonic(), server.process.cpu_seconds()

        def ask(share: int) -> None:
            for number in range(share, projects, _READERS):
                files = json.loads(bench.await_page(server, _name(number)))["files"]
                assert len(files) == _FILES

        with ThreadPoolExecutor(_READERS) as pool:
            list(pool.map(ask, range(_READERS)))
        return {
            "all_pages": time.monotonic() - began,
            "server_cpu": server.process.cpu_seconds() - before,
            "memory": float(server.process.resident_bytes()),
        }


@contextlib.contextmanager
def _starts(bench: Bench) -> Iterator[list[Cell]]:
    projects = 1000 if bench.quick else 10_000
    folder, state = trees.many(bench.cache, projects, _FILES), bench.place()
    bench.figures.add("start", "all asked for, cold ledger", all_pages(bench, folder, projects, state))
    bench.figures.add("start", "all asked for, warm ledger", all_pages(bench, folder, projects, state))
    part = trees.many(bench.cache, 1000, _FILES)
    bench.figures.add("start", "10,000 files asked for", all_pages(bench, part, 1000))
    yield [
        Cell("cold ledger", lambda: start(bench, folder, None)),
        Cell("warm ledger", lambda: start(bench, folder, state)),
    ]
    shutil.rmtree(state)


@contextlib.contextmanager
def _drops(bench: Bench) -> Iterator[list[Cell]]:
    with (
        drops(bench, _OURS, TwistedIndex) as ours,
        drops(bench, _AUTOINDEX, Nginx, prefix="/", autoindex=True) as nginx,
    ):
        yield [ours, nginx]


def _percentile(values: list[float], part: float) -> float:
    return values[min(len(values) - 1, int(len(values) * part))] * 1e6


def _latencies(taken: list[float]) -> dict[str, float]:
    return {"p50": _percentile(taken, 0.5), "p99": _percentile(taken, 0.99)}


@contextlib.contextmanager
def _reading(bench: Bench) -> Iterator[list[Cell]]:
    small, wide = trees.small(bench.cache), trees.many(bench.cache, 1, 1000 if bench.quick else 10_000)

    def measure(cores: frozenset[int], reads: bool) -> dict[str, float]:
        with bench.running(TwistedIndex, small, wide, cores=cores) as server:
            ask = Ask(server.port, _PAGE, _ACCEPT)
            bench.await_page(server, _PAGE)
            paced(ask, until=_after(0.5))
            if not reads:
                return _latencies(paced(ask, until=_after(float(bench.seconds))))
            # One request has all files of its project read; nothing is asked for until it is answered.
            reading = threading.Thread(target=bench.await_page, args=(server, _name(0)))
            reading.start()
            try:
                return _latencies(paced(ask, until=lambda: not reading.is_alive()))
            finally:
                reading.join()

    yield [
        Cell(f"{words}, {where}", partial(measure, cores, reads))
        for where, cores in (("both cores", bench.cores.everything), ("one core", bench.cores.server))
        for words, reads in (("idle", False), ("reading", True))
    ]


def _after(seconds: float) -> _Until:
    return _Until(time.monotonic() + seconds)


class _Until:
    """Tells whether a moment has come."""

    def __init__(self, moment: float) -> None:
        self._moment = moment

    def __call__(self) -> bool:
        return time.monotonic() >= self._moment


ROWS = (
    Row(
        "start",
        _starts,
        (
            Ratio("start to first page of 100,000 files, cold", "first_page", "cold ledger", "", "≤ 1 s"),
            Ratio("start to first page of 100,000 files, warm", "first_page", "warm ledger", "", "≤ 1 s"),
            Ratio(
                "all pages after a restart / the first time",
                "all_pages",
                "all asked for, warm ledger",
                "all asked for, cold ledger",
            ),
            Ratio("memory, 10,000 files asked for", "memory", "10,000 files asked for", "", "≤ 80 MB"),
            Ratio("memory, 100,000 files asked for", "memory", "all asked for, cold ledger", "", "≤ 250 MB"),
        ),
    ),
    Row(
        "drop",
        _drops,
        (
            Ratio("answers after a drop that lack the file", "missed", _OURS, "", "≤ 0"),
            Ratio("drop to visible / nginx's autoindex", "visible", _OURS, _AUTOINDEX),
        ),
    ),
    Row(
        "reading",
        _reading,
        (
            Ratio(
                "p99 while 10,000 files are read / idle, 2 cores",
                "p99",
                "reading, both cores",
                "idle, both cores",
                "≤ 5",
            ),
            Ratio("the same, on one core", "p99", "reading, one core", "idle, one core"),
        ),
    ),
)
