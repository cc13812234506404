"""Connections to a store that a firewall has forgotten."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from twisted_index.backends.object_store import kept_connections
from twisted_index.backends.object_store.kept_connections import KeptConnections

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class _Forgetful:
    """Answers once on each of its first connections, and is silent on these from then on."""

    def __init__(self, forgotten: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.forgotten = forgotten
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            is_forgotten = len(self.connections) < self.forgotten
            self.connections.append(connection)
            threading.Thread(target=self._answer, args=(connection, is_forgotten), daemon=True).start()

    def _answer(self, connection: socket.socket, is_forgotten: bool) -> None:
        # The test may end, and close it, before this thread waits for more.
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                connection.sendall(_ANSWER)
                if is_forgotten:
                    return

    def close(self) -> None:
        for each in (self.listener, *self.connections):
            each.close()


@pytest.fixture
def forgetful() -> Iterator[_Forgetful]:
    server = _Forgetful(2)
    yield server
    server.close()


def test_of_connections_that_are_silent_by_now_only_the_first_fails(
    forgetful: _Forgetful, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kept_connections, "_SILENCE", 0.5)
    url = f"http://127.0.0.1:{forgetful.listener.getsockname()[1]}/"
    connections = KeptConnections(url)
    assert connections.get(url, {}) == (200, b"ok")
    # A second one, as for lists at once.
    kept = connections._take()
    assert connections.get(url, {}) == (200, b"ok")
    assert kept is not None
    connections._kept.insert(0, (0.0, kept))
    monkeypatch.setattr(kept_connections, "_KEPT", 1e9)
    with pytest.raises(TimeoutError):
        connections.get(url, {})
    assert connections.get(url, {}) == (200, b"ok")
