"""`python -m tests.benchmarks`: run the rows, print the ratios, and write them into docs/."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import (
    bucket_rows,
    busy_rows,
    history_rows,
    login_rows,
    peer_rows,
    pile_rows,
    replication_rows,
    rows,
    scale_rows,
    search_rows,
    tls_rows,
)
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figures, about_machine, ratio_table
from tests.benchmarks.report import tables, write_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.bench import Row

ROWS: tuple[Row, ...] = (
    *rows.ROWS,
    *tls_rows.ROWS,
    *login_rows.ROWS,
    *scale_rows.ROWS,
    *busy_rows.ROWS,
    *history_rows.ROWS,
    *search_rows.ROWS,
    *pile_rows.ROWS,
    *replication_rows.ROWS,
    *bucket_rows.ROWS,
    *peer_rows.ROWS,
)


def default_cache() -> Path:
    """Where trees and environments are kept for later runs."""
    given = os.environ.get("TWISTED_INDEX_BENCHMARK_CACHE")
    return Path(given or Path(tempfile.gettempdir()) / f"twisted-index-benchmarks-{os.getuid()}").resolve()


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="measure everything so often (5)")
    parser.add_argument("--seconds", type=int, default=3, help="how long each load lasts (3)")
    parser.add_argument("--quick", action="store_true", help="short loads and small trees, to try it out")
    parser.add_argument("--only", action="append", metavar="ROW", help="only this row; repeatable")
    parser.add_argument("--peers", action="store_true", help="other indexes too; they are fetched once")
    parser.add_argument("--tree", type=Path, help="folder of real distributions; else they are fetched once")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="for trees and environments")
    parser.add_argument("--docs", type=Path, help="write tables, raw figures and drawing in here")
    parser.add_argument("--list", action="store_true", help="name the rows")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run. What fails is told in the tables; the exit code only says whether anything could be measured."""
    given = _arguments(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))
    if given.list:
        print(*(row.name for row in ROWS), sep="\n")
        return 0
    chosen = [row for row in ROWS if (row.name in given.only if given.only else given.peers or not row.peers)]
    tools = dict.fromkeys(tool for row in chosen for tool in row.tools)
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing or not chosen:
        sys.exit(f"Not installed: {', '.join(missing)}." if missing else "No such row; --list names them.")
    figures = Figures(
        about={**about_machine(), "repeated": given.repeat, "seconds": given.seconds, "quick": given.quick}
    )
    figures.ratios = {row.name: row.ratios for row in ROWS}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as work:
        bench = Bench(
            cache=given.cache,
            work=Path(work),
            tree=given.tree and given.tree.resolve(),
            repeat=given.repeat,
            seconds=1 if given.quick else given.seconds,
            quick=given.quick,
            figures=figures,
        )
        with bench.lasting:
            for row in chosen:
                bench.run(row)
                figures.about["minutes"] = round((time.monotonic() - began) / 60, 1)
                if given.docs:
                    write_report(figures, given.docs)
    print(ratio_table(figures.lines()) if given.docs else tables(figures))
    return 0 if figures.values else 1


if __name__ == "__main__":
    sys.exit(main())
