"""
What goes on while servers have accidents: installers, uploaders, and one who looks at who the primary is.

Each keeps what it has seen. Not for: what happens to the servers (`accidents`).
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.replication.nodes import PASSWORD, USER
from twisted_index.testing import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.replication.nodes import Node, Place

#: Projects that are there from the beginning; the first needs the second.
APP, LIBRARY = "app", "library"
#: Seconds after which a client that hangs is a failed one.
_CLIENT_SECONDS: Final = 120
_PAUSE: Final = 0.3
_BANDERSNATCH = """\
[mirror]
directory = {folder}
master = {url}
json = true
timeout = 30
global-timeout = 600
workers = 2
verifiers = 2
hash-index = false
stop-on-error = true
storage-backend = filesystem
simple-format = ALL
keep_index_versions = 0
digest_name = sha256
compare-method = hash
download-mirror =
download-mirror-no-fallback = false
"""


@dataclass
class Seen:
    """
    What clients have seen.

    Attributes:
        installed, failed: Installations by installer.
        said: What failed ones printed.
        acknowledged: Digests of the files whose uploads were successes, by name.
        refused: Uploads that had to be repeated.
        primaries: Servers that were primaries of an epoch, by that.
    """

    installed: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)
    refused: int = 0
    primaries: dict[str, set[str]] = field(default_factory=dict)

    @property
    def installations(self) -> str:
        """All of them, and those that failed."""
        names = sorted({*self.installed, *self.failed})
        return ", ".join(
            f"{name} {self.installed[name]}" + (f" ({self.failed[name]} failed)" if self.failed[name] else "")
            for name in names
        )


class Clients:
    """
    Threads, each with a client that begins anew when it has ended.

    Args:
        place: Of the servers.
        url: Of the balancer, for installers.
        nodes: The servers, for uploaders.
    """

    def __init__(self, place: Place, url: str, nodes: Sequence[Node]) -> None:
        self._place = place
        self._url = url
        self._nodes = nodes
        self.seen = Seen()
        self._ended = threading.Event()
        self.uploading = threading.Event()
        self._number = 0
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        uv = (sys.executable, "-m", "uv", "pip", "install", "--quiet")
        jobs: list[Callable[[], None]] = [
            lambda: self._install("pip", *pip, "--no-cache-dir", "--cert", str(self._place.authority)),
            lambda: self._install("uv", *uv, "--no-cache"),
            self._upload,
            self._watch,
        ]
        self._threads = [threading.Thread(target=self._again, args=(job,), daemon=True) for job in jobs]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all of them; what runs goes on to its end."""
        self._ended.set()
        for thread in self._threads:
            thread.join(2 * _CLIENT_SECONDS)

    def _again(self, job: Callable[[], None]) -> None:
        while not self._ended.wait(_PAUSE):
            try:
                job()
            except subprocess.TimeoutExpired as error:
                self.seen.failed["too slow"] += 1
                self.seen.said.append(str(error))

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=self._place.environment,
            timeout=_CLIENT_SECONDS,
            check=False,
        )

    def _install(self, name: str, *command: str) -> None:
        with tempfile.TemporaryDirectory(dir=self._place.folder) as target:
            began = time.strftime("%H:%M:%S")
            done = self._run(*command, "--index-url", f"{self._url}/simple/", "--target", target, APP)
            complete = all((Path(target) / part).exists() for part in (APP, LIBRARY))
            if done.returncode == 0 and complete:
                self.seen.installed[name] += 1
            else:
                self.seen.failed[name] += 1
                self.seen.said.append(f"{name} at {began}: {done.stdout}{done.stderr}".strip())

    def _upload(self) -> None:
        """Upload a file by twine through one server after the other until one takes it."""
        if not self.uploading.is_set():
            return
        self._number += 1
        wheel = make_wheel(f"upload-{self._number % 20}", f"1.{self._number}")
        with tempfile.TemporaryDirectory(dir=self._place.folder) as folder:
            path = wheel.write_to(Path(folder))
            while not self._ended.is_set():
                for node in (*self._nodes[1:], *self._nodes[:1]):
                    if self._twine(node, path):
                        digest = hashlib.sha256(wheel.content).hexdigest()
                        self.seen.acknowledged[wheel.filename] = digest
                        return
                    self.seen.refused += 1

    def _twine(self, node: Node, path: Path) -> bool:
        words = ("--repository-url", f"{node.url}/legacy/", "--cert", str(self._place.authority))
        who = ("-u", USER, "-p", PASSWORD, "--non-interactive", "--disable-progress-bar")
        return self._run(sys.executable, "-m", "twine", "upload", *words, *who, str(path)).returncode == 0

    def mirror(self, node: Node, bandersnatch: str) -> dict[str, tuple[int, int]]:
        """
        Let bandersnatch mirror a server.

        Returns:
            What its folder has then: by name, what changes when a file is fetched again.
        """
        folder = self._place.folder / "mirror"
        file = self._place.folder / "bandersnatch.conf"
        file.write_text(_BANDERSNATCH.format(folder=folder, url=node.url))
        done = self._run(bandersnatch, "-c", str(file), "mirror")
        assert done.returncode == 0, f"bandersnatch: {done.stdout[-1000:]}{done.stderr[-1000:]}"
        files = (path for kind in ("whl", "gz") for path in (folder / "web" / "packages").rglob(f"*.{kind}"))
        return {path.name: (path.stat().st_ino, path.stat().st_ctime_ns) for path in files}

    def _watch(self) -> None:
        """Look at who says that it is the primary."""
        for node in self._nodes:
            found = node.document("/-/replication")
            if found.get("role") == "primary":
                self.seen.primaries.setdefault(str(found["epoch"]), set()).add(node.name)
