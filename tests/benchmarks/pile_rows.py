"""
Rows about folders that are served as one: several paths, and an index with its bases.

Not for: one folder (`rows`).
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING

from tests.benchmarks import trees
from tests.benchmarks.bench import Cell, Row
from tests.benchmarks.figures import Ratio
from tests.benchmarks.load import JSON, Ask, fetch
from tests.benchmarks.servers import TwistedIndex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.benchmarks.bench import Bench

_ACCEPT = {"Accept": JSON}
_PAGE = f"/simple/{trees.DEMO}/"
_FIRST = "/+dev/simple/project-00000/"
_PLAIN, _PATHS, _BASES = "one folder", "three --path", "an index with two bases"


@contextlib.contextmanager
def _page(bench: Bench) -> Iterator[list[Cell]]:
    folders = trees.line(bench.cache, 10)
    with (
        bench.running(TwistedIndex, trees.small(bench.cache)) as plain,
        bench.running(TwistedIndex, *(folders / name for name in trees.LINE)) as paths,
        _line(bench, folders) as bases,
    ):
        asks = {
            _PLAIN: (plain, Ask(plain.port, _PAGE, _ACCEPT)),
            _PATHS: (paths, Ask(paths.port, _PAGE, _ACCEPT)),
            _BASES: (bases, Ask(bases.port, f"/+dev{_PAGE}", _ACCEPT)),
        }
        for _server, ask in asks.values():
            assert len(json.loads(fetch(ask).body)["files"]) == 10
        yield [bench.load(who, server, ask) for who, (server, ask) in asks.items()]


@contextlib.contextmanager
def _line(bench: Bench, folders: Path, **more: object) -> Iterator[TwistedIndex]:
    """Run a server of an index with two bases; its plain index is an empty folder."""
    with bench.running(TwistedIndex, bench.place(), options=("--indexes", str(folders)), **more) as server:
        yield server


@contextlib.contextmanager
def _first_look(bench: Bench) -> Iterator[list[Cell]]:
    files = 200 if bench.quick else 2000
    folders, state = trees.line(bench.cache, files, "project-00000"), bench.place()

    def look() -> dict[str, float]:
        """Ask for the page once the server runs and has answered for something else."""
        with _line(bench, folders, state=state) as server:
            bench.await_page(server, "/+prod/simple/")
            began = time.monotonic()
            page = json.loads(bench.await_page(server, _FIRST))
            took = time.monotonic() - began
        assert len(page["files"]) == files
        return {"first_page": took}

    look()
    yield [Cell("first look", look)]


ROWS = (
    Row(
        "pile",
        _page,
        (
            Ratio("page through three indexes / --paths: CPU per request", "cpu", _BASES, _PATHS, "≤ 1.05"),
            Ratio("page through three indexes / one folder: CPU per request", "cpu", _BASES, _PLAIN, "≤ 1.6"),
            Ratio("page of three --path / one folder: CPU per request", "cpu", _PATHS, _PLAIN),
        ),
    ),
    Row("pile-first-look", _first_look),
)
