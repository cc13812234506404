"""
What the rows share: the options, the places, and how a row is run.

Not for: which rows there are (`rows`, `tls_rows`, `login_rows`, `scale_rows`, `history_rows`, `search_rows`,
`peer_rows`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tests.benchmarks.load import JSON, REPORT, Client, Wrk, WrongAnswer, trusting
from tests.benchmarks.processes import Cores, on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.benchmarks.figures import Figures, Ratio
    from tests.benchmarks.load import Ask
    from tests.benchmarks.servers import Server

S = TypeVar("S", bound="Server")
T = TypeVar("T")

_WARM_SECONDS: Final = 1


@dataclass(frozen=True, slots=True)
class Cell:
    """
    One thing that is measured again and again.

    Attributes:
        who: Whose figure it is.
        measure: Gives a value for each metric.
        warm: Done once before the first measurement.
    """

    who: str
    measure: Callable[[], dict[str, float]]
    warm: Callable[[], object] = lambda: None


@dataclass(frozen=True, slots=True)
class Row:
    """
    Things that are measured side by side.

    Attributes:
        name: For `--only`.
        prepare: A context in which the cells can be measured.
        ratios: What is made of their figures.
        peers: Whether it is only run with `--peers`.
        rounds: How often at most, for what takes minutes.
        tools: Programs that have to be installed.
    """

    name: str
    prepare: Callable[[Bench], contextlib.AbstractContextManager[Sequence[Cell]]]
    ratios: tuple[Ratio, ...] = ()
    peers: bool = False
    rounds: int = 1000
    tools: tuple[str, ...] = ("nginx", "wrk")


@dataclass
class Bench:
    """
    One run.

    Attributes:
        cache: For trees and environments that later runs use again.
        work: For all else; removed at the end.
        tree: A folder of real distributions, or None to fetch them.
        repeat: How often each cell is measured.
        seconds: How long one load lasts.
        quick: Short runs and small trees, to see that everything works.
        figures: Where the values go.
    """

    cache: Path
    work: Path
    tree: Path | None
    repeat: int
    seconds: int
    quick: bool
    figures: Figures
    cores: Cores = field(default_factory=Cores.of_this_machine)
    #: What runs until the end.
    lasting: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _places: int = 0
    _made: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Make something that several rows use, when the first of them needs it."""
        if name not in self._made:
            self._made[name] = make()
        found: T = self._made[name]
        return found

    @property
    def wrk(self) -> Wrk:
        """The load, on the clients' core."""
        script = self.work / "report.lua"
        script.write_text(REPORT)
        return Wrk(self.cores.client, script)

    def place(self) -> Path:
        """Make an empty folder."""
        self._places += 1
        folder = self.work / str(self._places)
        folder.mkdir()
        return folder

    @contextlib.contextmanager
    def running(self, make: Callable[..., S], *words: object, **more: object) -> Iterator[S]:
        """Run a server in here, in a folder that goes with it, on the servers' core if not on `cores`."""
        work = self.place()
        server = make(work, more.pop("cores", self.cores.server), *words, **more)
        try:
            server.start()
            yield server
        finally:
            if hasattr(server, "process"):
                server.stop()
            shutil.rmtree(work, ignore_errors=True)

    def load(self, who: str, server: Server, ask: Ask, connections: int = 32) -> Cell:
        """Make a cell out of a request."""

        def run(seconds: int) -> dict[str, float]:
            return self.wrk.run(ask, server.process, connections=connections, seconds=seconds)

        return Cell(who, lambda: run(self.seconds), lambda: run(_WARM_SECONDS))

    def transfers(self, server: Server, path: str, times: int) -> dict[str, float]:
        """Take a file some times, one after the other, and tell what a byte cost and how fast they came."""
        before, began = server.process.cpu_seconds(), time.monotonic()
        with on(self.cores.client), Client(server.port, tls=trusting(server.authority)) as client:
            size = sum(client.discard(path) for _ in range(times))
        lasted, taken = time.monotonic() - began, server.process.cpu_seconds() - before
        return {"cpu_per_gb": taken / size * 1e9, "throughput": size / lasted}

    def await_page(self, server: Server, path: str, seconds: float = 300.0) -> bytes:
        """Ask for a page until it is there: 503 says that it is being made."""
        deadline = time.monotonic() + seconds
        with Client(server.port, seconds) as client:
            while time.monotonic() < deadline:
                answer = client.get(path, {"Accept": JSON})
                if answer.status == 200:
                    return answer.body
                if answer.status != 503:
                    break
                time.sleep(0.05)
        raise WrongAnswer(f"{path}: {answer.status} {answer.body[:200]!r}")

    def since_start(self, server: Server) -> float:
        """Tell the seconds since the server was started."""
        return time.monotonic() - server.process.began

    def run(self, row: Row) -> None:
        """Measure all cells of a row once, and again, and again; what fails is noted and left alone."""
        self.figures.about.setdefault("load", {})[row.name] = round(os.getloadavg()[0], 2)
        began = time.monotonic()
        try:
            with row.prepare(self) as cells:
                self._measure(row, cells)
        except Exception as error:
            self.figures.fail(row.name, "the row", f"{type(error).__name__}: {error}")
        _say(f"{row.name}: {time.monotonic() - began:.0f} s")
        for who, why in self.figures.failures.get(row.name, {}).items():
            _say(f"  {who}: {why}")

    def _measure(self, row: Row, cells: Sequence[Cell]) -> None:
        failed: set[str] = set()
        for turn in range(min(self.repeat, row.rounds) + 1):
            for cell in cells:
                if cell.who in failed:
                    continue
                try:
                    if turn == 0:
                        cell.warm()
                    else:
                        self.figures.add(row.name, cell.who, cell.measure())
                except Exception as error:
                    failed.add(cell.who)
                    self.figures.fail(row.name, cell.who, f"{type(error).__name__}: {error}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
