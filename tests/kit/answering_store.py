"""A store that gives the answers that a test has for it, and what is asked of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from twisted_index.backends.object_store.client import StoreBucket
from twisted_index.config.bucket_location import Location

EMPTY = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


class _Store(BaseHTTPRequestHandler):
    """Sends its answers in turn, the last one again and again."""

    answers: ClassVar[list[tuple[int, bytes]]]
    seen: ClassVar[list[BaseHTTPRequestHandler]]

    def do_GET(self) -> None:
        self.seen.append(self)
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        if status == 307:
            self.send_header("Location", f"http://{self.headers['Host']}/elsewhere")
        # One that announces more breaks off.
        self.send_header("Content-Length", str(len(body) + (status == 299)))
        self.end_headers()
        self.wfile.write(body)
        if status == 298:
            # It does so without having said it.
            self.close_connection = True

    do_PUT = do_POST = do_DELETE = do_CONNECT = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def answering_store(
    monkeypatch: pytest.MonkeyPatch, *answers: tuple[int, bytes], protocol: str = "HTTP/1.0"
) -> Iterator[tuple[StoreBucket, list[BaseHTTPRequestHandler]]]:
    """Serve these answers, the last one again and again; yield a bucket there, and the requests."""
    pytest.importorskip("obstore")
    seen: list[BaseHTTPRequestHandler] = []
    fields = {"answers": list(answers) or [(200, EMPTY)], "seen": seen, "protocol_version": protocol}
    handler = type("Store", (_Store,), fields)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            set_credentials(monkeypatch, f"http://127.0.0.1:{server.server_port}")
            yield StoreBucket(Location("s3", "bucket", "p")), seen
        finally:
            server.shutdown()
            thread.join()


def set_credentials(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Set the variables for a store at an address."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "AKID",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
