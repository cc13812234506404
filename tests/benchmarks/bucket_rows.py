"""
Rows about buckets: pages beside the same files in a folder, and a large file beside the store itself.

The store is a Ceph on the same machine. Not for: what is asked of it (`object_store_operations`).
"""

from __future__ import annotations

import contextlib
import http.client
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.benchmarks import trees
from tests.benchmarks.bench import Cell, Row
from tests.benchmarks.figures import Ratio
from tests.benchmarks.load import GZIP, Ask, WrongAnswer
from tests.benchmarks.processes import CannotStart, on
from tests.benchmarks.servers import TwistedIndex
from tests.benchmarks.uploads import upload
from tests.kit.object_stores import Ceph
from tests.kit.object_stores.store import BUCKET, open_place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.benchmarks.bench import Bench

FOLDER, IN_BUCKET, STORE = "a folder", "a bucket", "the store itself"
_CLIENTS = (1, 16)
#: First bytes in one measurement, by each client.
_TIMES = {1: 15, 16: 3}
_MEGABYTES = 100


class BucketIndex(TwistedIndex):
    """This server on a bucket, with uploads for everyone."""

    def __init__(self, work: Path, cores: frozenset[int], store: Ceph, prefix: str) -> None:
        path = ("--path", f"s3://{BUCKET}/{prefix}", "--upload", "--anonymous-upload")
        super().__init__(work, cores, options=path)
        self._store = store

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **self._store.environment}

    def fill(self, *wheels: Path) -> None:
        """Upload what it is to serve."""
        for wheel in wheels:
            upload(f"http://127.0.0.1:{self.port}/legacy/", wheel, "anyone", "")


@contextlib.contextmanager
def _ceph(bench: Bench) -> Iterator[Ceph]:
    if not Ceph.is_installed():
        raise CannotStart(f"Not installed: {Ceph.needs}")
    store = Ceph(bench.place())
    try:
        store.start()
        yield store
    finally:
        store.crash()


@contextlib.contextmanager
def _page(bench: Bench) -> Iterator[list[Cell]]:
    folder, path = trees.small(bench.cache), f"/simple/{trees.DEMO}/"
    with (
        _ceph(bench) as store,
        bench.running(TwistedIndex, folder) as ours,
        bench.running(BucketIndex, store, "pages") as bucket,
    ):
        bucket.fill(*sorted((folder / trees.DEMO).iterdir()))
        yield [
            bench.load(f"{who}, {clients}", server, Ask(server.port, path, GZIP), clients)
            for clients in _CLIENTS
            for who, server in ((FOLDER, ours), (IN_BUCKET, bucket))
        ]


@contextlib.contextmanager
def _file(bench: Bench) -> Iterator[list[Cell]]:
    from obstore import sign

    wheel = trees.large_file(bench.cache, _MEGABYTES)
    with _ceph(bench) as store, bench.running(BucketIndex, store, "files") as bucket:
        bucket.fill(wheel)
        place = open_place(f"s3://{BUCKET}", store.environment)
        direct = str(sign(place, "GET", f"files/blob/{wheel.name}", timedelta(hours=1)))
        through = f"http://127.0.0.1:{bucket.port}/simple/blob/{wheel.name}"
        bench.await_page(bucket, "/simple/blob/")
        both = ((STORE, direct), (IN_BUCKET, through))
        yield [
            *(
                Cell(f"{who}, {clients}", partial(_first_bytes, bench, url, clients))
                for clients in _CLIENTS
                for who, url in both
            ),
            *(Cell(who, partial(_whole, bench, url)) for who, url in both),
        ]


def _first_bytes(bench: Bench, url: str, clients: int) -> dict[str, float]:
    """Ask as many clients, some times each; give the median of the seconds to the first byte of the file."""
    with on(bench.cores.client), ThreadPoolExecutor(clients) as pool:
        taken = list(pool.map(_first_byte, clients * _TIMES[clients] * [url]))
    return {"first_byte": statistics.median(taken)}


def _first_byte(url: str) -> float:
    with _opened(url) as (answer, began):
        answer.read(1)
        taken = time.perf_counter() - began
    time.sleep(0.05)
    return taken


def _whole(bench: Bench, url: str) -> dict[str, float]:
    """Take the whole file once, and give the bytes per second."""
    piece = memoryview(bytearray(1 << 20))
    with on(bench.cores.client), _opened(url) as (answer, began):
        size = 0
        while count := answer.readinto(piece):
            size += count
        if size != int(answer.headers["Content-Length"]):
            raise WrongAnswer(f"{size} bytes")
        return {"throughput": size / (time.perf_counter() - began)}


@contextlib.contextmanager
def _opened(url: str) -> Iterator[tuple[http.client.HTTPResponse, float]]:
    parts, began = urlsplit(url), time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", f"{parts.path}?{parts.query}".rstrip("?"))
        answer = connection.getresponse()
        if answer.status != 200:
            raise WrongAnswer(f"{parts.path}: {answer.status}")
        yield answer, began


ROWS = (
    Row(
        "bucket-page",
        _page,
        tuple(
            Ratio(
                f"page of 10 files, bucket / folder, {clients} clients: {words}",
                metric,
                f"{IN_BUCKET}, {clients}",
                f"{FOLDER}, {clients}",
                goal,
            )
            for clients in _CLIENTS
            for words, metric, goal in (("requests/s", "per_second", "≥ 1.0"), ("CPU per request", "cpu", ""))
        ),
    ),
    Row(
        "bucket-file",
        _file,
        (
            *(
                Ratio(
                    f"file of 100 MB / the store, {clients} clients: first byte",
                    "first_byte",
                    f"{IN_BUCKET}, {clients}",
                    f"{STORE}, {clients}",
                    "≤ 1.2",
                )
                for clients in _CLIENTS
            ),
            Ratio("file of 100 MB / the store: throughput", "throughput", IN_BUCKET, STORE),
        ),
    ),
)
