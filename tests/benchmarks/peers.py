"""
Other package indexes, each as its own documentation says to run it, in an environment of its own.

Not for: how they are measured (`peer_rows`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tests.benchmarks.processes import CannotStart
from tests.benchmarks.servers import Server
from tests.benchmarks.uploads import basic, upload

if TYPE_CHECKING:
    from collections.abc import Sequence

_INSTALL_SECONDS = 600
# At once; one by one it takes minutes where each waits for the index to be written.
_UPLOADS = 8
_USER, _PASSWORD = "admin", "benchmark-only"


def environment_of(name: str, cache: Path) -> Path:
    """Make the environment of a peer, unless it is there; its programs are in the folder that is given."""
    place = cache / "peers" / name
    done = place / "installed"
    if not done.exists():
        shutil.rmtree(place, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(place))
        _run(str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", name)
        done.touch()
    return place / "bin"


def _run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    if ran.returncode:
        lines = [line for line in (ran.stderr or ran.stdout).split("\n") if line.strip()]
        raise CannotStart(lines[-1] if lines else f"{command[0]} failed")


class Peer(Server):
    """
    A server of other people.

    Args:
        work: An empty folder for what it writes.
        cores: Where it runs.
        folder: What it serves: a folder for each project, named normally.
        cache: Where its environment is, or goes.
        upstream: The URL of an index with the same projects, for those that only pass on.
    """

    #: Whether it reads the folder itself, so that a file can be dropped.
    reads_folder: ClassVar[bool] = True

    def __init__(
        self, work: Path, cores: frozenset[int], folder: Path, *, cache: Path, upstream: str = ""
    ) -> None:
        super().__init__(work, cores)
        self._folder = folder
        self._cache = cache
        self._upstream = upstream

    @property
    def programs(self) -> Path:
        """Where its commands are."""
        return environment_of(self.name, self._cache)

    def upload_all(self, url: str, user: str, password: str) -> None:
        """Give it every file of the folder."""
        wheels = sorted(self._folder.glob("*/*.whl"))
        with ThreadPoolExecutor(_UPLOADS) as pool:
            list(pool.map(lambda wheel: upload(url, wheel, user, password), wheels))


class PyPIServer(Peer):
    """pypiserver, without its detour to an index elsewhere."""

    name = "pypiserver"

    def command(self) -> Sequence[str]:
        words = ["run", "-i", "127.0.0.1", "-p", str(self.port), "--disable-fallback", str(self._folder)]
        return [str(self.programs / "pypi-server"), *words]


class SimpleRepositoryServer(Peer):
    """simple-repository-server."""

    name = "simple-repository-server"

    def command(self) -> Sequence[str]:
        words = ["--host", "127.0.0.1", "--port", str(self.port), str(self._folder)]
        return [str(self.programs / "simple-repository-server"), *words]


class SimpleIndex(Peer):
    """simpleindex (not ours): a page is a listing of a folder."""

    name = "simpleindex"

    def command(self) -> Sequence[str]:
        settings = self.work / "simpleindex.toml"
        settings.write_text(
            f'[routes."simple/{{project}}"]\nsource = "path"\nto = "{self._folder}/{{project}}"\n'
            f'[server]\nhost = "127.0.0.1"\nport = {self.port}\naccess_log = false\n'
        )
        return [str(self.programs / "simpleindex"), str(settings)]


class Proxpi(Peer):
    """proxpi, which passes an index on and keeps what it saw: of an nginx on the same machine."""

    name = "proxpi"
    prefix = "/index/"
    reads_folder = False

    def command(self) -> Sequence[str]:
        words = ["run", "--host", "127.0.0.1", "--port", str(self.port)]
        return [str(self.programs / "flask"), *words]

    def environment(self) -> dict[str, str]:
        settings = {"FLASK_APP": "proxpi.server", "PROXPI_INDEX_URL": self._upstream}
        return {**super().environment(), **settings, "PROXPI_CACHE_DIR": str(self.work / "files")}


class PyPIron(Peer):
    """pypiron, with its own storage on disk, and nothing passed on."""

    name = "pypiron"
    reads_folder = False

    def command(self) -> Sequence[str]:
        words = ["serve", "--data-dir", str(self.work / "packages"), "--bind-addr", f"127.0.0.1:{self.port}"]
        return [str(self.programs / "pypiron"), *words]

    def environment(self) -> dict[str, str]:
        credentials = {"PYPIRON_ADMIN_USER": _USER, "PYPIRON_ADMIN_PASS": _PASSWORD}
        return {**super().environment(), **credentials, "PYPIRON_WAIT_ON_UPLOAD": "true"}

    def ready(self) -> None:
        self.upload_all(f"http://127.0.0.1:{self.port}/legacy/", _USER, _PASSWORD)


class DevpiServer(Peer):
    """devpi-server with one index, and nothing passed on."""

    name = "devpi-server"
    #: The user that devpi makes by itself, and the index that is made for it.
    owner = "root"
    prefix = f"/{owner}/bench/+simple/"
    reads_folder = False

    def prepare(self) -> None:
        words = ["--serverdir", str(self.work / "data"), "--no-root-pypi", "--root-passwd", _PASSWORD]
        _run(str(self.programs / "devpi-init"), *words)

    def command(self) -> Sequence[str]:
        words = ["--serverdir", str(self.work / "data"), "--host", "127.0.0.1", "--port", str(self.port)]
        return [str(self.programs / "devpi-server"), *words]

    def ready(self) -> None:
        url = f"http://127.0.0.1:{self.port}/{self.owner}/bench"
        token = self._ask("PUT", url, {"type": "stage", "bases": []}, self.log_in())
        assert token
        self.upload_all(f"{url}/", self.owner, self.log_in())

    def log_in(self) -> str:
        """Get what its owner uploads with, for some hours."""
        answer = self._ask(
            "POST", f"http://127.0.0.1:{self.port}/+login", {"user": "root", "password": _PASSWORD}
        )
        return str(answer["result"]["password"])

    @staticmethod
    def _ask(method: str, url: str, document: object, token: str = "") -> dict[str, dict[str, str]]:
        request = urllib.request.Request(url, json.dumps(document).encode(), method=method)
        request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", basic("root", token))
        with urllib.request.urlopen(request, timeout=60) as answer:
            return dict(json.loads(answer.read()))


PEERS: tuple[type[Peer], ...] = (
    PyPIServer,
    DevpiServer,
    Proxpi,
    SimpleRepositoryServer,
    SimpleIndex,
    PyPIron,
)
