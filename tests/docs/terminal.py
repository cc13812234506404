"""A shell that types the commands of a document, and keeps the server that they start."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

#: One command: an installation from the network is the longest.
SECONDS = 180.0
STOP_SECONDS = 20.0

#: Commands that do not come back, wherever they stand in a line.
SERVERS = re.compile(r"\b(?:twistd -n|twisted-index serve|pypi-server run|devpi-server --serverdir)\b")

# Variables, such as those of `activate`, and functions stay from one command to the next, as in a shell.
# With a trap, it waits for its server to end.
_SERVE = """
trap : TERM
[ ! -e "$KEPT" ] || . "$KEPT"
eval "$1"
"""
_TYPE = f"""{_SERVE}
code=$?
{{ export -p; declare -f; }} >"$KEPT"
exit $code
"""


def listens(port: int) -> bool:
    """Tell whether something accepts connections at a port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


class Terminal:
    """
    Types commands in a folder, with a home of its own.

    There is one server at a time: the next one that is started ends the last one, as Ctrl-C would, unless it
    runs beside it, at another port.
    """

    def __init__(self, folder: Path, env: Mapping[str, str], ports: tuple[int, ...] = ()) -> None:
        self.folder = folder
        self.ports = ports
        home = folder.with_name(f"{folder.name}-home")
        home.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_KEPT)}
        self._env = (
            kept | {"HOME": str(home), "KEPT": str(home / f"kept-{id(self)}"), "LANG": "C.UTF-8"} | env
        )
        self._log = home / f"server-{id(self)}.log"
        self._servers: list[subprocess.Popen[bytes]] = []

    def has(self, program: str) -> bool:
        """Tell whether a program is installed."""
        return shutil.which(program, path=self._env["PATH"]) is not None

    def type(self, command: str, *, beside: bool = False) -> str:
        """Type a command; give what it printed, which is nothing for a server."""
        if SERVERS.search(command):
            self.serve(command, beside=beside)
            return ""
        done = subprocess.run(
            ["bash", "-c", _TYPE, "bash", command],
            cwd=self.folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
        output = done.stdout.decode("utf-8", "replace")
        assert done.returncode == 0, f"$ {command}\n{output}\nThe server said:\n{self.log}"
        return output

    def start(self, command: str, *, beside: bool = False) -> None:
        """Start a server, in place of the last one or beside it, without waiting for it."""
        if not beside:
            self.stop()
        with self._log.open("ab" if self._servers else "wb") as log:
            self._servers.append(
                subprocess.Popen(
                    # What came between its start and its end stays.
                    ["bash", "-c", _SERVE, "bash", command],
                    cwd=self.folder,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def serve(self, command: str, *, beside: bool = False) -> None:
        """Start a server, and wait until it listens."""
        if not beside:
            self.stop()
        before = sum(map(listens, self.ports))
        self.start(command, beside=True)
        deadline = time.monotonic() + SECONDS
        while sum(map(listens, self.ports)) <= before:
            assert self._servers[-1].poll() is None, f"$ {command}\n{self.log}"
            assert time.monotonic() < deadline, f"$ {command}\n{self.log}"
            time.sleep(0.05)

    @property
    def log(self) -> str:
        """What the last servers said."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def stop(self) -> None:
        """End the servers, if there are any; none may have failed."""
        servers, self._servers = self._servers, []
        for process in reversed(servers):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)  # of the shell and of the server in it
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        deadline = time.monotonic() + STOP_SECONDS
        while servers and any(listens(port) for port in self.ports):
            assert time.monotonic() < deadline, f"The server does not end:\n{self.log}"
            time.sleep(0.05)
        assert "Traceback (most recent call last)" not in self.log, self.log


#: Of the test run itself, and of other servers.
_NOT_KEPT = ("TWISTED_INDEX_", "VIRTUAL_ENV", "PYTHONPATH", "PYTEST_", "TWINE_", "UV_PUBLISH")
