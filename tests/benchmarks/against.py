"""
`python -m tests.benchmarks.against CHECKOUT`: this checkout beside another one, turn by turn in one run.

Only a side-by-side run shows what a change costs; a shared machine is never as fast as yesterday.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import tls_rows, trees
from tests.benchmarks.__main__ import default_cache
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figures
from tests.benchmarks.load import GZIP, JSON, Ask, fetch
from tests.benchmarks.scale_rows import all_pages, start
from tests.benchmarks.servers import REPOSITORY, TwistedIndex
from tests.benchmarks.uploads import upload

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from tests.benchmarks.certificates import Certificate

    #: Measures a row of one checkout, of which it gets the name.
    Measure = Callable[[str], dict[str, float]]

_PARTS = ("loads", "tls", "scale", "uploads")
_UPLOADS = ("--upload", "--auth", "memory:me:secret")


class Pair:
    """
    Two checkouts, and the rows that are measured of both.

    Args:
        bench: Runs servers and loads.
        checkouts: The code and the interpreter of each, by its name in the table.
    """

    def __init__(self, bench: Bench, checkouts: dict[str, dict[str, object]]) -> None:
        self._bench = bench
        self._checkouts = checkouts
        self.found: dict[tuple[str, str], list[float]] = defaultdict(list)

    def measure(self, row: str, times: int, of: Measure) -> None:
        """Measure a row of both in turns, the first of which only warms up."""
        for turn in range(times + 1):
            for who in self._checkouts if turn % 2 else reversed(self._checkouts):
                values = of(who)
                for what, value in values.items() if turn else ():
                    self.found[f"{row}: {what}", who].append(value)

    def loads(self, times: int, label: str = "", certificate: Certificate | None = None) -> None:
        """Measure what a request costs."""
        small = trees.small(self._bench.cache)
        (wheel,) = (small / "small-file").iterdir()
        many = trees.many(self._bench.cache, 10_000, 1)
        for row, folder, path, fields in (
            ("page", small, f"/simple/{trees.DEMO}/", {"Accept": JSON}),
            ("small file", small, f"/simple/small-file/{wheel.name}", {}),
            ("list", many, "/simple/", GZIP),
        ):
            load = partial(self._load, folder=folder, path=path, fields=fields, certificate=certificate)
            self.measure(row + label, times, load)

    def _load(
        self, who: str, folder: Path, path: str, fields: dict[str, str], certificate: Certificate | None
    ) -> dict[str, float]:
        with self._running(who, folder, certificate=certificate) as server:
            cell = self._bench.load("", server, Ask(server.port, path, fields, authority=server.authority))
            cell.warm()
            return {"CPU µs per request": cell.measure()["cpu"]}

    def _running(self, who: str, *folders: Path, **more: object) -> AbstractContextManager[TwistedIndex]:
        # A new process each time: how its memory happens to lie makes several percent.
        return self._bench.running(TwistedIndex, *folders, **more, **self._checkouts[who])

    def tls(self, times: int) -> None:
        """Measure what requests and connections over TLS cost."""
        shown = tls_rows.certificate(self._bench)
        self.loads(times, " over TLS", shown)
        self.measure("200 MB over TLS", times, partial(self._transfers, certificate=shown))
        self.measure("connection over TLS", times, partial(self._connections, certificate=shown))
        for label, version in tls_rows.VERSIONS.items():
            resuming = partial(self._connections, certificate=shown, version=version, resume=True)
            self.measure(f"connection that offers a session, {label}", times, resuming)

    def _transfers(self, who: str, certificate: Certificate) -> dict[str, float]:
        wheel = trees.large_file(self._bench.cache, 200)
        with self._running(who, wheel.parent.parent, certificate=certificate) as server:
            fetch(tls_rows.ask(server, "/simple/blob/"))
            found = self._bench.transfers(server, f"/simple/blob/{wheel.name}", 5)
            return {"CPU s per GB": found["cpu_per_gb"], "MB/s": found["throughput"] / 1e6}

    def _connections(
        self,
        who: str,
        certificate: Certificate,
        version: ssl.TLSVersion | None = None,
        *,
        resume: bool = False,
    ) -> dict[str, float]:
        with self._running(who, trees.small(self._bench.cache), certificate=certificate) as server:
            run = tls_rows.connections(self._bench, server, tls_rows.PAGE, version, resume=resume)
            run(1)
            found = run(self._bench.seconds)
            cost = {"CPU µs per connection": found["cpu_connection"]}
            return {**cost, "part resumed": found["resumed"]} if resume else cost

    def scale(self, times: int) -> None:
        """Measure starts, and what is held in memory."""
        bench = self._bench
        wide, part = trees.many(bench.cache, 10_000, 10), trees.many(bench.cache, 1000, 10)
        self.measure("idle", times, self._idle)
        self.measure(
            "start, 100,000 files",
            times,
            lambda who: start(bench, wide, None, **self._checkouts[who]),
        )
        self.measure(
            "10,000 files asked for",
            max(1, times // 2),
            lambda who: all_pages(bench, part, 1000, **self._checkouts[who]),
        )

    def _idle(self, who: str) -> dict[str, float]:
        with self._running(who, trees.small(self._bench.cache)) as server:
            fetch(Ask(server.port, "/-/health"))
            took = self._bench.since_start(server)
            return {
                "seconds to an answer": took,
                "CPU seconds": server.process.cpu_seconds(),
                "memory": float(server.process.resident_bytes()),
            }

    def uploads(self, times: int) -> None:
        """Measure what an upload costs."""
        wheel = trees.large_file(self._bench.cache, 200)
        self.measure("upload of 200 MB", times, partial(self._upload, wheel=wheel))

    def _upload(self, who: str, wheel: Path) -> dict[str, float]:
        folder = self._bench.place()
        with self._running(who, folder, options=_UPLOADS) as server:
            fetch(Ask(server.port, "/-/health"))
            before, held, began = (
                server.process.cpu_seconds(),
                server.process.resident_bytes(),
                time.monotonic(),
            )
            upload(f"http://127.0.0.1:{server.port}/legacy/", wheel, "me", "secret")
            found = {
                "seconds": time.monotonic() - began,
                "CPU seconds": server.process.cpu_seconds() - before,
                "growth": float(server.process.resident_bytes() - held),
            }
        for path in folder.rglob("*.whl"):
            path.unlink()
        return found

    def table(self) -> str:
        """Write the medians, and how this checkout's stands to the other's."""
        one, other = self._checkouts
        lines = [f"| | {other} | {one} | ratio |", "|---|--:|--:|--:|"]
        for row in dict.fromkeys(row for row, _who in self.found):
            old, new = (statistics.median(self.found[row, who]) for who in (other, one))
            ratio = f"{new / old:.3f}" if old else "-"
            lines.append(f"| {row} | {old:,.4g} | {new:,.4g} | {ratio} |")
        return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Run, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.against", description=__doc__)
    parser.add_argument("checkout", type=Path, help="the other one")
    parser.add_argument("--python", default=sys.executable, help="what runs it (as for this one)")
    parser.add_argument("--only", action="append", choices=_PARTS, help="only this part; repeatable")
    parser.add_argument("--repeat", type=int, default=5, help="measure everything so often (5)")
    parser.add_argument("--seconds", type=int, default=3, help="how long each load lasts (3)")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="for trees of packages")
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(
            cache=given.cache,
            work=Path(work),
            tree=None,
            repeat=given.repeat,
            seconds=given.seconds,
            quick=False,
            figures=Figures(about={}),
        )
        checkouts: dict[str, dict[str, object]] = {
            "this": {"checkout": REPOSITORY, "python": sys.executable},
            "other": {"checkout": given.checkout.resolve(), "python": given.python},
        }
        pair = Pair(bench, checkouts)
        for part in given.only or _PARTS:
            getattr(pair, part)(given.repeat)
            print(pair.table(), file=sys.stderr, flush=True)
        print(pair.table())


if __name__ == "__main__":
    main()
