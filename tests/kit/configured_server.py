"""A running server whose configuration file changes."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from pathlib import Path

from tests.kit.rights import basic
from twisted_index.service import SimpleIndexService
from twisted_index.tap import makeService
from twisted_index.testing.reactor_thread import BackgroundReactor


class ConfiguredServer:
    """A server that a configuration file makes, on a reactor of its own."""

    def __init__(self, folder: Path, *, state: str = "none") -> None:
        self.folder = folder
        self._state = state
        self.path = folder / "index.toml"
        (folder / "packages").mkdir()
        self._background: BackgroundReactor | None = None

    def start(self, text: str) -> None:
        self.path.write_text(self._whole(text))
        service = makeService({"config": str(self.path)})
        assert isinstance(service, SimpleIndexService)
        self._service = service
        self._background = BackgroundReactor()
        service._reactor = self._background.reactor
        self._background.call(service.startService, 20)
        (address,) = service.addresses
        self.port = address.port
        self._connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=20)

    def _whole(self, text: str) -> str:
        return f'path = "packages"\nstate = "{self._state}"\nlisten = "tcp:0:interface=127.0.0.1"\n{text}'

    def change(self, text: str) -> None:
        self.path.write_text(self._whole(text))

    def ask(self, path: str, form: bytes | None = None, user: str | None = None) -> tuple[int, bytes]:
        if form is None:
            authorization = {} if user is None else {"Authorization": basic(*user.split(":"))}
            self._connection.request("GET", path, headers=authorization)
        else:
            boundary = form[2:].partition(b"\r\n")[0].decode()
            fields = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
            self._connection.request("POST", path, form, fields)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def visit(self, path: str) -> tuple[int, bytes]:
        """Ask on a connection of its own; from any thread."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path, headers={"Accept": "text/html"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def becomes(
        self, path: str, wanted: Callable[[tuple[int, bytes]], bool], form: bytes | None = None
    ) -> bool:
        """Ask until an answer is as wanted."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if wanted(self.ask(path, form)):
                return True
        return False

    def stop(self) -> None:
        if self._background is not None:
            self._connection.close()
            self._background.call(self._service.stopService, 20)
            self._background.stop(20)
