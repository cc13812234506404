"""
Asks: by wrk for load, by a small client of our own for answers that are looked at.

Not for: what is made of the figures (`figures`).
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.benchmarks.processes import on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.benchmarks.processes import Process

JSON = "application/vnd.pypi.simple.v1+json"
GZIP = {"Accept": JSON, "Accept-Encoding": "gzip"}
_PIECE = 1 << 20

#: wrk prints rounded figures; this gives them whole. Targets after the address are asked for in turn.
REPORT = """\
init = function(targets)
  if targets[1] == nil then return end
  local turn, asks = 0, {}
  for place, target in ipairs(targets) do asks[place] = wrk.format(nil, target) end
  request = function() turn = turn % #asks + 1; return asks[turn] end
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nREPORT {"requests":%d,"bytes":%d,"microseconds":%d,"p50":%d,"p99":%d,"status":%d,"broken":%d}\\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


class WrongAnswer(Exception):
    """An answer that is not what the row is about."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    fields: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """
    One request, and the status it must have.

    Attributes:
        port: On the loopback interface.
        path: The target.
        fields: Header fields.
        status: What the answer must say.
        authority: Over TLS, the root that the server's certificate is verified with (PEM); None is HTTP
            without TLS.
        others: Further targets for wrk, in turn with the first.
    """

    port: int
    path: str
    fields: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    authority: Path | None = None
    others: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{'https' if self.authority else 'http'}://127.0.0.1:{self.port}{self.path}"


class Client:
    """
    A kept-alive connection that asks one thing after the other.

    Args:
        port: On the loopback interface.
        seconds: How long it waits for bytes.
        tls: What it verifies with, and its limits; None is HTTP without TLS.
        session: Of an earlier connection, to resume.
    """

    def __init__(
        self,
        port: int,
        seconds: float = 60.0,
        tls: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = tls.wrap_socket(plain, server_hostname="127.0.0.1", session=session) if tls else plain
        self._host = f"127.0.0.1:{port}"
        self._rest = bytearray()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def tls(self) -> ssl.SSLSocket:
        """The socket of a connection over TLS, which knows its cipher suite and its session."""
        assert isinstance(self._socket, ssl.SSLSocket)
        return self._socket

    def get(self, path: str, fields: Mapping[str, str] | None = None) -> Answer:
        """Ask, and read all of the answer."""
        head = f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in (fields or {}).items())
        self._socket.sendall(head.encode() + b"\r\n")
        status, found = self._head()
        if status in (204, 304):
            body = b""
        elif "chunked" in found.get("transfer-encoding", ""):
            body = b"".join(self._chunks())
        elif "content-length" in found:
            body = self._take(int(found["content-length"]))
        else:
            body = self._all()
        return Answer(status, found, body)

    def discard(self, path: str) -> int:
        """Ask for a file, and throw its bytes away; gives their number."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        status, found = self._head()
        if status != 200:
            raise WrongAnswer(f"{path}: {status}")
        size = int(found["content-length"])
        left, piece = size - len(self._rest), bytearray(_PIECE)
        self._rest.clear()
        while left > 0:
            count = self._socket.recv_into(piece, min(left, _PIECE))
            if not count:
                raise WrongAnswer(f"{path}: it ended {left} bytes early")
            left -= count
        return size

    def _head(self) -> tuple[int, dict[str, str]]:
        while (end := self._rest.find(b"\r\n\r\n")) < 0:
            self._more()
        lines = self._take(end + 4).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    def _more(self) -> None:
        data = self._socket.recv(_PIECE)
        if not data:
            raise WrongAnswer("the connection ended within an answer")
        self._rest += data

    def _take(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._more()
        taken = bytes(self._rest[:size])
        del self._rest[:size]
        return taken

    def _chunks(self) -> Iterator[bytes]:
        size = -1
        while size:
            while (end := self._rest.find(b"\r\n")) < 0:
                self._more()
            size = int(self._take(end + 2).split(b";")[0], 16)
            yield self._take(size)
            self._take(2)

    def _all(self) -> bytes:
        with contextlib.suppress(WrongAnswer):
            while True:
                self._more()
        return self._take(len(self._rest))


def trusting(authority: Path | None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext | None:
    """Make what verifies servers with one root, and offers one version or all; None without a root."""
    if authority is None:
        return None
    context = ssl.create_default_context(cafile=authority)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def fetch(ask: Ask, seconds: float = 60.0) -> Answer:
    """Ask once, on a connection of its own; refuse any other status than the one that is due."""
    with Client(ask.port, seconds, trusting(ask.authority)) as client:
        answer = client.get(ask.path, {**ask.fields, "Connection": "close"})
    if answer.status != ask.status:
        raise WrongAnswer(f"{ask.path}: {answer.status}, not {ask.status}: {answer.body[:200]!r}")
    return answer


@dataclass(frozen=True, slots=True)
class Wrk:
    """
    Runs wrk, with one thread.

    Attributes:
        cores: Where it runs.
        script: A file that holds `REPORT`.
    """

    cores: frozenset[int]
    script: Path

    def run(self, ask: Ask, process: Process, *, connections: int, seconds: int) -> dict[str, float]:
        """
        Load a server.

        Returns:
            `per_second`: requests answered per second; `cpu`: microseconds of the server's CPU per
            request; `p50`, `p99`: microseconds of latency.
        """
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
        command += ["--latency", "-s", str(self.script)]
        for name, value in ask.fields.items():
            command += ["-H", f"{name}: {value}"]
        targets = ["--", ask.path, *ask.others] if ask.others else []
        fetch(ask)
        before = process.cpu_seconds()
        with on(self.cores):
            ran = subprocess.run(
                [*command, ask.url, *targets],
                capture_output=True,
                text=True,
                timeout=seconds + 60,
                check=False,
            )
        taken = process.cpu_seconds() - before
        found = re.search(r"^REPORT (.*)$", ran.stdout, re.MULTILINE)
        if ran.returncode or found is None:
            raise WrongAnswer(f"wrk: {(ran.stderr or ran.stdout).strip()[-200:]}")
        return _figures(json.loads(found[1]), taken, ask)


def _figures(report: dict[str, float], taken: float, ask: Ask) -> dict[str, float]:
    requests = report["requests"]
    if not requests or report["broken"] > requests / 1000:
        raise WrongAnswer(f"wrk: {requests} answers, {report['broken']} broken connections")
    if ask.status < 400 and report["status"]:
        raise WrongAnswer(f"wrk: {report['status']} of {requests} answers were errors")
    return {
        "per_second": requests / report["microseconds"] * 1e6,
        "cpu": taken / requests * 1e6,
        "p50": report["p50"],
        "p99": report["p99"],
    }


def paced(ask: Ask, *, until: Callable[[], bool], pause: float = 0.002) -> list[float]:
    """Ask again and again with pauses in between, and give the seconds that each answer took, ascending."""
    taken = []
    with Client(ask.port) as client:
        while not until():
            began = time.perf_counter()
            answer = client.get(ask.path, ask.fields)
            taken.append(time.perf_counter() - began)
            if answer.status != ask.status:
                raise WrongAnswer(f"{ask.path}: {answer.status}")
            time.sleep(pause)
    return sorted(taken)
