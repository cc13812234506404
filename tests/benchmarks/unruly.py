"""An upstream that misbehaves in the ways that upstreams do, as one is told to."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import random
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_JSON = "application/vnd.pypi.simple.v1+json"

#: What it may become; besides `well`.
MODES = (
    "down", "slow", "silent", "trickling", "failing", "busy", "denying", "garbled",
    "other-bytes", "breaking-off",
)  # fmt: skip


class UnrulyUpstream:
    """
    Listens on a port of 127.0.0.1.

    Args:
        projects: Contents of files by file name, by project.
    """

    def __init__(self, projects: Mapping[str, Mapping[str, bytes]]) -> None:
        self.files = {filename: content for files in projects.values() for filename, content in files.items()}
        self.pages = {name: _page(name, files) for name, files in projects.items()}
        self.mode = "well"
        self.answers: Counter[str] = Counter()
        self.connections: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), self)
        self.port: int = self._server.server_address[1]
        self._run()

    def become(self, mode: str) -> None:
        """Misbehave so from now on; who leaves `down` has started anew."""
        if mode == "down" and self.mode != "down":
            self.mode = mode
            self._server.shutdown()
            self._server.server_close()
            for connection in list(self.connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        elif mode != "down" and self.mode == "down":
            self._server = _Server(("127.0.0.1", self.port), self)
            self._run()
        self.mode = mode

    def close(self) -> None:
        """Listen no more."""
        self.become("down")

    def _run(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], upstream: UnrulyUpstream) -> None:
        self.upstream = upstream
        super().__init__(address, _Answer)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let connections break without a word."""


class _Answer(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.upstream.connections.add(self.connection)

    def finish(self) -> None:
        self.server.upstream.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        upstream = self.server.upstream
        mode = upstream.mode
        upstream.answers[mode] += 1
        simple = {"slow": self._slow, "silent": self._silent, "garbled": self._garbled}.get(mode)
        if simple is not None and not simple():
            return
        status = {"failing": 500, "busy": 429, "denying": 404}.get(mode)
        if status is not None:
            self._send(status, b"", {"Retry-After": "1"} if status == 429 else {})
            return
        *_, project, filename = self.path.split("/")
        content = upstream.pages.get(project) if not filename else upstream.files.get(filename)
        if content is None:
            self._send(404, b"", {})
        elif not filename:
            self._send_page(content, mode)
        else:
            self._send_file(content, mode)

    def _slow(self) -> bool:
        time.sleep(random.uniform(0.2, 4.0))
        return True

    def _silent(self) -> bool:
        time.sleep(12)
        self.close_connection = True
        return False

    def _garbled(self) -> bool:
        self.wfile.write(random.randbytes(random.choice((10, 3000))))
        self.close_connection = True
        return False

    def _send_page(self, content: bytes, mode: str) -> None:
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        if self.headers.get("If-None-Match") == tag and random.random() < 0.7:
            self._send(304, b"", {"ETag": tag})
        else:
            self._send(200, content, {"Content-Type": _JSON, "ETag": tag}, mode)

    def _send_file(self, content: bytes, mode: str) -> None:
        if mode == "other-bytes":
            content = content[:-20] + bytes(20)
        first = 0
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes=") and asked.endswith("-"):
            first = int(asked[6:-1])
        fields = {"Content-Type": "application/octet-stream"}
        if first:
            fields["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self._send(206 if first else 200, content[first:], fields, mode)

    def _send(self, status: int, body: bytes, fields: dict[str, str], mode: str = "well") -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if mode == "breaking-off":
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif mode == "trickling":
            for at in range(0, len(body), 2000):
                self.wfile.write(body[at : at + 2000])
                time.sleep(0.05)
        else:
            self.wfile.write(body)


def _page(name: str, files: Mapping[str, bytes]) -> bytes:
    listed = [
        {
            "filename": filename,
            "url": f"../../files/{filename}",
            "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
            "size": len(content),
        }
        for filename, content in files.items()
    ]
    return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": listed}).encode()
