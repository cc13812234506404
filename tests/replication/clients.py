"""
What goes on while servers have accidents: installers, who uploads, yanks and deletes, and who looks at roles.

Each keeps what it has seen. Not for: what happens to the servers (`accidents`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.replication.nodes import PASSWORD, USER
from twisted_index.testing import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
        marks: What was acknowledged of files since their uploads, by name: "yanked" or "deleted".
        refused: Changes that had to be repeated.
        unexpected: Answers to changes that no server should give.
        primaries: Servers that were primaries of an epoch, by that.
    """

    installed: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    refused: int = 0
    unexpected: list[str] = field(default_factory=list)
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
        #: Whether files are uploaded, yanked and deleted.
        self.uploading = threading.Event()
        self._number = self._managed = 0
        self._running = {self._upload: threading.Lock(), self._manage: threading.Lock()}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        uv = (sys.executable, "-m", "uv", "pip", "install", "--quiet")
        jobs: list[Callable[[], None]] = [
            lambda: self._install("pip", *pip, "--no-cache-dir", "--cert", str(self._place.authority)),
            lambda: self._install("uv", *uv, "--no-cache"),
            *(lambda job=job: self._change(job) for job in self._running),
            self._watch,
        ]
        self._threads = [threading.Thread(target=self._again, args=(job,), daemon=True) for job in jobs]
        for thread in self._threads:
            thread.start()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Stop all changes; those that run come to their end first."""
        self.uploading.clear()
        for lock in self._running.values():
            assert lock.acquire(timeout=2 * _CLIENT_SECONDS), "a change does not end"
            lock.release()
        try:
            yield
        finally:
            self.uploading.set()

    def _change(self, job: Callable[[], None]) -> None:
        with self._running[job]:
            if self.uploading.is_set():
                job()

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
        self._number += 1
        wheel = make_wheel(f"upload-{self._number % 20}", f"1.{self._number}")
        with tempfile.TemporaryDirectory(dir=self._place.folder) as folder:
            path = wheel.write_to(Path(folder))
            if self._through_any(lambda node: self._twine(node, path)):
                self.seen.acknowledged[wheel.filename] = wheel.sha256

    def _through_any(self, change: Callable[[Node], bool]) -> bool:
        """Make a change through one server after the other until one does it, or nothing is to be changed."""
        while self.uploading.is_set() and not self._ended.is_set():
            for node in (*self._nodes[1:], *self._nodes[:1]):
                if change(node):
                    return True
                self.seen.refused += 1
        return False

    def _manage(self) -> None:
        """Upload a file and yank it; then leave it, show it again, or delete it."""
        seen, number = self.seen, self._managed
        self._managed += 1
        wheel = make_wheel(f"managed-{number % 5}", f"1.{number}")
        name = wheel.filename
        if not self._asked(f"upload of {name}", lambda node: node.upload(wheel)):
            return
        seen.acknowledged[name] = wheel.sha256
        if not self._asked(f"yank of {name}", lambda node: node.yank(wheel)):
            return
        seen.marks[name] = "yanked"
        if number % 3 == 1:
            # What is on its way is in no state that can be checked.
            del seen.marks[name]
            self._asked(f"un-yank of {name}", lambda node: node.yank(wheel, yanked=False))
        elif number % 3 == 2:
            del seen.marks[name], seen.acknowledged[name]
            if self._asked(f"deletion of {name}", lambda node: node.delete(wheel)):
                seen.marks[name] = "deleted"

    def _asked(self, what: str, ask: Callable[[Node], int]) -> bool:
        """Change something over HTTP, through any server."""
        tries = 0

        def change(node: Node) -> bool:
            nonlocal tries
            tries += 1
            status = ask(node)
            # The try before may have done it, and its answer be lost.
            if status == 200 or (tries > 1 and status == 404):
                return True
            if status not in (0, 502, 503, 504):
                self.seen.unexpected.append(f"{what} through {node.name}: {status}")
            time.sleep(_PAUSE)
            return False

        return self._through_any(change)

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
