"""
Rows about what people search, in an index of 10,000 projects with summaries.

Not for: pages of installers (`rows`).
"""

from __future__ import annotations

import contextlib
import json
import random
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.benchmarks.bench import Cell, Row
from tests.benchmarks.figures import Ratio
from tests.benchmarks.load import Client
from tests.benchmarks.servers import TwistedIndex
from tests.benchmarks.trees import kept
from twisted_index.testing import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.benchmarks.bench import Bench

_ACCEPT = {"Accept": "application/json"}
_QUERIES = 500
_SECONDS = 600.0
#: Syllables of words, which are as many as in the summaries of so many real projects.
_ONSETS, _REST = (
    ["b", "c", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "st", "tr"],
    ["a", "an", "ar", "e", "el", "en", "i", "in", "o", "on", "or", "u", "um", "y"],
)


def _word(choose: random.Random) -> str:
    return "".join(choose.choice(_ONSETS) + choose.choice(_REST) for _ in range(choose.choice((1, 2, 2, 3))))


def _describe(choose: random.Random) -> tuple[str, str]:
    """Make a name and a summary; a few words are in many."""
    usual = ("python", "library", "for", "a", "client", "data", "fast", "api")
    words = (choose.choice(usual) if choose.random() < 0.3 else _word(choose) for _ in range(8))
    return "-".join(_word(choose) for _ in range(choose.choice((1, 2, 2, 3)))), " ".join(words)


def _fill(folder: Path, *, projects: int) -> None:
    choose = random.Random(7)
    names = dict(_describe(choose) for _ in range(projects * 2))
    for name, summary in list(names.items())[:projects]:
        make_wheel(name, "1.0", extra_metadata=[f"Summary: {summary}"]).write_to(folder)


_ASKED: dict[str, Callable[[random.Random], str]] = {
    "a name": lambda choose: _describe(choose)[0],
    "three letters": lambda choose: _word(choose)[:3],
    "two words": lambda choose: f"python {_word(choose)}",
    "a typo": lambda choose: _describe(choose)[0] + "x",
    "an import name": lambda choose: f"module:{_word(choose)}",
}


@contextlib.contextmanager
def _search(bench: Bench) -> Iterator[list[Cell]]:
    projects = 1000 if bench.quick else 10_000
    folder = kept(bench.cache / f"described-{projects}", lambda place: _fill(place, projects=projects))
    with bench.running(TwistedIndex, folder, state=bench.place()) as server:
        _await_all(server.port)

        def asked(make: Callable[[random.Random], str]) -> Callable[[], dict[str, float]]:
            def measure() -> dict[str, float]:
                choose = random.Random(11)
                with Client(server.port) as client:
                    taken = sorted(_timed(client, make(choose)) for _ in range(_QUERIES))
                percentiles = {"p50": taken[_QUERIES // 2] * 1e6, "p99": taken[_QUERIES * 99 // 100] * 1e6}
                return {**percentiles, "memory": float(server.process.resident_bytes())}

            return measure

        yield [Cell(what, asked(make)) for what, make in _ASKED.items()]


def _await_all(port: int) -> None:
    """Search until the summaries of all projects are known."""
    until = time.monotonic() + _SECONDS
    with Client(port) as client:
        while time.monotonic() < until:
            found = json.loads(client.get("/-/search?q=python", _ACCEPT).body)
            if found["known"] == found["projects"]:
                return
            time.sleep(0.5)
    raise TimeoutError("the projects were not read in time")


def _timed(client: Client, query: str) -> float:
    began = time.monotonic()
    answer = client.get(f"/-/search?limit=8&q={quote(query)}", _ACCEPT)
    took = time.monotonic() - began
    assert answer.status == 200, answer.body[:200]
    return took


ROWS = (
    Row(
        "search",
        _search,
        tuple(
            Ratio(f"search of 10,000 projects by {what}: {metric}", metric, what, goal=goal)
            for what in _ASKED
            for metric, goal in (("p50", "≤ 5000 µs"), ("p99", "≤ 20000 µs"))
        ),
    ),
)
