"""
Rows about what people search, in an index of 10,000 projects with summaries.

Not for: pages of installers (`rows`).
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import time
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.benchmarks.bench import Cell, Row
from tests.benchmarks.figures import Ratio
from tests.benchmarks.load import Client
from tests.benchmarks.processes import on
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


#: Two of the rules close projects to the client.
_RIGHTS = "".join(
    f'[[rule]]\nprojects = "{letter}*"\nallow = "read"\nto = "{"bob" if letter in "st" else "alice"}"\n'
    for letter in "bcdfghklmnprstvw"
)
_WALK, _CLOSED, _FEW = "nothing known at first", "anything, with rights", "anything, of 1,000 projects"
_ASKED: dict[str, Callable[[random.Random], str]] = {
    "a name": lambda choose: _describe(choose)[0],
    "three letters": lambda choose: _word(choose)[:3],
    "two words": lambda choose: f"python {_word(choose)}",
    "a typo": lambda choose: _describe(choose)[0] + "x",
    "an import name": lambda choose: f"module:{_word(choose)}",
}


def _any(choose: random.Random) -> str:
    return choose.choice(list(_ASKED.values()))(choose)


def _described(bench: Bench, projects: int) -> Path:
    return kept(bench.cache / f"described-{projects}", lambda place: _fill(place, projects=projects))


@contextlib.contextmanager
def _search(bench: Bench) -> Iterator[list[Cell]]:
    many = _described(bench, 1000 if bench.quick else 10_000)
    few = _described(bench, 100 if bench.quick else 1000)
    state, copied, rights = bench.place(), bench.place(), bench.place() / "rights.toml"
    with bench.running(TwistedIndex, many, state=state) as first:
        _await_all(first)
    # To whom not all is shown, nothing tells when all is known: that server begins where the first one ended.
    shutil.copytree(state, copied, dirs_exist_ok=True)
    rights.write_text(_RIGHTS)
    options = ["--rights", str(rights), "--trusted-proxy", "users:127.0.0.1"]
    with (
        bench.running(TwistedIndex, many, state=state) as open_to_all,
        bench.running(TwistedIndex, many, state=copied, options=options) as closed,
        bench.running(TwistedIndex, few) as small,
    ):
        _await_all(small)

        def cell(what: str, server: TwistedIndex, make: Callable[[random.Random], str]) -> Cell:
            measure = partial(_measure, bench, server, make)
            return Cell(what, measure, measure)

        yield [
            Cell(_WALK, lambda: _walk(bench, many)),
            *(cell(what, open_to_all, make) for what, make in _ASKED.items()),
            cell(_CLOSED, closed, _any),
            cell(_FEW, small, _any),
        ]


def _walk(bench: Bench, folder: Path) -> dict[str, float]:
    """Start with nothing that is known, and search until all is."""
    with bench.running(TwistedIndex, folder) as server:
        _await_all(server)
        return {"known": bench.since_start(server), "server_cpu": server.process.cpu_seconds()}


def _await_all(server: TwistedIndex) -> None:
    """Search until the summaries of all projects are known."""
    until = time.monotonic() + _SECONDS
    with Client(server.port) as client:
        while time.monotonic() < until:
            found = json.loads(client.get("/-/search?q=python", _ACCEPT).body)
            if found["known"] == found["projects"]:
                return
            time.sleep(0.5)
    raise TimeoutError("the projects were not read in time")


def _measure(bench: Bench, server: TwistedIndex, make: Callable[[random.Random], str]) -> dict[str, float]:
    choose, before = random.Random(11), server.process.cpu_seconds()
    with on(bench.cores.client), Client(server.port) as client:
        taken = sorted(_timed(client, make(choose)) for _ in range(_QUERIES))
    return {
        "cpu": (server.process.cpu_seconds() - before) / _QUERIES * 1e6,
        "p50": taken[_QUERIES // 2] * 1e6,
        "p99": taken[_QUERIES * 99 // 100] * 1e6,
        "memory": float(server.process.resident_bytes()),
    }


def _timed(client: Client, query: str) -> float:
    began = time.monotonic()
    answer = client.get(f"/-/search?limit=8&q={quote(query)}", {**_ACCEPT, "X-Remote-User": "alice"})
    took = time.monotonic() - began
    assert answer.status == 200, answer.body[:200]
    return took


def _goals(what: str, of: str) -> tuple[Ratio, ...]:
    goals = (("p50", "≤ 5000 µs"), ("p99", "≤ 20000 µs"))
    return tuple(Ratio(f"search of {what}: {metric}", metric, of, goal=goal) for metric, goal in goals)


ROWS = (
    Row(
        "search",
        _search,
        (
            *(ratio for what in _ASKED for ratio in _goals(f"10,000 projects by {what}", what)),
            *_goals("10,000 projects of which the client may read most", _CLOSED),
            *_goals("1,000 projects", _FEW),
            Ratio("10,000 projects until all summaries are known, after the first start", "known", _WALK),
        ),
        rounds=3,
        tools=(),
    ),
)
