"""What hostile files, upstreams and crowds cost a running server: memory, time, descriptors, disk."""

from __future__ import annotations

import gzip
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit.front import (
    JSON,
    NOISE,
    Front,
    descriptors,
    entry,
    eventually,
    fetch,
    filenames,
    front,
    is_clear_refusal,
    page_of,
    resident,
    whole_cache,
    whole_front,
)
from tests.kit.hostile_upstream import Asked, HostileUpstream, answer, page
from tests.kit.live_server import LiveServer
from twisted_index.testing import make_wheel

__all__ = ["front", "whole_front"]

pytestmark = pytest.mark.serial


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "packages"
    root.mkdir()
    return root


def test_a_metadata_bomb_is_left_out(live_server, folder):
    """What unpacks to more than any METADATA is a problem to report, not memory to fill."""
    bomb = make_wheel(
        "demo", "2.0", metadata=b"Metadata-Version: 2.1\nName: demo\nVersion: 2.0\n\n" + b"0" * 100_000_000
    )
    good = make_wheel("demo", "1.0")
    bomb.write_to(folder / "demo")
    good.write_to(folder / "demo")
    server = live_server(folder)

    assert filenames(server.get("/simple/demo/", headers={"Accept": JSON})) == [good.filename]
    told = json.loads(server.get("/-/problems", headers={"Accept": "application/json"}).body)["problems"]
    assert any(bomb.filename in row["path"] for row in told)
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 120_000  # kB


def processor_seconds(server: LiveServer) -> float:
    """What a server has taken of the processor so far."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_page_of_ten_thousand_files_costs_little_once_they_are_read(live_server, folder):
    """Nine more answers in gzip, and nine more 304, take a small part of what the first one took."""
    for number in range(10_000):
        make_wheel("big", f"1.{number}", files={}).write_to(folder / "big")
    server = live_server(folder)
    before = processor_seconds(server)
    deadline = time.monotonic() + 120
    headers = {"Accept": JSON, "Accept-Encoding": "gzip"}
    while (reply := server.get("/simple/big/", headers=headers)).status == 503:
        assert int(reply.header("Retry-After")) > 0
        assert time.monotonic() < deadline
    assert len(json.loads(gzip.decompress(reply.body))["files"]) == 10_000
    first = processor_seconds(server)

    for _ in range(9):
        assert server.get("/simple/big/", headers=headers).body == reply.body
    again = processor_seconds(server)
    for _ in range(9):
        unchanged = server.get("/simple/big/", headers=headers | {"If-None-Match": reply.header("ETag")})
        assert (unchanged.status, unchanged.body) == (304, b"")
    rest = processor_seconds(server)

    assert (again - first) / 9 < (first - before) / 20
    assert (rest - again) / 9 < (first - before) / 20


# -- Before a hostile upstream


def test_many_large_pages_at_once_do_not_fill_the_memory(front: Front):
    body = page(
        gzip.compress(b'{"files": [], "x": "' + b"y" * 60_000_000 + b'"}', 1), Content_Encoding="gzip"
    )
    names = [front.name() for _ in range(24)]
    found = []

    asking = [
        threading.Thread(target=lambda name=name: found.append(front.ask(name, body))) for name in names
    ]
    peak = 0
    for thread in asking:
        thread.start()
    while any(thread.is_alive() for thread in asking):
        peak = max(peak, resident(front.server.process.pid))
        time.sleep(0.02)

    assert {reply.status == 200 or is_clear_refusal(reply) for reply in found} == {True}
    assert any(reply.status == 200 for reply in found)
    assert peak - front.begun < 1_000_000_000


def head_without_end(line: bytes, first: bytes = b"") -> Callable[[HostileUpstream], Any]:
    def script(upstream: HostileUpstream) -> Any:
        def send(client: socket.socket, _asked: Asked) -> None:
            client.sendall(first)
            for piece in upstream.endless(line * (65536 // len(line))):
                client.sendall(piece)

        return send

    return script


HEADS = {
    "1xx": head_without_end(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "1xx-short": head_without_end(b"HTTP/1.1 100\r\n\r\n"),
    "fields": head_without_end(b"A: b\r\n", b"HTTP/1.1 200 OK\r\n"),
    "folded": head_without_end(b" b\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n"),
    "blank": head_without_end(b"x" * 16000),
}


@pytest.mark.parametrize("what", HEADS)
def test_a_head_without_end_is_given_up_soon(front: Front, what: str):
    """It fills neither the memory nor the log."""
    before, lines = resident(front.server.process.pid), len(front.server.log)
    began = time.monotonic()
    reply = front.ask(front.name(), HEADS[what](front.upstream))

    assert is_clear_refusal(reply)
    assert time.monotonic() - began < 8
    assert resident(front.server.process.pid) - before < 60_000_000
    assert len(front.server.log) - lines < 2_000_000


def test_clients_that_stall_hold_up_nobody_who_wants_the_same_file(front: Front):
    name = front.name()
    made = make_wheel(name, "1.0", files={"noise.bin": NOISE * 40}, compress=False)
    path = f"/simple/{name}/{made.filename}"
    stated = entry(name, hashes={"sha256": made.sha256}, size=made.size)
    front.upstream.on(f"/simple/{name}/", page(page_of(name, stated)))
    front.upstream.on(path, answer(200, made.content))
    before = resident(front.server.process.pid)
    stalled = []
    try:
        for _ in range(50):
            client = socket.create_connection((front.server.host, front.server.port))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            stalled.append(client)
        assert fetch(front, path).body == made.content
        assert resident(front.server.process.pid) - before < 100_000_000
    finally:
        for client in stalled:
            client.close()
    assert front.upstream.targets().count(path) == 1


def test_clients_that_ask_for_many_files_and_leave_at_once_leave_nothing_behind(front: Front):
    name = front.name()
    made = [make_wheel(name, f"{number}") for number in range(200)]
    stated = [entry(name, str(n), hashes={"sha256": one.sha256}) for n, one in enumerate(made)]
    front.upstream.on(f"/simple/{name}/", page(page_of(name, *stated)))
    at_once, most = 0, 0
    lock = threading.Lock()

    def serve(client: socket.socket, asked: Asked) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        front.upstream.stopping.wait(0.005)
        client.sendall(answer(200, by_name[asked.target]))
        with lock:
            at_once -= 1

    by_name = {f"/simple/{name}/{one.filename}": one.content for one in made}
    for path in by_name:
        front.upstream.on(path, serve)
    assert len(filenames(front.server.get(f"/simple/{name}/", headers={"Accept": JSON}))) == 200
    for path in by_name:
        with socket.create_connection((front.server.host, front.server.port)) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    path, content = next(iter(by_name.items()))

    assert eventually(lambda: fetch(front, path).body == content, 60)
    assert most <= 64
    assert eventually(lambda: descriptors(front.server.process.pid) <= front.idle + 20, 60)
    assert eventually(lambda: whole_cache(front.state, front.url)["incoming"] == 0, 60)


def test_thousands_of_absent_names_leave_nothing_on_the_disk(front: Front):
    before, pages = resident(front.server.process.pid), whole_cache(front.state, front.url)["pages"]
    names = [front.name() for _ in range(1500)]

    def ask(some: list[str]) -> None:
        with front.server.connection() as connection:
            for name in some:
                assert front.server.ask(connection, f"/simple/{name}/").status == 404

    threads = [threading.Thread(target=ask, args=(names[start::10],)) for start in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert resident(front.server.process.pid) - before < 60_000_000
    assert whole_cache(front.state, front.url)["pages"] == pages
