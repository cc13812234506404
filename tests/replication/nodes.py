"""
Servers with the same packages, each on a machine of its own, and HAProxy in front of them.

Not for: what happens to them (`accidents`).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import bcrypt
import trustme

from tests.replication.network import HERE, Machine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from twisted_index.testing import BuiltFile

REPOSITORY = Path(__file__).resolve().parents[2]
PORT: Final = 8443
USER, FOLLOWER, PASSWORD = "alice", "follower", "secret"
_LOGIN: Final = "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_BOUNDARY: Final = "end-of-part"
#: Makes programs believe in another time; files keep theirs.
_FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
#: With it and a monotonic clock that goes on, clock_nanosleep(2) fails, by which Python sleeps.
_SLEEP = "import threading, time\ntime.sleep = lambda seconds: threading.Event().wait(seconds) and None\n"
_STOP_SECONDS = 30.0
#: What programs are configured with here.
_CONFIGURING = re.compile(r"(?i)PIP_|UV_|TWINE_|TWISTED_INDEX_|.*_PROXY$|.*_CA_BUNDLE$|SSL_CERT_")


class Entry(NamedTuple):
    """What is compared of a file."""

    digest: str
    mtime_ns: int


class Place:
    """
    The folder of a run, with what all servers share: certificates and users.

    Args:
        folder: An empty folder.
        addresses: Of the servers, by name.
    """

    def __init__(self, folder: Path, addresses: Iterable[str]) -> None:
        self.folder = folder
        self.authority = folder / "ca.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        for address in (HERE, *addresses):
            pair = authority.issue_cert(address).private_key_and_cert_chain_pem
            pair.write_to_path(str(self.certificate(address)))
        self.tls = ssl.create_default_context(cafile=self.authority)
        secret = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        self.users = folder / "users.htpasswd"
        self.users.write_text(f"{USER}:{secret}\n{FOLLOWER}:{secret}\n")

    def certificate(self, address: str) -> Path:
        """Give the file of a certificate and its key."""
        return self.folder / f"{address}.pem"

    @property
    def environment(self) -> dict[str, str]:
        """Give an environment in which programs trust the servers, and nothing else configures them."""
        kept = {name: value for name, value in os.environ.items() if not _CONFIGURING.match(name)}
        return {
            **kept,
            "HOME": str(self.folder),
            "PYTHONPATH": str(REPOSITORY),
            "PIP_CONFIG_FILE": os.devnull,
            "REQUESTS_CA_BUNDLE": str(self.authority),
            "SSL_CERT_FILE": str(self.authority),
        }


class Node:
    """
    One server.

    Args:
        name: A letter.
        machine: Where it runs.
        place: Of all of them.
        peers: The addresses of the others.
    """

    def __init__(self, name: str, machine: Machine, place: Place, peers: Sequence[str]) -> None:
        self.name = name
        self.machine = machine
        self._place = place
        self._peers = [f"https://{peer}:{PORT}" for peer in peers]
        self._work = place.folder / name
        self._mount, self.state = self._work / "mount", self._work / "state"
        # Below the point where it is mounted, so that nothing is there without the disk.
        self.folder = self._mount / "packages"
        self.disk = self._work / "disk" / "packages"
        for folder in (self.disk, self._mount):
            folder.mkdir(parents=True)
        self._clock = self._work / "clock"
        self._process: subprocess.Popen[bytes] | None = None
        self._digests: dict[tuple[str, int, int, int], str] = {}
        self.mount()

    @property
    def url(self) -> str:
        return f"https://{self.machine.address}:{PORT}"

    @property
    def url_to_follow(self) -> str:
        return f"https://{FOLLOWER}:{PASSWORD}@{self.machine.address}:{PORT}"

    @property
    def log(self) -> Path:
        return self._work / "log"

    @property
    def settings(self) -> Path:
        return self._work / "index.toml"

    # The process.

    def start(self, primary: Node | None = None) -> None:
        """Start it, as a replica of another one or as it was when it ran last."""
        settings: dict[str, object] = {
            "path": str(self.folder),
            "state": str(self.state),
            "listen": f"https:{PORT}:interface={self.machine.address}:certificate="
            f"{self._place.certificate(self.machine.address)}",
            "upload": True,
            "auth": f"htpasswd:{self._place.users}",
            "trusted-proxy": HERE,
            "peers": self._peers,
        }
        if primary is not None:
            settings["replica-of"] = primary.url_to_follow
        self.settings.write_text(
            "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
        )
        self.set_clock("")
        fake = {
            "LD_PRELOAD": _FAKETIME,
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": os.pathsep.join(
                (str(_written(self._work / "sitecustomize.py", _SLEEP)), str(REPOSITORY))
            ),
        }
        environment = self._place.environment | (fake if can_move_clocks() else {})
        words = (
            sys.executable,
            "-m",
            "twisted",
            "--log-format=text",
            "simpleindex",
            "--config",
            str(self.settings),
        )
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.machine.inside(*words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self._work,
            )
        self.await_health()

    def await_health(self) -> None:
        """Wait until it answers, in whatever state it is."""
        for _ in attempts(60):
            with suppress(OSError, http.client.HTTPException):
                self.ask("/-/health")
                return
            assert self._process is not None
            if self._process.poll() is not None:
                break
        raise OSError(f"{self.name} does not start: {self.log.read_text()[-2000:]}")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it, in good order unless it is SIGKILL."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def set_clock(self, difference: str) -> None:
        """Move its clock, while it runs: `+1y`, or nothing."""
        part = self._clock.with_suffix(".part")
        part.write_text(f"{difference or '+0'}\n")
        part.rename(self._clock)

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a subcommand of twisted-index on its machine."""
        command = (sys.executable, "-c", "from twisted_index.cli import main; raise SystemExit(main())")
        return subprocess.run(
            self.machine.inside(*command, *words),
            capture_output=True,
            text=True,
            env=self._place.environment,
            cwd=self._work,
            timeout=180,
            check=False,
        )

    # What it says.

    def ask(
        self, path: str, fields: Mapping[str, str] | None = None, *, method: str = "GET", body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask it over a connection of its own."""
        connection = http.client.HTTPSConnection(
            self.machine.address, PORT, timeout=10 if method == "GET" else 40, context=self._place.tls
        )
        try:
            connection.request(method, path, body=body or None, headers=dict(fields or {}))
            answer = connection.getresponse()
            return answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def change(self, method: str, path: str, kind: str = "", body: bytes = b"") -> int:
        """Change something as the user; 0 without an answer."""
        fields = {"Authorization": _LOGIN} | ({"Content-Type": kind} if kind else {})
        with suppress(OSError, http.client.HTTPException):
            return self.ask(path, fields, method=method, body=body)[0]
        return 0

    def upload(self, file: BuiltFile) -> int:
        """Upload a file."""
        part = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{{}}"{{}}\r\n\r\n'
        head = part.format(":action", "") + "file_upload\r\n"
        head += part.format("content", f'; filename="{file.filename}"')
        body = head.encode() + file.content + f"\r\n--{_BOUNDARY}--\r\n".encode()
        return self.change("POST", "/legacy/", f"multipart/form-data; boundary={_BOUNDARY}", body)

    def yank(self, file: BuiltFile, *, yanked: bool = True) -> int:
        """Yank a file, or show it again."""
        said = {"project": file.project, "filename": file.filename, "yanked": yanked}
        return self.change("POST", "/-/yank", "application/json", json.dumps(said).encode())

    def delete(self, file: BuiltFile) -> int:
        """Delete a file."""
        return self.change("DELETE", f"/simple/{file.project}/{file.filename}")

    def document(self, path: str) -> dict[str, Any]:
        """Ask for a JSON document; empty if there is none."""
        with suppress(OSError, http.client.HTTPException, ValueError):
            found = json.loads(self.ask(path, {"Accept": "application/json"})[2])
            return found if isinstance(found, dict) else {}
        return {}

    # Its folder.

    def mount(self) -> None:
        """Mount the disk with its packages."""
        subprocess.run(["mount", "--bind", str(self.disk.parent), str(self._mount)], check=True)

    @contextmanager
    def at_a_mount_point(self) -> Iterator[Path]:
        """Let the folder be a mount point itself while the server runs."""
        point, folder = _made(self._work / "point"), self.folder
        subprocess.run(["mount", "--bind", str(self.disk), str(point)], check=True)
        self.stop()
        self.folder = point
        self.start()
        try:
            yield point
        finally:
            self.stop()
            self.folder = folder
            subprocess.run(["umount", "--lazy", str(point)], check=False, stderr=subprocess.DEVNULL)
            self.start()

    def unmount(self) -> None:
        """Unmount the disk, as if it were pulled out; the server goes on."""
        subprocess.run(["umount", "--lazy", str(self._mount)], check=True)

    def save(self, name: str) -> Path:
        """Copy packages and state to another place."""
        saved = self._work / name
        shutil.rmtree(saved, ignore_errors=True)
        for part in (self.disk, self.state):
            subprocess.run(["cp", "-a", str(part), str(_made(saved) / part.name)], check=True)
        return saved

    def restore(self, saved: Path, *, state: bool) -> None:
        """Put back what was saved; without its state there is none."""
        self.clear()
        subprocess.run(["cp", "-a", f"{saved / 'packages'}/.", str(self.disk)], check=True)
        shutil.rmtree(self.state)
        if state:
            subprocess.run(["cp", "-a", str(saved / "state"), str(self.state)], check=True)

    def clear(self) -> None:
        """Delete all packages."""
        for entry in self.disk.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def set_aside(self) -> set[str]:
        """Give the digests of what a join has set aside."""
        files = (path for path in (self.disk / ".conflicts").rglob("*") if path.is_file())
        return {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def tree(self) -> dict[str, Entry]:
        """Give all files of its folder."""
        found = {}
        for folder, folders, names in os.walk(self.disk):
            # What is being written, and what a join has set aside.
            folders[:] = [name for name in folders if name not in (".uploads", ".staged", ".conflicts")]
            names = [name for name in names if not name.endswith((".part", ".tmp", ".replica"))]
            for path in (Path(folder, name) for name in names):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    key = (str(path), status.st_ino, status.st_size, status.st_mtime_ns)
                    if key not in self._digests:
                        self._digests[key] = hashlib.sha256(path.read_bytes()).hexdigest()
                    found[str(path.relative_to(self.disk))] = Entry(self._digests[key], status.st_mtime_ns)
        return found


class Balancer:
    """HAProxy with the file of the documents, in front of three servers, at the machines' own network."""

    def __init__(self, place: Place, nodes: Sequence[Node]) -> None:
        text = (REPOSITORY / "docs" / "haproxy-replicas.cfg").read_text(encoding="utf-8")
        servers = "".join(f"    server {n.name} {n.machine.address}:{PORT}\n" for n in nodes)
        for before, after in {
            "    server a 10.0.0.11:8443\n    server b 10.0.0.12:8443\n": servers,
            "bind :80\n": f"bind {HERE}:80\n",
            "bind :443": f"bind {HERE}:443",
            "/etc/haproxy/index.pem": str(place.certificate(HERE)),
            "/etc/haproxy/ca.pem": str(place.authority),
            "/run/haproxy/admin.sock": str(place.folder / "admin.sock"),
            # All clients come from one address here, and shall meet all servers.
            "    balance source\n    hash-type consistent\n": "    balance roundrobin\n",
        }.items():
            assert before in text, before
            text = text.replace(before, after)
        file = place.folder / "haproxy.cfg"
        file.write_text(text)
        with (place.folder / "haproxy.log").open("wb") as log:
            self._process = subprocess.Popen(["haproxy", "-db", "-f", str(file)], stdout=log, stderr=log)

    @property
    def url(self) -> str:
        return f"https://{HERE}"

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(_STOP_SECONDS)


def can_move_clocks() -> bool:
    """Tell whether libfaketime is installed."""
    return os.path.exists(_FAKETIME)


def attempts(seconds: float) -> Iterable[None]:
    """Go on for so long, with pauses."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.1)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _written(file: Path, text: str) -> Path:
    """Write a file, and return its folder."""
    file.write_text(text)
    return file.parent
