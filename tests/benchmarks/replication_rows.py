"""
Rows about a primary and its replicas, and about those of devpi-server beside them.

Not for: what becomes of them in accidents (`tests.replication.accidents`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import trees
from tests.benchmarks.bench import Cell, Row
from tests.benchmarks.figures import Ratio
from tests.benchmarks.load import JSON, Ask, Client, fetch, paced
from tests.benchmarks.peers import DevpiServer
from tests.benchmarks.processes import preferred
from tests.benchmarks.servers import TwistedIndex, quiet_environment
from tests.benchmarks.uploads import basic, upload
from twisted_index.testing import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.benchmarks.bench import Bench
    from tests.benchmarks.servers import Server

_ACCEPT = {"Accept": JSON}
_PAGE = f"/simple/{trees.DEMO}/"
_SYNC_SECONDS = 1800.0
_UPLOADS, _REPLICAS, _IDLE_SECONDS = 50, 3, 60.0
_OPEN = ("--upload", "--anonymous-upload")
_SYNC, _UPLOAD, _IDLE = "first sync", "upload", "nothing happens"
_SYNC_ONE = "first sync, one file each"
_P99_IDLE, _P99_SYNC = "pages, replicas idle", "pages, replicas syncing"


class Primary(TwistedIndex):
    """A server that others follow, with a token for them."""

    def prepare(self) -> None:
        self._state.mkdir(parents=True)
        command = [sys.executable, "-c", "from twisted_index.cli import main; raise SystemExit(main())"]
        words = ["token", "create", "replica", "--follow", "--operate", "--state", str(self._state)]
        made = subprocess.run(
            [*command, *words], env=self.environment(), capture_output=True, text=True, check=True
        )
        (self.token,) = re.findall(r"\btix-[\w-]+", made.stdout)

    @property
    def url_to_follow(self) -> str:
        """The URL of itself, with that token."""
        return f"http://__token__:{self.token}@127.0.0.1:{self.port}/"


class Replica(TwistedIndex):
    """A server that follows a primary."""

    def __init__(self, work: Path, cores: frozenset[int], primary: Primary) -> None:
        self.folder = work / "packages"
        self.folder.mkdir()
        super().__init__(work, cores, self.folder, options=["--replica-of", primary.url_to_follow])


def _serial(server: TwistedIndex) -> int:
    return int(json.loads(fetch(Ask(server.port, "/-/replication")).body)["serial"])


def _count(folder: Path) -> int:
    return sum(name.endswith(".whl") for _, _, names in os.walk(folder) for name in names)


def _await(done: Callable[[], bool], what: str, pause: float = 0.1) -> None:
    until = time.monotonic() + _SYNC_SECONDS
    while not done():
        if time.monotonic() > until:
            raise TimeoutError(f"{what} took more than {_SYNC_SECONDS:.0f} s")
        time.sleep(pause)


def _await_all(primary: Primary, replica: Replica, folder: Path) -> None:
    """Wait until a replica has all projects, and all that has happened to them."""
    projects = len(os.listdir(folder))
    _await(lambda: len(os.listdir(replica.folder)) >= projects, "the first sync")
    _await(lambda: _serial(replica) >= _serial(primary), "the first sync")


def _first_sync(bench: Bench, primary: Primary, folder: Path) -> dict[str, float]:
    before = primary.process.cpu_seconds()
    with bench.running(Replica, primary, cores=bench.cores.client) as replica:
        began = time.monotonic()
        _await_all(primary, replica, folder)
        took, files = time.monotonic() - began, _count(replica.folder)
        assert files == _count(folder), f"{files} files of {_count(folder)}"
        return {
            "known": took,
            "files_per_second": files / took,
            "server_cpu": primary.process.cpu_seconds() - before,
            "memory": float(_peak(replica)),
        }


def _peak(server: TwistedIndex) -> int:
    """The most that it had in memory, in bytes."""
    status = "".join(Path(f"/proc/{pid}/status").read_text() for pid in server.process.members())
    return sum(int(found) << 10 for found in re.findall(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE))


def _visible(send: Callable[[Path], None], replica: Server, work: Path, turn: list[int]) -> dict[str, float]:
    """Upload files to the primary, and time each from its acknowledgement to the page of the replica."""
    taken = []
    for _ in range(_UPLOADS):
        turn[0] += 1
        path = make_wheel("visible", f"1.{turn[0]}").write_to(work)
        send(path)
        began = time.perf_counter()
        while path.name.encode() not in _page(replica):
            time.sleep(0.001)
        taken.append(time.perf_counter() - began)
        time.sleep(0.05)
    taken.sort()
    return {"visible": statistics.median(taken), "visible_99": taken[len(taken) * 99 // 100]}


def _page(replica: Server) -> bytes:
    # On a connection of its own: devpi-server ends it after a 404.
    with Client(replica.port) as client:
        return client.get(replica.page("visible"), {**_ACCEPT, "Connection": "close"}).body


def _sender(primary: Primary) -> Callable[[Path], None]:
    url = f"http://127.0.0.1:{primary.port}/legacy/"
    return lambda wheel: upload(url, wheel, "x", "x")


def _requests(server: Primary) -> int:
    """Count the requests so far."""
    credentials = {"Authorization": basic("__token__", server.token)}
    text = fetch(Ask(server.port, "/-/metrics", credentials)).body.decode()
    found = re.findall(r"^twisted_index_http_requests_total\{.*\} (\S+)$", text, re.MULTILINE)
    return sum(int(float(number)) for number in found)


def _read(server: TwistedIndex) -> int:
    """Tell the bytes that it has read from disks."""
    text = "".join(Path(f"/proc/{pid}/io").read_text() for pid in server.process.members())
    return sum(int(number) for number in re.findall(r"^read_bytes: (\d+)", text, re.MULTILINE))


def _idle(bench: Bench, primary: Primary, replica: Replica) -> dict[str, float]:
    seconds = 10.0 if bench.quick else _IDLE_SECONDS
    requests, read = _requests(primary), _read(replica) + _read(primary)
    cpu = replica.process.cpu_seconds()
    time.sleep(seconds)
    return {
        # One of them is ours.
        "per_minute": (_requests(primary) - requests - 1) * 60 / seconds,
        "disk_reads": float(_read(replica) + _read(primary) - read),
        "idle_cpu": (replica.process.cpu_seconds() - cpu) * 60 / seconds,
        "memory": float(replica.process.resident_bytes()),
    }


@contextlib.contextmanager
def _replication(bench: Bench) -> Iterator[list[Cell]]:
    projects = 1000 if bench.quick else 10_000
    folder, single = (trees.many(bench.cache, projects, files) for files in (10, 1))
    with (
        bench.running(Primary, folder, options=_OPEN) as primary,
        bench.running(Primary, single, options=_OPEN) as other,
        bench.running(Primary, bench.place(), options=_OPEN) as small,
        bench.running(Replica, small, cores=bench.cores.client) as replica,
    ):
        # All files are read before, so that what is measured is what goes from one to the other.
        _read_all(bench, primary, projects)
        _read_all(bench, other, projects)
        yield [
            # The smaller one first: for minutes, file systems pass over what has just been deleted.
            Cell(_SYNC_ONE, partial(_first_sync, bench, other, single)),
            Cell(_SYNC, partial(_first_sync, bench, primary, folder)),
            Cell(_UPLOAD, partial(_visible, _sender(small), replica, bench.place(), [0])),
            Cell(_IDLE, partial(_idle, bench, small, replica)),
            Cell(_P99_IDLE, partial(_latency, bench, primary, folder, 0)),
            Cell(_P99_SYNC, partial(_latency, bench, primary, folder, _REPLICAS)),
        ]


def _read_all(bench: Bench, server: Primary, projects: int) -> None:
    for number in range(projects):
        bench.await_page(server, f"/simple/project-{number:05d}/")


def _latency(bench: Bench, primary: Primary, folder: Path, replicas: int) -> dict[str, float]:
    """Ask the primary for a page all the time, while so many replicas begin with nothing."""
    ask = Ask(primary.port, "/simple/project-00000/", _ACCEPT)
    with contextlib.ExitStack() as stack:
        followers = [
            stack.enter_context(bench.running(Replica, primary, cores=bench.cores.client))
            for _ in range(replicas)
        ]
        _await(lambda: all(os.listdir(each.folder) for each in followers), "the first project")
        end = time.monotonic() + 3 * bench.seconds
        with preferred(bench.cores.everything, os.getpid(), *primary.process.members()):
            taken = paced(ask, until=lambda: time.monotonic() > end)
    return {"p50": taken[len(taken) // 2] * 1e6, "p99": taken[len(taken) * 99 // 100] * 1e6}


# devpi-server, as its documents say: a primary with a secret, and a replica that has the same.


class _DevpiPrimary(DevpiServer):
    def prepare(self) -> None:
        super().prepare()
        self.secret = self.work / "secret"
        _run(str(self.programs / "devpi-gen-secret"), "--secretfile", str(self.secret))

    def command(self) -> list[str]:
        return [*super().command(), "--role", "primary", "--secretfile", str(self.secret)]

    def send(self, wheel: Path) -> None:
        """Upload a file."""
        url = f"http://127.0.0.1:{self.port}/{self.owner}/bench/"
        upload(url, wheel, self.owner, self.log_in())


class _DevpiReplica(DevpiServer):
    def __init__(self, work: Path, cores: frozenset[int], primary: _DevpiPrimary, cache: Path) -> None:
        super().__init__(work, cores, work, cache=cache)
        self._primary = primary

    def prepare(self) -> None:
        words = ["--serverdir", str(self.work / "data"), "--role", "replica", *self._following()]
        _run(str(self.programs / "devpi-init"), *words)

    def command(self) -> list[str]:
        return [*super().command(), *self._following(), "--secretfile", str(self._primary.secret)]

    def ready(self) -> None:
        """Nothing is uploaded here."""

    def _following(self) -> list[str]:
        return ["--primary-url", f"http://127.0.0.1:{self._primary.port}"]


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=True, timeout=120, env=quiet_environment())


@contextlib.contextmanager
def _devpi(bench: Bench) -> Iterator[list[Cell]]:
    part = trees.many(bench.cache, 1000, 2)
    with (
        bench.running(_DevpiPrimary, part, cache=bench.cache) as devpi,
        bench.running(Primary, part, options=_OPEN) as ours,
        bench.running(Primary, bench.place(), options=_OPEN) as small,
        bench.running(Replica, small, cores=bench.cores.client) as replica,
        bench.running(_DevpiReplica, devpi, bench.cache, cores=bench.cores.client) as theirs,
    ):
        _read_all(bench, ours, 1000)
        _await(lambda: _devpi_files(theirs) >= _devpi_files(devpi), "devpi's first sync")
        yield [
            Cell("twisted-index, sync", partial(_first_sync, bench, ours, part)),
            Cell("devpi-server, sync", partial(_devpi_sync, bench, devpi, part)),
            Cell("twisted-index, upload", partial(_visible, _sender(small), replica, bench.place(), [0])),
            Cell("devpi-server, upload", partial(_visible, devpi.send, theirs, bench.place(), [0])),
        ]


def _devpi_files(server: DevpiServer) -> int:
    return _count(server.work / "data" / "+files")


def _devpi_sync(bench: Bench, primary: _DevpiPrimary, part: Path) -> dict[str, float]:
    before, files = primary.process.cpu_seconds(), _devpi_files(primary)
    with bench.running(_DevpiReplica, primary, bench.cache, cores=bench.cores.client) as replica:
        began = time.monotonic()
        _await(lambda: _devpi_files(replica) >= files, "devpi's first sync")
        took = time.monotonic() - began
        status = "".join(Path(f"/proc/{pid}/status").read_text() for pid in replica.process.members())
        peaks = re.findall(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        return {
            "known": took,
            "files_per_second": files / took,
            "server_cpu": primary.process.cpu_seconds() - before,
            "memory": float(sum(int(found) << 10 for found in peaks)),
        }


ROWS = (
    Row(
        "replication",
        _replication,
        (
            Ratio("first sync of 10,000 projects, 100,000 files", "files_per_second", _SYNC, "", "≥ 1000"),
            Ratio("first sync of 10,000 projects, a file each", "files_per_second", _SYNC_ONE, "", "≥ 1000"),
            Ratio(
                "upload acknowledged by the primary to visible at a replica", "visible", _UPLOAD, "", "≤ 50"
            ),
            Ratio("requests of an idle replica in a minute", "per_minute", _IDLE, "", "≤ 2"),
            Ratio("bytes read from disks meanwhile", "disk_reads", _IDLE, "", "≤ 0"),
            Ratio(
                "p99 of the primary's pages while 3 replicas begin / idle", "p99", _P99_SYNC, _P99_IDLE, "≤ 2"
            ),
            Ratio("memory of a replica, at most, in the first sync", "memory", _SYNC, "", "≤ 80 MB"),
        ),
        rounds=3,
        tools=(),
    ),
    Row(
        "peer-replication",
        _devpi,
        (
            Ratio(
                "first sync of 1,000 projects, 2,000 files / devpi-server: files/s",
                "files_per_second",
                "twisted-index, sync",
                "devpi-server, sync",
            ),
            Ratio(
                "upload acknowledged to visible at a replica / devpi-server",
                "visible",
                "twisted-index, upload",
                "devpi-server, upload",
            ),
            Ratio(
                "memory of a replica, at most, in the first sync / devpi-server",
                "memory",
                "twisted-index, sync",
                "devpi-server, sync",
            ),
        ),
        peers=True,
        rounds=3,
        tools=(),
    ),
)
