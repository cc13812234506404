"""An upstream that says on the wire whatever a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

#: Sends the answer; what it does not send is not sent.
Script = Callable[[socket.socket, "Asked"], None]

JSON = "application/vnd.pypi.simple.v1+json"


@dataclass
class Asked:
    """A request: its target, its fields with names in lower case, and what came of its body with these."""

    target: str
    fields: dict[str, str] = field(default_factory=dict)
    begun: bytes = b""


def answer(status: int = 200, body: bytes = b"", *, length: int | None = None, **fields: str) -> bytes:
    """Spell an answer; it says `Connection: close`."""
    lines = [f"HTTP/1.1 {status} OK", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def page(body: bytes = b'{"files": []}', **fields: str) -> bytes:
    """Spell the answer that is a page in JSON."""
    return answer(200, body, **({"Content_Type": JSON} | fields))


def reset(client: socket.socket) -> None:
    """Close a connection so that the other side sees a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


class HostileUpstream:
    """Listens on a port of 127.0.0.1; each connection is one request, in a thread of its own."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.scripts: dict[str, list[Script | bytes]] = {}
        self.stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def on(self, path: str, *scripts: Script | bytes) -> None:
        """Say what becomes of requests for a path, one after the other; the last is for all further ones."""
        self.scripts[path] = list(scripts)

    def targets(self) -> list[str]:
        return [asked.target for asked in self.asked]

    def close(self) -> None:
        self.stopping.set()
        self._listener.close()

    def endless(self, piece: bytes) -> Iterator[bytes]:
        """Give a piece again and again, until the test is over."""
        while not self.stopping.is_set():
            yield piece

    def wait(self) -> None:
        """Say nothing until the test is over."""
        self.stopping.wait(30)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(30)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            asked = self._read(client)
            if asked is None:
                return
            self.asked.append(asked)
            scripts = self.scripts.get(asked.target.partition("?")[0], [answer(404)])
            script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
            if isinstance(script, bytes):
                client.sendall(script)
            else:
                script(client, asked)

    def _read(self, client: socket.socket) -> Asked | None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(65536)
            if not data:
                return None
            head += data
        text, _end, begun = head.partition(b"\r\n\r\n")
        first, *lines = text.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return Asked(first.split(" ")[1], {name.lower(): value.strip() for name, _, value in pairs}, begun)
