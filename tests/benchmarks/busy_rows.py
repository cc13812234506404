"""
The row about a root of many projects into which files come, and out of which they go, all the time.

Not for: how soon one of them is visible (`drops`).
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from itertools import count
from typing import TYPE_CHECKING

from tests.benchmarks import trees
from tests.benchmarks.bench import Cell, Row
from tests.benchmarks.figures import Ratio
from tests.benchmarks.load import GZIP, JSON, Ask, fetch
from tests.benchmarks.servers import REPOSITORY, TwistedIndex
from twisted_index.testing import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.benchmarks.bench import Bench

_ACCEPT = {"Accept": JSON}
_ROUND = 200
#: Seconds from one file that comes to the next; half of it later one goes.
_PERIOD = 1.0
#: Seconds after which the times of a root that has changed are settled on every file system.
_SETTLED = 2.5


def _pages(name: str, numbers: range) -> tuple[str, ...]:
    return tuple(f"/simple/{name}-{number:05d}/" for number in numbers)


def _asks(port: int, projects: int) -> dict[str, Ask]:
    present = _pages("project", range(0, projects, max(1, projects // _ROUND)))
    absent = _pages("absent", range(_ROUND))
    return {
        "one page": Ask(port, present[0], _ACCEPT),
        "200 pages": Ask(port, present[0], _ACCEPT, others=present[1:]),
        "200 absent names": Ask(port, absent[0], _ACCEPT, 404, others=absent[1:]),
        "the list": Ask(port, "/simple/", GZIP),
    }


@contextlib.contextmanager
def busy_root(bench: Bench, checkout: Path = REPOSITORY) -> Iterator[list[Cell]]:
    """Run a server of a root of its own, and make a quiet and a busy cell of each request."""
    projects = 1000 if bench.quick else 10_000
    folder = bench.place()
    shutil.copytree(trees.many(bench.cache, projects, 1), folder, dirs_exist_ok=True)
    with bench.running(TwistedIndex, folder, checkout=checkout) as server:
        cells = []
        for what, ask in _asks(server.port, projects).items():
            for path in (ask.path, *ask.others):
                fetch(Ask(server.port, path, ask.fields, ask.status))
            quiet = bench.load(f"{what}, quiet", server, ask)
            cells += [quiet, Cell(f"{what}, busy", _while_busy(quiet, folder))]
        yield cells


def _while_busy(quiet: Cell, root: Path) -> Callable[[], dict[str, float]]:
    def measure() -> dict[str, float]:
        ended = threading.Event()
        changes = threading.Thread(target=_change, args=(root, ended))
        changes.start()
        try:
            return quiet.measure()
        finally:
            ended.set()
            changes.join()
            time.sleep(_SETTLED)

    return measure


def _change(root: Path, ended: threading.Event) -> None:
    """Let a file come into the root and go again, each of a project of its own, until it has ended."""
    for number in count():
        wheel = make_wheel(f"passing-{number}", "1.0")
        part = root.with_name(f"{root.name}.part")
        part.write_bytes(wheel.content)
        part.rename(root / wheel.filename)
        ended.wait(_PERIOD / 2)
        (root / wheel.filename).unlink()
        if ended.wait(_PERIOD / 2):
            return


ROWS = (
    Row(
        "busy-root",
        busy_root,
        tuple(
            Ratio(
                f"{what}, while a file a second comes into 10,000 projects / quiet: requests/s",
                "per_second",
                f"{what}, busy",
                f"{what}, quiet",
                "≥ 0.5",
            )
            for what in ("one page", "200 pages", "200 absent names", "the list")
        ),
    ),
)
