"""
`python -m tests.benchmarks.soak --minutes 10`: mixed requests while files come and go.

Every answer is compared with what lay in the folder at some moment between its question and its
end; and what the server holds, memory and descriptors, is compared between the halves of the run.
Not for: how fast it is (`python -m tests.benchmarks`).
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import http.client
import json
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.processes import Process, watch
from tests.kit.ports import free_port
from twisted_index.testing import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROJECTS = 40
_VERSIONS = 12
_JSON = "application/vnd.pypi.simple.v1+json"
_HREF = re.compile(r'<a href="([^"#]+)#')


@dataclass(slots=True)
class _Moment:
    """What a project held from a moment on; until the change has ended, what it held before too."""

    begun: float
    ended: float
    names: frozenset[str]


@dataclass(slots=True)
class _Truth:
    """What lies in the folder, by project, with its past."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    moments: dict[str, list[_Moment]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def now(self, project: str) -> frozenset[str]:
        return self.moments[project][-1].names

    def possible(self, project: str, since: float) -> list[frozenset[str]]:
        """Give all that may be told by an answer to a question asked then, which has come now."""
        with self.lock:
            past = self.moments[project]
            last = max(index for index, moment in enumerate(past) if moment.ended <= since)
            return [moment.names for moment in past[last:]]

    @contextlib.contextmanager
    def changing(self, project: str, names: frozenset[str]) -> Iterator[None]:
        moment = _Moment(time.monotonic(), float("inf"), names)
        with self.lock:
            self.moments[project].append(moment)
        yield
        moment.ended = time.monotonic()
        with self.lock:
            del self.moments[project][:-40]


class _Soak:
    def __init__(self, folder: Path, port: int, seed: int) -> None:
        self.folder = folder
        self.port = port
        self.until = 0.0
        self.seed = seed
        self.truth = _Truth()
        self.wrong: list[str] = []
        self.answers: Counter[str] = Counter()
        self.changes = 0
        self.wheels = {
            name: {
                wheel.filename: wheel.content
                for wheel in (make_wheel(name, f"{number}.0") for number in range(_VERSIONS))
            }
            for name in (f"project-{number}" for number in range(_PROJECTS))
        }

    def fill(self) -> None:
        for name, wheels in self.wheels.items():
            (self.folder / name).mkdir()
            first = dict(list(wheels.items())[: _VERSIONS // 2])
            for filename, content in first.items():
                (self.folder / name / filename).write_bytes(content)
            self.truth.moments[name] = [_Moment(0.0, 0.0, frozenset(first))]
            self.truth.digests |= {f: hashlib.sha256(c).hexdigest() for f, c in wheels.items()}

    def change(self) -> None:
        """Drop, remove and replace files until the end."""
        chance = random.Random(self.seed)
        while time.monotonic() < self.until:
            name = chance.choice(list(self.wheels))
            here = self.truth.now(name)
            away = sorted(set(self.wheels[name]) - here)
            if here and (not away or chance.random() < 0.5):
                filename = chance.choice(sorted(here))
                with self.truth.changing(name, here - {filename}):
                    (self.folder / name / filename).unlink()
            else:
                filename = chance.choice(away)
                part = self.folder / name / f"{filename}.part"
                part.write_bytes(self.wheels[name][filename])
                with self.truth.changing(name, here | {filename}):
                    part.rename(self.folder / name / filename)
            self.changes += 1
            time.sleep(chance.uniform(0.0, 0.06))

    def ask(self, number: int) -> None:
        """Ask for pages, files, lists and what is not there until the end."""
        chance = random.Random(self.seed * 1000 + number)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        tags: dict[str, tuple[str, frozenset[str]]] = {}
        while time.monotonic() < self.until:
            name = chance.choice(list(self.wheels))
            try:
                chance.choice((self._page, self._page, self._file, self._list, self._absent))(
                    connection, name, chance, tags
                )
            except (http.client.HTTPException, OSError) as error:
                self.wrong.append(f"{name}: {error!r}")
                connection.close()
            if chance.random() < 0.01:
                connection.close()
        connection.close()

    def _get(
        self, connection: http.client.HTTPConnection, path: str, **fields: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in fields.items()})
        reply = connection.getresponse()
        body = reply.read()
        self.answers[str(reply.status)] += 1
        return reply, gzip.decompress(body) if reply.getheader("Content-Encoding") == "gzip" else body

    def _page(self, connection, name, chance, tags) -> None:  # type: ignore[no-untyped-def]
        as_json = chance.random() < 0.5
        fields = {"Accept": _JSON if as_json else "text/html"}
        if chance.random() < 0.5:
            fields["Accept_Encoding"] = "gzip"
        key = f"{name} {sorted(fields.items())}"
        if key in tags and chance.random() < 0.5:
            fields["If_None_Match"] = tags[key][0]
        asked = time.monotonic()
        reply, body = self._get(connection, f"/simple/{name}/", **fields)
        if reply.status == 304:
            names = tags[key][1]
        elif reply.status == 200:
            text = body.decode()
            names = frozenset(
                (file["filename"] for file in json.loads(text)["files"]) if as_json else _HREF.findall(text)
            )
            tags[key] = (reply.getheader("ETag", ""), names)
        elif reply.status == 404 and frozenset() in self.truth.possible(name, asked):
            return
        else:
            self.wrong.append(f"{name}: {reply.status}")
            return
        if names not in self.truth.possible(name, asked):
            self.wrong.append(f"{name}: {reply.status} with {len(names)} files that were not there together")

    def _file(self, connection, name, chance, _tags) -> None:  # type: ignore[no-untyped-def]
        filename = chance.choice(list(self.wheels[name]))
        asked = time.monotonic()
        part = chance.random() < 0.3
        reply, body = self._get(
            connection, f"/simple/{name}/{filename}", **({"Range": "bytes=10-99"} if part else {})
        )
        present = [filename in names for names in self.truth.possible(name, asked)]
        content = self.wheels[name][filename]
        right = (
            (reply.status == 200 and not part and any(present) and body == content)
            or (reply.status == 206 and part and any(present) and body == content[10:100])
            or (reply.status == 404 and not all(present))
        )
        if not right:
            self.wrong.append(f"{filename}: {reply.status}, {len(body)} bytes, present {present}")

    def _list(self, connection, _name, _chance, _tags) -> None:  # type: ignore[no-untyped-def]
        reply, body = self._get(connection, "/simple/", Accept=_JSON, Accept_Encoding="gzip")
        if reply.status != 200 or not set(self.wheels) >= {p["name"] for p in json.loads(body)["projects"]}:
            self.wrong.append(f"list: {reply.status}")

    def _absent(self, connection, _name, chance, _tags) -> None:  # type: ignore[no-untyped-def]
        reply, _body = self._get(connection, f"/simple/absent-{chance.randrange(10**6)}/")
        if reply.status != 404:
            self.wrong.append(f"absent: {reply.status}")


def main() -> int:
    """Run, and print what was seen; the exit code says whether all was right."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work, "packages")
        folder.mkdir()
        soak = _Soak(folder, free_port(), given.seed)
        soak.fill()
        server = Process(
            [sys.executable, "-m", "twisted_index", "serve", "--state", str(Path(work, "state")),
             "--path", str(folder), "--listen", f"tcp:{soak.port}:interface=127.0.0.1"],
            log=Path(work, "log"), cores=frozenset(os.sched_getaffinity(0)), folder=Path(work),
        )  # fmt: skip
        try:
            server.await_port(soak.port)
            return _run(soak, server, given.minutes * 60, given.clients)
        finally:
            server.stop()


def _run(soak: _Soak, server: Process, seconds: float, clients: int) -> int:
    soak.until = time.monotonic() + seconds
    threads = [threading.Thread(target=soak.ask, args=(number,)) for number in range(clients)]
    threads.append(threading.Thread(target=soak.change))
    for thread in threads:
        thread.start()
    held = list(watch(server, soak.until))
    for thread in threads:
        thread.join()
    print(*held, sep="\n")
    print(f"{sum(soak.answers.values()):,} answers {dict(soak.answers)}, {soak.changes:,} changes")
    print(f"{len(soak.wrong)} wrong answers", *soak.wrong[:10], sep="\n  ")
    _text, traceback, rest = server.log.read_text(errors="replace").partition("Traceback")
    print(traceback + "\n".join(rest.split("\n")[:40]))
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
