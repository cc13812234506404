"""The real server as a process, and a client that sends exactly what a test gives it."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kit.ports import free_port
from twisted_index.testing import BuiltFile

REPOSITORY = Path(__file__).resolve().parents[2]

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"

START_SECONDS = 30.0
STOP_SECONDS = 15.0
ANSWER_SECONDS = 20.0


@dataclass(frozen=True)
class Reply:
    """One answer, with its header fields in the order and the spelling of the wire."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The one value of a field; None without the field. More than one fails."""
        values = self.header_values(name)
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else None

    def header_values(self, name: str) -> list[str]:
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def header_tokens(self, name: str) -> set[str]:
        """The comma-separated members of a field, in lower case."""
        members = ",".join(self.header_values(name)).split(",")
        return {member.strip().lower() for member in members if member.strip()}

    @property
    def media_type(self) -> str | None:
        value = self.header("Content-Type")
        return None if value is None else value.split(";")[0]

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")


class LiveServer:
    """A running server and how to talk to it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.host = "127.0.0.1"
        self.port = port
        self.log_file = log

    @property
    def other_port(self) -> int:
        """The port that it was given by the system, where it was also told to listen at port 0."""
        ports = {int(found) for found in re.findall(r"Listening on port (\d+)", self.log)} - {self.port}
        (port,) = ports
        return port

    @property
    def origin(self) -> str:
        """Scheme, host and port, without a slash at its end."""
        return f"http://{self.host}:{self.port}"

    @property
    def simple(self) -> str:
        """The URL that installers are given."""
        return f"{self.origin}/simple/"

    @property
    def log(self) -> str:
        """All that the server has said so far."""
        return self.log_file.read_text(errors="replace")

    def get(
        self,
        target: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
    ) -> Reply:
        """Ask on a connection of its own; nothing is added but Host."""
        with self.connection() as connection:
            return self.ask(connection, target, method=method, headers=headers, body=body)

    def head(self, target: str, **options: Any) -> Reply:
        return self.get(target, method="HEAD", **options)

    def upload(self, file: BuiltFile) -> Reply:
        """Upload a file, where everyone may."""
        part = '--b\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'
        head = part.format(":action", "") + "file_upload\r\n"
        head += part.format("content", f'; filename="{file.filename}"')
        body = head.encode() + file.content + b"\r\n--b--\r\n"
        fields = {"Content-Type": "multipart/form-data; boundary=b"}
        return self.get("/legacy/", method="POST", headers=fields, body=body)

    @contextlib.contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        """Open a connection for several requests."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=ANSWER_SECONDS)
        try:
            yield connection
        finally:
            connection.close()

    def ask(
        self,
        connection: http.client.HTTPConnection,
        target: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
    ) -> Reply:
        """Ask on a connection that stays open."""
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return _read(connection.getresponse())

    def send(self, *pieces: bytes, half_close: bool = False, wait: float = 0.0) -> bytes:
        """
        Send bytes as they are, each piece by itself, and read until the server closes.

        The last request should say `Connection: close`, or leave the server no other choice.
        """
        with socket.create_connection((self.host, self.port), timeout=ANSWER_SECONDS) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = b""
            # A server that has heard enough may answer and close while we still send.
            with contextlib.suppress(OSError):
                for piece in pieces:
                    client.sendall(piece)
                    time.sleep(wait)
                if half_close:
                    client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while chunk := client.recv(65536):
                    received += chunk
            return received

    def exchange(self, *pieces: bytes, methods: tuple[str, ...] = ("GET",), **options: Any) -> list[Reply]:
        """Send bytes as they are and take apart the answers, one for each method."""
        return replies(self.send(*pieces, **options), methods)

    def wait_until_it_answers(self, deadline: float, *, healthy: bool = True) -> bool:
        """Tell whether it came up, and is healthy if it is to be; False if it ended or stays silent."""
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                # Only then is it not another one that answers: of a test that runs beside this one, and
                # has taken the port since it was looked for.
                if f"starting on {self.port}" in self.log:
                    status = self.get("/-/health").status
                    if status == 200 or not healthy:
                        return True
            time.sleep(0.02)
        return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the server, in good order unless it is SIGKILL, and give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            if self in running:
                running.remove(self)


#: What a failed test shows the log of.
running: list[LiveServer] = []


class _Readable(io.BytesIO):
    """Bytes that `http.client` takes for a socket, for one answer after the other."""

    def makefile(self, *_: object) -> _Readable:
        return self

    def close(self) -> None:
        """Stay open: the next answer begins where this one ends."""


def _read(response: http.client.HTTPResponse) -> Reply:
    body = response.read()
    return Reply(response.status, tuple(response.getheaders()), body)


def replies(received: bytes, methods: tuple[str, ...] = ("GET",)) -> list[Reply]:
    """Take apart answers that came one after the other; there must be nothing left."""
    stream = _Readable(received)
    found = []
    for method in methods:
        response = http.client.HTTPResponse(stream, method=method)  # type: ignore[arg-type]
        response.begin()
        found.append(_read(response))
    assert stream.read() == b""
    return found


def start_server(
    folders: tuple[str | Path, ...],
    state: Path,
    options: tuple[str, ...],
    environment: dict[str, str],
    open_files: int | None,
) -> LiveServer:
    port = free_port()
    log = state.with_name(f"{state.name}-{port}.log")
    paths = [part for folder in folders for part in ("--path", str(folder))]
    listen = ["--listen", f"tcp:{port}:interface=127.0.0.1", "--state", str(state)]
    # -b: comparing bytes with text is a mistake that shall be seen.
    command = [
        sys.executable,
        "-b",
        "-m",
        "twisted",
        "--log-format=text",
        "simpleindex",
        *paths,
        *listen,
        *options,
    ]
    if open_files is not None:
        command = ["/bin/sh", "-c", f'ulimit -n {open_files}; exec "$@"', "sh", *command]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TWISTED_INDEX_")}
    clean["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPOSITORY), clean.get("PYTHONPATH")]))
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=clean | environment
        )
    return LiveServer(process, port, log)
