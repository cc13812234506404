"""The statistics of a running server are those of its access log: every finished download, and no other."""

from __future__ import annotations

import json
import os
import random
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.kit.front import eventually
from twisted_index.testing import make_wheel

SMALL = make_wheel("small", "1.0")
LARGE = make_wheel("large", "1.0", files={"large/data": os.urandom(20_000_000)}, compress=False)
FILES = {file.filename: file for file in (SMALL, LARGE)}


def request(path: str, method: str, field: str) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: index\r\nConnection: close\r\n{field}\r\n".encode()


def ask(port: int, data: bytes, *, leave: bool) -> None:
    """Read the whole answer, or leave after its first bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(data)
        while client.recv(1000 if leave else 1 << 20) and not leave:
            pass
        if leave:
            # An abort, not an orderly close.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def finished(entries: list[dict[str, Any]]) -> Counter[str]:
    """Count the downloads of a log: whole files that were sent to their end."""
    counted = Counter[str]()
    for entry in entries:
        method, path = entry["request_method"], entry["request_uri"]
        filename = path.rpartition("/")[2]
        if method == "GET" and filename in FILES and entry["status"] in (200, 206):
            whole = entry["body_bytes_sent"] == len(FILES[filename].content)
            counted[filename] += whole and not entry["aborted"]
    return +counted


@pytest.mark.parametrize("fast_path", ["1", "0"])
def test_the_days_have_the_downloads_that_the_log_has_as_finished(
    live_server, tmp_path: Path, fast_path: str
):
    folder, log, state = tmp_path / "packages", tmp_path / "access.log", tmp_path / "state"
    SMALL.write_to(folder / "small")
    LARGE.write_to(folder / "large")
    server = live_server(
        folder,
        options=["--access-log", str(log)],
        env={"TWISTED_INDEX_ACCESS_LOG_FORMAT": "json", "TWISTED_INDEX_FAST_PATH": fast_path},
        state=state,
    )
    chosen = random.Random(fast_path)
    number = 60
    for _ in range(number):
        file = chosen.choice(list(FILES.values()))
        size = len(file.content)
        path = f"/simple/{file.project}/{file.filename}{chosen.choice(['', '', '', '.metadata'])}"
        fields = ["", "", "", "Range: bytes=0-\r\n", f"Range: bytes=0-{size - 1}\r\n", "Range: bytes=5-9\r\n"]
        fields += ["If-None-Match: *\r\n", "User-Agent: a\tb\r\n", f"User-Agent: {'x' * 9000}\r\n"]
        method = chosen.choice(["GET", "GET", "GET", "HEAD"])
        ask(server.port, request(path, method, chosen.choice(fields)), leave=chosen.random() < 0.3)
    assert eventually(lambda: log.exists() and log.read_bytes().count(b"\n") >= number, 20)
    sums = json.loads(server.get("/-/stats", headers={"Accept": "application/json"}).body)
    server.stop()
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    expected = finished(entries)
    assert sum(expected.values()) > 5
    assert any(entry["aborted"] for entry in entries)
    kept = Counter[str]()
    for day in (state / "keep" / "downloads").glob("*.tsv"):
        for line in day.read_text().splitlines()[1:]:
            fields = line.split("\t")
            kept[fields[2]] += int(fields[-1])
    assert kept == expected
    assert sums["downloads"] == sum(expected.values())
    assert sums["projects"] == {FILES[filename].project: times for filename, times in expected.items()}
