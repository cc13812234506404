"""
What uploaders, readers and installers saw of one bucket, and what of that was wrong.

Not for: how they came to see it (`object_store_soak`).
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from twisted_index.testing import BuiltFile

#: The member of each wheel whose bytes are installed and compared.
BALLAST = "ballast"
#: What installers say of a server that was killed, or cannot reach its store.
_AWAY = re.compile(
    r"\b50[234]\b|connect|timed out|reset by peer|premature|IncompleteRead|error sending request"
    r"|error decoding response body|unexpected EOF|end of file",
    re.IGNORECASE,
)

#: What no installer may say of a project that was seen before.
_WRONG = re.compile(r"hash(es)? mismatch|do not match the hashes|\b404 Client Error|HTTP status .*404")


@dataclass
class SoakRecord:
    """
    What was seen; in any thread.

    Attributes:
        lag: Seconds that a page may lag behind a change by another node.
        answers: How often each kind of answer came.
        wrong: Sentences; none, if all is well.
    """

    lag: float
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    #: By file name: the digest of what was acknowledged, and its ballast.
    _acknowledged: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    #: By project and file name: when any page or answer had it first.
    _since: dict[str, dict[str, float]] = field(default_factory=dict)
    #: By node and project: the names on its last page.
    _last: dict[tuple[int, str], frozenset[str]] = field(default_factory=dict)

    def count(self, what: str) -> None:
        with self._lock:
            self.answers[what] += 1

    def blame(self, sentence: str) -> None:
        with self._lock:
            self.wrong.append(sentence)

    def acknowledge(self, wheel: BuiltFile, ballast: bytes) -> None:
        """Note an upload that was answered with 200."""
        with self._lock:
            if wheel.filename in self._acknowledged:
                self.wrong.append(f"two uploads of {wheel.filename} were acknowledged")
            self._acknowledged[wheel.filename] = wheel.sha256, ballast
            self._since.setdefault(wheel.project, {}).setdefault(wheel.filename, time.monotonic())

    @property
    def projects(self) -> list[str]:
        """The projects of which something was seen or acknowledged."""
        with self._lock:
            return sorted(project for project, since in self._since.items() if since)

    @property
    def acknowledged(self) -> int:
        """How many uploads were acknowledged."""
        return len(self._acknowledged)

    def compare_page(self, node: int, project: str, files: dict[str, str], asked: float) -> None:
        """
        Compare a page with what it has to have.

        Args:
            node: Whose; each is asked for one page at a time.
            project: The project.
            files: The digest of each file.
            asked: When it was asked for.
        """
        now = time.monotonic()
        with self._lock:
            since = self._since.setdefault(project, {})
            expected = {name for name, when in since.items() if when < asked - self.lag}
            expected |= self._last.get((node, project), frozenset())
            self._last[node, project] = frozenset(files)
            if missing := expected - files.keys():
                self.wrong.append(f"node {node}: the page of {project} is without {sorted(missing)}")
            for name, digest in files.items():
                since.setdefault(name, now)
                if self._acknowledged.get(name, (digest,))[0] != digest:
                    self.wrong.append(f"node {node}: {name} has the digest of other bytes")

    def compare_installed(self, name: str, returncode: int, said: str, target: Path) -> None:
        """Compare what an installer has installed with what was uploaded, or look at why it did not."""
        self.count(f"{name} exit {returncode}")
        if returncode:
            if not _AWAY.search(said) or _WRONG.search(said):
                self.blame(f"{name}: {said[-600:]}")
            return
        folder = next(target.glob("*.dist-info")).name.removesuffix(".dist-info")
        with self._lock:
            uploaded = self._acknowledged.get(f"{folder}-py3-none-any.whl")
        # It may have been installed before its upload was answered.
        if uploaded is not None and (target / BALLAST).read_bytes() != uploaded[1]:
            self.blame(f"{name}: {folder} is installed with other bytes")
