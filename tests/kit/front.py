"""A whole running server before a hostile upstream, and what has to be so whatever that does."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.kit.hostile_upstream import JSON, HostileUpstream
from twisted_index.backends.upstream import page_format
from twisted_index.testing import make_wheel

HTML = "text/html; charset=utf-8"
MINE = make_wheel("mine", "1.0")

#: Bytes that no coding makes smaller.
NOISE = random.Random(1).randbytes(300_000)

#: Seconds. Far above what an answer of our own takes on a busy machine, far below any client's patience.
PROMPT = 8.0


def whole_cache(state: Path, url: str) -> dict[str, int]:
    """Look at every file of the cache, each of which has to be right; give the number of each kind."""
    cache, found = state / "cache" / "upstream", {"files": 0, "pages": 0, "metadata": 0, "incoming": 0}
    for path in sorted(cache.rglob("*")):
        if not path.is_file():
            continue
        kind = path.relative_to(cache).parts[0]
        found[kind] += 1
        content = path.read_bytes()
        if kind == "files":
            assert hashlib.sha256(content).hexdigest() == path.parent.name + path.name
        elif kind == "pages":
            project = json.loads(content.split(b"\n")[2])["project"]
            assert page_format.decode(content, url, project) is not None, content[:500]
        elif kind == "metadata":
            digest, _, document = content.partition(b"\n")
            assert digest.decode() == hashlib.sha256(document).hexdigest()
    return found


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid: int) -> int:
    """Bytes of memory that a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def eventually(holds: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@dataclass
class Front:
    """A server before a hostile upstream."""

    server: Any
    upstream: HostileUpstream
    state: Path
    slowest: float = 0.0
    idle: int = 0
    begun: int = 0
    names: Iterator[int] = field(default_factory=lambda: iter(range(10**6)))

    @property
    def url(self) -> str:
        return f"{self.upstream.origin}/simple/"

    def name(self) -> str:
        """Give a name that nobody has asked for."""
        return f"demo{next(self.names)}"

    def ask(self, name: str, *scripts: Any, accept: str = JSON, **options: Any) -> Any:
        self.upstream.on(f"/simple/{name}/", *scripts)
        return self.server.get(f"/simple/{name}/", headers={"Accept": accept}, **options)


def watch(front: Front, stop: threading.Event) -> None:
    """Ask for the folder's own project all the while, and note the longest that took."""
    while not stop.wait(0.05):
        began = time.monotonic()
        assert front.server.get("/simple/mine/").status == 200
        front.slowest = max(front.slowest, time.monotonic() - began)


@pytest.fixture(scope="module")
def whole_front(server_factory: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder, state = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("state") / "state"
    MINE.write_to(folder)
    upstream = HostileUpstream()
    server = server_factory(
        folder,
        state=state,
        options=["--upstream", f"{upstream.origin}/simple/"],
        env={"TWISTED_INDEX_CACHE_TTL": "0", "HOME": str(tmp_path_factory.mktemp("home"))},
    )
    assert server.get("/simple/mine/").status == 200
    assert server.get("/simple/warm/").status == 404
    front = Front(server, upstream, state)
    front.idle = descriptors(server.process.pid)
    front.begun = resident(server.process.pid)
    yield front
    upstream.close()
    assert eventually(lambda: descriptors(server.process.pid) <= front.idle + 2), "descriptors are lost"
    assert eventually(lambda: whole_cache(state, front.url)["incoming"] == 0), "something is left over"
    server.stop()
    assert "Traceback (most recent call last)" not in server.log, server.log


@pytest.fixture
def front(whole_front: Front) -> Iterator[Front]:
    """The server of the module; its own project answers all the while, and its cache is right after."""
    stop, whole_front.slowest = threading.Event(), 0.0
    watching = threading.Thread(target=watch, args=(whole_front, stop))
    watching.start()
    try:
        yield whole_front
    finally:
        stop.set()
        watching.join()
    assert whole_front.slowest < PROMPT
    whole_cache(whole_front.state, whole_front.url)


def page_of(name: str, *files: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": list(files), **more}).encode()


def entry(name: str, version: str = "1.0", **more: Any) -> dict[str, Any]:
    wheel = make_wheel(name, version)
    return {"filename": wheel.filename, "url": wheel.filename, "hashes": {"sha256": wheel.sha256}} | more


def filenames(reply: Any) -> list[str]:
    return [file["filename"] for file in reply_json(reply)["files"]]


def reply_json(reply: Any) -> Any:
    assert reply.status == 200, reply
    return json.loads(reply.body)


def is_clear_refusal(reply: Any) -> bool:
    """Tell whether a client is told in a sentence to come again."""
    wait = reply.header("Retry-After")
    return reply.status in (502, 503) and wait is not None and wait.isdigit() and bool(reply.body.strip())


class Got(NamedTuple):
    """What a client has got, and whether it can take it for whole."""

    status: int
    body: bytes
    complete: bool
    fields: tuple[tuple[str, str], ...] = ()

    def header(self, name: str) -> str | None:
        return next((value for field, value in self.fields if field.lower() == name.lower()), None)


def fetch(front: Front, target: str, **fields: str) -> Got:
    connection = http.client.HTTPConnection(front.server.host, front.server.port, timeout=40)
    try:
        connection.request("GET", target, headers={name.replace("_", "-"): v for name, v in fields.items()})
        response = connection.getresponse()
        told = tuple(response.getheaders())
        length, body = int(response.headers["Content-Length"]), b""
        with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
            while piece := response.read1(1 << 16):
                body += piece
        return Got(response.status, body, len(body) == length, told)
    finally:
        connection.close()
