"""
Rows about other package indexes, and about installing from each.

Not for: how they are started (`peers`).
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks import installs, trees
from tests.benchmarks.bench import Cell, Row
from tests.benchmarks.drops import drops
from tests.benchmarks.figures import Ratio
from tests.benchmarks.load import JSON, Ask, WrongAnswer, fetch
from tests.benchmarks.peers import PEERS, PyPIron
from tests.benchmarks.servers import Nginx, TwistedIndex
from tests.benchmarks.static import write_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.bench import Bench
    from tests.benchmarks.servers import Server


@dataclass(frozen=True, slots=True)
class Everyone:
    """The servers that run, and why the others do not."""

    running: list[tuple[str, Server]]
    failed: dict[str, str]


#: What uv sends.
_FIELDS = {
    "Accept": f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01",
    "Accept-Encoding": "gzip",
}
_NGINX = "nginx, static index"
_STARTED_SECONDS = 120.0
_FILES = 10


def _ask(server: Server, *, packed: bool = True) -> Ask:
    fields = _FIELDS if packed else {"Accept": _FIELDS["Accept"]}
    return Ask(server.port, server.page(trees.DEMO), fields)


def _correct(server: Server) -> None:
    body = fetch(_ask(server, packed=False)).body.decode()
    found = sum(f"demo-{number}.0-" in body for number in range(_FILES))
    if found != _FILES:
        raise WrongAnswer(f"the page has {found} of {_FILES} files: {body[:200]!r}")


def _await_correct(server: Server) -> None:
    deadline = time.monotonic() + _STARTED_SECONDS
    while True:
        try:
            return _correct(server)
        except (WrongAnswer, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _everyone(bench: Bench) -> Everyone:
    """Run every server there is until the end of the run, all with the same projects."""
    folder, copies = trees.installable(bench.cache, bench.tree), bench.place()
    ours = bench.lasting.enter_context(bench.running(TwistedIndex, folder))
    write_index(ours, folder, copies)
    nginx = bench.lasting.enter_context(bench.running(Nginx, copies))
    everyone = Everyone([(_NGINX, nginx), (ours.name, ours)], {})
    for kind in PEERS:
        try:
            more = {"cache": bench.cache, "upstream": nginx.index_url}
            peer = bench.lasting.enter_context(bench.running(kind, folder, **more))
            _await_correct(peer)
            everyone.running.append((kind.name, peer))
        except Exception as error:
            everyone.failed[kind.name] = f"{type(error).__name__}: {error}"
    return everyone


def _running(bench: Bench, row: str) -> list[tuple[str, Server]]:
    """Give all servers that run; who could not start is noted for the row."""
    everyone = bench.once("everyone", lambda: _everyone(bench))
    for who, why in everyone.failed.items():
        bench.figures.fail(row, who, why)
    return everyone.running


@contextlib.contextmanager
def _pages(bench: Bench) -> Iterator[list[Cell]]:
    running = _running(bench, "peer-pages")
    yield [_page(bench, who, server) for who, server in running]


def _page(bench: Bench, who: str, server: Server) -> Cell:
    cell = bench.load(who, server, _ask(server))
    return Cell(who, lambda: {**cell.measure(), "memory": float(server.process.resident_bytes())}, cell.warm)


@contextlib.contextmanager
def _starts(bench: Bench) -> Iterator[list[Cell]]:
    running = _running(bench, "peer-starts")
    # The static one stays: others pass it on.
    yield [_start(who, server) for who, server in running if who != _NGINX]


def _start(who: str, server: Server) -> Cell:
    def measure() -> dict[str, float]:
        server.stop()
        server.launch()
        _await_correct(server)
        took = time.monotonic() - server.process.began
        return {"first_page": took, "memory": float(server.process.resident_bytes())}

    return Cell(who, measure)


@contextlib.contextmanager
def _with_uv(bench: Bench) -> Iterator[list[Cell]]:
    running = _running(bench, "install-uv")
    yield [_install(bench, who, server, installs.with_uv) for who, server in running]


@contextlib.contextmanager
def _with_pip(bench: Bench) -> Iterator[list[Cell]]:
    running = _running(bench, "install-pip")
    yield [_install(bench, who, server, installs.with_pip) for who, server in running]


def _install(bench: Bench, who: str, server: Server, client: installs.Client) -> Cell:
    # The first one, which is not counted, lets servers read or fetch the files.
    return Cell(who, lambda: client(bench, server), lambda: client(bench, server))


@contextlib.contextmanager
def _drops(bench: Bench) -> Iterator[list[Cell]]:
    with contextlib.ExitStack() as stack:
        cells = []
        for kind in PEERS:
            if not kind.reads_folder:
                continue
            try:
                cells.append(stack.enter_context(drops(bench, kind.name, kind, cache=bench.cache)))
            except Exception as error:
                bench.figures.fail("peer-drops", kind.name, f"{type(error).__name__}: {error}")
        yield cells


@contextlib.contextmanager
def _pypiron(bench: Bench) -> Iterator[list[Cell]]:
    folder, plain = trees.small(bench.cache), {"Accept": JSON}
    with (
        bench.running(TwistedIndex, folder) as ours,
        bench.running(PyPIron, folder, cache=bench.cache) as pypiron,
    ):
        _await_correct(pypiron)
        asks = ((server, Ask(server.port, server.page(trees.DEMO), plain)) for server in (pypiron, ours))
        yield [bench.load(server.name, server, ask) for server, ask in asks]


def _against_everyone(what: str, metric: str) -> tuple[Ratio, ...]:
    return tuple(Ratio(f"{what} / {kind.name}", metric, TwistedIndex.name, kind.name) for kind in PEERS)


ROWS = (
    Row(
        "pypiron",
        _pypiron,
        (
            Ratio(
                "page of 10 files / pypiron: CPU per request", "cpu", TwistedIndex.name, PyPIron.name, "≤ 0.8"
            ),
            Ratio("page of 10 files / pypiron: requests/s", "per_second", TwistedIndex.name, PyPIron.name),
        ),
        peers=True,
    ),
    Row("peer-pages", _pages, _against_everyone("page for uv: CPU per request", "cpu"), peers=True),
    Row("peer-starts", _starts, _against_everyone("start to first page", "first_page"), peers=True),
    Row("peer-drops", _drops, peers=True),
    Row(
        "install-uv",
        _with_uv,
        (
            Ratio("uv installs 60 projects / from nginx", "install_uv", TwistedIndex.name, _NGINX, "≤ 1.03"),
            *_against_everyone("uv installs 60 projects", "install_uv"),
        ),
        peers=True,
    ),
    Row(
        "install-pip",
        _with_pip,
        (
            Ratio("pip installs 60 projects / from nginx", "install_pip", TwistedIndex.name, _NGINX),
            *_against_everyone("pip installs 60 projects", "install_pip"),
        ),
        peers=True,
        rounds=2,
    ),
)
