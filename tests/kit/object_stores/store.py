"""What all object stores of tests have in common: their processes, their bucket, their credentials."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.kit.ports import free_ports

BUCKET = "packages"
REGION = "us-east-1"
_SECONDS = 90.0
#: Ends a process when the run of tests is gone, also by SIGKILL; not when its worker is, as others use it.
_WATCH = """
import contextlib, os, select, signal, sys
with contextlib.suppress(ProcessLookupError):
    store = os.pidfd_open(int(sys.argv[1]))
    with contextlib.suppress(ProcessLookupError):
        select.select([store, os.pidfd_open(int(sys.argv[2]))], [], [])
    signal.pidfd_send_signal(store, signal.SIGKILL)
"""


class Store:
    """
    A store that lies in a folder, and comes back with its data when it is started again.

    Args:
        folder: Its own; the path has to be short, as unix sockets are in it.
    """

    name: ClassVar[str]
    #: What has to be installed.
    needs: ClassVar[str]
    scheme: ClassVar[str] = "s3"
    #: Besides the one at which it answers.
    other_ports: ClassVar[int] = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, *self.ports = free_ports(1 + self.other_ports)
        self.access_key, self.secret_key = f"K{secrets.token_hex(9).upper()}", secrets.token_hex(20)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._watchers: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    def is_installed(cls) -> bool:
        raise NotImplementedError

    @property
    def environment(self) -> dict[str, str]:
        """What a client's environment needs."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
        }

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes.values()]

    def start(self) -> None:
        """Start it, and wait until there is the bucket."""
        raise NotImplementedError

    def crash(self, *names: str) -> None:
        """End all or some of its processes, with no chance to write anything."""
        for name in names or list(self._processes):
            process = self._processes.pop(name)
            process.kill()
            process.wait()
            self._watchers.pop(name).wait()

    def signal(self, number: int, *names: str) -> None:
        """Stop (SIGSTOP: requests hang) and continue (SIGCONT) all or some of its processes."""
        for name in names or list(self._processes):
            self._processes[name].send_signal(number)

    def _spawn(self, name: str, *command: str | Path, env: Mapping[str, str] | None = None) -> None:
        with (self.folder / f"{name}.out").open("ab") as output:
            self._processes[name] = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=os.environ | dict(env or {}),
            )
        # Its watcher ends with it, or ends it.
        runner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
        self._watchers[name] = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCH, str(self._processes[name].pid), str(runner)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _must(self, *command: str | Path) -> str:
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout} {done.stderr}"
        return done.stdout

    def _await(self, what: str, is_there: Callable[[], bool]) -> None:
        end = time.monotonic() + _SECONDS
        while not is_there():
            gone = [name for name, process in self._processes.items() if process.poll() is not None]
            assert not gone, f"{self.name}: {gone} ended by themselves: {self._said()}"
            assert time.monotonic() < end, f"{self.name}: {what} has not come: {self._said()}"
            time.sleep(0.05)

    def _said(self) -> str:
        return "".join(path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.out"))

    def _listens(self, port: int | None = None) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port or self.port), 1):
            return True
        return False


def open_place(url: str, environment: Mapping[str, str]) -> Any:
    """Open a place by the client library alone, with these credentials whatever is in os.environ."""
    from obstore.store import from_url

    options: Any = {name.lower(): value for name, value in environment.items() if "ALLOW_HTTP" not in name}
    return from_url(url, client_options={"allow_http": True}, **options)


def make_s3_bucket(store: Store) -> None:
    """Make the bucket, unless there is one; the URL for that is signed by the client library."""
    from obstore import sign

    signer = open_place(f"s3://{BUCKET}", store.environment)
    url = sign(signer, "PUT", "", timedelta(seconds=60))

    def is_made() -> bool:
        try:
            with urlopen(Request(url, method="PUT"), timeout=20) as answer:
                return bool(answer.status == 200)
        except HTTPError as error:
            return error.code == HTTPStatus.CONFLICT  # it was there
        except OSError:
            return False

    store._await("the bucket", is_made)
