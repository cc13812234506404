"""
`python -m tests.benchmarks.object_store_soak --seconds 90`: four nodes on one bucket of Ceph, behind haproxy.

50 uploads by twine arrive at once through all nodes, others follow, and again and again 20 uploads of one
name with different bytes, of which one has to win, while pip and uv install. Every few seconds a node is
killed and started again; the store crashes, comes back, hangs, and crashes once more. Nothing acknowledged
may be lost, no page may become shorter, no bytes may be other ones. Not for: how fast it is.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin

from tests.benchmarks.bucket_nodes import start_balancer, start_node
from tests.benchmarks.soak_record import BALLAST, SoakRecord
from tests.kit.object_stores import Ceph
from tests.kit.object_stores.store import BUCKET
from tests.kit.ports import free_ports
from twisted_index.testing import BuiltFile, make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.benchmarks.processes import Process

_NODES, _PROJECTS, _AT_ONCE, _RIVALS, _LARGE_RIVALS, _UPLOADERS = 4, 10, 50, 20, 4, 3
_RESCAN = 1.0
_KILL_SECONDS, _HANG_SECONDS = 5.0, 8.0
#: Seconds after the last disturbance within which each upload has a clear answer.
_PATIENCE = 120.0
#: Bytes of a wheel that is too large for one request to the store.
_LARGE = 17 << 20
_JSON = "application/vnd.pypi.simple.v1+json"


class _Wheel(NamedTuple):
    file: BuiltFile
    ballast: bytes


def _wheel(project: str, version: str, *, large: bool = False) -> _Wheel:
    ballast = os.urandom(20_000)
    files = {BALLAST: ballast} | ({"bulk": bytes(_LARGE)} if large else {})
    return _Wheel(make_wheel(project, version, files=files, compress=False), ballast)


def _form(wheel: BuiltFile) -> tuple[bytes, dict[str, str]]:
    """Write the form of an upload, and its headers."""
    fields = {
        ":action": "file_upload",
        "name": wheel.project,
        "version": wheel.version,
        "sha256_digest": wheel.sha256,
    }
    field = '--edge\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}'
    parts = [field.format(name, "", value + "\r\n") for name, value in fields.items()]
    head = "".join((*parts, field.format("content", f'; filename="{wheel.filename}"', "")))
    body = head.encode() + wheel.content + b"\r\n--edge--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=edge"}


class _Soak:
    def __init__(self, work: Path, seed: int) -> None:
        self.work = work
        self.chance = random.Random(seed)
        self.record = SoakRecord(lag=_RESCAN)
        (work / "ceph").mkdir()
        self.store = Ceph(work / "ceph")
        self.port, *self.ports = free_ports(1 + _NODES)
        self.nodes: dict[int, Process] = {}
        self.over = threading.Event()
        self.kills = self.contests = self.crashes = 0
        self.ended = 0.0

    def start_node(self, number: int) -> None:
        self.nodes[number] = start_node(
            f"node-{number}",
            self.ports[number],
            f"s3://{BUCKET}/soak",
            *("--rescan", str(_RESCAN)),
            work=self.work,
            environment=self.store.environment,
        )

    # What happens to the nodes and the store.

    def kill_nodes(self) -> None:
        while not self.over.wait(_KILL_SECONDS):
            number = self.chance.randrange(_NODES)
            self.nodes[number].kill()
            self.start_node(number)
            self.kills += 1

    def disturb_store(self, pause: float) -> None:
        for disturb in (self.crash, self.hang, self.crash):
            if self.over.wait(pause):
                return
            disturb()

    def crash(self) -> None:
        self.store.crash()
        time.sleep(2)
        self.store.start()
        self.crashes += 1

    def hang(self) -> None:
        self.store.signal(signal.SIGSTOP)
        time.sleep(_HANG_SECONDS)
        self.store.signal(signal.SIGCONT)

    # What uploaders do meanwhile. Each goes on until the answer is clear.

    def twine(self, number: int) -> None:
        wheel = _wheel(f"soak-{number % _PROJECTS}", f"1.{number}")
        folder = self.work / "wheels" / str(number)
        folder.mkdir(parents=True)
        path = wheel.file.write_to(folder)
        words = ("twine", "upload", "--disable-progress-bar", "--non-interactive", "-u", "x", "-p", "x")
        url = f"http://127.0.0.1:{self.port}/legacy/"
        while self.is_patient():
            done = subprocess.run(
                (sys.executable, "-m", *words, "--repository-url", url, str(path)),
                capture_output=True,
                check=False,
                text=True,
                env=os.environ | {"HOME": str(self.work)},
            )
            self.record.count(f"twine exit {done.returncode}")
            if done.returncode == 0:
                return self.record.acknowledge(*wheel)
            if any(status in done.stdout for status in ("400", "403", "409")):
                return self.record.blame(f"twine {wheel.file.filename}: {done.stdout[-300:]}")
            time.sleep(0.5)
        return self.record.blame(f"twine {wheel.file.filename}: no answer")

    def is_patient(self) -> bool:
        return not self.over.is_set() or time.monotonic() < self.ended + _PATIENCE

    def upload_more(self, number: int) -> None:
        """Upload one file after the other, each tenth of them a large one."""
        for count in itertools.count():
            if self.over.wait(0.1):
                return
            wheel = _wheel(f"more-{number}-{count % _PROJECTS}", f"1.{count}", large=count % 10 == 9)
            if self.upload(wheel) != 200:
                self.record.blame(f"{wheel.file.filename} was not taken")

    def contend(self) -> None:
        """Let many upload one name with different bytes at once: one has to win."""
        for count in itertools.count():
            large = count % 4 == 3
            rivals = [
                _wheel("rivals", f"1.{count}", large=large)
                for _ in range(_LARGE_RIVALS if large else _RIVALS)
            ]
            with ThreadPoolExecutor(len(rivals)) as pool:
                statuses = list(pool.map(self.upload, rivals))
            if sorted(statuses) != [200, *(len(rivals) - 1) * [409]]:
                self.record.blame(f"{rivals[0].file.filename}: {statuses}")
            self.contests += 1
            if self.over.wait(1):
                return

    def upload(self, wheel: _Wheel) -> int:
        """Upload a file until the answer is clear: 0 if it never is."""
        body, headers = _form(wheel.file)
        while self.is_patient():
            status, _ = self.ask(self.port, "/legacy/", "POST", body, headers)
            self.record.count(f"upload {status}")
            if status == 200:
                self.record.acknowledge(*wheel)
            if isinstance(status, int) and status < 500:
                return status
            time.sleep(0.3)
        return 0

    # What readers and installers do meanwhile.

    def read(self, number: int) -> None:
        """Look at the pages of a node, and at the bytes of a file that each lists."""
        chance = random.Random(number)
        while not self.over.wait(0.05):
            if projects := self.record.projects:
                self.look(number, chance.choice(projects), chance)

    def look(self, number: int, project: str, chance: random.Random | None) -> bool:
        asked, path = time.monotonic(), f"/simple/{project}/"
        status, body = self.ask(self.ports[number], path, headers={"Accept": _JSON})
        self.record.count(f"page {status}")
        if status not in (200, 404):
            return False
        listed = json.loads(body)["files"] if status == 200 else []
        files = {file["filename"]: file["hashes"]["sha256"] for file in listed}
        self.record.compare_page(number, project, files, asked)
        for file in listed if chance is None else chance.sample(listed, min(1, len(listed))):
            self.download(number, urljoin(path, file["url"]), file["hashes"]["sha256"])
        return True

    def download(self, number: int, path: str, digest: str) -> None:
        status, body = self.ask(self.ports[number], path)
        self.record.count(f"file {status}")
        if status == 200 and hashlib.sha256(body).hexdigest() != digest:
            self.record.blame(f"node {number}: {path} has other bytes")
        if status == 404:
            self.record.blame(f"node {number}: {path} is listed, and is not there")

    def install(self, name: str, *command: str) -> None:
        index = ("--no-cache-dir", "--no-deps", "--index-url", f"http://127.0.0.1:{self.port}/simple/")
        while not self.over.wait(0.2):
            if not (projects := self.record.projects):
                continue
            with tempfile.TemporaryDirectory(dir=self.work) as target:
                words = (*command, *index, "--target", target, self.chance.choice(projects))
                done = subprocess.run(
                    (sys.executable, "-m", *words), capture_output=True, check=False, text=True
                )
                said = done.stdout + done.stderr
                self.record.compare_installed(name, done.returncode, said, Path(target))

    def ask(
        self,
        port: int,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int | str, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, body, headers or {})
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                return type(error).__name__, b""

    # The run.

    def run(self, seconds: float) -> None:
        self.store.start()
        for number in range(_NODES):
            self.start_node(number)
        balancer = start_balancer(self.port, self.ports, work=self.work)
        try:
            for number, node in self.nodes.items():
                node.await_port(self.ports[number])
            self._under_stress(seconds)
            self._afterwards()
        finally:
            self.over.set()
            balancer.stop()
            for node in self.nodes.values():
                node.stop()
            self.store.crash()

    def _under_stress(self, seconds: float) -> None:
        jobs: list[tuple[Callable[..., None], tuple[object, ...]]] = [
            (self.kill_nodes, ()),
            (self.disturb_store, (seconds / 6,)),
            (self.contend, ()),
            # Only with -v does pip say that a page was answered with 503, and not with 404.
            (self.install, ("pip", "pip", "install", "-v")),
            (self.install, ("uv", "uv", "pip", "install")),
            *((self.read, (number,)) for number in range(_NODES)),
            *((self.upload_more, (number,)) for number in range(_UPLOADERS)),
            *((self.twine, (number,)) for number in range(_AT_ONCE)),
        ]
        with ThreadPoolExecutor(len(jobs)) as pool:
            running = [pool.submit(job, *arguments) for job, arguments in jobs]
            time.sleep(seconds)
            self.ended = time.monotonic()
            self.over.set()
            for job in running:
                job.result()

    def _afterwards(self) -> None:
        """All is well again: each node has to show all that was acknowledged, with its bytes."""
        time.sleep(_RESCAN)
        for number in range(_NODES):
            for project in self.record.projects:
                end = time.monotonic() + 60
                while not self.look(number, project, None):
                    if time.monotonic() > end:
                        self.record.blame(f"node {number}: no page of {project} after a minute")
                        break
                    time.sleep(0.5)


def main() -> int:
    """Run it, print what happened, and exit with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.object_store_soak", description=main.__doc__
    )
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    given = parser.parse_args()
    if not Ceph.is_installed() or shutil.which("haproxy") is None:
        sys.exit(f"Not installed: {Ceph.needs} haproxy")
    # Ended from outside, it still ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))
    work = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))
    soak = _Soak(work, given.seed)
    try:
        soak.run(given.seconds)
    finally:
        if given.keep:
            print(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    record = soak.record
    print(
        f"{record.acknowledged} uploads acknowledged, {soak.contests} contests, {soak.kills} nodes killed,"
        f" {soak.crashes} crashes of the store"
    )
    print(", ".join(f"{what}: {number}" for what, number in sorted(record.answers.items())))
    print(f"{len(record.wrong)} faults", *record.wrong[:50], sep="\n  ")
    return 1 if record.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
