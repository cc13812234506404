"""
`python -m tests.benchmarks.object_store_operations`: what each answer asks of a Ceph, by its own log.

Beside pypiron on the same store, if pip can install it. Not for: how long it takes (`bucket_rows`).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit

from tests.benchmarks.__main__ import default_cache
from tests.benchmarks.bucket_nodes import start_node
from tests.benchmarks.load import JSON
from tests.benchmarks.peers import environment_of
from tests.benchmarks.processes import CannotStart, Process
from tests.benchmarks.store_log import StoreLog
from tests.benchmarks.uploads import upload
from tests.kit.object_stores import Ceph
from tests.kit.object_stores.store import BUCKET
from tests.kit.ports import free_port
from twisted_index.testing import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds after which a listing holds no more, and in which all that follows a change has come.
_RESCAN, _LATER = 2.0, 5.0
_START_SECONDS = 120.0
_SMALL, _LARGE = 2 << 20, 100 << 20
_PASSWORD = "benchmark-only"
#: An empty feed: no list of malware is fetched.
_PYPIRON = {"PYPIRON_ADMIN_USER": "admin", "PYPIRON_ADMIN_PASS": _PASSWORD, "PYPIRON_ADVISORY_FEED": ""}


class _Node:
    """A server on the bucket, which is asked one thing at a time."""

    def __init__(self, start: Callable[[int], Process]) -> None:
        self.port = free_port()
        self.process = start(self.port)
        self.process.await_port(self.port, _START_SECONDS)

    def ask(self, path: str, method: str = "GET", **fields: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        with contextlib.closing(connection):
            connection.request(method, path, headers={"Accept": JSON, **fields})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def page(self, project: str) -> dict[str, str]:
        """Give the path of each file on a page."""
        path = f"/simple/{project}/"
        status, body = self.ask(path)
        if status != 200:
            raise CannotStart(f"{path}: {status}")
        return {
            file["filename"]: urlsplit(urljoin(path, file["url"])).path for file in json.loads(body)["files"]
        }

    def await_writes(self, wheel: Path) -> None:
        """Upload a file as soon as any are taken."""
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                return self.upload(wheel)
            except HTTPError as error:
                if error.code != 503 or time.monotonic() > end:
                    raise
            time.sleep(0.5)

    def upload(self, wheel: Path) -> None:
        upload(f"http://127.0.0.1:{self.port}/legacy/", wheel, "admin", _PASSWORD)


class _Count:
    """Counts what a server asks of the store for one thing after the other."""

    def __init__(self, start: Callable[[str, int], Process], log: StoreLog, work: Path) -> None:
        self._start = start
        self._log = log
        self._small = _write_wheel(work, "1.0", _SMALL)
        self._next = _write_wheel(work, "1.1", _SMALL)
        self._after_page = _write_wheel(work, "1.2", _SMALL)
        self._large = _write_wheel(work, "2.0", _LARGE)

    def rows(self) -> Iterator[tuple[str, Counter[str]]]:
        with self._node("stream") as node:
            node.await_writes(self._small)
            yield from self._uploads(node)
            try:
                yield from self._answers(node)
            except CannotStart as error:
                print(f"No more of it: {error}", file=sys.stderr)
                return
        with self._node("redirect") as node:
            self._log.count(_LATER)
            yield "page, first on a new server", self._of(lambda: node.page("counted"))
            small = node.page("counted")[self._small.name]
            yield "file of 2 MB, redirected", self._of(partial(node.ask, small))

    @contextlib.contextmanager
    def _node(self, deliver: str) -> Iterator[_Node]:
        node = _Node(partial(self._start, deliver))
        try:
            yield node
        finally:
            node.process.stop()

    def _of(self, do: Callable[[], object], before: Callable[[], object] | None = None) -> Counter[str]:
        """Count what one thing takes until it is answered, with what is needed for it fresh in memory."""
        if before is not None:
            before()
        self._log.count()
        do()
        return self._log.count()

    def _uploads(self, node: _Node) -> Iterator[tuple[str, Counter[str]]]:
        self._log.count(_LATER)
        for what, wheel in (("2 MB", self._next), ("100 MB", self._large)):
            try:
                count = self._of(partial(node.upload, wheel))
            except OSError as error:
                print(f"{wheel.name} was not taken: {error}", file=sys.stderr)
                count = Counter({"not taken": 1})
            yield f"upload of {what}", count
            yield f"— and in the {_LATER:.0f} seconds after it", self._log.count(_LATER)
        yield f"{_LATER:.0f} seconds of nothing", self._log.count(_LATER)
        with contextlib.suppress(CannotStart):
            upload_next = partial(node.upload, self._after_page)
            yield "upload of 2 MB, after a page", self._of(upload_next, lambda: node.page("counted"))

    def _answers(self, node: _Node) -> Iterator[tuple[str, Counter[str]]]:
        files = node.page("counted")
        time.sleep(_RESCAN)
        small = files[self._small.name]
        large = files.get(self._large.name, small)

        def warm() -> None:
            node.page("counted")

        yield "page, after `rescan`", self._of(warm, lambda: time.sleep(_RESCAN))
        yield "page, again", self._of(warm, warm)
        for what, path, method, fields in (
            ("file of 2 MB", small, "GET", {}),
            ("file of 100 MB", large, "GET", {}),
            ("range of 1 KB", large, "GET", {"Range": "bytes=5000-5999"}),
            ("HEAD of a file", large, "HEAD", {}),
            ("METADATA, first", f"{small}.metadata", "GET", {}),
            ("METADATA, again", f"{small}.metadata", "GET", {}),
            ("404 of a project", "/simple/absent/", "GET", {}),
            ("404 of a file", small.replace("1.0", "9.0"), "GET", {}),
        ):
            # On a busy machine what is fresh in memory may grow old before it is asked for.
            tries = 1 if "first" in what else 3
            counts = [self._of(partial(node.ask, path, method, **fields), warm) for _ in range(tries)]
            yield what, min(counts, key=Counter.total)


def _write_wheel(work: Path, version: str, size: int) -> Path:
    bulk = random.Random(version).randbytes(size)
    path = work / make_wheel("counted", version).filename
    if not path.exists():
        path.write_bytes(make_wheel("counted", version, files={"bulk": bulk}, compress=False).content)
    return path


class _Servers:
    """Starts the servers that are counted."""

    def __init__(self, work: Path, store: Ceph) -> None:
        self._work = work
        self._store = store

    def ours(self, deliver: str, port: int) -> Process:
        environment = {**self._store.environment, "TWISTED_INDEX_DELIVER": deliver}
        path = f"s3://{BUCKET}/ours"
        return start_node(f"ours-{port}", port, path, work=self._work, environment=environment)

    def pypiron(self, deliver: str, port: int) -> Process:
        program = environment_of("pypiron", default_cache()) / "pypiron"
        endpoint = self._store.environment["AWS_ENDPOINT_URL"]
        place = ("--buckets", f"s3://{BUCKET}", "--storage-prefix", "theirs", "--s3-force-path-style")
        words = (*place, "--s3-endpoint-url", endpoint, "--artifact-delivery", deliver)
        own = ("--data-dir", str(self._work / f"pypiron-{port}"), "--bind-addr", f"127.0.0.1:{port}")
        return Process(
            (str(program), "serve", *words, *own),
            log=self._work / f"pypiron-{port}.log",
            cores=frozenset(os.sched_getaffinity(0)),
            folder=self._work,
            environment={**os.environ, **self._store.environment, **_PYPIRON},
        )


def main() -> int:
    """Count, and print a table: lists, reads, writes and deletions."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.object_store_operations", description=main.__doc__
    )
    parser.parse_args()
    if not Ceph.is_installed():
        sys.exit(f"Not installed: {Ceph.needs}")
    # Ended from outside, it still ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))
    counts: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="count-", dir="/tmp") as folder:
        work = Path(folder)
        (work / "ceph").mkdir()
        store = Ceph(work / "ceph")
        try:
            store.start()
            log = StoreLog(work / "ceph" / "client.rgw.log")
            servers = _Servers(work, store)
            for name, start in (("twisted-index", servers.ours), ("pypiron", servers.pypiron)):
                counts[name] = {}
                for row, count in _Count(start, log, work).rows():
                    counts[name][row] = _format(count)
                    print(f"{name}: {row}: {counts[name][row]}", file=sys.stderr, flush=True)
        finally:
            store.crash()
    print("| |", " | ".join(counts), "|\n|---|" + len(counts) * "--:|")
    for row in next(iter(counts.values())):
        print(f"| {row} |", " | ".join(count.get(row, "?") for count in counts.values()), "|")
    return 0


def _format(count: Counter[str]) -> str:
    kinds = [
        f"{count[kind]} {kind}" for kind in ("list", "read", "write", "delete", "not taken") if count[kind]
    ]
    return ", ".join(kinds) or "0"


if __name__ == "__main__":
    sys.exit(main())
