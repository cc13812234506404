"""
Rows over TLS: pages, files, and new connections, beside nginx with the same certificate.

Not for: the same without TLS (`rows`).
"""

from __future__ import annotations

import contextlib
import ssl
from functools import partial
from typing import TYPE_CHECKING

from tests.benchmarks import certificates, trees
from tests.benchmarks.bench import Cell, Row
from tests.benchmarks.connections import Connections
from tests.benchmarks.figures import Ratio
from tests.benchmarks.load import JSON, Ask, Client, WrongAnswer, fetch, trusting
from tests.benchmarks.servers import Nginx, TwistedIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.benchmarks.bench import Bench
    from tests.benchmarks.certificates import Certificate
    from tests.benchmarks.servers import Server

    #: A server, whose it is, and the path that is asked of it.
    Side = tuple[str, Server, str]

PAGE = f"/simple/{trees.DEMO}/"
ACCEPT = {"Accept": JSON}
VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}
_KINDS = {"ECDSA": certificates.ecdsa, "RSA": certificates.rsa_2048}
_OURS, _NGINX = TwistedIndex.name, Nginx.name


def certificate(bench: Bench, kind: str = "ECDSA") -> Certificate:
    """Make a certificate that lasts until the end of the run."""
    return bench.once(f"{kind} certificate", lambda: _KINDS[kind](bench.place()))


def ask(server: Server, path: str, fields: Mapping[str, str] | None = None) -> Ask:
    """Ask a server over TLS."""
    return Ask(server.port, path, fields or {}, authority=server.authority)


def connections(
    bench: Bench, server: Server, path: str, version: ssl.TLSVersion | None = None, *, resume: bool = False
) -> Callable[[float], dict[str, float]]:
    """Give what loads a server with new connections for some seconds."""
    asked = ask(server, path, ACCEPT)
    return Connections(asked, server.process, bench.cores.client, version=version, resume=resume).run


@contextlib.contextmanager
def _pages(bench: Bench, kind: str = "ECDSA") -> Iterator[list[Side]]:
    """Run both servers with the same page."""
    copies, shown = bench.place(), certificate(bench, kind)
    with (
        bench.running(TwistedIndex, trees.small(bench.cache), certificate=shown) as ours,
        bench.running(Nginx, copies, certificate=shown) as nginx,
    ):
        (copies / "page.json").write_bytes(fetch(ask(ours, PAGE, ACCEPT)).body)
        yield _alike([(_NGINX, nginx, "/page.json"), (_OURS, ours, PAGE)])


@contextlib.contextmanager
def _files(bench: Bench, folder: Path, project: str) -> Iterator[list[Side]]:
    """Run both servers with the same file."""
    (wheel,) = (folder / project).iterdir()
    shown = certificate(bench)
    with (
        bench.running(TwistedIndex, folder, certificate=shown) as ours,
        bench.running(Nginx, folder, certificate=shown) as nginx,
    ):
        # The file is checked, and its digest learned, before it is measured.
        fetch(ask(ours, f"/simple/{project}/", ACCEPT))
        path = f"/{project}/{wheel.name}"
        yield _alike([(_NGINX, nginx, path), (_OURS, ours, f"/simple{path}")])


def _alike(sides: list[Side]) -> list[Side]:
    """Refuse servers that a client does not reach with the same cipher suite in each version."""
    for version in VERSIONS.values():
        suites = {who: _suite(server, version) for who, server, _path in sides}
        if len({*suites.values()}) > 1:
            raise WrongAnswer(f"the servers are not alike: {suites}")
    return sides


def _suite(server: Server, version: ssl.TLSVersion) -> tuple[str, str, int] | None:
    with Client(server.port, tls=trusting(server.authority, version)) as client:
        return client.tls.cipher()


@contextlib.contextmanager
def _page(bench: Bench) -> Iterator[list[Cell]]:
    with _pages(bench) as sides:
        yield [bench.load(who, server, ask(server, path, ACCEPT)) for who, server, path in sides]


@contextlib.contextmanager
def _small_file(bench: Bench) -> Iterator[list[Cell]]:
    with _files(bench, trees.small(bench.cache), "small-file") as sides:
        yield [bench.load(who, server, ask(server, path)) for who, server, path in sides]


@contextlib.contextmanager
def _large_file(bench: Bench) -> Iterator[list[Cell]]:
    wheel = trees.large_file(bench.cache, 20 if bench.quick else 200)
    with _files(bench, wheel.parent.parent, wheel.parent.name) as sides:
        measures = [(who, partial(bench.transfers, server, path, 5)) for who, server, path in sides]
        yield [Cell(who, measure, measure) for who, measure in measures]


def _connecting(
    bench: Bench, label: str, side: Side, version: ssl.TLSVersion | None = None, *, resume: bool = False
) -> Cell:
    who, server, path = side
    run = connections(bench, server, path, version, resume=resume)
    return Cell(f"{who}, {label}", lambda: run(bench.seconds), lambda: run(1))


@contextlib.contextmanager
def _new_connections(bench: Bench) -> Iterator[list[Cell]]:
    with contextlib.ExitStack() as stack:
        sides = [(kind, side) for kind in _KINDS for side in stack.enter_context(_pages(bench, kind))]
        yield [_connecting(bench, kind, side) for kind, side in sides]


@contextlib.contextmanager
def _resumed(bench: Bench) -> Iterator[list[Cell]]:
    with _pages(bench) as sides:
        yield [
            _connecting(bench, label, side, version, resume=True)
            for label, version in VERSIONS.items()
            for side in sides
        ]


def _cpu(what: str, label: str, goal: str = "") -> Ratio:
    words = f"{what} / nginx: CPU per connection"
    return Ratio(words, "cpu_connection", f"{_OURS}, {label}", f"{_NGINX}, {label}", goal)


ROWS = (
    Row(
        "tls-page",
        _page,
        (
            Ratio("page of 10 files over TLS / nginx: CPU per request", "cpu", _OURS, _NGINX, "≤ 3.5"),
            Ratio("the same: requests/s / nginx", "per_second", _OURS, _NGINX),
        ),
    ),
    Row(
        "tls-small-file",
        _small_file,
        (
            Ratio("file of 5 KB over TLS / nginx: CPU per request", "cpu", _OURS, _NGINX),
            Ratio("the same: requests/s / nginx", "per_second", _OURS, _NGINX),
        ),
    ),
    Row(
        "tls-large-file",
        _large_file,
        (
            Ratio("file of 200 MB over TLS / nginx: CPU per GB", "cpu_per_gb", _OURS, _NGINX, "≤ 1.5"),
            Ratio("file of 200 MB over TLS / nginx: throughput", "throughput", _OURS, _NGINX),
        ),
    ),
    Row(
        "tls-connection",
        _new_connections,
        (_cpu("connection, ECDSA P-256", "ECDSA", "≤ 2.5"), _cpu("connection, RSA 2048", "RSA")),
    ),
    Row(
        "tls-resumed",
        _resumed,
        tuple(
            ratio
            for label in VERSIONS
            for ratio in (
                _cpu(f"connection that offers a session, {label}", label),
                Ratio(f"sessions that this server resumes, {label}", "resumed", f"{_OURS}, {label}"),
                Ratio(f"sessions that nginx resumes, {label}", "resumed", f"{_NGINX}, {label}"),
            )
        ),
    ),
)
