"""
`python -m tests.benchmarks.upstream_soak --minutes 10`: mixed requests while the upstream misbehaves.

It is killed, slowed, broken off, refuses, denies for a moment that it has what it has, and sends
garbage or other bytes than it promised. Every answer is compared with what there is; the folder's own
projects have to answer as if nothing were the matter; and what the server holds, memory and
descriptors, is compared between the halves of the run. Not for: how fast it is.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.processes import Process, watch
from tests.benchmarks.unruly import MODES, UnrulyUpstream
from tests.kit.ports import free_port
from twisted_index.testing import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN, _THEIRS, _VERSIONS = 10, 30, 12
_JSON = "application/vnd.pypi.simple.v1+json"
_LONGEST_MODE = 6.0
#: Statuses that say that the truth cannot be told now.
_NOT_NOW = (502, 503, 504)
_CONFIGURATION = """
upstream = "http://127.0.0.1:{upstream}/simple/"
cache-ttl = "2s"
cache-size = "30MB"
"""


class _Soak:
    def __init__(self, folder: Path, port: int, seed: int) -> None:
        self.folder = folder
        self.port = port
        self.seed = seed
        self.until = 0.0
        self.wrong: list[str] = []
        self.answers: Counter[str] = Counter()
        self.own_seconds: list[float] = []
        self.own = {f"own-{number}": _wheels(f"own-{number}", 0) for number in range(_OWN)}
        self.theirs = {
            f"theirs-{number}": _wheels(f"theirs-{number}", number * 20_000) for number in range(_THEIRS)
        }
        self.upstream = UnrulyUpstream(self.theirs)

    def fill(self) -> None:
        for name, wheels in self.own.items():
            (self.folder / name).mkdir()
            for filename, content in wheels.items():
                (self.folder / name / filename).write_bytes(content)

    def prepare(self) -> None:
        """Let the server see each page once while all is well: what it never saw it cannot defend."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        for name in (*self.own, *self.theirs):
            self._page(connection, name)
        connection.close()

    def misbehave(self) -> None:
        """Let the upstream be one thing after the other, and well in between."""
        chance = random.Random(self.seed)
        while time.monotonic() < self.until:
            self.upstream.become(chance.choice((*MODES, "well", "well")))
            time.sleep(chance.uniform(0.2, _LONGEST_MODE))
        self.upstream.become("well")

    def ask_for_own(self) -> None:
        """Ask for what lies in the folder, and take the time."""
        chance = random.Random(self.seed * 77)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while time.monotonic() < self.until:
            name = chance.choice(list(self.own))
            begun = time.monotonic()
            try:
                if chance.random() < 0.5:
                    self._page(connection, name)
                else:
                    self._file(connection, name, chance.choice(list(self.own[name])))
            except (http.client.HTTPException, OSError) as error:
                self.wrong.append(f"own {name}: {error!r}")
                connection.close()
            self.own_seconds.append(time.monotonic() - begun)
            time.sleep(0.02)
        connection.close()

    def ask_for_theirs(self, number: int) -> None:
        """Ask for what the upstream has, and for what nobody has."""
        chance = random.Random(self.seed * 1000 + number)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        while time.monotonic() < self.until:
            name = chance.choice(list(self.theirs))
            filename = chance.choice(list(self.theirs[name]))
            try:
                what = chance.random()
                if what < 0.5:
                    self._page(connection, name)
                elif what < 0.85:
                    self._file(connection, name, filename, gives_up=chance.random() < 0.1)
                elif what < 0.95:
                    self._get(connection, f"/simple/{name}/{filename}.metadata")
                else:
                    self._absent(connection, chance)
            except (http.client.IncompleteRead, ConnectionError):
                self.answers["cut off"] += 1
                connection.close()
            except (http.client.HTTPException, OSError) as error:
                self.wrong.append(f"{name}: {error!r}")
                connection.close()
        connection.close()

    def _get(self, connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
        connection.request("GET", path, headers={"Accept": _JSON})
        reply = connection.getresponse()
        body = reply.read()
        self.answers[str(reply.status)] += 1
        return reply.status, body

    def _page(self, connection: http.client.HTTPConnection, name: str) -> None:
        status, body = self._get(connection, f"/simple/{name}/")
        wheels = self.own.get(name) or self.theirs[name]
        if status == 200:
            listed = {file["filename"]: file["hashes"].get("sha256") for file in json.loads(body)["files"]}
            if listed != {filename: _sha256(content) for filename, content in wheels.items()}:
                self.wrong.append(f"{name}: a page of {len(listed)} files")
        else:  # every page has been there once
            self.wrong.append(f"{name}: {status}")

    def _file(
        self, connection: http.client.HTTPConnection, name: str, filename: str, *, gives_up: bool = False
    ) -> None:
        if gives_up:
            connection.request("GET", f"/simple/{name}/{filename}")
            connection.getresponse().read(1000)
            connection.close()
            return
        status, body = self._get(connection, f"/simple/{name}/{filename}")
        content = (self.own.get(name) or self.theirs[name])[filename]
        if not (status == 200 and body == content) and not (status in _NOT_NOW and name in self.theirs):
            self.wrong.append(f"{filename}: {status}, {len(body)} bytes")

    def _absent(self, connection: http.client.HTTPConnection, chance: random.Random) -> None:
        status, _body = self._get(connection, f"/simple/absent-{chance.randrange(10**6)}/")
        # While the upstream answers at all it says that there is no such project; else nobody can tell.
        if status not in (404, *_NOT_NOW):
            self.wrong.append(f"absent: {status}")


def _wheels(name: str, size: int) -> dict[str, bytes]:
    chance = random.Random(name)
    made = (
        make_wheel(name, f"{number}.0", files={f"{name}.bin": chance.randbytes(size)}, compress=False)
        for number in range(_VERSIONS)
    )
    return {wheel.filename: wheel.content for wheel in made}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> int:
    """Run, and print what was seen; the exit code says whether all was right."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.upstream_soak", description=main.__doc__
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work, "packages")
        folder.mkdir()
        soak = _Soak(folder, free_port(), given.seed)
        soak.fill()
        Path(work, "index.toml").write_text(_CONFIGURATION.format(upstream=soak.upstream.port))
        server = Process(
            [sys.executable, "-m", "twisted_index", "serve", "--config", str(Path(work, "index.toml")),
             "--state", str(Path(work, "state")), "--path", str(folder),
             "--listen", f"tcp:{soak.port}:interface=127.0.0.1"],
            log=Path(work, "log"), cores=frozenset(os.sched_getaffinity(0)), folder=Path(work),
        )  # fmt: skip
        try:
            server.await_port(soak.port)
            soak.prepare()
            result = _run(soak, server, given.minutes * 60, given.clients)
            for line in _tracebacks(Path(work, "log")):
                print("in the log:", line)
            return result
        finally:
            server.stop()
            soak.upstream.close()


def _run(soak: _Soak, server: Process, seconds: float, clients: int) -> int:
    soak.until = time.monotonic() + seconds
    threads = [threading.Thread(target=soak.ask_for_theirs, args=(number,)) for number in range(clients)]
    threads += [threading.Thread(target=soak.ask_for_own), threading.Thread(target=soak.misbehave)]
    for thread in threads:
        thread.start()
    held = list(watch(server, soak.until))
    for thread in threads:
        thread.join()
    print(*held, sep="\n")
    print(f"{sum(soak.answers.values()):,} answers {dict(soak.answers)}")
    print(f"the upstream has been {dict(soak.upstream.answers)}")
    own = sorted(soak.own_seconds)
    print(
        f"own projects: {len(own):,} answers, median {own[len(own) // 2] * 1e3:.1f} ms, "
        f"99% within {own[len(own) * 99 // 100] * 1e3:.1f} ms, longest {own[-1] * 1e3:.0f} ms"
    )
    print(f"{len(soak.wrong)} wrong answers", *soak.wrong[:10], sep="\n  ")
    return 1 if soak.wrong else 0


def _tracebacks(log: Path) -> Iterator[str]:
    """Give what the server logged that nobody meant it to."""
    found = (line for line in log.read_text(errors="replace").splitlines() if "Traceback" in line)
    for _number, line in zip(range(5), found, strict=False):
        yield line


if __name__ == "__main__":
    sys.exit(main())
