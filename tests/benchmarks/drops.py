"""
How long it takes until a file that was dropped into a folder is on its page.

Not for: the rows of it.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import time
from itertools import count
from typing import TYPE_CHECKING

from tests.benchmarks import trees
from tests.benchmarks.bench import Cell
from tests.benchmarks.load import Client, WrongAnswer
from twisted_index.testing import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.benchmarks.bench import Bench
    from tests.benchmarks.servers import Server

_TIMES = 20
_SECONDS = 10.0


@contextlib.contextmanager
def drops(
    bench: Bench, who: str, make: Callable[..., Server], *, prefix: str = "", **more: object
) -> Iterator[Cell]:
    """
    Run a server on a folder of its own, into which files are dropped.

    Args:
        bench: The run.
        who: Whose figures they are.
        make: The server's class.
        prefix: Where its pages are, if not where they usually are.
        more: For the server.
    """
    folder = bench.place()
    shutil.copytree(trees.small(bench.cache), folder, dirs_exist_ok=True)
    versions = count(1000)
    with bench.running(make, folder, **more) as server:
        path = f"{prefix}{trees.DEMO}/" if prefix else server.page(trees.DEMO)
        yield Cell(who, lambda: _measure(server.port, path, folder / trees.DEMO, versions))


def _measure(port: int, path: str, folder: Path, versions: Iterator[int]) -> dict[str, float]:
    took, missed = [], 0
    for version in (next(versions) for _ in range(_TIMES)):
        wheel = make_wheel(trees.DEMO, f"{version}.0")
        part = folder / f"{wheel.filename}.tmp"
        part.write_bytes(wheel.content)
        part.rename(folder / wheel.filename)
        began, asked = time.monotonic(), 0
        while not _has(port, path, wheel.filename):
            asked += 1
            if time.monotonic() > began + _SECONDS:
                raise WrongAnswer(f"not on its page after {_SECONDS:.0f} s")
            time.sleep(0.005)
        took.append(time.monotonic() - began)
        missed += asked > 0
    return {"visible": statistics.median(took), "missed": float(missed)}


def _has(port: int, path: str, filename: str) -> bool:
    with Client(port) as client:
        return filename in client.get(path).body.decode()
