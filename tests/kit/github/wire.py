"""A server of HTTP/1.1 in threads, which records its requests and answers as a function says."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import ssl
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """One request: names of fields in lower case."""

    at: str  # which listener: "api", "web", "uploads" or "storage"
    method: str
    target: str
    headers: dict[str, str]
    body: bytes = field(default=b"", repr=False)
    status: int = 0  # what it was answered

    @property
    def line(self) -> str:
        return f"{self.method} {self.target}"

    @property
    def path(self) -> str:
        return urllib.parse.unquote(self.target.partition("?")[0])

    @property
    def query(self) -> dict[str, str]:
        return dict(urllib.parse.parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


@dataclass
class Answer:
    """An answer before it is sent."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    send: int | None = None  # only so many bytes of the body, then the connection is closed


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    fields = {"Content-Type": "application/json; charset=utf-8"}
    return Answer(status, fields | headers, json.dumps(value).encode())


class Listener:
    """Listens at a port of 127.0.0.1; each connection has its own thread and may carry many requests."""

    def __init__(
        self,
        name: str,
        answer: Callable[[Request], Answer],
        record: Callable[[Request], None],
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.name, self.answer, self.record = name, answer, record
        self._server = _Server((host, port), _handler(self))
        self.port: int = self._server.server_address[1]
        self.origin = f"{'https' if tls else 'http'}://{'localhost' if tls else host}:{self.port}"
        if tls:
            self._server.tls = tls
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    tls: ssl.SSLContext | None = None

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients that go away are usual."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is not None:
            request.settimeout(30)
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)
        if self.tls is not None:
            with contextlib.suppress(OSError):
                request.unwrap()
            request.close()


def _handler(listener: Listener) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60
        disable_nagle_algorithm = True

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (ConnectionError, ssl.SSLError):  # clients that go away are usual
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing: requests are recorded."""

        def version_string(self) -> str:
            return "github.com"

        def _serve(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(listener.name, self.command, self.path, headers, self._read())
            listener.record(request)
            answer = listener.answer(request)
            request.status = answer.status
            self._send(request, answer)

        def _send(self, request: Request, answer: Answer) -> None:
            body = answer.body
            takes_gzip = "gzip" in request.headers.get("accept-encoding", "")
            if takes_gzip and answer.headers.get("Content-Type", "").startswith("application/json") and body:
                body, answer.headers["Content-Encoding"] = gzip.compress(body), "gzip"
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status not in (204, 304):
                self.send_header("Content-Length", str(len(body)))
            if answer.send is not None:
                self.send_header("Connection", "close")
            self.end_headers()
            if request.method != "HEAD" and answer.status not in (204, 304):
                self.wfile.write(body if answer.send is None else body[: answer.send])

        def _read(self) -> bytes:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                return b"".join(self._chunks())
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _chunks(self) -> Any:
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline() not in (b"\r\n", b"\n", b""):
                pass

        do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = _serve

    return Handler
