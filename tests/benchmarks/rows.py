"""
Rows about single answers: pages, lists, files, folders.

Not for: what takes a large tree (`scale_rows`), TLS (`tls_rows`) or other indexes (`peer_rows`).
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from tests.benchmarks import trees
from tests.benchmarks.bench import Cell, Row
from tests.benchmarks.figures import Ratio
from tests.benchmarks.load import GZIP, JSON, Ask, fetch
from tests.benchmarks.servers import Nginx, TwistdWeb, TwistedIndex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.benchmarks.bench import Bench
    from tests.benchmarks.servers import Server

_ACCEPT = {"Accept": JSON}
_PAGE = f"/simple/{trees.DEMO}/"
OURS, NGINX = TwistedIndex.name, Nginx.name


def _first_page(server: Server) -> bytes:
    return fetch(Ask(server.port, _PAGE, _ACCEPT)).body


@contextlib.contextmanager
def _page(bench: Bench, *, log: bool) -> Iterator[list[Cell]]:
    folder, copies = trees.small(bench.cache), bench.place()
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(bench.running(TwistedIndex, folder, log=log))
        (copies / "page.json").write_bytes(_first_page(ours))
        nginx = stack.enter_context(bench.running(Nginx, copies, log=log))
        kept = "open_file_cache max=1000;"
        caching = stack.enter_context(bench.running(Nginx, copies, log=log, more=kept))
        cells = []
        for connections in (32, 256):
            for who, server, path in (
                (NGINX, nginx, "/page.json"),
                (f"{NGINX} with open_file_cache", caching, "/page.json"),
                (OURS, ours, _PAGE),
            ):
                ask = Ask(server.port, path, _ACCEPT)
                cells.append(bench.load(f"{who}, {connections}", server, ask, connections))
        yield cells


def _page_ratios(what: str, goal: str) -> tuple[Ratio, ...]:
    return tuple(
        Ratio(f"{what}, {connections} connections: {words}", metric, f"{OURS}, {connections}", to, wanted)
        for connections in (32, 256)
        for words, metric, to, wanted in (
            ("CPU per request / nginx", "cpu", f"{NGINX}, {connections}", goal),
            ("requests/s / nginx", "per_second", f"{NGINX}, {connections}", ""),
            (
                "CPU per request / nginx with open_file_cache",
                "cpu",
                f"{NGINX} with open_file_cache, {connections}",
                "",
            ),
        )
    )


@contextlib.contextmanager
def _short(bench: Bench) -> Iterator[list[Cell]]:
    with bench.running(TwistedIndex, trees.small(bench.cache)) as ours:
        tag = fetch(Ask(ours.port, _PAGE, _ACCEPT)).fields["etag"]
        known = {**_ACCEPT, "If-None-Match": tag}
        yield [
            bench.load("200", ours, Ask(ours.port, _PAGE, _ACCEPT)),
            bench.load("304", ours, Ask(ours.port, _PAGE, known, 304)),
            bench.load("404", ours, Ask(ours.port, f"/simple/{trees.ABSENT}/", _ACCEPT, 404)),
        ]


@contextlib.contextmanager
def _list(bench: Bench) -> Iterator[list[Cell]]:
    projects = 1000 if bench.quick else 10_000
    folder, copies = trees.many(bench.cache, projects, 1), bench.place()
    with bench.running(TwistedIndex, folder) as ours, bench.running(Nginx, copies) as nginx:
        answer = fetch(Ask(ours.port, "/simple/", GZIP))
        (copies / "list.json.gz").write_bytes(answer.body)
        (copies / "list.json").write_bytes(fetch(Ask(ours.port, "/simple/", _ACCEPT)).body)
        theirs = fetch(Ask(nginx.port, "/list.json", GZIP))
        assert theirs.body == answer.body
        known = {**GZIP, "If-None-Match": answer.fields["etag"]}
        known_there = {**GZIP, "If-None-Match": theirs.fields["etag"]}
        yield [
            bench.load(NGINX, nginx, Ask(nginx.port, "/list.json", GZIP)),
            bench.load(OURS, ours, Ask(ours.port, "/simple/", GZIP)),
            bench.load(f"{NGINX}, 304", nginx, Ask(nginx.port, "/list.json", known_there, 304)),
            bench.load(f"{OURS}, 304", ours, Ask(ours.port, "/simple/", known, 304)),
        ]


@contextlib.contextmanager
def _small_file(bench: Bench) -> Iterator[list[Cell]]:
    folder = trees.small(bench.cache)
    (wheel,) = (folder / "small-file").iterdir()
    with (
        bench.running(TwistedIndex, folder) as ours,
        bench.running(Nginx, folder) as nginx,
        bench.running(TwistdWeb, folder) as web,
    ):
        yield [
            bench.load(NGINX, nginx, Ask(nginx.port, f"/small-file/{wheel.name}")),
            bench.load(OURS, ours, Ask(ours.port, f"/simple/small-file/{wheel.name}")),
            bench.load(TwistdWeb.name, web, Ask(web.port, f"/small-file/{wheel.name}")),
        ]


@contextlib.contextmanager
def _large_file(bench: Bench) -> Iterator[list[Cell]]:
    wheel = trees.large_file(bench.cache, 20 if bench.quick else 200)
    folder = wheel.parent.parent
    with (
        bench.running(TwistedIndex, folder) as ours,
        bench.running(Nginx, folder) as nginx,
        bench.running(TwistdWeb, folder) as web,
    ):
        # The file is checked, and its digest learned, before it is measured.
        fetch(Ask(ours.port, "/simple/blob/", _ACCEPT))
        yield [
            _transfers(bench, NGINX, nginx, f"/blob/{wheel.name}"),
            _transfers(bench, OURS, ours, f"/simple/blob/{wheel.name}"),
            _transfers(bench, TwistdWeb.name, web, f"/blob/{wheel.name}"),
        ]


def _transfers(bench: Bench, who: str, server: Server, path: str, times: int = 5) -> Cell:
    def measure() -> dict[str, float]:
        return bench.transfers(server, path, times)

    return Cell(who, measure, measure)


@contextlib.contextmanager
def _autoindex(bench: Bench) -> Iterator[list[Cell]]:
    folder = trees.small(bench.cache)
    with (
        bench.running(TwistedIndex, folder) as ours,
        bench.running(Nginx, folder, autoindex=True) as nginx,
        bench.running(TwistdWeb, folder) as web,
    ):
        yield [
            bench.load("nginx autoindex", nginx, Ask(nginx.port, f"/{trees.DEMO}/")),
            bench.load(OURS, ours, Ask(ours.port, _PAGE, {"Accept": "text/html"})),
            bench.load(TwistdWeb.name, web, Ask(web.port, f"/{trees.DEMO}/")),
        ]


@contextlib.contextmanager
def _wide_project(bench: Bench) -> Iterator[list[Cell]]:
    files = 1000 if bench.quick else 10_000
    folder, copies = trees.many(bench.cache, 1, files), bench.place()
    page = "/simple/project-00000/"
    with bench.running(TwistedIndex, folder) as ours, bench.running(Nginx, copies) as nginx:
        answer = fetch(Ask(ours.port, page, GZIP))
        assert len(json.loads(fetch(Ask(ours.port, page, _ACCEPT)).body)["files"]) == files
        (copies / "page.json.gz").write_bytes(answer.body)
        (copies / "page.json").write_bytes(b"")  # only that form is asked for
        assert fetch(Ask(nginx.port, "/page.json", GZIP)).body == answer.body
        known = {**GZIP, "If-None-Match": answer.fields["etag"]}
        yield [
            Cell("first page", lambda: _cold(bench, folder, page)),
            bench.load(NGINX, nginx, Ask(nginx.port, "/page.json", GZIP)),
            bench.load(OURS, ours, Ask(ours.port, page, GZIP)),
            bench.load("304", ours, Ask(ours.port, page, known, 304)),
            Cell("page", lambda: {"bytes": float(len(answer.body))}),
        ]


def _cold(bench: Bench, folder: Path, page: str) -> dict[str, float]:
    with bench.running(TwistedIndex, folder) as server:
        bench.await_page(server, page)
        return {"first_page": bench.since_start(server), "memory": float(server.process.resident_bytes())}


ROWS = (
    Row("page", lambda bench: _page(bench, log=False), _page_ratios("page of 10 files", "≤ 1.5")),
    Row(
        "page-logged",
        lambda bench: _page(bench, log=True),
        _page_ratios("page of 10 files, access log on", "≤ 1.6"),
    ),
    Row(
        "short",
        _short,
        (
            Ratio("304 of a page / its 200: CPU per request", "cpu", "304", "200", "≤ 1.0"),
            Ratio("404 of an absent name / a page: CPU per request", "cpu", "404", "200", "≤ 1.0"),
        ),
    ),
    Row(
        "list",
        _list,
        (
            Ratio("list of 10,000 projects, gzip / nginx: CPU per request", "cpu", OURS, NGINX, "≤ 1.2"),
            Ratio("the same: requests/s / nginx", "per_second", OURS, NGINX),
            Ratio("its 304 / nginx's 304: CPU per request", "cpu", f"{OURS}, 304", f"{NGINX}, 304", "≤ 1.2"),
            Ratio("its 304 / its 200: CPU per request", "cpu", f"{OURS}, 304", OURS, "≤ 1.0"),
        ),
    ),
    Row(
        "small-file",
        _small_file,
        (
            Ratio("file of 5 KB / nginx: CPU per request", "cpu", OURS, NGINX, "≤ 1.8"),
            Ratio("file of 5 KB / twistd web: CPU per request", "cpu", OURS, TwistdWeb.name),
        ),
    ),
    Row(
        "large-file",
        _large_file,
        (
            Ratio("file of 200 MB / nginx with sendfile: CPU per GB", "cpu_per_gb", OURS, NGINX, "≤ 1.15"),
            Ratio("file of 200 MB / nginx: throughput", "throughput", OURS, NGINX, "≥ 0.9"),
            Ratio("file of 200 MB / twistd web: CPU per GB", "cpu_per_gb", OURS, TwistdWeb.name),
        ),
    ),
    Row(
        "autoindex",
        _autoindex,
        (
            Ratio("page / nginx's autoindex of the folder: CPU per request", "cpu", OURS, "nginx autoindex"),
            Ratio("page / twistd web's listing of it: CPU per request", "cpu", OURS, TwistdWeb.name),
        ),
    ),
    Row(
        "wide-project",
        _wide_project,
        (
            Ratio("project of 10,000 files: first page after start", "first_page", "first page"),
            Ratio("its page, gzip / nginx: CPU per request", "cpu", OURS, NGINX),
            Ratio("its 304 / its 200: CPU per request", "cpu", "304", OURS, "≤ 1.0"),
        ),
    ),
)
